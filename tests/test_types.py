"""Value types: shape checks, no box in anything that trains, Detections as an array of boxes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.types import Batch, Detections, Outputs, Prediction, Sample

CLASSES = ("Edema", "Fracture", "Mass")
BOX = Letterbox(100, 80, 32)


def batch(**changes: Any) -> Batch:
    fields = {
        "image_ids": ("a", "b"),
        "images": torch.rand(2, 1, 32, 32),
        "labels": torch.zeros(2, 3),
        "letterboxes": (BOX, BOX),
        "text_features": torch.rand(2, 5),
        "text_ids": torch.tensor([0, -1]),
    }
    return Batch(**fields | changes)


def detections() -> Detections:
    xyxy = np.array([[0, 0, 1, 1], [1, 1, 2, 2], [2, 2, 3, 3], [3, 3, 4, 4]])
    return Detections(CLASSES, xyxy, np.array([0.2, 0.9, 0.2, 0.5]), np.array([0, 1, 2, 1]))


@pytest.mark.parametrize("kind", [Sample, Batch])
def test_training_values_have_no_place_for_a_box(kind: type) -> None:
    """The letterbox is the geometry of the image, not a finding's box; nothing else may be named so."""
    names = [f.name for f in dataclasses.fields(kind) if "box" in f.name or "xyxy" in f.name]
    assert names in (["letterbox"], ["letterboxes"])


@pytest.mark.parametrize(
    "value", [batch(), detections(), Sample("a", torch.rand(1, 8, 8), torch.zeros(3), BOX), Outputs((1, 1))]
)
def test_values_are_frozen(value: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


def test_a_batch_knows_its_length_and_moves_as_one() -> None:
    moved = batch().to("meta")
    assert len(moved) == 2 and moved.image_ids == ("a", "b") and moved.letterboxes == (BOX, BOX)
    for tensor in (moved.images, moved.labels, moved.text_features, moved.text_ids):
        assert tensor is not None and tensor.device.type == "meta"
    bare = batch(text_features=None, text_ids=None).to("meta")
    assert bare.text_features is None and bare.text_ids is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(3, 1, 32, 32)}, r"Batch.images has shape \(3, 1, 32, 32\), expected \(2, \?, \?, \?\)"),
        ({"images": torch.rand(2, 32, 32)}, r"Batch.images has shape \(2, 32, 32\)"),
        ({"labels": torch.zeros(2)}, r"Batch.labels has shape \(2,\), expected \(2, \?\)"),
        ({"text_features": torch.rand(1, 5)}, r"Batch.text_features has shape \(1, 5\)"),
        ({"text_ids": torch.zeros(2, 1)}, r"Batch.text_ids has shape \(2, 1\), expected \(2\)"),
    ],
)
def test_a_batch_of_another_shape_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch(**change)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("patch_logits", (2, 5, 3)),
        ("roi_boxes", (2, 4, 5)),
        ("roi_attention", (2, 4, 5)),
        ("pooling_weights", (2, 6)),
    ],
)
def test_outputs_that_do_not_fit_the_grid_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"Outputs.{name} has shape"):
        Outputs(grid=(2, 3), **{name: torch.zeros(shape)})


def test_outputs_list_what_is_filled() -> None:
    outputs = Outputs(grid=(2, 3), patch_logits=torch.zeros(1, 6, 3), roi_boxes=torch.zeros(1, 4, 4))
    assert list(outputs.tensors()) == ["patch_logits", "roi_boxes"]
    assert Outputs(grid=(2, 3)).tensors() == {}


def test_detections_take_lists_and_become_arrays_of_fixed_types() -> None:
    one = Detections(CLASSES, [1, 2, 3, 4], [0.5], [2])  # type: ignore[arg-type]
    assert one.xyxy.shape == (1, 4)
    assert (one.xyxy.dtype, one.scores.dtype, one.class_ids.dtype) == (np.float64, np.float64, np.int64)
    assert len(Detections.empty(CLASSES)) == 0 and Detections.empty(CLASSES).xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (([[0, 0, 1, 1]], [0.5, 0.6], [0]), r"Detections.scores has shape \(2,\), expected \(1\)"),
        (([[0, 0, 1, 1]], [0.5], [0, 1]), r"Detections.class_ids has shape \(2,\)"),
        (([[0, 0, 1, 1]], [0.5], [3]), r"Detections.class_ids outside 0..2"),
        (([[0, 0, 1, 1]], [0.5], [-1]), r"Detections.class_ids outside 0..2"),
    ],
)
def test_detections_that_disagree_are_refused(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detections(CLASSES, *fields)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (np.array([True, False, False, True]), [0.2, 0.5]),
        (np.array([3, 1]), [0.5, 0.9]),
        (slice(1, 3), [0.9, 0.2]),
        (1, [0.9]),
        (-1, [0.5]),
        ([], []),
        (np.zeros(4, dtype=bool), []),
    ],
)
def test_indexing_chooses_detections(rows: Any, kept: list[float]) -> None:
    chosen = detections()[rows]
    assert chosen.scores.tolist() == kept
    assert len(chosen.xyxy) == len(chosen.class_ids) == len(kept)
    assert chosen.classes == CLASSES
    for box, class_id, score in zip(chosen.xyxy, chosen.class_ids, chosen.scores, strict=True):
        i = int(box[0])  # the drawn boxes carry their row number
        assert (class_id, score) == (detections().class_ids[i], detections().scores[i])


def test_sorting_puts_the_best_first_and_keeps_ties_in_order() -> None:
    ordered = detections().sorted()
    assert ordered.scores.tolist() == [0.9, 0.5, 0.2, 0.2]
    assert ordered.xyxy[:, 0].tolist() == [1, 3, 0, 2]
    assert detections().scores.tolist() == [0.2, 0.9, 0.2, 0.5]


def test_a_prediction_has_one_probability_per_class() -> None:
    prediction = Prediction(
        "a", 100, 80, CLASSES, np.array([0.1, 0.2, 0.3]), detections(), {"roi": np.zeros((3, 2, 2))}
    )
    assert (prediction.text_id, prediction.embedding) == (None, None)
    light = prediction.without_heatmaps()
    assert light.heatmaps == {} and light.detections is prediction.detections and prediction.heatmaps
    with pytest.raises(ValueError, match=r"Prediction.probs has shape \(2,\), expected \(3\)"):
        Prediction("a", 100, 80, CLASSES, np.array([0.1, 0.2]), detections())
