"""The table ``predictions.parquet``: one row per (image, class), checked row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wsrpn_vl.errors import PredictionsError, first_line
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.types import Detections, Prediction

FORMAT = "wsrpn-vl predictions"
VERSION = 1
META_KEY = "wsrpn_vl"
_BOX = ("x1", "y1", "x2", "y2", "score")
COLUMNS: dict[str, Any] = {
    "image_id": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "label": pl.String,
    "prob": pl.Float64,
    "calibrated_prob": pl.Float64,
    "threshold": pl.Float64,
    "boxes": pl.List(pl.Struct(dict.fromkeys(_BOX, pl.Float64))),
}


def to_frame(
    predictions: list[Prediction],
    classes: tuple[str, ...],
    calibrated: np.ndarray | None,
    thresholds: np.ndarray | None,
) -> pl.DataFrame:
    """Table of checked predictions; calibrated: (n, c), thresholds: (c,), NaN or None written as null.

    Raises: PredictionsError if their shapes are wrong.
    """
    n, c = len(predictions), len(classes)
    repeat = {
        "image_id": [p.image_id for p in predictions for _ in classes],
        "width": [p.width or None for p in predictions for _ in classes],
        "height": [p.height or None for p in predictions for _ in classes],
    }
    calibrated = np.full((n, c), np.nan) if calibrated is None else np.asarray(calibrated, dtype=float)
    thresholds = np.full(c, np.nan) if thresholds is None else np.asarray(thresholds, dtype=float)
    if calibrated.shape != (n, c) or thresholds.shape != (c,):
        raise PredictionsError(f"calibrated {calibrated.shape} or thresholds {thresholds.shape}: want {(n, c)}, {(c,)}")
    values = {
        "label": list(classes) * n,
        "prob": np.array([p.probs for p in predictions], dtype=float).reshape(-1),
        "calibrated_prob": pl.Series(calibrated.reshape(-1)).fill_nan(None),
        "threshold": pl.Series(np.tile(thresholds, n)).fill_nan(None),
        "boxes": [_box_rows(p.detections, k) for p in predictions for k in range(c)],
    }
    return pl.DataFrame({**repeat, **values}, schema=COLUMNS)


def _box_rows(detections: Detections, k: int) -> list[dict[str, float]]:
    mine = detections[detections.class_ids == k]
    return [
        dict(zip(_BOX, (*box, score), strict=True))
        for box, score in zip(mine.xyxy.tolist(), mine.scores.tolist(), strict=True)
    ]


def open_table(
    path: Path, columns: Mapping[str, Any], optional: Sequence[str] = ()
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table with its wanted columns in their types, and its metadata record."""
    try:
        meta = json.loads(pl.read_parquet_metadata(path).get(META_KEY, "{}"))
        frame = pl.read_parquet(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = first_line(error)
        raise PredictionsError(f"{path}: not a readable Parquet file ({reason}); predict again") from None
    series = []
    for name, dtype in columns.items():
        if name not in frame.columns:
            if name not in optional:
                raise PredictionsError(f"{path}: column {name!r} is missing; the columns are {', '.join(columns)}")
            series.append(pl.Series(name, [None] * frame.height, dtype=dtype))
            continue
        try:
            series.append(frame[name].cast(dtype))
        except pl.exceptions.PolarsError:
            raise PredictionsError(f"{path}: column {name!r} is {frame[name].dtype}, expected {dtype}") from None
    return pl.DataFrame(series), meta if isinstance(meta, dict) else {}


def read_table(path: Path) -> PredictionSet:
    """Predictions of a Parquet file, images in file order, boxes best first.

    Raises: PredictionsError naming the row and the mend.
    """
    frame, meta = open_table(path, COLUMNS, optional=("width", "height", "calibrated_prob", "threshold"))
    if meta.get("format", FORMAT) != FORMAT or meta.get("version", VERSION) != VERSION:
        have = f"format {meta.get('format')!r}, version {meta.get('version')}"
        raise PredictionsError(f"{path}: {have}; this program reads {FORMAT!r}, version {VERSION}")
    stated = meta.get("classes") or frame["label"].unique(maintain_order=True).drop_nulls().to_list()
    if not isinstance(stated, list) or not all(isinstance(name, str) for name in stated):
        raise PredictionsError(f"{path}: the metadata's classes are no list of names; predict again")
    classes = tuple(stated)
    _check_rows(frame, classes, path)
    images = frame["image_id"].unique(maintain_order=True).to_list()
    order = frame.with_columns(
        pl.col("image_id").replace_strict(images, list(range(len(images))), return_dtype=pl.Int64).alias("_image"),
        pl.col("label").replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64).alias("_class"),
    ).sort("_image", "_class")
    shape = (len(images), len(classes))
    probs, calibrated, threshold = (
        order[name].fill_null(np.nan).to_numpy().reshape(shape) for name in ("prob", "calibrated_prob", "threshold")
    )
    first = order.filter(pl.col("_class") == 0)
    sizes = list(zip(first["width"].fill_null(0), first["height"].fill_null(0), strict=True))
    detections = _detections(order, len(images), classes)
    listed = tuple(Prediction(images[i], *sizes[i], classes, probs[i], detections[i]) for i in range(len(images)))
    return PredictionSet(
        classes,
        listed,
        meta,
        None if np.isnan(calibrated).all() else calibrated,
        None if np.isnan(threshold).all() else threshold[0],
    )


