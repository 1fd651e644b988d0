"""Average precision, detection F1 and localisation accuracy by their definitions: plain Python, one box at a time.

Written from the COCO evaluation's description, without the package.
"""

from __future__ import annotations

Box = tuple[float, float, float, float]


def iou(a: Box, b: Box) -> float:
    """Overlap of two ``xyxy`` boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def judged(found: list[list[tuple[float, Box]]], truth: list[list[Box]], threshold: float) -> list[tuple[float, bool]]:
    """(score, is a true positive) of all boxes of all images, best first; images in order where scores tie."""
    out = []
    for boxes, references in zip(found, truth, strict=True):
        free = dict(enumerate(references))
        for score, box in sorted(boxes, key=lambda b: -b[0]):
            best = max(free, key=lambda g: (iou(box, free[g]), g), default=None)
            hit = best is not None and iou(box, free[best]) >= threshold
            if hit:
                del free[best]
            out.append((score, hit))
    return sorted(out, key=lambda b: -b[0])


def average_precision(found: list[list[tuple[float, Box]]], truth: list[list[Box]], threshold: float) -> float | None:
    """COCO's 101-point AP of one class; None without a reference box.

    COCO's levels are multiples of the float 0.01, compared without tolerance: 28 of 100 does not reach 28 * 0.01.
    """
    total = sum(map(len, truth))
    if total == 0:
        return None
    curve, true = [], 0
    for rank, (_, hit) in enumerate(judged(found, truth, threshold), start=1):
        true += hit
        curve.append((true / total, true / rank))
    levels = [i * 0.01 for i in range(100)] + [1.0]
    return sum(max((p for r, p in curve if r >= level), default=0.0) for level in levels) / 101


def f1(found: list[list[tuple[float, Box]]], truth: list[list[Box]], threshold: float, least: float) -> float | None:
    """F1 of the boxes scored ``least`` or more."""
    kept = [[b for b in boxes if b[0] >= least] for boxes in found]
    hits = sum(hit for _, hit in judged(kept, truth, threshold))
    everything = sum(map(len, kept)) + sum(map(len, truth))
    return 2 * hits / everything if everything else None


def localisation(found: list[list[tuple[float, Box]]], truth: list[list[Box]], threshold: float) -> float | None:
    """Share of images with references whose best-scored box overlaps one of them enough."""
    hits = []
    for boxes, references in zip(found, truth, strict=True):
        if references:
            top = max(boxes, key=lambda b: b[0], default=None)
            hits.append(top is not None and max(iou(top[1], r) for r in references) >= threshold)
    return sum(hits) / len(hits) if hits else None
