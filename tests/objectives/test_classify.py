"""Detection loss: masked BCE, box overflow, the mean of both branches."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from wsrpn_vl.objectives.classify import anchor_divergence, box_overflow, detection_loss, masked_bce

NAN = float("nan")
quick = settings(deadline=None, max_examples=60)


def double(rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_golden_masked_bce_is_the_mean_over_known_pairs() -> None:
    """Logits log(3), -log(3), 0 with labels 1, 1, 0 known: -log(.75) - log(.25) - log(.5) over 3 pairs.

    0.287682 + 1.386294 + 0.693147 = 2.367124; / 3 = 0.789041. The blank pair counts neither above nor below.
    """
    loss = masked_bce(double([[math.log(3), -math.log(3)], [0.0, 7.0]]), double([[1.0, 1.0], [0.0, NAN]]))
    assert loss.item() == pytest.approx(0.789041, abs=5e-7)
    exact = (-mpmath.log(0.75) - mpmath.log(0.25) - mpmath.log(0.5)) / 3
    assert loss.item() == pytest.approx(float(exact), abs=1e-14)


def test_golden_box_overflow() -> None:
    """Box (.9, .5, .4, .4) spans x .7 to 1.1, .1 too far right: 0.01 over 2 boxes x 4 edges = 0.00125."""
    inside, outside = [0.5, 0.5, 1.0, 1.0], [0.9, 0.5, 0.4, 0.4]
    assert box_overflow(double([[inside, outside]])).item() == pytest.approx(0.00125, abs=1e-15)
    assert box_overflow(double([[inside, inside]])).item() == 0.0


def test_golden_detection_is_the_mean_of_both_branches() -> None:
    """(0.4 + 0.2) / 2 = 0.3; with the patch branch alone, 0.4."""
    patch, roi = double(0.4), double(0.2)
    assert detection_loss(patch, roi).item() == pytest.approx(0.3, abs=1e-15)
    assert detection_loss(patch, None).item() == 0.4


@quick
@given(st.lists(st.tuples(st.floats(-30, 30), st.sampled_from([0.0, 1.0, 0.6, NAN])), min_size=1, max_size=12))
def test_unknown_labels_leave_no_trace(pairs: list[tuple[float, float]]) -> None:
    """Loss and gradient equal those of the known pairs alone; unknown logits get a gradient of exactly zero."""
    logits = double([[z for z, _ in pairs]]).requires_grad_()
    labels = double([[y for _, y in pairs]])
    loss = masked_bce(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    known = ~labels.isnan()
    assert gradient[~known].eq(0).all()
    if known.any():
        plain = binary_cross_entropy_with_logits(logits.detach()[known], labels[known])
        assert loss.item() == pytest.approx(plain.item(), rel=1e-12)
        assert torch.allclose(gradient[known], (logits.detach().sigmoid() - labels)[known] / known.sum(), atol=1e-12)
    else:
        assert loss.item() == 0.0


def test_a_positive_weight_scales_the_positive_part_of_its_class() -> None:
    logits, labels = double([[0.3, -1.0], [2.0, 0.5]]), double([[1.0, 0.0], [0.0, 1.0]])
    weight = double([3.0, 5.0])
    expected = torch.stack(
        [
            3 * -logits[0, 0].sigmoid().log(),
            -(-logits[0, 1]).sigmoid().log(),
            -(-logits[1, 0]).sigmoid().log(),
            5 * -logits[1, 1].sigmoid().log(),
        ]
    ).mean()
    assert masked_bce(logits, labels, weight).item() == pytest.approx(expected.item(), abs=1e-12)
    assert masked_bce(logits, labels, torch.ones(2)).item() == pytest.approx(
        masked_bce(logits, labels).item(), abs=1e-12
    )


def test_a_soft_target_is_met_at_its_own_log_odds() -> None:
    logits = torch.logit(double([[0.6]])).requires_grad_()
    (gradient,) = torch.autograd.grad(masked_bce(logits, double([[0.6]])), logits)
    assert gradient.abs().item() < 1e-12


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_extreme_logits_keep_a_finite_loss_and_its_sign(size: float, dtype: torch.dtype, weighted: bool) -> None:
    logits = (torch.tensor([[1.0, -1.0, 1.0, -1.0]]) * size).to(dtype).requires_grad_()
    labels = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    weight = torch.tensor([2.0, 3.0, 2.0, 3.0]) if weighted else None
    loss = masked_bce(logits, labels, weight)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(size * (4 if weighted else 2) / 4, rel=2e-2)
    assert gradient.isfinite().all() and gradient[0, 0] > 0 and gradient[0, 1] < 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_scored_in_float32(dtype: torch.dtype) -> None:
    logits, labels = torch.randn(16, 13).to(dtype), torch.randint(0, 2, (16, 13)).float()
    loss = masked_bce(logits, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(masked_bce(logits.double(), labels).item(), rel=1e-6)


@quick
@given(st.tuples(*[st.floats(0.1, 0.9)] * 2), st.tuples(*[st.floats(0.01, 0.9)] * 2))
def test_overflow_is_zero_exactly_when_the_box_lies_inside(
    centre: tuple[float, float], size: tuple[float, float]
) -> None:
    box = double([[[*centre, *size]]])
    inside = all(c - s / 2 >= 0 and c + s / 2 <= 1 for c, s in zip(centre, size, strict=True))
    assert (box_overflow(box).item() == 0) == inside or box_overflow(box).item() < 1e-30


def test_overflow_pushes_the_box_back() -> None:
    box = double([[[0.95, 0.5, 0.3, 0.3]]]).requires_grad_()
    (gradient,) = torch.autograd.grad(box_overflow(box), box)
    assert gradient[0, 0, 0] > 0 and gradient[0, 0, 2] > 0  # descent moves it left and narrows it
    assert gradient[0, 0, 1] == 0 and gradient[0, 0, 3] == 0


def test_gradcheck_masked_bce_with_nan() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = double([[1, 0, NAN, 0.6], [NAN, NAN, NAN, NAN], [0, 1, 1, NAN]])
    weight = double([1.0, 2.0, 3.0, 4.0])
    assert torch.autograd.gradcheck(lambda z: masked_bce(z, labels), (logits,))
    assert torch.autograd.gradcheck(lambda z: masked_bce(z, labels, weight), (logits,))


def test_gradcheck_box_overflow() -> None:
    boxes = double([[[0.95, 0.5, 0.3, 0.3], [0.05, 0.97, 0.4, 0.2], [0.5, 0.5, 0.2, 1.4]]]).requires_grad_()
    assert torch.autograd.gradcheck(box_overflow, (boxes,))


def test_golden_anchor_divergence() -> None:
    """σ twice the anchor's in x, centre one anchor-σ off in y, else equal:
    x: -ln 2 + 4/2 - 1/2 = 0.806853; y: 1/2. Sum 1.306853."""
    anchors = torch.tensor([[[0.5, 0.5, 0.2, 0.2]]], dtype=torch.float64)
    boxes = torch.tensor([[[0.5, 0.6, 0.4, 0.2]]], dtype=torch.float64)
    assert anchor_divergence(boxes, anchors).item() == pytest.approx(1.306853, abs=1e-6)
    assert anchor_divergence(anchors, anchors).item() == pytest.approx(0.0, abs=1e-12)


def test_anchor_divergence_is_that_of_the_gaussians() -> None:
    from torch.distributions import Independent, Normal, kl_divergence

    generator = torch.Generator().manual_seed(0)
    boxes, anchors = (torch.rand(3, 5, 4, generator=generator, dtype=torch.float64) * 0.5 + 0.1 for _ in range(2))
    p, q = (Independent(Normal(b[..., :2], b[..., 2:] / 2), 1) for b in (boxes, anchors))
    assert anchor_divergence(boxes, anchors).item() == pytest.approx(kl_divergence(p, q).mean().item(), rel=1e-9)


def test_gradcheck_anchor_divergence() -> None:
    generator = torch.Generator().manual_seed(1)
    boxes, anchors = (torch.rand(2, 3, 4, generator=generator, dtype=torch.float64) * 0.5 + 0.1 for _ in range(2))
    assert torch.autograd.gradcheck(lambda b: anchor_divergence(b, anchors), boxes.requires_grad_())
