"""Consistency: printed values, KL's properties, the detached teacher, unknown labels, extremes, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsrpn_vl.objectives.agree import CONSISTENCY, bernoulli_kl, per_patch_kl, roi_class_maps, softmax_kl

quick = settings(deadline=None, max_examples=60)
row = st.lists(st.floats(-30, 30), min_size=3, max_size=3)
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def double(rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def exact_softmax_kl(roi: list[float], patch: list[float]) -> float:
    with mpmath.workdps(60):
        p, q = ([mpmath.exp(x) / mpmath.fsum(mpmath.exp(y) for y in z) for x in z] for z in (roi, patch))
        return float(mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True)))


def exact_bernoulli_kl(roi: float, patch: float) -> float:
    with mpmath.workdps(60):
        p, q = (1 / (1 + mpmath.exp(-mpmath.mpf(x))) for x in (roi, patch))
        return float(p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q)))


def test_golden_softmax_kl() -> None:
    """z_patch = (2, 0, -1): softmax (.843795, .114195, .042010); z_roi = (.5, .5, 0): (.383652, .383652, .232697).

    .383652·log(.454674) + .383652·log(3.359625) + .232697·log(5.539074) = -.302389 + .464911 + .398340 = 0.560871.
    """
    roi, patch = [0.5, 0.5, 0.0], [2.0, 0.0, -1.0]
    loss = softmax_kl(double([roi]), double([patch])).item()
    assert loss == pytest.approx(0.560871, abs=1e-6)
    assert loss == pytest.approx(exact_softmax_kl(roi, patch), abs=1e-14)


def test_golden_softmax_kl_is_not_symmetric() -> None:
    """§4.3: patch (.9, .1), ROI (.5, .5).

    KL(roi‖patch) = .5·log(.5/.9) + .5·log(.5/.1) = 0.510826; the reverse .9·log(.9/.5) + .1·log(.1/.5) = 0.368064.
    """
    patch, roi = double([[math.log(0.9), math.log(0.1)]]), double([[0.0, 0.0]])
    assert softmax_kl(roi, patch).item() == pytest.approx(0.511, abs=5e-4)
    assert softmax_kl(patch, roi).item() == pytest.approx(0.368, abs=5e-4)
    exact = (mpmath.log(mpmath.mpf(5) / 9) + mpmath.log(5)) / 2
    assert softmax_kl(roi, patch).item() == pytest.approx(float(exact), abs=1e-14)
    exact = mpmath.mpf("0.9") * mpmath.log(mpmath.mpf("1.8")) + mpmath.mpf("0.1") * mpmath.log(mpmath.mpf("0.2"))
    assert softmax_kl(patch, roi).item() == pytest.approx(float(exact), abs=1e-14)


def test_golden_bernoulli_kl() -> None:
    """p = .5 against q = .9: .5·log(.5/.9) + .5·log(.5/.1) = 0.510826 (the two-class case of §4.3)."""
    loss = bernoulli_kl(double([[0.0]]), double([[math.log(9)]])).item()
    assert loss == pytest.approx(0.510826, abs=5e-7)
    assert loss == pytest.approx(exact_bernoulli_kl(0.0, math.log(9)), abs=1e-14)


@quick
@given(row, row)
def test_both_forms_agree_with_many_digits(roi: list[float], patch: list[float]) -> None:
    exact = exact_softmax_kl(roi, patch)
    assert softmax_kl(double([roi]), double([patch])).item() == pytest.approx(exact, rel=1e-9, abs=1e-12)
    exact = sum(exact_bernoulli_kl(a, b) for a, b in zip(roi, patch, strict=True)) / 3
    assert bernoulli_kl(double([roi]), double([patch])).item() == pytest.approx(exact, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", [softmax_kl, bernoulli_kl])
@quick
@given(roi=row, patch=row)
def test_kl_is_never_negative_and_zero_at_equality(loss: Loss, roi: list[float], patch: list[float]) -> None:
    assert loss(double([roi]), double([patch]), None).item() >= -1e-14
    assert loss(double([roi]), double([roi]), None).item() == 0.0


def test_kl_of_confident_float32_branches_is_not_negative() -> None:
    """σ(12) and σ(12.1) differ by less than float32 resolves near 1; the KL must come from their complements."""
    for z in torch.linspace(-40, 40, 161):
        for step in (0.01, 0.1, 1.0):
            value = bernoulli_kl(z.reshape(1, 1), z.reshape(1, 1) + step).item()
            exact = exact_bernoulli_kl(float(z), float(z + step))
            assert value == pytest.approx(exact, rel=1e-2, abs=2e-8)
            assert value >= -2e-9


def test_softmax_kl_ignores_a_common_shift_of_logits() -> None:
    roi, patch = torch.randn(2, 4, 5, dtype=torch.float64)
    assert softmax_kl(roi + 3, patch - 7).item() == pytest.approx(softmax_kl(roi, patch).item(), abs=1e-12)


@pytest.mark.parametrize("loss", [softmax_kl, bernoulli_kl])
def test_an_unknown_class_leaves_both_distributions(loss: Loss) -> None:
    roi, patch = torch.randn(2, 3, 4, dtype=torch.float64)
    known = torch.tensor([True, True, False, True]).expand(3, 4)
    rest = loss(roi[:, [0, 1, 3]], patch[:, [0, 1, 3]], None)
    assert loss(roi, patch, known).item() == pytest.approx(rest.item(), abs=1e-12)
    assert loss(roi, patch, torch.ones(3, 4, dtype=torch.bool)).item() == pytest.approx(loss(roi, patch, None).item())


@pytest.mark.parametrize("loss", [softmax_kl, bernoulli_kl])
def test_unknown_classes_and_the_teacher_get_no_gradient(loss: Loss) -> None:
    roi = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    patch = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    known = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    gradients = torch.autograd.grad(loss(roi, patch, known), (roi, patch), allow_unused=True)
    assert gradients[1] is None
    assert gradients[0][~known].eq(0).all()
    assert gradients[0][0, known[0]].ne(0).all()


def test_a_softmax_over_fewer_than_two_known_classes_says_nothing() -> None:
    """Of three images only the first has two or more known classes: the mean is a third of its KL."""
    roi, patch = torch.randn(2, 3, 3, dtype=torch.float64)
    known = torch.tensor([[1, 1, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    assert softmax_kl(roi, patch, known).item() == pytest.approx(softmax_kl(roi[:1], patch[:1]).item() / 3, abs=1e-12)


def test_per_patch_is_the_two_point_kl_of_every_patch() -> None:
    maps, patch = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    known = torch.tensor([[True, False, True], [True, True, True]])
    total = sum(
        exact_bernoulli_kl(maps[b, n, c].item(), patch[b, n, c].item())
        for b in range(2)
        for n in range(5)
        for c in range(3)
        if known[b, c]
    )
    assert per_patch_kl(maps, patch, known).item() == pytest.approx(total / 25, abs=1e-12)
    assert per_patch_kl(maps, patch).item() == pytest.approx(bernoulli_kl(maps, patch).item())


def test_class_maps_are_the_noisy_or_of_rois_seen_through_their_weights() -> None:
    """Weight w with peak 1 and P = σ(z): P(patch) = 1 - Π_j (1 - w_j P_j), by hand for two ROIs and three patches."""
    z = double([[[0.5], [-1.0]]])
    weights = double([[[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]])
    p, q = torch.sigmoid(double([0.5, -1.0])).tolist()
    by_hand = [1 - (1 - a / 0.5 * p) * (1 - b / 0.6 * q) for a, b in zip((0.2, 0.5, 0.3), (0.6, 0.3, 0.1), strict=True)]
    assert roi_class_maps(z, weights).sigmoid().flatten().tolist() == pytest.approx(by_hand, abs=1e-9)


def test_a_class_map_rises_with_its_roi_where_the_roi_looks() -> None:
    z = double([[[0.0, 0.0]]]).requires_grad_()
    weights = double([[[0.05, 0.9, 0.05]]])
    (gradient,) = torch.autograd.grad(roi_class_maps(z, weights)[0, 1, 0], z)
    assert gradient[0, 0, 0] > 0 and gradient[0, 0, 1] == 0
    maps = roi_class_maps(z.detach(), weights)
    assert maps[0].argmax(0).tolist() == [1, 1]


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", sorted(CONSISTENCY))
def test_extreme_logits_stay_finite(kind: str, dtype: torch.dtype, size: float) -> None:
    roi = (torch.tensor([[[1.0, -1.0, 0.0], [-1.0, -1.0, 1.0]]]) * size).to(dtype).requires_grad_()
    patch = (torch.tensor([[[-1.0, 1.0, 1.0], [1.0, -1.0, 0.0]]]) * size).to(dtype)
    known = torch.tensor([[True, True, False]])
    if kind == "per_patch":
        maps = roi_class_maps(roi, torch.tensor([[[0.9, 0.1], [0.0, 1.0]]]).to(dtype))
        loss = CONSISTENCY[kind](maps, patch, known)
    else:
        loss = CONSISTENCY[kind](roi[:, 0], patch[:, 0], known)
    (gradient,) = torch.autograd.grad(loss, roi)
    assert loss.isfinite() and loss > 0.1 * size and gradient.isfinite().all()


@pytest.mark.parametrize("kind", ["softmax", "bernoulli"])
def test_the_gradient_moves_the_roi_branch_towards_the_teacher(kind: str) -> None:
    roi = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    patch = torch.randn(4, 5, dtype=torch.float64)
    before = CONSISTENCY[kind](roi, patch, None)
    (gradient,) = torch.autograd.grad(before, roi)
    assert CONSISTENCY[kind](roi.detach() - 0.1 * gradient, patch, None) < before


@pytest.mark.parametrize("kind", ["softmax", "bernoulli"])
def test_gradcheck_consistency(kind: str) -> None:
    roi = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    patch = torch.randn(3, 4, dtype=torch.float64)
    known = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda z: CONSISTENCY[kind](z, patch, known), (roi,))
    assert torch.autograd.gradcheck(lambda z: CONSISTENCY[kind](z, patch, None), (roi,))


def test_gradcheck_per_patch_consistency() -> None:
    roi = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 3, 4, dtype=torch.float64).softmax(-1).requires_grad_()
    patch = torch.randn(2, 4, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z, w: per_patch_kl(roi_class_maps(z, w), patch), (roi, weights))
