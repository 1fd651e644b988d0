"""Overlap of boxes, and their fusion. Apart from :mod:`wsrpn_vl.boxes`, because it needs no torch: whoever only makes
an index waits for none."""

from __future__ import annotations

import numpy as np


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every pair: ``xyxy`` (n, 4) and (m, 4) -> (n, m) in [0, 1]; 0 where neither box has an area."""
    a, b = (np.asarray(v, dtype=float).reshape(-1, 4) for v in (a, b))
    return _iou(a[:, None], b[None])


def iou_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU row by row: ``xyxy`` (n, 4) and (n, 4) -> (n,) in [0, 1]; 0 where neither box has an area."""
    return _iou(*(np.asarray(v, dtype=float).reshape(-1, 4) for v in (a, b)))


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU over the last axis, of arrays that broadcast."""
    shared = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def weighted_fusion(boxes: np.ndarray, weights: np.ndarray, iou: float) -> tuple[list[list[int]], np.ndarray]:
    """Weighted boxes fusion (Solovyev et al., 2021): members of each cluster, and its box (n, 4), the weighted mean.

    Boxes (m, 4), heaviest first, join the cluster whose mean box they overlap most, if by more than ``iou``.
    """
    clusters: list[list[int]] = []
    fused = np.zeros((0, 4))
    for i in np.argsort(-weights, kind="stable"):
        overlap = iou_matrix(boxes[i], fused)[0] if clusters else np.zeros(0)
        if len(overlap) and overlap.max() > iou:
            at = int(overlap.argmax())
            clusters[at].append(int(i))
            fused[at] = np.average(boxes[clusters[at]], axis=0, weights=weights[clusters[at]] + 1e-12)
        else:
            clusters.append([int(i)])
            fused = np.concatenate([fused, boxes[i][None]])
    return clusters, fused
