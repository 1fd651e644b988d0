"""The predictor: order, batching, ids, heatmaps, inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.small import SMALL
from wsrpn_vl.checkpoint import save_checkpoint
from wsrpn_vl.config import load_config
from wsrpn_vl.errors import CheckpointError, ConfigError, DataError
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.serve.batch import _image_ids
from wsrpn_vl.serve.predictor import Predictor, find_images


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_config("", list(SMALL))
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("predictor") / "checkpoint"
    return save_checkpoint(folder, build_detector(config, 384).state_dict(), config, {"text_dim": 384})


def squares(n: int) -> list[tuple[str, np.ndarray, tuple[int, int]]]:
    rng = np.random.default_rng(0)
    return [(f"i{i}", rng.integers(0, 255, (64, 64), dtype=np.uint8), (100 + i, 80)) for i in range(n)]


def test_order_and_values_do_not_depend_on_the_batch(checkpoint: Path) -> None:
    predictor = Predictor.load(checkpoint)
    one = list(predictor.predict_squares(squares(5), batch_size=1))
    many = list(predictor.predict_squares(squares(5), batch_size=3))
    assert [p.image_id for p in many] == [f"i{i}" for i in range(5)]
    for a, b in zip(one, many, strict=True):
        assert a.probs == pytest.approx(b.probs, abs=1e-5)
        assert a.width == b.width and a.height == 80
        assert a.detections.xyxy[:, 2].max() <= a.width


def test_heatmaps_are_probabilities_on_the_grid(checkpoint: Path) -> None:
    prediction = next(iter(Predictor.load(checkpoint).predict_squares(squares(1), heatmaps=True)))
    assert set(prediction.heatmaps) == {"patch", "roi"}
    for value in prediction.heatmaps.values():
        assert value.shape == (13, 2, 2) and value.min() >= 0 and value.max() <= 1


def test_words_are_embedded_beside_their_image(checkpoint: Path) -> None:
    texts = {"i1": ("7", torch.randn(384))}
    first, second = Predictor.load(checkpoint).predict_squares(squares(2), texts)
    assert first.text_embedding is None and second.text_id == "7"
    assert second.text_embedding is not None and np.linalg.norm(second.text_embedding) == pytest.approx(1, abs=1e-5)


def test_checkpoint_round_trip_and_damage(checkpoint: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(checkpoint)
    again = save_checkpoint(tmp_path / "c", predictor.model.state_dict(), predictor.config, predictor.meta)
    assert sorted(p.name for p in again.iterdir()) == ["config.json", "meta.json", "model.safetensors"]
    a, b = (next(iter(Predictor.load(c).predict_squares(squares(1)))) for c in (checkpoint, again))
    assert np.array_equal(a.probs, b.probs)
    (again / "model.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        Predictor.load(again)
    with pytest.raises(CheckpointError, match="no checkpoint there"):
        Predictor.load(tmp_path / "nothing")


def test_find_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "sub/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name, format="PNG")
    names = [p.name for p in find_images([str(tmp_path)])]
    assert names == ["a.jpg", "b.png", "c.png"]
    assert [p.name for p in find_images([str(tmp_path / "*.png"), str(tmp_path / "b.png")])] == ["b.png"]
    with pytest.raises(DataError, match="no image there"):
        find_images([str(tmp_path / "*.dcm")])


def test_two_files_of_one_name_keep_their_folders() -> None:
    assert _image_ids([Path("x/a.png"), Path("y/a.png"), Path("b.png")]) == ["x_a", "y_a", "b"]
    with pytest.raises(DataError, match=r"x/a\.png and x/a\.dcm would share"):
        _image_ids([Path("x/a.png"), Path("x/a.dcm")])
    with pytest.raises(DataError, match="x_a"):
        _image_ids([Path("p/x/a.png"), Path("q/x/a.png")])


def test_decoding_can_be_changed_without_training_again(checkpoint: Path) -> None:
    """One box a class at most; probabilities, which do not depend on decoding, stay."""
    plain, one = Predictor.load(checkpoint), Predictor.load(checkpoint, decode=["per_class=1", "merge=wbf"])
    a, b = (next(iter(p.predict_squares(squares(1)))) for p in (plain, one))
    assert np.array_equal(a.probs, b.probs)
    assert len(set(b.detections.class_ids.tolist())) == len(b.detections) <= len(a.detections)
    with pytest.raises(ConfigError, match=r"decode\.per_class"):
        Predictor.load(checkpoint, decode=["per_clas=1"])