_NEED_SIGMOID = "outside [0, 1]; give a probability (a logit needs a sigmoid)"


def _check_rows(frame: pl.DataFrame, classes: tuple[str, ...], path: Path) -> None:
    """Raises: PredictionsError for the first row that breaks the layout."""
    if frame.height == 0:
        raise PredictionsError(f"{path}: the file has no rows; predict again")
    frame = frame.with_row_index("_row")

    def refuse(field: str, bad: pl.Expr, mend: str, per: str = "") -> None:
        if per:  # the value must be the same in all rows of an image, or of a label
            bad = bad | (pl.col(field) != pl.col(field).first().over(per))
        _refuse(frame, field, bad, mend, path)

    for field in ("image_id", "label", "prob", "boxes"):
        refuse(field, pl.col(field).is_null(), "give a value (boxes: an empty list)")
    refuse("label", ~pl.col("label").is_in(classes), f"not among the file's classes ({', '.join(classes)})")
    refuse("label", ~pl.struct("image_id", "label").is_first_distinct(), "a second row for this image and label")
    for field in ("prob", "calibrated_prob"):
        refuse(field, ~pl.col(field).is_between(0, 1), _NEED_SIGMOID)
    for field in ("width", "height"):
        refuse(
            field, pl.col(field) < 1, "give a positive number of pixels, or null; the same for the image", "image_id"
        )
    refuse("threshold", ~pl.col("threshold").is_finite(), "give one finite value per label, or null", "label")
    counts = frame.group_by("image_id", maintain_order=True).len().filter(pl.col("len") != len(classes))
    if counts.height:
        image_id, count = counts.row(0)
        raise PredictionsError(f"{path}: image {image_id!r} has {count} of {len(classes)} rows; write one per class")
    boxes = _exploded(frame)
    for field in _BOX:
        bad = ~pl.col(field).is_finite() | pl.col(field).is_null()
        _refuse(boxes, field, bad, "leave boxes that are not finite out", path)
    for low, high in (("x1", "x2"), ("y1", "y2")):
        _refuse(boxes, high, pl.col(high) < pl.col(low), f"smaller than {low}; give corners x1, y1, x2, y2", path)
    _refuse(boxes, "score", ~pl.col("score").is_between(0, 1), _NEED_SIGMOID, path)


def _refuse(table: pl.DataFrame, field: str, bad: pl.Expr, mend: str, path: Path) -> None:
    rows = table.filter(bad.fill_null(False))
    if rows.height:
        row = rows.row(0, named=True)
        at = f"row {row['_row']} (image {row['image_id']!r}, label {row['label']!r})"
        raise PredictionsError(f"{path}: {at}, {field}={row[field]!r}: {mend}")


def _exploded(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per box, with the box's fields as columns."""
    return frame.filter(pl.col("boxes").list.len() > 0).explode("boxes").unnest("boxes")


def _detections(order: pl.DataFrame, n: int, classes: tuple[str, ...]) -> list[Detections]:
    """Per image, its boxes best first; ties keep the order of classes and of the file."""
    boxes = _exploded(order).sort("_image", "score", descending=[False, True], maintain_order=True)
    xyxy = boxes.select("x1", "y1", "x2", "y2").to_numpy()
    scores, ids = boxes["score"].to_numpy(), boxes["_class"].to_numpy()
    ends = np.cumsum(np.bincount(boxes["_image"].to_numpy(), minlength=n))
    starts = np.concatenate([[0], ends[:-1]]).astype(int)
    return [Detections(classes, xyxy[a:b], scores[a:b], ids[a:b]) for a, b in zip(starts, ends, strict=True)]
