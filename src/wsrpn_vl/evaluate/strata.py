"""The same metrics on findings of like visibility: what is missed because it can hardly be seen?

A pair (image, class) with reference boxes is as visible as its most visible box. Per class the pairs are cut at the
quantiles of that value, so that every part has the same classes and nearly the same number of findings. In a part, the
pairs of the other parts are left out of boxes and labels alike, and so is a labelled finding without a box, as nothing
is known of its visibility; images without the finding are the same in all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wsrpn_vl.evaluate import classify, detect
from wsrpn_vl.evaluate.bootstrap import interval
from wsrpn_vl.evaluate.case import Case
from wsrpn_vl.evaluate.detect import by_iou
from wsrpn_vl.evaluate.truth import Truth

PARTS = 4


def by_visibility(case: Case, counts: np.ndarray, parts: int = PARTS) -> dict[str, Any] | None:
    """Metrics of each part, least visible first; None where the visibility of boxes is not known.

    counts: (r, n) image counts of r resamples.
    """
    split = split_by_visibility(case.truth, parts)
    if split is None:
        return None
    cuts, truths = split
    return {
        "cuts": dict(zip(case.truth.classes, cuts, strict=True)),
        "parts": [_part(case, truth, counts) for truth in truths],
    }


def pair_visibility(truth: Truth) -> np.ndarray | None:
    """(n, c) visibility of the pair's most visible box, NaN without a box of known visibility; None if never known."""
    if truth.visibility is None:
        return None
    best = [[np.max(v[~np.isnan(v)], initial=-np.inf) for v in row] for row in truth.visibility]
    values = np.array(best, dtype=float).reshape(len(truth), len(truth.classes))
    return np.where(np.isneginf(values), np.nan, values)


def split_by_visibility(truth: Truth, parts: int = PARTS) -> tuple[np.ndarray, list[Truth]] | None:
    """(c, parts + 1) quantiles of each class (NaN without boxes), and the truth of each part; None if never known.

    In a part, pairs with the finding that belong to another part, or are of unknown visibility, are ignored and have
    label NaN.
    """
    values = pair_visibility(truth)
    if values is None or np.isnan(values).all():
        return None
    cuts = np.full((len(truth.classes), parts + 1), np.nan)
    part_of = np.full(values.shape, -1)
    for k in range(len(truth.classes)):
        known = np.flatnonzero(~np.isnan(values[:, k]))
        if not len(known):
            continue
        cuts[k] = np.quantile(values[known, k], np.linspace(0, 1, parts + 1))
        ranked = known[np.argsort(values[known, k], kind="stable")]
        part_of[ranked, k] = np.arange(len(ranked)) * parts // len(ranked)  # by rank: ties do not make parts unequal
    present = (truth.box_counts > 0) | (truth.labels == 1)
    truths = []
    for part in range(parts):
        outside = present & (part_of != part)
        labels = np.where(outside, np.nan, truth.labels)
        truths.append(replace(truth, ignore=truth.ignore | outside, labels=labels))
    return cuts, truths


def _part(case: Case, truth: Truth, counts: np.ndarray) -> dict[str, Any]:
    tables = detect.match(case.predictions, truth)
    ap = np.stack([detect.average_precision(table) for table in tables])
    place = np.stack([detect.localisation_accuracy(table) for table in tables])
    found = np.stack([detect.recall(table) for table in tables])
    probs = case.predictions.probs
    auroc = classify.auroc(probs, truth.labels)
    samples = detect.nanmean(classify.auroc(probs, truth.labels, counts).T)
    return {
        "references": {table.name: int(table.truths.sum()) for table in tables},
        "map": by_iou(detect.nanmean(ap)),
        "recall": by_iou(detect.nanmean(found)),
        "loc_acc": by_iou(detect.nanmean(place)),
        "mean_auroc": detect.nanmean(auroc),
        "ci": {"map": by_iou(interval(detect.mean_ap(tables, counts)).T), "mean_auroc": interval(samples)},
        "classes": {
            name: {"ap": by_iou(ap[k]), "recall": by_iou(found[k]), "auroc": auroc[k]}
            for k, name in enumerate(truth.classes)
        },
    }
