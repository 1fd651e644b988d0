"""Outputs to boxes in original pixels: scores, merging, letterbox."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.config import DecodeConfig
from wsrpn_vl.model.decode import class_evidence, decode, image_probs, merge_nms, merge_wbf
from wsrpn_vl.types import Outputs

CLASSES = ("Cardiomegaly", "Edema")
PLAIN = DecodeConfig(score="roi", patch_evidence=0, merge="nms", iou=0.5, per_class=10, min_score=0)


def outputs(boxes: list[list[float]], logits: list[list[float]]) -> Outputs:
    """One image, a 2 x 2 grid, uniform pooling weights, patch logits 0."""
    k = len(boxes)
    return Outputs(
        grid=(2, 2),
        patch_logits=torch.zeros(1, 4, 2),
        patch_image_logits=torch.zeros(1, 2),
        roi_boxes=torch.tensor([boxes]),
        pooling_weights=torch.full((1, k, 4), 0.25),
        roi_logits=torch.tensor([logits]),
        roi_image_logits=torch.tensor([[2.0, -2.0]]),
    )


def test_boxes_come_back_in_original_pixels() -> None:
    """A 400 x 200 image in a 100 square: ratio 1/4, 25 px of padding above. Box (.5,.5,.2,.2) of the square is
    (40,40)-(60,60) in the square, so x 160..240 and y (40-25)*4 = 60..140 in the image."""
    found = decode(outputs([[0.5, 0.5, 0.2, 0.2]], [[0.0, 0.0]]), (Letterbox(400, 200, 100),), CLASSES, PLAIN)[0]
    assert found.xyxy == pytest.approx(np.array([[160, 60, 240, 140]] * 2))
    assert found.scores == pytest.approx([0.5, 0.5])


def test_a_box_on_padding_alone_is_no_detection() -> None:
    found = decode(outputs([[0.5, 0.05, 0.2, 0.1]], [[3.0, 3.0]]), (Letterbox(400, 200, 100),), CLASSES, PLAIN)[0]
    assert len(found) == 0


def test_image_probability_is_the_mean_of_the_branches() -> None:
    """Patch sigmoid(0) = 1/2; ROI sigmoid(2) = 0.880797."""
    probs = image_probs(outputs([[0.5] * 4], [[0.0, 0.0]]))
    assert probs[0].tolist() == pytest.approx([(0.5 + 0.880797) / 2, (0.5 + 0.119203) / 2], abs=1e-6)


def test_score_kinds_on_paper() -> None:
    """Two ROIs, logits 0 and ln 3: chances 1/2 and 3/4, shares 1/4 and 3/4, odds 1 and 3; image 0.6."""
    out = outputs([[0.2, 0.5, 0.1, 0.1], [0.8, 0.5, 0.1, 0.1]], [[0.0, 0.0], [float(np.log(3)), 0.0]])
    probs, box = torch.tensor([[0.6, 0.6]]), (Letterbox(100, 100, 100),)

    def scores(kind: str) -> list[float]:
        found = decode(out, box, CLASSES, PLAIN.model_copy(update={"score": kind}), probs)[0]
        return found.scores[found.class_ids == 0].tolist()

    assert scores("roi") == pytest.approx([0.75, 0.5])
    assert scores("roi_x_image") == pytest.approx([(0.75 * 0.6) ** 0.5, (0.5 * 0.6) ** 0.5])
    assert scores("share_x_image") == pytest.approx([0.45, 0.15])
    assert scores("odds_x_image") == pytest.approx([0.6, 0.2])


def test_patch_evidence_is_the_weighted_mean_inside_the_roi() -> None:
    out = outputs([[0.5] * 4], [[1.0, -1.0]])
    patch = torch.tensor([[[4.0, 0.0], [0.0, 0.0], [0.0, 8.0], [0.0, 0.0]]])
    out = Outputs(**{**out.__dict__, "patch_logits": patch})
    assert class_evidence(out, 0.0)[0, 0].tolist() == [1.0, -1.0]
    assert class_evidence(out, 1.0)[0, 0].tolist() == [1.0, 2.0]
    assert class_evidence(out, 0.5)[0, 0].tolist() == [1.0, 0.5]


def test_nms_keeps_the_better_of_two_and_the_distant_one() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], dtype=float)
    kept, scores = merge_nms(boxes, np.array([0.5, 0.9, 0.1]), 0.3)
    assert kept.tolist() == [[1, 1, 11, 11], [50, 50, 60, 60]] and scores.tolist() == [0.9, 0.1]


def test_wbf_on_paper() -> None:
    """IoU of the first two is 80/120; weights 3:1 -> x 2*(1/4) = 0.5; score 1 - 0.4 * 0.8 = 0.68."""
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], dtype=float)
    fused, scores = merge_wbf(boxes, np.array([0.6, 0.2, 0.1]), 0.5)
    assert fused == pytest.approx(np.array([[0.5, 0, 10.5, 10], [50, 50, 60, 60]]))
    assert scores == pytest.approx([0.68, 0.1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_wbf_stays_within_its_members_and_loses_no_evidence(seed: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 80, (8, 2))
    boxes, scores = np.concatenate([low, low + rng.uniform(1, 20, (8, 2))], 1), rng.uniform(0.01, 0.99, 8)
    fused, values = merge_wbf(boxes, scores, iou)
    assert 1 <= len(fused) <= 8
    assert fused[:, :2].min() >= boxes[:, :2].min() - 1e-9 and fused[:, 2:].max() <= boxes[:, 2:].max() + 1e-9
    assert np.prod(1 - values) == pytest.approx(np.prod(1 - scores))


def test_most_boxes_per_class_and_least_score() -> None:
    out = outputs(
        [[x, 0.5, 0.05, 0.05] for x in (0.1, 0.3, 0.5, 0.7)], [[2.0, -9.0], [1.0, -9.0], [0.0, -9.0], [-1.0, -9.0]]
    )
    config = PLAIN.model_copy(update={"per_class": 3, "min_score": 0.4})
    found = decode(out, (Letterbox(10, 10, 10),), CLASSES, config)[0]
    assert found.class_ids.tolist() == [0, 0, 0] and (np.diff(found.scores) < 0).all()


def test_without_roi_branch_there_are_no_boxes() -> None:
    out = Outputs(grid=(2, 2), patch_logits=torch.zeros(1, 4, 2), patch_image_logits=torch.zeros(1, 2))
    assert len(decode(out, (Letterbox(9, 9, 9),), CLASSES, PLAIN)[0]) == 0
