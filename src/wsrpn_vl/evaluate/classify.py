r"""Image-level metrics of multi-label probabilities.

Labels other than 0 and 1 (-1 uncertain, NaN not mentioned) are left out, per class. A class with one label value only
has AUROC NaN. AUROC counts a tie as one half; average precision is the sum of precision times recall step,
:math:`\sum_g (R_g - R_{g-1}) P_g`, equal probabilities entering together. Images can carry counts (bootstrap).
"""

from __future__ import annotations

import numpy as np

BINS = 15
_CHUNK = 4_000_000  # entries of a (resamples, images) block


def auroc(probs: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve per class: (c,), or (r, c) for image ``counts`` (r, n) of r resamples.

    probs: (n, c) any monotone score; labels: (n, c) 1, 0, or anything else to leave the entry out.
    """
    return _per_class(_auroc, probs, labels, counts)


def average_precision(probs: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Area under the precision-recall steps per class: (c,) or (r, c). NaN without positives."""
    return _per_class(_average_precision, probs, labels, counts)


def _per_class(metric, probs: np.ndarray, labels: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    probs, labels = np.asarray(probs, dtype=float), np.asarray(labels, dtype=float)
    if probs.ndim != 2 or probs.shape != labels.shape:
        raise ValueError(f"probs {probs.shape} and labels {labels.shape} must both be (n, c)")
    weights = np.ones((1, len(probs)), int) if counts is None else np.asarray(counts)
    out = np.full((len(weights), probs.shape[1]), np.nan)
    for k in range(probs.shape[1]):
        use = np.isin(labels[:, k], (0, 1))
        rows = max(1, _CHUNK // max(int(use.sum()), 1))
        for start in range(0, len(weights) if use.any() else 0, rows):
            block = weights[start : start + rows, use].astype(float)
            out[start : start + rows, k] = metric(*_grouped(probs[use, k], labels[use, k], block))
    return out[0] if counts is None else out


def _grouped(score: np.ndarray, label: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, highest first: two (r, g)."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    positive = weights * label
    both = [np.add.reduceat(w[:, order], starts, axis=1) for w in (positive, weights - positive)]
    return both[0], both[1]


def _auroc(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    below = negative.sum(1, keepdims=True) - np.cumsum(negative, axis=1)  # negatives of lower score
    with np.errstate(invalid="ignore"):
        return (positive * (below + negative / 2)).sum(1) / (positive.sum(1) * negative.sum(1))


def _average_precision(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    true = np.cumsum(positive, axis=1)
    precision = true / np.maximum(true + np.cumsum(negative, axis=1), 1)
    with np.errstate(invalid="ignore"):
        return (positive * precision).sum(1) / positive.sum(1)


def confusion(probs: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """F1, sensitivity, specificity, precision per class, each (c,), calling ``probs >= thresholds`` positive.

    thresholds: (c,), NaN gives NaN. A ratio with an empty denominator is NaN.
    """
    called = np.asarray(probs) >= np.asarray(thresholds)
    positive, negative = np.asarray(labels) == 1, np.asarray(labels) == 0
    tp, fn = (called & positive).sum(0), (~called & positive).sum(0)
    fp, tn = (called & negative).sum(0), (~called & negative).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = {
            "f1": 2 * tp / (2 * tp + fp + fn),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
        }
    return {name: np.where(np.isnan(thresholds), np.nan, value) for name, value in out.items()}


def brier(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean squared difference of probability and label per class, (c,); NaN without labels."""
    known = np.isin(labels, (0, 1)) & ~np.isnan(probs)
    with np.errstate(invalid="ignore"):
        return np.where(known, (probs - labels) ** 2, 0).sum(0) / known.sum(0)


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Expected calibration error per class, (c,): mean over images of |mean label - mean probability| of their bin.

    ``bins`` equal bins of [0, 1], right edge inclusive; NaN without labels.
    """
    out = np.full(np.shape(probs)[1], np.nan)
    for k in range(len(out)):
        known = np.isin(labels[:, k], (0, 1)) & ~np.isnan(probs[:, k])
        if known.any():
            p, y = probs[known, k], labels[known, k]
            which = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
            gap = np.bincount(which, weights=y - p, minlength=bins)
            out[k] = np.abs(gap).sum() / len(p)
    return out
