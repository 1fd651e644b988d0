"""Retrieval@k: repeated texts, ties by their expected share, chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.scored import prediction
from oracles.retrieval import recall_at_k
from wsrpn_vl.evaluate.bootstrap import resample_counts
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.evaluate.retrieve import retrieval


def pairs(images: np.ndarray, texts: np.ndarray, ids: list[str | None]) -> PredictionSet:
    rows = [
        prediction(f"i{i}", embedding=v, text_embedding=t, text_id=name)
        for i, (v, t, name) in enumerate(zip(images, texts, ids, strict=True))
    ]
    return PredictionSet(("Mass",), tuple(rows), {})


def test_perfect_and_reversed() -> None:
    """Orthogonal pairs: every item finds itself. Shifted by one: nobody does at 1, everybody at 4 of 4."""
    eye = np.eye(4)
    got = retrieval(pairs(eye, eye, [None] * 4))
    assert got["image_to_text"]["1"] == {"value": 1, "ci": None, "chance": 0.25, "strict": 1, "strict_chance": 0.25}
    assert got["images"] == got["distinct_texts"] == 4
    shifted = retrieval(pairs(eye, np.roll(eye, 1, axis=0), list("abcd")), ks=(1, 4))
    for way in ("image_to_text", "text_to_image"):
        assert shifted[way]["1"]["value"] == 0 and shifted[way]["4"]["value"] == 1


def test_an_equal_text_is_a_hit_and_strict_is_not() -> None:
    """Images 0 and 1 share a text: 0 ranks 0 and 1 tied first. Equal text: 1. Itself: half of the orders; image 2: 1.

    Strict image to text = (1/2 + 1/2 + 1) / 3 = 2/3. Chance of an equal text: (2/3 + 2/3 + 1/3) / 3 = 5/9.
    """
    images = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    texts = np.array([[1.0, 0], [1, 0], [0, 1]])
    got = retrieval(pairs(images, texts, ["n", "n", "o"]), ks=(1,))
    assert got["distinct_texts"] == 2
    assert got["image_to_text"]["1"]["value"] == 1
    assert got["image_to_text"]["1"]["strict"] == pytest.approx(2 / 3)
    assert got["image_to_text"]["1"]["chance"] == pytest.approx(5 / 9)
    # text to image: both queries prefer image 0 (cosine 1 against 0.995)
    assert got["text_to_image"]["1"]["strict"] == pytest.approx(2 / 3) and got["text_to_image"]["1"]["value"] == 1


def test_a_collapsed_model_is_at_chance() -> None:
    """Everything equal: whatever the order of the file, a hit has exactly the chance level."""
    ones = np.ones((10, 3))
    got = retrieval(pairs(ones, ones, ["a"] * 4 + list("bcdefg")))
    for way in ("image_to_text", "text_to_image"):
        for k in ("1", "5"):
            assert got[way][k]["value"] == pytest.approx(got[way][k]["chance"])
            assert got[way][k]["strict"] == pytest.approx(int(k) / 10)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_drawing_lots(seed: int) -> None:
    """Coarse vectors tie often; the oracle breaks ties at random, 3000 times (standard error below 0.005)."""
    rng = np.random.default_rng(seed)
    ids = [str(v) for v in rng.integers(0, 5, 8)]
    shared = {name: rng.integers(-1, 2, 2) + np.array([0.0, 3.0]) for name in ids}
    texts, images = np.array([shared[i] for i in ids]), rng.integers(-1, 2, (8, 2)) + np.array([3.0, 0.0])

    def unit(v: np.ndarray) -> np.ndarray:
        return v / np.linalg.norm(v, axis=1, keepdims=True)

    similarity = np.round(unit(images) @ unit(texts).T, 12)
    got = retrieval(pairs(images, texts, ids), ks=(1, 3))
    for way, matrix in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        for k in (1, 3):
            for name, strict in (("value", False), ("strict", True)):
                wanted = recall_at_k(matrix.tolist(), ids, k, strict=strict, draws=3000, seed=seed)
                assert got[way][str(k)][name] == pytest.approx(wanted, abs=0.025)


def test_order_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, texts, ids = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)), [str(v) for v in range(30)]
    before = retrieval(pairs(images, texts, ids))
    order = rng.permutation(30)
    after = retrieval(pairs(images[order], texts[order], [ids[i] for i in order]))
    monkeypatch.setattr("wsrpn_vl.evaluate.retrieve._CHUNK", 7)
    assert before == after == retrieval(pairs(images, texts, ids))


def test_only_images_with_both_embeddings_take_part() -> None:
    eye = np.eye(3)
    given = pairs(eye, eye, list("abc"))
    lacking = replace(given, predictions=(*given.predictions, prediction("x"), prediction("y", embedding=eye[0])))
    counts = resample_counts(5, 50, 0)
    got = retrieval(lacking, counts=counts)
    assert got["images"] == 3 and got["image_to_text"]["1"]["ci"] == [1, 1]
    assert retrieval(replace(given, predictions=given.predictions[:1])) is None
