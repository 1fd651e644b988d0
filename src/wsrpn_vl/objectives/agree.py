"""Consistency between the branches (§4.3): KL(p_roi ‖ p_patch) with the patch branch as detached teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def softmax_kl(roi_logits: Tensor, patch_logits: Tensor, known: Tensor | None = None) -> Tensor:
    """KL of softmax distributions over classes, (b, c) logits; mean over images.

    known (b, c) bool: unknown classes leave both distributions, which are renormalised over the rest;
    an image with fewer than two known classes contributes 0.
    """
    roi_logits, teacher = _at_least_float32(roi_logits), _at_least_float32(patch_logits.detach())
    if known is None:
        known = torch.ones_like(roi_logits, dtype=torch.bool)
    floor = torch.finfo(roi_logits.dtype).min / 4
    log_p = roi_logits.masked_fill(~known, floor).log_softmax(-1)
    log_q = teacher.masked_fill(~known, floor).log_softmax(-1)
    terms = torch.where(known, log_p.exp() * (log_p - log_q), torch.zeros_like(log_p))
    enough = known.sum(-1) >= 2
    return (terms.sum(-1) * enough).sum() / len(roi_logits)


def bernoulli_kl(roi_logits: Tensor, patch_logits: Tensor, known: Tensor | None = None) -> Tensor:
    """Two-point KL per class, mean over known (image, class) pairs: the form that fits multi-label probabilities."""
    roi_logits, teacher = _at_least_float32(roi_logits), _at_least_float32(patch_logits.detach())
    p, q = roi_logits.sigmoid(), (-roi_logits).sigmoid()  # 1 - p would round to 0, and the KL below 0
    terms = p * (logsigmoid(roi_logits) - logsigmoid(teacher)) + q * (logsigmoid(-roi_logits) - logsigmoid(-teacher))
    if known is None:
        return terms.mean()
    return torch.where(known, terms, torch.zeros_like(terms)).sum() / known.sum().clamp_min(1)


def per_patch_kl(roi_maps: Tensor, patch_logits: Tensor, known: Tensor | None = None) -> Tensor:
    """WSRPN's form: two-point KL per patch and class between ROI class maps and patch logits, both (b, n, c)."""
    wide = None if known is None else known[:, None, :].expand_as(patch_logits)
    return bernoulli_kl(roi_maps, patch_logits, wide)


def roi_class_maps(roi_logits: Tensor, pooling_weights: Tensor) -> Tensor:
    """Log-odds (b, n, c) of the noisy-OR over ROIs of P(class | ROI)·(weight of the patch, peak 1).

    roi_logits (b, k, c); pooling_weights (b, k, n).
    """
    pooling_weights, roi_logits = _at_least_float32(pooling_weights), _at_least_float32(roi_logits)
    peak = pooling_weights / pooling_weights.amax(-1, keepdim=True).clamp_min(1e-12)
    prob = peak[..., None] * roi_logits.sigmoid()[:, :, None, :]
    log_none = torch.log1p(-prob.clamp(max=1 - 1e-6)).sum(1)
    return torch.log(-torch.expm1(log_none.clamp(max=-1e-7))) - log_none


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


CONSISTENCY: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "softmax": softmax_kl,
    "bernoulli": bernoulli_kl,
    "per_patch": per_patch_kl,
}
