"""Rows that never looked at an image: what any detector must beat.

Each class has one box, the corner-wise median of the evaluated truth's own boxes (as fractions of the image), on every
image. That box is chosen with the answers at hand, so these are the most favourable blind rows. Scores are either the
same everywhere or the judged model's own image-level probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wsrpn_vl.evaluate.detect import MatchTable
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.evaluate.truth import Truth
from wsrpn_vl.types import Detections, Prediction

ORDERS = 20  # random orders of tied boxes to average over


def class_median_boxes(truth: Truth) -> np.ndarray:
    """(c, 4) corner-wise median of a class's reference boxes, ``xyxy`` as fractions of the image; NaN without any."""
    out = np.full((len(truth.classes), 4), np.nan)
    for k in range(len(truth.classes)):
        sized = [
            row[k] / np.tile(size, 2)
            for row, size in zip(truth.boxes, truth.sizes, strict=True)
            if len(row[k]) and not np.isnan(size).any()
        ]
        if sized:
            out[k] = np.median(np.concatenate(sized), axis=0)
    return out


def class_median_predictions(truth: Truth, scores: np.ndarray | None = None) -> PredictionSet:
    """The class-median box on every image of known size, with ``scores`` (n, c); None: 0.5 everywhere."""
    shape = (len(truth), len(truth.classes))
    scores = np.full(shape, 0.5) if scores is None else np.asarray(scores, dtype=float)
    boxes = class_median_boxes(truth)
    ids = np.flatnonzero(~np.isnan(boxes).any(1))
    out = []
    for i, image_id in enumerate(truth.image_ids):
        known = not np.isnan(truth.sizes[i]).any()
        width, height = (int(v) for v in truth.sizes[i]) if known else (0, 0)
        found = Detections.empty(truth.classes)
        if known:
            found = Detections(truth.classes, boxes[ids] * [width, height, width, height], scores[i, ids], ids).sorted()
        out.append(Prediction(image_id, width, height, truth.classes, scores[i], found))
    return PredictionSet(truth.classes, tuple(out), {"model": "class-median box"})


def reordered(tables: Sequence[MatchTable], seed: int) -> list[MatchTable]:
    """The tables of constant-score predictions with their boxes in a random order of images: ties mean no order."""
    out = []
    rng = np.random.default_rng(seed)
    for table in tables:
        order = np.argsort(rng.permutation(len(table.truths))[table.image], kind="stable")
        out.append(replace(table, image=table.image[order], matched=table.matched[order], scores=table.scores[order]))
    return out
