"""ROI branch: attention against torch's own, where boxes start and may go, priors, what is detached."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from wsrpn_vl.boxes import cxcywh_to_xyxy
from wsrpn_vl.config import RoiConfig
from wsrpn_vl.model.anatomy import REGIONS, location_affinity
from wsrpn_vl.model.gaussian import gaussian_weights, patch_centres
from wsrpn_vl.model.register import boxes_to_image
from wsrpn_vl.model.roi import RoiBranch, initial_boxes, sincos_2d

CLASSES = ("Cardiomegaly", "Pleural Effusion", "Pneumothorax")
PLAIN = {"init": "grid", "centre": "absolute", "register": False, "location_prior": 0.0, "attention_prior": 0.0}
GRID = (3, 4)


def branch(**knobs: Any) -> RoiBranch:
    torch.manual_seed(0)
    small = {"queries": 5, "hidden": 16, "heads": 4}
    return RoiBranch(RoiConfig.model_validate(small | knobs), channels=6, classes=CLASSES).eval()


def patches_of(b: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(b, GRID[0] * GRID[1], 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("heads", [1, 4])
def test_without_priors_it_is_plain_multi_head_cross_attention(heads: int) -> None:
    """Queries against projected patches with position codes as keys, as torch's own two implementations compute it."""
    roi, patches = branch(heads=heads, **PLAIN), patches_of()
    tokens, attention = roi._attend(patches, GRID, torch.rand(2, 5, 4))
    content = roi.norm(roi.project(patches))
    key = content + sincos_2d(GRID, 16, torch.device("cpu"), torch.float32)
    queries = roi.queries.expand(2, -1, -1)

    q, k, v = (f(x).unflatten(-1, (heads, -1)).transpose(1, 2)
               for f, x in ((roi.to_query, queries), (roi.to_key, key), (roi.to_value, content)))  # fmt: skip
    mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    assert torch.allclose(tokens, roi.to_out(mixed) + roi.queries, atol=1e-6)

    oracle = nn.MultiheadAttention(16, heads, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([m.weight for m in (roi.to_query, roi.to_key, roi.to_value)]))
        oracle.in_proj_bias.copy_(torch.cat([m.bias for m in (roi.to_query, roi.to_key, roi.to_value)]))
        oracle.out_proj.load_state_dict(roi.to_out.state_dict())
    out, weights = oracle(queries, key, content)
    assert torch.allclose(tokens, out + roi.queries, atol=1e-6)
    assert torch.allclose(attention, weights, atol=1e-6)


def test_the_attention_prior_multiplies_attention_by_the_soft_box_of_each_start() -> None:
    anchors = torch.rand(2, 5, 4) * 0.5 + 0.25
    free, led = branch(heads=1, attention_prior=0.0), branch(heads=1, attention_prior=1.0)
    _, before = free._attend(patches_of(), GRID, anchors)
    _, after = led._attend(patches_of(), GRID, anchors)
    expected = before * gaussian_weights(anchors, GRID)
    assert torch.allclose(after, expected / expected.sum(-1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("knobs", [{}, PLAIN, {"queries": 12}, {"centre": "absolute"}])
def test_shapes_and_sums(knobs: dict[str, Any]) -> None:
    roi = branch(**knobs)
    k = roi.config.queries
    attention, _, boxes, weights, logits, image_logits = roi(patches_of(), GRID).values()
    assert attention.shape == weights.shape == (2, k, 12)
    assert boxes.shape == (2, k, 4) and logits.shape == (2, k, 3) and image_logits.shape == (2, 3)
    assert torch.allclose(attention.sum(-1), torch.ones(2, k), atol=1e-5)
    assert torch.allclose(weights.sum(-1), torch.ones(2, k), atol=1e-5)
    assert boxes.min() >= 0 and boxes.max() <= 1
    assert (image_logits >= logits.amax(1) - 1e-5).all()


@pytest.mark.parametrize("init", ["anatomy", "grid"])
@pytest.mark.parametrize("k", [1, 4, 10, 23])
def test_starts_are_distinct_and_inside_the_image(init: str, k: int) -> None:
    boxes = initial_boxes(init, k)
    assert boxes.shape == (k, 4)
    corners = cxcywh_to_xyxy(boxes)
    assert corners.min() >= 0 and corners.max() <= 1
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in itertools.combinations(boxes, 2))


def test_starts_are_as_declared() -> None:
    assert initial_boxes("zero", 3).tolist() == [[0.5] * 4] * 3
    assert torch.allclose(initial_boxes("anatomy", 10), torch.tensor(list(REGIONS.values())))
    again = initial_boxes("anatomy", 20)
    assert torch.allclose(again[10:, :2], again[:10, :2]) and torch.allclose(again[10:, 2:], again[:10, 2:] * 0.6)
    grid = initial_boxes("grid", 9)
    assert torch.allclose(grid[:, 0].unflatten(0, (3, 3)), grid[:3, 0].expand(3, 3))
    assert torch.allclose(grid[:3, 0].diff(), grid[:3, 0].diff()[0].expand(2))


@pytest.mark.parametrize("init", ["anatomy", "grid", "zero"])
def test_absolute_boxes_begin_at_their_starts(init: str) -> None:
    roi = branch(**PLAIN | {"init": init})
    boxes = roi(patches_of(), GRID)["roi_boxes"]
    assert torch.allclose(boxes, initial_boxes(init, 5).expand(2, 5, 4), atol=1e-5)


def test_attention_boxes_begin_where_attention_looks() -> None:
    roi = branch(centre="attention")
    attention, _, boxes, *_ = roi(patches_of(), GRID).values()
    assert torch.allclose(boxes[..., :2], attention @ patch_centres(GRID), atol=1e-6)
    assert torch.allclose(boxes[..., 2:], initial_boxes("anatomy", 5)[:, 2:].expand(2, 5, 2), atol=1e-5)


@pytest.mark.parametrize("push", [-50.0, 50.0])
def test_an_offset_is_bounded(push: float) -> None:
    roi = branch(centre="attention", max_offset=0.1)
    with torch.no_grad():
        list(roi.box_head.parameters())[-1].fill_(push)
    attention, _, boxes, *_ = roi(patches_of(), GRID).values()
    moved = boxes[..., :2] - attention @ patch_centres(GRID)
    assert torch.allclose(moved, torch.full_like(moved, math.copysign(0.1, push)), atol=1e-5)


def test_a_registered_image_gets_its_starts_carried_along() -> None:
    roi = branch(**PLAIN | {"register": True})
    frames = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.9, 1.1, 0.04, -0.02]])
    boxes = roi(patches_of(), GRID, frames)["roi_boxes"]
    expected = boxes_to_image(initial_boxes("grid", 5), frames)
    assert torch.allclose(boxes, expected.clamp(0.01, 0.99), atol=1e-5)
    assert torch.allclose(roi(patches_of(), GRID)["roi_boxes"][0], boxes[0], atol=1e-6)


