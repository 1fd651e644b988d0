"""Pooling of instances into a bag, on logits and in log space (§2.1, §4.1).

LSE_r(z) = (1/r) · log((1/m) · Σ_i exp(r·z_i)): r → 0 gives the mean, r → ∞ the maximum. The 1/m is needed for the
first limit. noisy-OR: ŷ = 1 − Π_j (1 − σ(z_j)), returned as its log-odds so that no probability is ever rounded to 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus


def lse_pool(logits: Tensor, r: float, dim: int = -1, mask: Tensor | None = None) -> Tensor:
    """LogSumExp pooling of ``logits`` over ``dim``; ``mask`` (broadcastable bool) keeps what is True, one or more.

    Evaluated as max + log1p(mean(expm1(r·(z − max))))/r, which loses no digits when r is small: there
    log Σ exp(r·z) and log m nearly cancel. float16/bfloat16 are computed in float32.
    """
    z = _at_least_float32(logits)
    if mask is None:
        peak = z.detach().amax(dim, keepdim=True)
        mean = torch.expm1(r * (z - peak)).mean(dim)
    else:
        keep = mask.expand_as(z)
        z = z.masked_fill(~keep, -torch.inf)
        peak = z.detach().amax(dim, keepdim=True)
        growth = torch.expm1(r * (z - peak))
        mean = torch.where(keep, growth, torch.zeros_like(growth)).sum(dim) / keep.sum(dim)
    return (peak.squeeze(dim) + torch.log1p(mean) / r).to(logits.dtype)


def noisy_or_logits(logits: Tensor, dim: int = -1) -> Tensor:
    """Log-odds of the noisy-OR of ``sigmoid(logits)`` over ``dim``.

    log(1−ŷ) = −S with S = Σ_j softplus(z_j), so logit(ŷ) = log(e^S − 1), evaluated without overflow
    for large S and without cancellation for small S. float16/bfloat16 are computed in float32.
    """
    z = _at_least_float32(logits)
    # log Σ softplus(z_j): softplus underflows below z ≈ −88 (float32), where log softplus(z) = z
    log_terms = torch.where(z > -30, softplus(z.clamp_min(-30)).log(), z)
    log_s = torch.logsumexp(log_terms, dim)
    return log_expm1_of_exp(log_s).to(logits.dtype)


def log_expm1_of_exp(log_s: Tensor) -> Tensor:
    """log(exp(S) − 1) with S = exp(log_s) > 0, stable at both ends."""
    s = log_s.clamp(max=30.0).exp()  # S itself; only used where it is moderate
    small = log_s + s.clamp(max=1.0) / 2  # log(e^S − 1) = log S + S/2 + O(S²)
    moderate = s.clamp_min(1e-4)
    middle = moderate + torch.log(-torch.expm1(-moderate))
    return torch.where(log_s < math.log(1e-4), small, middle)


def mean_pool(logits: Tensor, dim: int = -1) -> Tensor:
    """Mean of instances."""
    return logits.mean(dim)


def max_pool(logits: Tensor, dim: int = -1) -> Tensor:
    """Hard maximum of instances."""
    return logits.amax(dim)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
