"""Two predictions files on the same images: differences with paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsrpn_vl.data.broken import without_broken
from wsrpn_vl.data.index import read_index
from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate import classify, detect
from wsrpn_vl.evaluate.bootstrap import paired_difference, resample_counts
from wsrpn_vl.evaluate.case import load_case
from wsrpn_vl.evaluate.detect import IOUS
from wsrpn_vl.evaluate.score import plain


def compare_predictions(
    a_path: Path | str,
    b_path: Path | str,
    index_path: Path | str,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """``a - b`` of mAP, mean localisation accuracy (per IoU) and mean AUROC, both judged on the same resamples.

    classes: None = the classes of ``a`` that the index has; ``b`` needs them too. Each entry: a, b, difference, ci, p.
    Raises: PredictionsError, DataError.
    """
    index = without_broken(read_index(index_path))
    a = load_case(a_path, index, split, classes, allow_missing)
    b = load_case(b_path, index, split, a.truth.classes, allow_missing)
    if not sum(len(boxes) for row in a.truth.boxes for boxes in row):
        raise PredictionsError(f"{index.path}: split {split!r} has no reference boxes of {', '.join(a.truth.classes)}")
    counts = resample_counts(len(a.truth), resamples, seed, a.truth.patient_ids)
    tables = [detect.match(case.predictions, case.truth) for case in (a, b)]
    out: dict[str, Any] = {"images": len(a.truth), "classes": list(a.truth.classes)}
    for name, metric in (("map", detect.mean_ap), ("loc_acc", detect.mean_localisation_accuracy)):
        points = [metric(t) for t in tables]
        samples = [metric(t, counts) for t in tables]
        out[name] = {
            str(iou): _entry(points[0][j], points[1][j], samples[0][:, j], samples[1][:, j])
            for j, iou in enumerate(IOUS)
        }
    probs, labels = [case.predictions.probs for case in (a, b)], a.truth.labels
    points = [detect.nanmean(classify.auroc(p, labels)) for p in probs]
    samples = [detect.nanmean(classify.auroc(p, labels, counts).T) for p in probs]
    out["mean_auroc"] = _entry(points[0], points[1], samples[0], samples[1])
    return plain(out)


def _entry(a: Any, b: Any, samples_a: Any, samples_b: Any) -> dict[str, Any]:
    return {"a": a, "b": b, **paired_difference(a, b, samples_a, samples_b)}
