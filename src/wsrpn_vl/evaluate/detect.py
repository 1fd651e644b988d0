r"""Detection metrics from matched boxes.

Matching (COCO): per image and class, boxes by descending score; each takes the still free reference box of highest
IoU if that is >= T. AP = mean over the 101 recall levels 0, 0.01 … 1 of the highest precision at that recall or beyond:

.. math:: AP = \frac{1}{101} \sum_{r \in \{0, .01, …, 1\}} \max_{\tilde r \ge r} p(\tilde r)

Pairs (image, class) in ``Truth.ignore`` are left out, boxes and references alike. A class without a reference box has
AP NaN and no part in a mean. Everything is computed from a :class:`MatchTable`, so that an image can carry a weight:
a bootstrap resample is a vector of image counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsrpn_vl.boxes import iou_matrix
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.evaluate.truth import Truth
from wsrpn_vl.types import Prediction

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
F1_IOUS = (0.1, 0.3, 0.5)
RECALLS = np.linspace(0, 1, 101)  # COCO's floats, compared without tolerance as there
_CHUNK = 4_000_000  # entries of a (resamples, boxes) block


@dataclass(frozen=True)
class MatchTable:
    """The boxes of one class, best first, matched at every IoU threshold.

    scores: (m,); image: (m,) int; matched: (m, t) bool; truths: (n,) reference boxes per image;
    best_iou: (n,) of the image's top box with any reference box, NaN without a reference box, 0 without a box.
    Ignored images have no boxes and no references here.
    """

    name: str
    ious: tuple[float, ...]
    scores: np.ndarray
    image: np.ndarray
    matched: np.ndarray
    truths: np.ndarray
    best_iou: np.ndarray


def match(predictions: PredictionSet, truth: Truth, ious: Sequence[float] = IOUS) -> list[MatchTable]:
    """One table per class of ``truth``. ``predictions`` are aligned: same images and classes in the same order.

    Raises: ValueError if they are not.
    """
    if predictions.image_ids != truth.image_ids or predictions.classes != truth.classes:
        raise ValueError("predictions and truth differ in images or classes; use align() and select_classes()")
    return [_match_class(predictions.predictions, truth, k, tuple(ious)) for k in range(len(truth.classes))]


def _match_class(predictions: Sequence[Prediction], truth: Truth, k: int, ious: tuple[float, ...]) -> MatchTable:
    scores, images, matched = [np.zeros(0)], [np.zeros(0, int)], [np.zeros((0, len(ious)), bool)]
    truths, best_iou = np.zeros(len(truth), int), np.full(len(truth), np.nan)
    for i, one in enumerate(predictions):
        if truth.ignore[i, k]:
            continue
        reference = truth.boxes[i][k]
        mine = np.flatnonzero(one.detections.class_ids == k)
        mine = mine[np.argsort(-one.detections.scores[mine], kind="stable")]
        truths[i] = len(reference)
        if len(reference):
            overlap = iou_matrix(one.detections.xyxy[mine], reference)
            best_iou[i] = overlap[0].max() if len(mine) else 0.0
            matched.append(np.stack([_greedy(overlap, t) for t in ious], axis=1))
        else:
            matched.append(np.zeros((len(mine), len(ious)), bool))
        scores.append(one.detections.scores[mine])
        images.append(np.full(len(mine), i))
    all_scores, all_images, all_matched = map(np.concatenate, (scores, images, matched))
    order = np.argsort(-all_scores, kind="stable")
    return MatchTable(
        truth.classes[k], ious, all_scores[order], all_images[order], all_matched[order], truths, best_iou
    )


def _greedy(overlap: np.ndarray, threshold: float) -> np.ndarray:
    """(m,) bool: which boxes, best first, find a free reference; overlap: (m, g). Of equal IoUs the last, as COCO."""
    free = overlap.copy()
    out = np.zeros(len(overlap), bool)
    for j in range(len(overlap)):
        g = free.shape[1] - 1 - int(np.argmax(free[j, ::-1]))
        if free[j, g] >= threshold:
            out[j] = True
            free[:, g] = -1.0
    return out


def average_precision(table: MatchTable, counts: np.ndarray | None = None) -> np.ndarray:
    """AP at each IoU threshold: (t,), or (r, t) for image ``counts`` (r, n) of r resamples. NaN without references."""
    if counts is None:
        return average_precision(table, np.ones((1, len(table.truths)), int))[0]
    return np.concatenate([_ap_block(table, block) for block in _blocks(counts, len(table.scores))])


def _ap_block(table: MatchTable, counts: np.ndarray) -> np.ndarray:
    references = counts @ table.truths
    weight = counts[:, table.image]
    found = np.cumsum(weight, axis=1)
    out = np.zeros((len(counts), len(table.ious)))
    for t in range(len(table.ious)):
        # Precision rises and recall moves only at true positives, so these columns hold the whole envelope.
        hits = np.flatnonzero(table.matched[:, t])
        if not len(hits):
            continue
        true = np.cumsum(weight[:, hits], axis=1)
        precision = true / np.maximum(found[:, hits], 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = true / np.maximum(references, 1)[:, None]
        levels = np.searchsorted(RECALLS, recall, side="right")  # recall levels reached
        out[:, t] = (envelope * np.diff(levels, axis=1, prepend=0)).sum(1) / len(RECALLS)
    out[references == 0] = np.nan
    return out


def _blocks(counts: np.ndarray, width: int) -> Iterator[np.ndarray]:
    rows = max(1, _CHUNK // max(width, 1))
    for start in range(0, max(len(counts), 1), rows):
        yield counts[start : start + rows]


def mean_ap(tables: Sequence[MatchTable], counts: np.ndarray | None = None) -> np.ndarray:
    """Mean of :func:`average_precision` over the classes that have references: (t,) or (r, t)."""
    return nanmean(np.stack([average_precision(table, counts) for table in tables]))


def by_iou(values: np.ndarray) -> dict[str, Any]:
    """(t, ...) values under their IoU threshold's name."""
    return dict(zip(map(str, IOUS), values, strict=True))


def nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(0) / known.sum(0)


def detection_f1(table: MatchTable, threshold: float) -> dict[str, np.ndarray]:
    """F1, precision, recall (each (t,)) of the boxes with score >= ``threshold``, pooled over images.

    NaN: F1 without boxes and references, precision without boxes, recall without references, all if the threshold is.
    """
    if np.isnan(threshold):
        return {name: np.full(len(table.ious), np.nan) for name in ("f1", "precision", "recall")}
    kept = table.scores >= threshold
    true, found, references = table.matched[kept].sum(0), int(kept.sum()), int(table.truths.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "f1": 2 * true / np.float64(found + references),
            "precision": true / np.float64(found),
            "recall": true / np.float64(references),
        }


def localisation_accuracy(table: MatchTable, counts: np.ndarray | None = None) -> np.ndarray:
    """Share of images with a reference box whose top box of the class has IoU >= T with one: (t,) or (r, t).

    An image without a box of the class is a miss. NaN without references.
    """
    if counts is None:
        return localisation_accuracy(table, np.ones((1, len(table.truths)), int))[0]
    has = table.truths > 0
    hit = table.best_iou[has, None] >= np.array(table.ious)
    with np.errstate(invalid="ignore"):
        return (counts[:, has] @ hit.astype(int)) / counts[:, has].sum(1)[:, None]


def mean_localisation_accuracy(tables: Sequence[MatchTable], counts: np.ndarray | None = None) -> np.ndarray:
    """Mean of :func:`localisation_accuracy` over the classes that have references: (t,) or (r, t)."""
    return nanmean(np.stack([localisation_accuracy(table, counts) for table in tables]))


def recall(table: MatchTable) -> np.ndarray:
    """Share of reference boxes that some box of the class finds, whatever its score: (t,). NaN without references."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return table.matched.sum(0) / np.float64(table.truths.sum())


def top_boxes(predictions: PredictionSet, k: int) -> np.ndarray:
    """(n, 4) highest-scoring box of class ``k`` per image, ``xyxy`` as fractions of its width and height; NaN: none."""
    out = np.full((len(predictions), 4), np.nan)
    for i, one in enumerate(predictions.predictions):
        mine = np.flatnonzero(one.detections.class_ids == k)
        if len(mine) and one.width and one.height:
            best = mine[np.argmax(one.detections.scores[mine])]
            out[i] = one.detections.xyxy[best] / np.tile([one.width, one.height], 2)
    return out


def box_spread(predictions: PredictionSet) -> dict[str, dict[str, float]]:
    """How much a class's top box moves over images: a model that does not look puts the same box everywhere.

    Per class: ``images`` with a top box and a known size; ``sd_cx, sd_cy, sd_w, sd_h`` as fractions of the image;
    ``mean_iou`` of the top boxes with their corner-wise median box; ``same`` = share with IoU >= 0.9 to it. NaN: none.
    """
    out = {}
    for k, name in enumerate(predictions.classes):
        boxes = top_boxes(predictions, k)
        boxes = boxes[~np.isnan(boxes).any(1)]
        if not len(boxes):
            out[name] = {"images": 0} | dict.fromkeys(
                ("sd_cx", "sd_cy", "sd_w", "sd_h", "mean_iou", "same"), float("nan")
            )
            continue
        overlap = iou_matrix(boxes, np.median(boxes, axis=0))[:, 0]
        low, high = boxes[:, :2], boxes[:, 2:]
        sd = np.concatenate([((low + high) / 2).std(0), (high - low).std(0)])
        out[name] = {
            "images": len(boxes),
            **dict(zip(("sd_cx", "sd_cy", "sd_w", "sd_h"), sd.tolist(), strict=True)),
            "mean_iou": float(overlap.mean()),
            "same": float((overlap >= 0.9).mean()),
        }
    return out
