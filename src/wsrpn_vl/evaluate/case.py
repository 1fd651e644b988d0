"""A predictions file and a split of an index, brought to the same classes and the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wsrpn_vl.data.index import Index
from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.layout import Alignment, PredictionSet, align, known_class, select_classes
from wsrpn_vl.evaluate.predictions import read_predictions
from wsrpn_vl.evaluate.truth import Truth, label_sources, load_truth


@dataclass(frozen=True)
class Case:
    """Aligned predictions and truth of one split, ready to be measured."""

    path: Path
    truth: Truth
    alignment: Alignment
    left_out_classes: tuple[str, ...]

    @property
    def predictions(self) -> PredictionSet:
        """Predictions in the truth's order."""
        return self.alignment.predictions


def load_case(
    predictions_path: Path | str,
    index: Index,
    split: str,
    classes: Sequence[str] | None = None,
    allow_missing: bool = False,
    *,
    boxes: bool = True,
) -> Case:
    """Read predictions and truth, settle the classes, bring both to the same images.

    Raises: PredictionsError, DataError.
    """
    path = Path(predictions_path)
    path = path / "predictions.parquet" if path.is_dir() else path
    if classes is None:
        predictions = read_predictions(path)
        classes, left_out = _common_classes(predictions.classes, index, path)
        predictions = select_classes(predictions, classes, str(path))
    else:
        predictions, left_out = read_predictions(path, classes), ()
    # a detector for frontal views is judged on frontal views; its file says so
    frontal_only = bool(predictions.meta.get("frontal_only"))
    truth = load_truth(index, split, classes, boxes=boxes, frontal_only=frontal_only)
    alignment = align(predictions, truth.image_ids, truth.sizes, allow_missing=allow_missing, place=str(path))
    stated = [(p.width or np.nan, p.height or np.nan) for p in alignment.predictions.predictions]
    sizes = np.where(np.isnan(truth.sizes), np.array(stated, dtype=float).reshape(-1, 2), truth.sizes)
    return Case(path, replace(truth, sizes=sizes), alignment, left_out)


def _common_classes(have: Sequence[str], index: Index, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The file's classes that the index can judge, under the index's names, and the known ones that it cannot."""
    used, left_out = [], []
    for name in have:
        exact = name if label_sources(index, name) else known_class(name, index.classes, str(path))
        (left_out if exact is None else used).append(exact or name)
    if not used:
        raise PredictionsError(
            f"{path}: none of its classes ({', '.join(have)}) is in the index ({', '.join(index.classes)})"
        )
    return tuple(used), tuple(left_out)
