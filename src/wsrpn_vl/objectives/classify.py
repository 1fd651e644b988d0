"""Detection loss (§4.1): masked binary cross-entropy of both branches, and the box term.

L_detection = (L_patch + L_roi) / 2, each a mean over the (image, class) pairs whose label is known; the BCE of the
ROI branch is taken once, on the noisy-OR, and only the box term is a mean over the k ROIs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def masked_bce(logits: Tensor, labels: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """BCE of ``logits`` (b, c) against ``labels`` (b, c) in [0, 1], NaN = unknown and left out; a scalar.

    positive_weight (c,) multiplies the positive part. 0 (with a gradient path) when no label is known.
    float16/bfloat16 logits are scored in float32.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    known = ~labels.isnan()
    target = torch.where(known, labels, torch.zeros_like(labels)).to(logits.dtype)
    weight = None if positive_weight is None else positive_weight.to(logits.dtype)
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none", pos_weight=weight)
    loss = torch.where(known, loss, torch.zeros_like(loss))
    return loss.sum() / known.sum().clamp_min(1)


def box_overflow(boxes: Tensor) -> Tensor:
    """Mean squared overflow of the corners beyond [0, 1], over all boxes (b, k, 4) ``cxcywh``; 0 if all are inside."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    corners = torch.cat([centre - half, centre + half], dim=-1)
    overflow = (corners - corners.clamp(0, 1)).square()
    return overflow.mean()


def anchor_divergence(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Mean KL(box ‖ anchor) of the boxes' Gaussians, σ = half a side: (b, k, 4) ``cxcywh`` each; 0 when they agree.

    Per axis: ln(σ_a/σ_b) + (σ_b² + Δ²)/(2σ_a²) − ½. Not in the specification: image labels reward any box that takes
    in more context, so boxes that nothing holds grow until they say nothing.
    """
    ratio = (boxes[..., 2:] / anchors[..., 2:]).clamp_min(1e-4)
    shift = 2 * (boxes[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    return ((ratio.square() + shift.square() - 1) / 2 - ratio.log()).sum(-1).mean()


def detection_loss(patch_loss: Tensor, roi_loss: Tensor | None) -> Tensor:
    """(L_patch + L_roi) / 2; the patch loss alone when there is no ROI branch."""
    return patch_loss if roi_loss is None else (patch_loss + roi_loss) / 2
