"""Symmetric contrastive loss (§2.3, §4.2), with repeated texts handled.

L = (1/B) Σ_i [L_i2t + L_t2i], a sum of both directions. Chest reports repeat word for word; two images with the same
text are no negatives of each other, so by default equal texts share the target's mass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Gather = Callable[[Tensor], Tensor]


def identity(tensor: Tensor) -> Tensor:
    """The gather of one process."""
    return tensor


def contrastive_targets(kind: str, text_ids: Tensor, labels: Tensor | None = None) -> Tensor:
    """(b, b) rows that sum to 1: ``identity``, ``same_text`` (equal ``text_ids`` (b,) share), or
    ``label_similarity`` (Jaccard overlap of the positive ``labels`` (b, c); NaN counts as absent)."""
    b = len(text_ids)
    eye = torch.eye(b, device=text_ids.device)
    if kind == "identity":
        return eye
    if kind == "same_text":
        mass = (text_ids[:, None] == text_ids[None, :]).float()
    elif kind == "label_similarity":
        if labels is None:
            raise ValueError("contrastive targets by label similarity need labels")
        positive = (labels > 0.5).float()
        both = positive @ positive.T
        either = positive.sum(1)[:, None] + positive.sum(1)[None, :] - both
        mass = torch.maximum(torch.where(either > 0, both / either.clamp_min(1), (either == 0).float()), eye)
    else:
        raise ValueError(f"unknown contrastive targets {kind!r}")
    return mass / mass.sum(1, keepdim=True)


def contrastive_loss(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor | float,
    targets: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """Sum of image-to-text and text-to-image cross-entropies, averaged over the batch.

    image, text: (b, e) unit vectors; logit_scale = 1/τ; targets (b, b) rows summing to 1 of a symmetric mass (i
    matches j as much as j matches i), so they serve both directions; weight: (b,) confidence per pair, optional.
    """
    with torch.autocast(image.device.type, enabled=False):  # 1/τ would magnify the rounding of a half-precision product
        logits = logit_scale * (image @ text.T)
    targets = targets.to(logits.dtype)
    i2t = -(targets * logits.log_softmax(1)).sum(1)
    t2i = -(targets * logits.T.log_softmax(1)).sum(1)
    both = i2t + t2i
    return both.mean() if weight is None else (both * weight).sum() / weight.sum().clamp_min(1e-6)
