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
    """LogSumExp pooling of ``logits`` over ``dim``; ``mask`` (broadcastable bool) keeps the True instances."""
    dtype = logits.dtype
    scaled = logits.float() * r if dtype in (torch.float16, torch.bfloat16) else logits * r
    if mask is None:
        return ((torch.logsumexp(scaled, dim) - math.log(logits.shape[dim])) / r).to(dtype)
    keep = mask.expand_as(scaled)
    total = torch.logsumexp(scaled.masked_fill(~keep, -torch.inf), dim)
    return ((total - keep.sum(dim).clamp_min(1).to(scaled.dtype).log()) / r).to(dtype)


def noisy_or_logits(logits: Tensor, dim: int = -1) -> Tensor:
    """Log-odds of the noisy-OR of ``sigmoid(logits)`` over ``dim``.

    log(1−ŷ) = −S with S = Σ_j softplus(z_j), so logit(ŷ) = log(e^S − 1), evaluated without overflow
    for large S and without cancellation for small S. float16/bfloat16 are computed in float32.
    """
    dtype = logits.dtype
    z = logits.float() if dtype in (torch.float16, torch.bfloat16) else logits
    # log Σ softplus(z_j): softplus underflows below z ≈ −88 (float32), where log softplus(z) = z
    log_terms = torch.where(z > -30, softplus(z.clamp_min(-30)).log(), z)
    log_s = torch.logsumexp(log_terms, dim)
    return log_expm1_of_exp(log_s).to(dtype)


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
