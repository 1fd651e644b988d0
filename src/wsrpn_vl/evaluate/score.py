"""From a predictions file and an index to the results: metrics, intervals, blind rows, and where they came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from wsrpn_vl.data.broken import without_broken
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.errors import DataError, PredictionsError
from wsrpn_vl.evaluate import blind, classify, detect
from wsrpn_vl.evaluate.bootstrap import interval, paired_difference, resample_counts
from wsrpn_vl.evaluate.case import Case, load_case
from wsrpn_vl.evaluate.detect import F1_IOUS, IOUS, MatchTable, by_iou
from wsrpn_vl.evaluate.layout import replace_file
from wsrpn_vl.evaluate.predictions import read_predictions
from wsrpn_vl.evaluate.retrieve import retrieval
from wsrpn_vl.evaluate.strata import by_visibility
from wsrpn_vl.evaluate.table import render_table
from wsrpn_vl.evaluate.thresholds import Thresholds, choose_thresholds, refuse_overlap
from wsrpn_vl.provenance import git_commit, machine, sha256_file

__all__ = ["evaluate_predictions", "plain", "render_table", "write_results"]

DEFINITIONS = {
    "ap": "COCO matching (best box first takes the free reference of highest IoU); mean over 101 recall levels of the "
    "highest precision at that recall or beyond; a class without reference boxes has no AP and no part in the mean",
    "ignored_pairs": "(image, class) without a reference box, where the class's boxes are incomplete and the label "
    "is not 0; their boxes count neither for nor against",
    "loc_acc": "share of (image, class) with a reference box whose best-scored box of the class has IoU >= T with one",
    "f1": "boxes scored at or above the class's box threshold, pooled over images; macro: mean over the "
    "classes with reference boxes and a threshold",
    "auroc": "labels 1 and 0 only; ties count one half",
    "ci": "95 % percentile interval of a bootstrap over patients (over images where the patient is unknown); a class "
    "without reference boxes in a resample has no part in that resample's mean",
    "visibility": "pairs (image, class) with boxes, cut per class at the quartiles of the contrast-to-noise ratio of "
    "their most visible box, least visible first; in a part the other parts' pairs are ignored, the negatives stay",
    "blind": "one class-median reference box on every image; constant scores: mean over random orders of the ties",
}


def evaluate_predictions(
    predictions_path: Path | str,
    index_path: Path | str,
    split: str,
    *,
    validation: Path | str | None = None,
    validation_split: str = "val",
    classes: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    allow_missing: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Results of a predictions file on one split of an index, as plain JSON values (null where undefined).

    validation: predictions of ``validation_split`` of the same index; thresholds come from them and its image labels
    alone. Without it there are no F1 values. classes: None = the file's classes that the index has.
    allow_missing: images without a prediction count as nothing found, probability 0. provenance: further top-level
    facts, such as ``command``.
    Raises: PredictionsError, DataError.
    """
    if resamples < 1:
        raise DataError(f"resamples={resamples}; use at least 1")
    index = without_broken(read_index(index_path))
    case = load_case(predictions_path, index, split, classes, allow_missing)
    thresholds = None
    if validation is not None:
        thresholds = _thresholds(Path(validation), index, validation_split, case, allow_missing)
    counts = resample_counts(len(case.truth), resamples, seed, case.truth.patient_ids)
    facts = {
        "format": "wsrpn-vl results",
        "version": 1,
        "git_commit": git_commit(),
        "command": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    detection, blind_rows = _detection(case, thresholds, counts)
    results = {
        **facts,
        **(provenance or {}),
        "definitions": DEFINITIONS,
        "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
        "classes": list(case.truth.classes),
        "predictions": _predictions_record(case),
        "truth": _truth_record(case, index, split),
        "thresholds": _threshold_record(thresholds),
        "detection": detection,
        "blind": blind_rows,
        "visibility": None if detection is None else by_visibility(case, counts),
        "classification": _classification(case, thresholds, counts),
        "retrieval": retrieval(case.predictions, counts=counts),
    }
    return plain(results)


def _thresholds(path: Path, index: Index, split: str, case: Case, allow_missing: bool) -> Thresholds:
    classes = case.truth.classes
    validation = read_predictions(path, classes)
    refuse_overlap(validation, case.predictions, str(path))
    other = load_case(path, index, split, classes, allow_missing, boxes=False)
    shared = set(other.truth.image_ids) & set(case.truth.image_ids)
    if shared:
        raise PredictionsError(f"{path}: split {split!r} is the evaluated split; thresholds need another one")
    return choose_thresholds(other.predictions, other.truth.labels, f"validation: {path}")


def _detection(
    case: Case, thresholds: Thresholds | None, counts: np.ndarray
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The detection section and the blind rows; None for a split without a reference box."""
    truth = case.truth
    tables = detect.match(case.predictions, truth)
    if not sum(table.truths.sum() for table in tables):
        return None, None
    samples = np.stack([detect.average_precision(table, counts) for table in tables])  # (c, r, t)
    means = detect.nanmean(samples)
    points = np.stack([detect.average_precision(table) for table in tables])
    place = np.stack([detect.localisation_accuracy(table) for table in tables])
    place_means = detect.mean_localisation_accuracy(tables, counts)
    section = {
        "iou": list(IOUS),
        "ap": _named(truth.classes, points),
        "map": by_iou(detect.nanmean(points)),
        "loc_acc": {"mean": by_iou(detect.nanmean(place)), "classes": _named(truth.classes, place)},
        "ci": {
            "map": by_iou(interval(means).T),
            "ap": {name: by_iou(interval(s).T) for name, s in zip(truth.classes, samples, strict=True)},
            "loc_acc": by_iou(interval(place_means).T),
        },
        "f1": None if thresholds is None else _f1(tables, thresholds),
        "references": {table.name: int(table.truths.sum()) for table in tables},
        "spread": detect.box_spread(case.predictions),
    }
    return section, _blind(case, means, counts)


def _f1(tables: Sequence[MatchTable], thresholds: Thresholds) -> dict[str, Any]:
    per_class = {t.name: detect.detection_f1(t, v) for t, v in zip(tables, thresholds.box, strict=True)}
    chosen = [IOUS.index(v) for v in F1_IOUS]
    # A class without reference boxes has no part in the mean, as with AP.
    judged = [t.name for t in tables if t.truths.sum()]
    macro = detect.nanmean(np.stack([per_class[name]["f1"] for name in judged]))
    return {
        "iou": list(F1_IOUS),
        "macro": {str(IOUS[j]): macro[j] for j in chosen},
        "classes": {
            name: {str(IOUS[j]): {key: value[j] for key, value in scores.items()} for j in chosen}
            for name, scores in per_class.items()
        },
    }


def _blind(case: Case, samples: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """mAP of the class-median box under constant and under the judged scores, and what the judged boxes add to it."""
    truth = case.truth
    constant = detect.match(blind.class_median_predictions(truth), truth)
    orders = [detect.mean_ap(blind.reordered(constant, seed)) for seed in range(blind.ORDERS)]
    own = detect.match(blind.class_median_predictions(truth, case.predictions.probs), truth)
    points, judged = detect.mean_ap(own), detect.mean_ap(detect.match(case.predictions, truth))
    own_samples = detect.mean_ap(own, counts)
    place = by_iou(detect.mean_localisation_accuracy(own))
    gain = [paired_difference(judged[t], points[t], samples[:, t], own_samples[:, t]) for t in range(len(IOUS))]
    return {
        "class_median_constant": {"map": by_iou(np.mean(orders, axis=0)), "loc_acc": place},
        "class_median_own_scores": {
            "map": by_iou(points),
            "ci": {"map": by_iou(interval(own_samples).T)},
            "loc_acc": place,
            "gain": dict(zip(map(str, IOUS), gain, strict=True)),
        },
    }


def _classification(case: Case, thresholds: Thresholds | None, counts: np.ndarray) -> dict[str, Any]:
    probs, labels, classes = case.predictions.probs, case.truth.labels, case.truth.classes
    auroc, ap = classify.auroc(probs, labels), classify.average_precision(probs, labels)
    samples = classify.auroc(probs, labels, counts)
    out: dict[str, Any] = {
        "auroc": _by_class(classes, auroc),
        "mean_auroc": detect.nanmean(auroc),
        "ci": {
            "auroc": _by_class(classes, interval(samples).T),
            "mean_auroc": interval(detect.nanmean(samples.T)),
        },
        "average_precision": _by_class(classes, ap),
        "mean_average_precision": detect.nanmean(ap),
        "brier": _by_class(classes, classify.brier(probs, labels)),
        "ece": _by_class(classes, classify.calibration_error(probs, labels)),
        "positives": _by_class(classes, (labels == 1).sum(0)),
        "negatives": _by_class(classes, (labels == 0).sum(0)),
        "f1": None,
    }
    calibrated = case.predictions.calibrated
    if calibrated is not None:
        out["calibrated"] = {
            "brier": _by_class(classes, classify.brier(calibrated, labels)),
            "ece": _by_class(classes, classify.calibration_error(calibrated, labels)),
        }
    if thresholds is not None:
        table = classify.confusion(probs, labels, thresholds.image)
        out["f1"] = {
            "macro": detect.nanmean(table["f1"]),
            "classes": {c: {key: value[k] for key, value in table.items()} for k, c in enumerate(classes)},
        }
    return out


def _predictions_record(case: Case) -> dict[str, Any]:
    a = case.alignment
    return {
        "path": str(case.path),
        "sha256": sha256_file(case.path),
        "meta": a.predictions.meta,
        "extra_images": a.extra,
        "missing_images": a.missing,
        "rescaled_images": a.rescaled,
        "left_out_classes": list(case.left_out_classes),
    }


def _truth_record(case: Case, index: Index, split: str) -> dict[str, Any]:
    truth = case.truth
    return {
        "index": str(index.path),
        "index_hash": truth.index_hash,
        "dataset": truth.dataset,
        "split": split,
        "images": len(truth),
        "patients": len({p for p in truth.patient_ids if p is not None}) or None,
        "boxes": int(truth.box_counts.sum()),
        "boxes_of_other_classes": truth.left_out,
        "box_kind": truth.box_kind,
        "ignored_pairs": int(truth.ignore.sum()),
        "boxed_classes": [c for c, b in zip(truth.classes, truth.boxed, strict=True) if b],
        "text_origin": truth.text_origin,
    }


def _threshold_record(thresholds: Thresholds | None) -> dict[str, Any] | None:
    if thresholds is None:
        return None
    return {
        name: {"image": thresholds.image[k], "box": thresholds.box[k], "source": thresholds.source}
        for k, name in enumerate(thresholds.classes)
    }


def _named(classes: Sequence[str], values: np.ndarray) -> dict[str, dict[str, Any]]:
    return {name: by_iou(row) for name, row in zip(classes, values, strict=True)}


def _by_class(classes: Sequence[str], values: np.ndarray) -> dict[str, Any]:
    return dict(zip(classes, values, strict=True))


def plain(value: Any) -> Any:
    """The same value of JSON types only: arrays as lists, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def write_results(path: Path | str, results: Mapping[str, Any]) -> Path:
    """Write results as JSON in one step; returns ``path``. Raises: PredictionsError if it cannot be written."""
    text = json.dumps(plain(results), indent=1, allow_nan=False)
    return replace_file(Path(path), lambda tmp: tmp.write_text(text + "\n", "utf-8"))
