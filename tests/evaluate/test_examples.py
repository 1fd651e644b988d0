"""The choice of examples: by rule, failures included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.scored import prediction, prediction_set, truth_of
from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.evaluate.examples import choose_examples, choose_retrieval, example_panel
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.types import Detections

REAL = (0.0, 0.0, 40.0, 10.0)


def shifted(iou: float) -> tuple[float, ...]:
    """REAL moved right by d: overlap (40 - d) x 10, union (40 + d) x 10, so d = 40 (1 - iou) / (1 + iou)."""
    d = 40 * (1 - iou) / (1 + iou)
    return (d, 0.0, 40.0 + d, 10.0)


def test_best_median_and_worst_by_overlap():
    """Image 5 has no box (IoU 0, unsure), image 6 a sure box elsewhere: the worst. Five ranks between 0 and 0.9."""
    ious = [0.5, 0.9, 0.3, 0.7, 0.1]
    found = [[(0, shifted(iou), 0.5)] for iou in ious] + [[], [(0, (60, 60, 80, 80), 0.9)]]
    predictions, truth = prediction_set(found), truth_of([[[REAL]]] * 7)
    chosen = choose_examples(predictions, truth, 3)
    assert [(e.group, e.image) for e in chosen] == [("best", 1), ("median", 2), ("worst", 6)]
    assert chosen[0].value == pytest.approx(0.9)
    assert (chosen[2].value, chosen[2].score) == (0.0, 0.9)
    six = choose_examples(predictions, truth, 6)
    assert [e.group for e in six] == ["best", "best", "median", "median", "worst", "worst"]
    assert {e.image for e in six if e.group == "worst"} == {5, 6}
    assert next(e for e in six if e.image == 5).score is None
    assert len({e.image for e in six}) == 6


def test_one_example_is_the_median_and_none_is_none():
    predictions = prediction_set([[(0, shifted(iou), 0.5)] for iou in (0.9, 0.5, 0.1)])
    truth = truth_of([[[REAL]]] * 3)
    assert [e.image for e in choose_examples(predictions, truth, 1)] == [1]
    assert choose_examples(predictions, truth, 0) == []
    assert len(choose_examples(predictions, truth, 99)) == 3


def test_classes_of_a_group_are_varied():
    """The three best are of class 0, but of two best examples the second is of class 1."""
    classes = ("Mass", "Nodule")
    found = [[(0, shifted(v), 0.5)] for v in (0.95, 0.9, 0.85)] + [[(1, shifted(v), 0.5)] for v in (0.6, 0.2, 0.1)]
    boxes = [[[REAL], []]] * 3 + [[[], [REAL]]] * 3
    predictions, truth = prediction_set(found, classes=classes), truth_of(boxes, classes=classes)
    best = [e for e in choose_examples(predictions, truth, 6) if e.group == "best"]
    assert [e.label for e in best] == [0, 1]


def test_the_order_of_the_images_does_not_matter():
    rng = np.random.default_rng(0)
    found = [[(0, shifted(v), s)] for v, s in zip(rng.random(12), rng.random(12), strict=True)]
    order = rng.permutation(12)
    one = choose_examples(prediction_set(found), truth_of([[[REAL]]] * 12), 6)
    other = choose_examples(prediction_set([found[i] for i in order]), truth_of([[[REAL]]] * 12), 6)
    assert [e.image for e in one] == [order[e.image] for e in other]


def test_without_boxes_positive_images_are_ranked_by_probability():
    probs = np.array([[0.3], [0.9], [0.6], [0.99]])
    truth = truth_of([[[]]] * 4, labels=np.array([[1], [1], [1], [0]]))
    chosen = choose_examples(prediction_set([[]] * 4, probs), truth, 3)
    assert [(e.group, e.image) for e in chosen] == [("best", 1), ("median", 2), ("worst", 0)]


def embedded(vectors: list[tuple[list[float], list[float], str]]) -> PredictionSet:
    rows = [
        prediction(f"i{i}", embedding=np.array(image), text_embedding=np.array(text), text_id=name)
        for i, (image, text, name) in enumerate(vectors)
    ]
    return PredictionSet(("Mass",), tuple(rows), {})


def test_retrieval_finds_equal_texts_and_ranks_the_own_one():
    """Texts a = (1, 0), b = (0, 1), a again. Image 2 points to b although its text is a: rank 2 of 2, b a miss."""
    predictions = embedded([([1, 0], [1, 0], "a"), ([0, 2], [0, 1], "b"), ([0.1, 1], [1, 0], "a")])
    chosen = choose_retrieval(predictions, count=3)
    assert [(e.image, e.rank, e.distinct) for e in chosen] == [(0, 1, 2), (1, 1, 2), (2, 2, 2)]
    assert [(f.text_of, f.hit) for f in chosen[2].found] == [(1, False), (0, True)]
    assert chosen[1].found[0].similarity == pytest.approx(1.0)
    assert choose_retrieval(embedded([([1, 0], [1, 0], "a")])) == []


def test_images_without_embedding_take_no_part():
    full = embedded([([1, 0], [1, 0], "a"), ([0, 1], [0, 1], "b"), ([0, 1], [0, 1], "c")])
    rows = (full.predictions[0], replace(full.predictions[1], embedding=None), full.predictions[2])
    chosen = choose_retrieval(PredictionSet(("Mass",), rows, {}))
    assert {e.image for e in chosen} == {0, 2}
    assert {f.text_of for e in chosen for f in e.found} == {0, 2}


def test_panel_shows_what_there_is():
    image = np.full((40, 80), 0.5, np.float32)
    found = Detections(("Mass", "Nodule"), np.array([[8.0, 8.0, 40.0, 32.0]]), np.array([0.7]), np.array([0]))
    truth = [("Mass", np.array([10.0, 8.0, 40.0, 32.0])), ("Nodule", np.array([1.0, 1.0, 5.0, 5.0]))]
    box = Letterbox(80, 40, 64)
    maps = {"patch": np.full((2, 2), 0.25, np.float32), "roi": np.full((2, 2), 0.003, np.float32)}
    figure = example_panel(image, found, truth, maps, box, "Mass")
    assert [t.get_text() for t in figure.texts] == [
        "boxes", "Mass: patch branch, peak probability 0.25", "Mass: ROI branch, peak probability 0.003",
    ]  # fmt: skip
    # 480 pixels for 80 is scale 6: 8 x 6 - 0.5 = 47.5, (40 - 8) x 6 = 192; the other class is not outlined
    drawn = [(round(p.get_x(), 3), round(p.get_width(), 3), p.get_linestyle()) for p in figure.axes[1].patches]
    assert drawn == [(59.5, 180.0, "--"), (47.5, 192.0, "-")]
    assert len(example_panel(image, found, truth, {"roi": maps["roi"]}, box, "Mass").axes) == 2
    assert len(example_panel(image, found, [], {}, box, "Mass").axes) == 1
