"""The border between models and metrics: predictions as a file, ours or anybody's.

``predictions.parquet`` has one row per (image, class), see :data:`wsrpn_vl.evaluate.parquet.COLUMNS`; boxes are
``xyxy`` float pixels of the original image, best first. Beside it may lie ``embeddings.parquet``
(:data:`EMBEDDING_COLUMNS`) and ``heatmaps.safetensors`` (tensors ``<image_id>/patch`` and ``<image_id>/roi``,
(c, gh, gw) over the network square).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.coco import read_coco, write_coco, write_csv
from wsrpn_vl.evaluate.layout import (
    Alignment,
    PredictionSet,
    align,
    check_predictions,
    replace_file,
    select_classes,
)
from wsrpn_vl.evaluate.parquet import FORMAT, META_KEY, VERSION, open_table, read_table, to_frame
from wsrpn_vl.types import Prediction

__all__ = [
    "Alignment",
    "PredictionSet",
    "align",
    "read_heatmaps",
    "read_predictions",
    "select_classes",
    "write_coco",
    "write_csv",
    "write_predictions",
]

EMBEDDING_COLUMNS: dict[str, Any] = {
    "image_id": pl.String,
    "image_embedding": pl.List(pl.Float32),
    "text_embedding": pl.List(pl.Float32),
    "text_id": pl.String,
}


def write_predictions(
    folder: Path | str,
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    meta: Mapping[str, Any],
    *,
    calibrated: np.ndarray | None = None,
    thresholds: np.ndarray | None = None,
) -> Path:
    """Write ``folder/predictions.parquet`` and, when present, embeddings and heat maps; returns the Parquet path.

    calibrated: (n, c) calibrated probabilities; thresholds: (c,) image-level operating points. A zero width or height
    is written as null (unknown). Side files left by an earlier write are replaced or removed.
    Raises: PredictionsError for the first fault; nothing is written then.
    """
    folder, classes = Path(folder), tuple(classes)
    path = folder / "predictions.parquet"
    listed = check_predictions(predictions, classes, str(path))
    frame = to_frame(listed, classes, calibrated, thresholds)
    record = {**meta, "format": FORMAT, "version": VERSION, "classes": list(classes)}
    _write_embeddings(folder / "embeddings.parquet", listed)
    _write_heatmaps(folder / "heatmaps.safetensors", listed)
    return replace_file(
        path,
        lambda tmp: frame.write_parquet(tmp, metadata={META_KEY: json.dumps(record, default=str)}),
    )


def read_predictions(
    path: Path | str,
    classes: Sequence[str] | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> PredictionSet:
    """Predictions of a Parquet file (or the folder that holds ``predictions.parquet``), or of a COCO JSON file.

    classes: the wanted classes, in order; further classes of the file are left out. None: all of the file.
    sizes: image_id -> (width, height) for files that do not tell. Embeddings beside a Parquet file are read,
    heat maps are not (:func:`read_heatmaps`). A COCO file without image-level probabilities gives each
    class the highest score of its boxes on the image, 0 without a box.
    Raises: PredictionsError naming the row and the mend.
    """
    path = Path(path)
    path = path / "predictions.parquet" if path.is_dir() else path
    if not path.is_file():
        raise PredictionsError(f"{path}: no such predictions file; make it with `wsrpn-vl predict`")
    if path.suffix.lower() == ".json":
        out = read_coco(path, classes)
    else:
        out = read_table(path)
        out = replace(out, predictions=_with_embeddings(out.predictions, path.parent / "embeddings.parquet"))
        out = select_classes(out, classes, str(path)) if classes is not None else out
    return _with_sizes(out, sizes) if sizes else out


def read_heatmaps(path: Path | str, image_ids: Iterable[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Heat maps beside a predictions file: image_id -> name (``patch``, ``roi``) -> (c, gh, gw) float32.

    image_ids: only these; None: all. Images without heat maps, or a missing file, give nothing.
    Raises: PredictionsError if the file is damaged.
    """
    path = Path(path)
    file = (path if path.is_dir() else path.parent) / "heatmaps.safetensors"
    if not file.is_file():
        return {}
    wanted = None if image_ids is None else set(image_ids)
    out: dict[str, dict[str, np.ndarray]] = {}
    try:
        with safe_open(file, framework="numpy") as stored:
            for key in stored.keys():  # noqa: SIM118 - not a dict
                image_id, name = key.rsplit("/", 1)
                if wanted is None or image_id in wanted:
                    out.setdefault(image_id, {})[name] = stored.get_tensor(key)
    except (SafetensorError, ValueError) as error:
        raise PredictionsError(f"{file}: not readable ({error}); predict again") from None
    return out


def _write_embeddings(path: Path, predictions: list[Prediction]) -> None:
    rows = [p for p in predictions if p.embedding is not None]
    if not rows:
        path.unlink(missing_ok=True)
        return
    for p in rows:
        for name, vector in (
            ("embedding", p.embedding),
            ("text_embedding", p.text_embedding),
        ):
            if vector is not None and not np.isfinite(vector).all():
                raise PredictionsError(f"{path}: image {p.image_id!r}, {name} is not finite")

    def vectors(name: str) -> list[list[float] | None]:
        return [None if getattr(p, name) is None else np.asarray(getattr(p, name), float).tolist() for p in rows]

    frame = pl.DataFrame(
        {
            "image_id": [p.image_id for p in rows],
            "image_embedding": vectors("embedding"),
            "text_embedding": vectors("text_embedding"),
            "text_id": [p.text_id for p in rows],
        },
        schema=EMBEDDING_COLUMNS,
    )
    replace_file(path, frame.write_parquet)


def _write_heatmaps(path: Path, predictions: list[Prediction]) -> None:
    tensors = {
        f"{p.image_id}/{name}": np.ascontiguousarray(values, dtype=np.float32)
        for p in predictions
        for name, values in p.heatmaps.items()
    }
    if not tensors:
        path.unlink(missing_ok=True)
        return
    replace_file(path, lambda tmp: save_file(tensors, tmp))


def _with_embeddings(predictions: tuple[Prediction, ...], path: Path) -> tuple[Prediction, ...]:
    if not path.is_file():
        return predictions
    frame, _ = open_table(path, EMBEDDING_COLUMNS)
    if frame["image_id"].is_duplicated().any():
        raise PredictionsError(f"{path}: an image_id appears twice; predict again")
    rows = {row["image_id"]: row for row in frame.iter_rows(named=True)}
    known = {p.image_id for p in predictions}
    if stray := next((i for i in rows if i not in known), None):
        raise PredictionsError(f"{path}: image {stray!r} is not in predictions.parquet; predict again")

    def vector(row: dict[str, Any], name: str) -> np.ndarray | None:
        return None if row[name] is None else np.array(row[name], dtype=np.float32)

    out = []
    for p in predictions:
        row = rows.get(p.image_id)
        if row is not None:
            p = replace(
                p,
                embedding=vector(row, "image_embedding"),
                text_embedding=vector(row, "text_embedding"),
                text_id=row["text_id"],
            )
        out.append(p)
    return tuple(out)


def _with_sizes(predictions: PredictionSet, sizes: Mapping[str, tuple[int, int]]) -> PredictionSet:
    """Unknown sizes filled in from ``sizes``."""
    out = []
    for p in predictions.predictions:
        if not (p.width and p.height) and p.image_id in sizes:
            p = replace(p, width=int(sizes[p.image_id][0]), height=int(sizes[p.image_id][1]))
        out.append(p)
    return replace(predictions, predictions=tuple(out))
