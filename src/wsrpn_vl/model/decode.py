"""Outputs -> detections: the only place where boxes leave the network frame for pixels of the original image.

Each ROI carries evidence for each class (its own logit, mixed with the patch evidence inside its Gaussian); evidence
becomes a score, overlapping boxes of a class are merged, and the letterbox is undone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from wsrpn_vl.boxes import Letterbox, weighted_fusion
from wsrpn_vl.config import DecodeConfig
from wsrpn_vl.errors import lookup
from wsrpn_vl.types import Detections, Outputs


def image_probs(outputs: Outputs) -> Tensor:
    """(b, c) image-level probabilities: the mean of the patch branch's and the ROI branch's."""
    branches = [z.float().sigmoid() for z in (outputs.patch_image_logits, outputs.roi_image_logits) if z is not None]
    return torch.stack(branches).mean(0)


def class_evidence(outputs: Outputs, patch_share: float) -> Tensor:
    """(b, k, c) log-odds that a class lies in a ROI: ``1 - patch_share`` of the ROI's logit, ``patch_share`` of the
    patch logits averaged over the ROI's Gaussian."""
    roi, patch, weights = outputs.roi_logits, outputs.patch_logits, outputs.pooling_weights
    if roi is None or weights is None:
        raise ValueError("this detector has no ROI branch to take boxes from")
    if not patch_share or patch is None:
        return roi.float()
    return (1 - patch_share) * roi.float() + patch_share * (weights.float() @ patch.float())


def _roi(evidence: Tensor, image: Tensor) -> Tensor:
    return evidence.sigmoid()


def _roi_x_image(evidence: Tensor, image: Tensor) -> Tensor:
    return (evidence.sigmoid() * image[:, None]).sqrt()


def _share_x_image(evidence: Tensor, image: Tensor) -> Tensor:
    return image[:, None] * evidence.softmax(1)


def _odds_x_image(evidence: Tensor, image: Tensor) -> Tensor:
    # the best ROI of a class gets the image's probability whole, so images are ranked by it alone
    return image[:, None] * (evidence - evidence.amax(1, keepdim=True)).exp()


SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "roi": _roi,
    "roi_x_image": _roi_x_image,
    "share_x_image": _share_x_image,
    "odds_x_image": _odds_x_image,
}


def decode(
    outputs: Outputs,
    letterboxes: tuple[Letterbox, ...],
    classes: tuple[str, ...],
    config: DecodeConfig,
    probs: Tensor | None = None,
) -> list[Detections]:
    """Detections of every image of the batch, in original pixels, best first.

    probs (b, c): image-level probabilities, by default :func:`image_probs`.
    """
    if outputs.roi_boxes is None:
        return [Detections.empty(classes) for _ in letterboxes]
    image = image_probs(outputs) if probs is None else probs
    scores = lookup("decode.score", config.score, SCORES)(class_evidence(outputs, config.patch_evidence), image)
    boxes = outputs.roi_boxes.float().cpu().numpy().astype(np.float64)
    boxes[..., 2:] *= config.box_scale
    score_array = scores.float().cpu().numpy()
    return [
        _decode_image(boxes[i], score_array[i], letterbox, classes, config) for i, letterbox in enumerate(letterboxes)
    ]


def _decode_image(
    cxcywh01: np.ndarray, scores: np.ndarray, letterbox: Letterbox, classes: tuple[str, ...], config: DecodeConfig
) -> Detections:
    xyxy = letterbox.boxes_to_original(cxcywh01)
    real = (xyxy[:, 2] - xyxy[:, 0] > 1e-3) & (xyxy[:, 3] - xyxy[:, 1] > 1e-3)  # an anchor may lie on padding alone
    merge = lookup("decode.merge", config.merge, MERGES)
    found = []
    for c in range(len(classes)):
        kept = real & (scores[:, c] >= config.min_score)
        boxes, values = merge(xyxy[kept], scores[kept, c].astype(np.float64), config.iou)
        best = np.argsort(-values, kind="stable")[: config.per_class]
        found.append((boxes[best], values[best], np.full(len(best), c)))
    return Detections(classes, *(np.concatenate(part) for part in zip(*found, strict=True))).sorted()


def merge_nms(boxes: np.ndarray, scores: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Non-maximum suppression: of boxes (m, 4) that overlap by more than ``iou`` the best stays as it is."""
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), iou).numpy()
    return boxes[kept], scores[kept]


def merge_wbf(boxes: np.ndarray, scores: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """:func:`wsrpn_vl.boxes.weighted_fusion`. The fused score is the noisy-OR of the members', as proposals of one
    model are joint evidence, not votes of an ensemble."""
    clusters, fused = weighted_fusion(boxes, scores, iou)
    values = np.array([1 - np.prod(1 - scores[members]) for members in clusters])
    return fused, values


MERGES: dict[str, Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]] = {
    "nms": merge_nms,
    "wbf": merge_wbf,
}
