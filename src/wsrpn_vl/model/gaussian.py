"""Gaussian soft ROI pooling: separable, anisotropic, differentiable in the box (§2.2, §4.1 step 3).

α_p ∝ exp(−½|Δx/σ_x|^β − ½|Δy/σ_y|^β), σ = half the box's width and height, patch centres at ((i+½)/W, (j+½)/H),
Σ_p α_p = 1. Pure functions; boxes are ``cxcywh`` in [0, 1] of the network square.
"""

from __future__ import annotations

import torch
from torch import Tensor


def patch_centres(
    grid: tuple[int, int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """(n, 2) centres (x, y) in [0, 1] of an h x w grid, row-major."""
    h, w = grid
    y = (torch.arange(h, device=device, dtype=dtype) + 0.5) / h
    x = (torch.arange(w, device=device, dtype=dtype) + 0.5) / w
    return torch.stack([x.repeat(h), y.repeat_interleave(w)], dim=-1)


def gaussian_log_weights(boxes: Tensor, grid: tuple[int, int], beta: float = 2.0) -> Tensor:
    """Unnormalised log α of every patch for ``boxes`` (..., k, 4) -> (..., k, n)."""
    h, w = grid
    x = (torch.arange(w, device=boxes.device, dtype=boxes.dtype) + 0.5) / w
    y = (torch.arange(h, device=boxes.device, dtype=boxes.dtype) + 0.5) / h
    cx, cy, bw, bh = boxes.unbind(-1)
    # a box thinner than a hundredth of a patch would make the exponent overflow; its maximum stays where it is
    log_x = _log_profile(x, cx, bw.clamp_min(1e-2 / w) / 2, beta)
    log_y = _log_profile(y, cy, bh.clamp_min(1e-2 / h) / 2, beta)
    return (log_y[..., :, None] + log_x[..., None, :]).flatten(-2)


def gaussian_weights(boxes: Tensor, grid: tuple[int, int], beta: float = 2.0) -> Tensor:
    """Normalised weights α (..., k, n), Σ_n α = 1, for ``boxes`` (..., k, 4)."""
    return gaussian_log_weights(boxes, grid, beta).softmax(-1)


def gaussian_pool(features: Tensor, weights: Tensor) -> Tensor:
    """``features`` (b, n, d), ``weights`` (b, k, n) -> ROI features (b, k, d)."""
    return weights.to(features.dtype) @ features


def _log_profile(positions: Tensor, centre: Tensor, sigma: Tensor, beta: float) -> Tensor:
    z = (positions - centre[..., None]) / sigma[..., None]
    power = z.square() if beta == 2.0 else z.abs().clamp_min(1e-6).pow(beta)
    return -0.5 * power