def test_location_prior_adds_the_log_affinity_of_the_start() -> None:
    """Featureless ROIs differ by exactly weight · log affinity, and by nothing without it."""
    blank = torch.zeros(1, 12, 6)
    led = branch(queries=10, location_prior=0.7)(blank, GRID)["roi_logits"][0]
    expected = 0.7 * location_affinity(CLASSES, 10).log()
    assert torch.allclose(led - led[:1], expected - expected[:1], atol=1e-5)
    free = branch(queries=10, location_prior=0.0)(blank, GRID)["roi_logits"][0]
    assert torch.allclose(free, free[:1].expand(10, 3), atol=1e-6)


@pytest.mark.parametrize("prior", [0.0, 0.5, 2.0])
def test_featureless_rois_say_the_class_frequencies(prior: float) -> None:
    roi, frequency = branch(queries=10, location_prior=prior), torch.tensor([0.02, 0.3, 0.7])
    assert torch.allclose(
        roi(torch.zeros(1, 12, 6), GRID)["roi_image_logits"].sigmoid(), torch.full((1, 3), 0.1), atol=1e-5
    )
    roi.set_prior(frequency)
    assert torch.allclose(roi(torch.zeros(1, 12, 6), GRID)["roi_image_logits"].sigmoid()[0], frequency, atol=1e-5)
    roi.set_prior(torch.tensor([0.0, 1.0, 0.5]))  # a class never or always seen still has finite log-odds
    assert torch.allclose(
        roi(torch.zeros(1, 12, 6), GRID)["roi_image_logits"].sigmoid()[0], torch.tensor([0.001, 0.999, 0.5]), atol=1e-5
    )


@pytest.mark.parametrize("detach", [True, False])
def test_detached_features_send_nothing_back(detach: bool) -> None:
    roi, patches = branch(detach_features=detach), patches_of().requires_grad_()
    roi(patches, GRID)["roi_image_logits"].sum().backward()
    assert (patches.grad is None) == detach
    assert roi.classifier.weight.grad is not None


def test_position_codes_tell_patches_apart_at_any_grid() -> None:
    codes = sincos_2d((7, 9), 16, torch.device("cpu"), torch.float32)
    assert codes.shape == (63, 16) and codes.abs().max() <= 1
    distance = torch.cdist(codes, codes) + torch.eye(63) * 9
    assert distance.min() > 0.1
    finer = sincos_2d((21, 27), 16, torch.device("cpu"), torch.float32).reshape(21, 27, 16)
    assert torch.allclose(finer[1::3, 1::3].flatten(0, 1), codes, atol=1e-4)  # the same place has the same code


def test_a_permuted_batch_permutes_the_outputs() -> None:
    roi, patches, order = branch(), patches_of(3), torch.tensor([2, 0, 1])
    frames = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.9, 1.1, 0.04, -0.02], [1.2, 0.8, 0.0, 0.08]])
    for one, other in zip(
        roi(patches, GRID, frames).values(), roi(patches[order], GRID, frames[order]).values(), strict=True
    ):
        assert torch.allclose(one[order], other, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_round_box_centres(dtype: torch.dtype) -> None:
    """A bfloat16 product would place centres on a lattice of 1/256; the mean position is kept in float32."""
    roi = branch(centre="attention")
    with torch.autocast("cpu", dtype=dtype):
        attention, _, boxes, *_ = roi(patches_of(), GRID).values()
    assert torch.allclose(boxes[..., :2], attention @ patch_centres(GRID), atol=1e-6)


def test_anchored_boxes_start_at_their_anchors_and_stay_within_bounds() -> None:
    """centre=anchor: |shift| <= max_offset and |log size ratio| <= max_zoom however far the head goes."""
    roi = branch(centre="anchor", max_offset=0.1, max_zoom=0.5)
    start = roi(patches_of(), GRID)
    assert torch.allclose(start["roi_boxes"], start["roi_anchors"], atol=1e-6)
    with torch.no_grad():
        roi.box_head[-1].bias.fill_(50.0)
    moved = roi(patches_of(), GRID)
    shift = moved["roi_boxes"][..., :2] - moved["roi_anchors"][..., :2]
    assert torch.allclose(shift, torch.full_like(shift, 0.1), atol=1e-5)
    zoom = (moved["roi_boxes"][..., 2:] / moved["roi_anchors"][..., 2:]).log()
    assert torch.allclose(zoom, torch.full_like(zoom, 0.5), atol=1e-5)
