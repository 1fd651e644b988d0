"""Gaussian soft ROI pooling: printed values, symmetry, normalisation, gradients, degenerate boxes."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsrpn_vl.model.gaussian import gaussian_log_weights, gaussian_pool, gaussian_weights, patch_centres

quick = settings(deadline=None, max_examples=60)
side = st.floats(0.02, 1.0)
place = st.floats(0.0, 1.0)
grids = st.tuples(st.integers(1, 8), st.integers(1, 8))


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def exact_weights(box: tuple[float, ...], grid: tuple[int, int], beta: float = 2.0) -> list[list[float]]:
    """α by the formula, patch by patch."""
    with mpmath.workdps(40):
        h, w = grid
        cx, cy, bw, bh = (mpmath.mpf(v) for v in box)
        raw = [
            [
                mpmath.exp(
                    -(abs(((j + mpmath.mpf(0.5)) / w - cx) / (bw / 2)) ** beta) / 2
                    - abs(((i + mpmath.mpf(0.5)) / h - cy) / (bh / 2)) ** beta / 2
                )
                for j in range(w)
            ]
            for i in range(h)
        ]
        total = mpmath.fsum(mpmath.fsum(row) for row in raw)
        return [[float(v / total) for v in row] for row in raw]


def test_golden_gaussian() -> None:
    """7 x 7 grid, box (cx .5, cy .25, w .4, h .2): σ = (.2, .1).

    Row 1 has its centres at 1.5/7 = 0.214286: Δy = 0.035714, exponent -½·0.357143² = -0.063776; column 3 is at 0.5.
    Row 2 is at 0.357143: exponent -½·1.071429² = -0.573980, so α(2,3)/α(1,3) = exp(-0.510204) = 0.600373.
    Column 2 is at 0.357143: exponent -½·0.714286² = -0.255102, so α(1,2)/α(1,3) = 0.774837.
    """
    alpha = gaussian_weights(boxes_of((0.5, 0.25, 0.4, 0.2)), (7, 7))[0].reshape(7, 7)
    for (row, column), printed in {(1, 3): 0.154514, (2, 3): 0.092766, (1, 2): 0.119723}.items():
        assert alpha[row, column].item() == pytest.approx(printed, abs=5e-7)
    exact = torch.tensor(exact_weights((0.5, 0.25, 0.4, 0.2), (7, 7)), dtype=torch.float64)
    assert torch.allclose(alpha, exact, rtol=0, atol=1e-15)
    assert (alpha[2, 3] / alpha[1, 3]).item() == pytest.approx(math.exp(-0.5102040816), rel=1e-9)


def test_patch_centres_are_row_major_in_the_middle_of_their_cells() -> None:
    centres = patch_centres((2, 4))
    assert centres.shape == (8, 2)
    assert centres[0].tolist() == [0.125, 0.25]
    assert centres[5].tolist() == [0.375, 0.75]


@quick
@given(place, place, side, side, grids, st.sampled_from([1.0, 2.0, 4.0]))
def test_weights_sum_to_one(cx: float, cy: float, w: float, h: float, grid: tuple[int, int], beta: float) -> None:
    alpha = gaussian_weights(boxes_of((cx, cy, w, h)), grid, beta)
    assert alpha.shape == (1, grid[0] * grid[1])
    assert (alpha >= 0).all() and alpha.sum().item() == pytest.approx(1.0, abs=1e-12)


@quick
@given(place, place, side, side, grids)
def test_mirrored_boxes_give_mirrored_weights(cx: float, cy: float, w: float, h: float, grid: tuple[int, int]) -> None:
    alpha = gaussian_weights(boxes_of((cx, cy, w, h)), grid)[0].unflatten(0, grid)
    left = gaussian_weights(boxes_of((1 - cx, cy, w, h)), grid)[0].unflatten(0, grid)
    down = gaussian_weights(boxes_of((cx, 1 - cy, w, h)), grid)[0].unflatten(0, grid)
    assert torch.allclose(left, alpha.flip(1), atol=1e-9)
    assert torch.allclose(down, alpha.flip(0), atol=1e-9)


@quick
@given(place, place, side, side, grids)
def test_swapping_the_axes_transposes_the_weights(
    cx: float, cy: float, w: float, h: float, grid: tuple[int, int]
) -> None:
    alpha = gaussian_weights(boxes_of((cx, cy, w, h)), grid)[0].unflatten(0, grid)
    turned = gaussian_weights(boxes_of((cy, cx, h, w)), (grid[1], grid[0]))[0].unflatten(0, (grid[1], grid[0]))
    assert torch.allclose(turned, alpha.T, atol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0, 6.0])
def test_any_exponent_follows_the_formula(beta: float) -> None:
    box = (0.4, 0.7, 0.3, 0.5)
    alpha = gaussian_weights(boxes_of(box), (5, 6), beta)[0].unflatten(0, (5, 6))
    assert torch.allclose(alpha, torch.tensor(exact_weights(box, (5, 6), beta), dtype=torch.float64), atol=1e-9)


def test_a_large_exponent_is_the_box_itself() -> None:
    """β = 64 on a 10 x 10 grid: equal weight on the 4 x 2 patches inside, none outside."""
    alpha = gaussian_weights(boxes_of((0.5, 0.5, 0.4, 0.2)), (10, 10), 64.0)[0].unflatten(0, (10, 10))
    assert torch.allclose(alpha[4:6, 3:7], torch.full((2, 4), 1 / 8, dtype=torch.float64), atol=1e-3)
    assert alpha.sum() - alpha[4:6, 3:7].sum() < 1e-6


def test_a_huge_box_is_the_global_average() -> None:
    alpha = gaussian_weights(boxes_of((0.5, 0.5, 1e3, 1e3)), (4, 4))
    assert torch.allclose(alpha, torch.full((1, 16), 1 / 16, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "box", [(0.5, 0.5, 0.0, 0.0), (1.5, -0.5, 0.0, 0.1), (0.0, 1.0, 1e-9, 1e-9), (-2, 3, 1e-3, 1e-3)]
)
def test_thin_and_distant_boxes_weigh_the_nearest_patch_with_finite_gradients(
    box: tuple[float, ...], dtype: torch.dtype
) -> None:
    boxes = torch.tensor([box], dtype=dtype, requires_grad=True)
    alpha = gaussian_weights(boxes, (7, 7))
    distance = (patch_centres((7, 7), dtype=dtype) - boxes.detach()[:, :2]).square().sum(-1)
    assert alpha.isfinite().all() and alpha.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert distance[alpha.argmax()] == distance.min()
    (gradient,) = torch.autograd.grad(alpha[0] @ torch.arange(49, dtype=dtype), boxes)
    assert gradient.isfinite().all()


def test_pooling_is_the_weighted_mean_of_patches() -> None:
    features, alpha = torch.randn(2, 6, 4, dtype=torch.float64), torch.rand(2, 3, 6, dtype=torch.float64).softmax(-1)
    pooled = gaussian_pool(features, alpha)
    for b in range(2):
        for k in range(3):
            by_hand = [sum((alpha[b, k, n] * features[b, n, d]).item() for n in range(6)) for d in range(4)]
            assert pooled[b, k].tolist() == pytest.approx(by_hand, abs=1e-14)


def test_equal_patches_pool_to_themselves() -> None:
    features = torch.randn(1, 1, 4, dtype=torch.float64).expand(1, 9, 4)
    alpha = gaussian_weights(torch.rand(1, 5, 4, dtype=torch.float64), (3, 3))
    assert torch.allclose(gaussian_pool(features, alpha), features[:, :5], atol=1e-14)


def test_unnormalised_log_weights_are_zero_at_the_centre_and_minus_half_at_the_edge() -> None:
    """The edge of the box is one σ from its centre: exponent -½."""
    log_alpha = gaussian_log_weights(boxes_of((0.5, 0.5, 0.4, 0.4), (0.7, 0.5, 0.4, 0.2)), (5, 5))
    assert log_alpha[0, 12].item() == pytest.approx(0.0, abs=1e-15)
    assert log_alpha[1, 12].item() == pytest.approx(-0.5, abs=1e-12)


@pytest.mark.parametrize("beta", [2.0, 3.0])
def test_gradcheck_gaussian_pool(beta: float) -> None:
    boxes = (torch.rand(2, 2, 4, dtype=torch.float64) * 0.5 + 0.2).requires_grad_()
    features = torch.randn(2, 12, 2, dtype=torch.float64, requires_grad=True)

    def pool(b: Tensor, f: Tensor) -> Tensor:
        return gaussian_pool(f, gaussian_weights(b, (3, 4), beta))

    assert torch.autograd.gradcheck(pool, (boxes, features))


def test_a_gradient_pulls_the_box_towards_the_evidence() -> None:
    """Evidence to the right of the box: raising its pooled value moves cx right; a box on it shrinks."""
    features = torch.zeros(1, 49, 1, dtype=torch.float64)
    features[0, 3 * 7 + 5] = 1.0
    box = torch.tensor([[[0.4, 0.5, 0.3, 0.3]]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(gaussian_pool(features, gaussian_weights(box, (7, 7))).sum(), box)
    assert gradient[0, 0, 0] > 0 and gradient[0, 0, 1].abs() < 1e-12
    on_it = torch.tensor([[[5.5 / 7, 0.5, 0.5, 0.5]]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(gaussian_pool(features, gaussian_weights(on_it, (7, 7))).sum(), on_it)
    assert gradient[0, 0, 2] < 0 and gradient[0, 0, 3] < 0
