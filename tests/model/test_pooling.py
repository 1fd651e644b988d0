"""LSE pooling and noisy-OR: printed values, high-precision recomputation, limits, gradients, extremes."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from wsrpn_vl.model.pooling import log_expm1_of_exp, lse_pool, max_pool, mean_pool, noisy_or_logits

DIGITS = 120  # 1 - Π(1 - σ(-100)) needs 44 to begin with
Z = (-2.0, 0.0, 1.0, 3.0)
ROIS = (-3.0, -1.0, 0.5)
quick = settings(deadline=None, max_examples=60)
values = st.lists(st.floats(-50, 50), min_size=1, max_size=8)


def double(*x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def exact_lse(z: tuple[float, ...] | list[float], r: float) -> float:
    with mpmath.workdps(DIGITS):
        r_, terms = mpmath.mpf(r), [mpmath.mpf(x) for x in z]
        return float(mpmath.log(sum(mpmath.exp(r_ * x) for x in terms) / len(terms)) / r_)


def exact_noisy_or(z: tuple[float, ...] | list[float]) -> tuple[Any, Any]:
    """(log-odds, log(1 - ŷ)) from the product of 1 - σ(z_j)."""
    with mpmath.workdps(DIGITS):
        none = mpmath.fprod(1 / (1 + mpmath.exp(mpmath.mpf(x))) for x in z)
        return mpmath.log((1 - none) / none), mpmath.log(none)


@pytest.mark.parametrize(
    ("r", "printed"), [(1e-4, 0.500162), (0.5, 1.256761), (1.0, 1.789221), (5.0, 2.722750), (100.0, 2.986137)]
)
def test_golden_lse(r: float, printed: float) -> None:
    """LSE_r(z) = (1/r) log((1/m) Σ exp(r z_i)), z = (-2, 0, 1, 3).

    r = 1: (e^-2 + 1 + e + e^3) / 4 = (0.135335 + 1 + 2.718282 + 20.085537) / 4 = 5.984789; log = 1.789221.
    """
    pooled = lse_pool(double(*Z), r).item()
    assert pooled == pytest.approx(printed, abs=5e-7)
    assert pooled == pytest.approx(exact_lse(Z, r), abs=1e-12)


def test_golden_lse_gradient() -> None:
    """At r = 1 the gradient is softmax(z): e^z / 23.939154 = (0.005653, 0.041773, 0.113550, 0.839025)."""
    z = double(*Z).requires_grad_()
    (gradient,) = torch.autograd.grad(lse_pool(z, 1.0), z)
    assert gradient.tolist() == pytest.approx([0.005653, 0.041773, 0.113550, 0.839025], abs=1e-6)
    total = sum(mpmath.exp(x) for x in Z)
    assert gradient.tolist() == pytest.approx([float(mpmath.exp(x) / total) for x in Z], abs=1e-14)


def test_golden_lse_of_equal_logits_is_that_logit() -> None:
    """49 zero logits pool to 0, a probability of 0.5; without the 1/m it would be sigmoid(log 49) = 0.98."""
    assert lse_pool(torch.zeros(49, dtype=torch.float64), 1.0).sigmoid().item() == 0.5
    assert torch.sigmoid(torch.logsumexp(torch.zeros(49, dtype=torch.float64), 0)).item() == pytest.approx(
        0.98, abs=1e-9
    )


def test_golden_noisy_or() -> None:
    """z = (-3, -1, 0.5): Π(1 - σ) = 0.952574 * 0.731059 * 0.377541 = 0.262915, so ŷ = 0.737085.

    log-odds 1.030875; BCE(y=1) = -log 0.737085 = 0.305052; BCE(y=0) = -log 0.262915 = 1.335926.
    """
    logit = noisy_or_logits(double(*ROIS))
    target = double(1.0)[0]
    positive = binary_cross_entropy_with_logits(logit, target).item()
    negative = binary_cross_entropy_with_logits(logit, target * 0).item()
    assert logit.sigmoid().item() == pytest.approx(0.737085, abs=5e-7)
    assert logit.item() == pytest.approx(1.030875, abs=5e-7)
    assert positive == pytest.approx(0.305052, abs=5e-7)
    assert negative == pytest.approx(1.335926, abs=5e-7)
    odds, log_none = exact_noisy_or(ROIS)
    assert logit.item() == pytest.approx(float(odds), abs=1e-12)
    assert positive == pytest.approx(float(-mpmath.log(1 - mpmath.exp(log_none))), abs=1e-12)
    assert negative == pytest.approx(float(-log_none), abs=1e-12)


@quick
@given(values, st.floats(1e-4, 200))
def test_lse_lies_between_mean_and_maximum(z: list[float], r: float) -> None:
    x = double(*z)
    pooled, slack = lse_pool(x, r).item(), 1e-12 * (1 + max(map(abs, z)))
    assert x.mean().item() - slack <= pooled <= x.max().item() + slack


@quick
@given(values, st.floats(1e-3, 50), st.floats(1.01, 4))
def test_lse_rises_with_r(z: list[float], r: float, factor: float) -> None:
    x = double(*z)
    assert lse_pool(x, r * factor).item() >= lse_pool(x, r).item() - 1e-11


@quick
@given(values, st.floats(1e-3, 100), st.floats(-1000, 1000))
def test_lse_moves_with_a_common_shift(z: list[float], r: float, shift: float) -> None:
    assert lse_pool(double(*z) + shift, r).item() == pytest.approx(lse_pool(double(*z), r).item() + shift, abs=1e-9)


@pytest.mark.parametrize("r", [1e-6, 1e-4, 1e-2, 1.0, 5.0, 100.0])
def test_lse_keeps_its_digits_in_float32(r: float) -> None:
    """For small r, log Σ exp(r z) and log m agree in most digits; their difference over r must not be noise."""
    z = torch.linspace(-4, 6, 49)
    assert lse_pool(z, r).item() == pytest.approx(exact_lse(z.tolist(), r), rel=2e-6, abs=2e-6)


def test_lse_limits_are_mean_and_maximum() -> None:
    x = double(*Z)
    assert lse_pool(x, 1e-9).item() == pytest.approx(mean_pool(x).item(), abs=1e-8)
    assert lse_pool(x, 1e6).item() == pytest.approx(max_pool(x).item(), abs=1e-5)


def test_lse_over_a_middle_dimension_pools_each_class_alone() -> None:
    z = torch.randn(2, 5, 3, dtype=torch.float64)
    pooled = lse_pool(z, 2.0, dim=1)
    assert pooled.shape == (2, 3)
    for b in range(2):
        for c in range(3):
            assert pooled[b, c].item() == pytest.approx(exact_lse(z[b, :, c].tolist(), 2.0), abs=1e-12)


def test_masked_lse_is_the_lse_of_what_is_kept() -> None:
    z = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=torch.bool)[..., None]
    pooled = lse_pool(z, 5.0, dim=1, mask=mask)
    assert torch.allclose(pooled[0], lse_pool(z[0, [0, 2, 3]], 5.0, dim=0), atol=1e-14)
    assert torch.allclose(pooled[1], lse_pool(z[1], 5.0, dim=0), atol=1e-14)
    (gradient,) = torch.autograd.grad(pooled.sum(), z)
    assert gradient[0, [1, 4, 5]].eq(0).all() and gradient.sum().item() == pytest.approx(6.0)


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("r", [1e-4, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lse_of_extreme_logits_is_finite_with_its_gradient(size: float, r: float, dtype: torch.dtype) -> None:
    z = torch.tensor([-size, 0.0, size, size], dtype=dtype, requires_grad=True)
    pooled = lse_pool(z, r)
    (gradient,) = torch.autograd.grad(pooled, z)
    assert pooled.item() == pytest.approx(exact_lse(z.tolist(), r), rel=1e-5)
    assert gradient.isfinite().all() and gradient.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pools_in_float32_and_keeps_its_type(dtype: torch.dtype) -> None:
    z = torch.randn(49, 4).to(dtype)
    for pooled, wide in (
        (lse_pool(z, 5.0, dim=0), lse_pool(z.float(), 5.0, dim=0)),
        (noisy_or_logits(z, dim=0), noisy_or_logits(z.float(), dim=0)),
    ):
        assert pooled.dtype == dtype
        assert torch.equal(pooled, wide.to(dtype))


@quick
@given(values)
def test_noisy_or_is_at_least_its_best_roi(z: list[float]) -> None:
    assert noisy_or_logits(double(*z)).item() >= max(z) - 1e-8


@quick
@given(values, st.integers(0, 7), st.floats(0, 20))
def test_noisy_or_rises_with_each_roi(z: list[float], i: int, step: float) -> None:
    raised = [x + step * (j == i % len(z)) for j, x in enumerate(z)]
    assert noisy_or_logits(double(*raised)).item() >= noisy_or_logits(double(*z)).item() - 1e-8


@quick
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6))
def test_noisy_or_agrees_with_many_digits(z: list[float]) -> None:
    exact = float(exact_noisy_or(z)[0])
    assert noisy_or_logits(double(*z)).item() == pytest.approx(exact, rel=1e-8, abs=2e-8)
    assert noisy_or_logits(double(*z).float()).item() == pytest.approx(exact, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("z", [-1e4, -100.0, -30.0, -5.0, 0.0, 5.0, 19.0, 25.0, 100.0, 1e4])
def test_noisy_or_of_one_roi_is_that_roi(z: float) -> None:
    assert noisy_or_logits(double(z)).item() == pytest.approx(z, rel=1e-9, abs=1e-8)
    assert noisy_or_logits(double(z).float()).item() == pytest.approx(z, rel=1e-6, abs=1e-6)


def test_noisy_or_ignores_order_and_hopeless_rois() -> None:
    z = double(*ROIS)
    assert noisy_or_logits(z.flip(0)).item() == pytest.approx(noisy_or_logits(z).item(), abs=1e-15)
    assert noisy_or_logits(torch.cat([z, double(-1e4)])).item() == pytest.approx(noisy_or_logits(z).item(), abs=1e-12)


def test_log_expm1_is_smooth_where_its_branches_meet() -> None:
    """At S = 1e-4 the series log S + S/2 + S²/24 takes over; both sides agree to S²/24 = 4e-10."""
    edge = math.log(1e-4)
    below, above = double(edge - 1e-9), double(edge + 1e-9)
    assert log_expm1_of_exp(below).item() == pytest.approx(log_expm1_of_exp(above).item(), abs=3e-9)
    for log_s in (-80.0, -20.0, edge, -1.0, 0.0, 2.0, 6.0):
        exact = float(mpmath.log(mpmath.expm1(mpmath.exp(log_s))))
        assert log_expm1_of_exp(double(log_s)).item() == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, -1), (-1, 1, 0)])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_extreme_rois_keep_a_finite_loss_and_the_sign_of_its_gradient(
    size: float, dtype: torch.dtype, signs: tuple[int, ...], target: float
) -> None:
    """A missed finding (all z = -100, y = 1) still pulls up, a false alarm (z = 100, y = 0) still pushes down."""
    z = (torch.tensor(signs, dtype=dtype) * size).requires_grad_()
    loss = binary_cross_entropy_with_logits(noisy_or_logits(z), torch.tensor(target, dtype=dtype))
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.isfinite() and gradient.isfinite().all()
    assert (gradient <= 0).all() if target else (gradient >= 0).all()
    wrong = all(s < 0 for s in signs) if target else any(s > 0 for s in signs)
    if wrong:  # Σ_j ∂L/∂z_j: the whole error for y = 1, the number of loud ROIs for y = 0
        expected = -1.0 if target else float(sum(s > 0 for s in signs)) + 0.5 * signs.count(0)
        assert gradient.sum().item() == pytest.approx(expected, rel=1e-4)


def test_gradcheck_lse() -> None:
    z = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool)[:, None]
    for r in (1e-3, 1.0, 5.0):
        assert torch.autograd.gradcheck(lambda x, r=r: lse_pool(x, r, dim=1), (z,))
        assert torch.autograd.gradcheck(lambda x, r=r: lse_pool(x, r, dim=1, mask=mask), (z,))
    assert torch.autograd.gradgradcheck(lambda x: lse_pool(x, 2.0, dim=1), (z,))


@pytest.mark.parametrize("centre", [-100.0, -8.0, 0.0, 15.0, 100.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_gradcheck_noisy_or_bce(centre: float, target: float) -> None:
    z = (torch.randn(2, 4, 3, dtype=torch.float64) + centre).requires_grad_()
    y = torch.full((2, 3), target, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(noisy_or_logits(x, dim=1), y, reduction="none")

    assert torch.autograd.gradcheck(loss, (z,), atol=1e-5)
