"""Two prediction sets on the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.scored import make_index, prediction
from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.compare import compare_predictions
from wsrpn_vl.evaluate.predictions import write_predictions

BOX, FAR = (10.0, 10.0, 30.0, 30.0), (60.0, 60.0, 80.0, 80.0)


def setting(tmp_path: Path) -> tuple[Path, Path, Path]:
    """40 images, half with a mass; ``a`` finds nearly all, ``b`` half of them."""
    rng = np.random.default_rng(0)
    rows = [{"image_id": f"t{i}", "split": "test", "labels": {"Mass": i % 2}} for i in range(40)]
    boxes = [(f"t{i}", "Mass", *BOX) for i in range(1, 40, 2)]
    index = make_index(tmp_path / "index.parquet", rows, boxes, ("Mass",), complete=("Mass",))
    sets = {}
    for name, every in (("a", 10), ("b", 2)):
        found = [BOX if i % 2 and (i // 2) % every else FAR for i in range(40)]
        made = [prediction(f"t{i}", [(0, box, rng.uniform())], [rng.uniform()]) for i, box in enumerate(found)]
        sets[name] = write_predictions(tmp_path / name, made, ("Mass",), {})
    return index, sets["a"], sets["b"]


def test_the_better_set_is_told(tmp_path: Path) -> None:
    """``a`` has its box right in 18 of 20 images, ``b`` in 10: the difference of localisation accuracy is 0.4."""
    index, a, b = setting(tmp_path)
    got = compare_predictions(a, b, index, "test", resamples=400)
    entry = got["loc_acc"]["0.5"]
    assert (entry["a"], entry["b"]) == (0.9, 0.5) and entry["difference"] == pytest.approx(0.4)
    assert entry["ci"][0] > 0.1 and entry["p"] < 0.05
    turned = compare_predictions(b, a, index, "test", resamples=400)
    for name in ("map", "loc_acc"):
        for iou in ("0.1", "0.7"):
            assert turned[name][iou]["difference"] == pytest.approx(-got[name][iou]["difference"])
    assert got["mean_auroc"]["difference"] == pytest.approx(-turned["mean_auroc"]["difference"])


def test_a_set_does_not_differ_from_itself(tmp_path: Path) -> None:
    index, a, _ = setting(tmp_path)
    entry = compare_predictions(a, a, index, "test", resamples=50)["map"]["0.3"]
    assert entry["difference"] == 0 and entry["ci"] == [0, 0] and entry["p"] == 1


def test_boxes_are_needed(tmp_path: Path) -> None:
    index = make_index(tmp_path / "i.parquet", [{"image_id": "t0", "split": "test"}], None, ("Mass",))
    path = write_predictions(tmp_path, [prediction("t0")], ("Mass",), {})
    with pytest.raises(PredictionsError, match="no reference boxes"):
        compare_predictions(path, path, index, "test")
