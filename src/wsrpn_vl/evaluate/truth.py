"""What evaluation compares with: labels, reference boxes, sizes, texts. The only reader of an index's boxes.

Where boxes are known to be incomplete (NIH boxes some findings of an image and leaves others), a pair
(image, class) without a box says nothing unless its label is 0. Such pairs are marked in ``Truth.ignore``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from wsrpn_vl.data.index import BOX_COLUMNS, BOX_OPTIONAL, Index, boxes_path, read_index
from wsrpn_vl.data.mapping import natives_of
from wsrpn_vl.errors import DataError, first_line, nearest
from wsrpn_vl.labels import label_column


@dataclass(frozen=True)
class Truth:
    """Reference of n images and c classes.

    labels: (n, c) 1, 0, -1 (uncertain), NaN (not mentioned); boxes: [n][c] -> (m, 4) ``xyxy`` original pixels;
    sizes: (n, 2) width, height, NaN where unknown; ignore: (n, c) bool, pairs left out of box metrics (no box, boxes
    of the class incomplete or never looked for in the image, label not 0); boxed: (c,) bool, the data set has boxes of
    the class;
    texts, patient_ids: None where unknown; left_out: boxes of the split that belong to none of the classes;
    visibility: [n][c] -> (m,) contrast-to-noise ratio of each box, NaN where unknown; None if the data set has none.
    """

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    boxes: list[list[np.ndarray]]
    sizes: np.ndarray
    ignore: np.ndarray
    boxed: np.ndarray
    texts: tuple[str | None, ...]
    patient_ids: tuple[str | None, ...]
    dataset: str
    text_origin: str
    index_hash: str
    left_out: int = 0
    visibility: list[list[np.ndarray]] | None = None
    box_kind: str = "lesion"
    """``region`` where the boxes are anatomical regions that stand in for the findings."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def box_counts(self) -> np.ndarray:
        """(n, c) number of reference boxes."""
        counts = [[len(boxes) for boxes in row] for row in self.boxes]
        return np.array(counts, dtype=int).reshape(len(self), len(self.classes))


def load_truth(
    index_path: Path | str | Index,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    *,
    boxes: bool = True,
    frontal_only: bool = False,
    reader: str | None = None,
) -> Truth:
    """Truth of one split (None: all images), over ``classes`` (None: the index's own).

    A CheXpert class whose labels or boxes the index lacks gets those of the native classes that belong to it
    (:mod:`wsrpn_vl.data.mapping`): labelled 1 if one of them is, else -1 if one is uncertain, else NaN if one is
    not mentioned. Boxes of a native class that is itself wanted stay its own.
    boxes=False leaves the boxes file alone: labels only, every pair ignored. frontal_only leaves lateral views out.
    reader: boxes of this reader alone, on the images that they read; None: the reference boxes. Boxes that are
    anatomical regions count only where the data set has no others.
    Raises: DataError for an unknown split, class or reader, or a damaged or missing boxes file.
    """
    index = index_path if isinstance(index_path, Index) else read_index(index_path)
    classes = index.classes if classes is None else tuple(classes)
    for name in classes:
        if not label_sources(index, name):
            raise DataError(f"{index.path}: no class {name!r}{nearest(name, index.classes)}")
    frame = index.frame
    if split is not None:
        frame = frame.filter(pl.col("split") == split)
        if frame.height == 0:
            known = sorted(set(index.frame["split"]) - {""})
            raise DataError(f"{index.path}: no images in split {split!r}; splits: {', '.join(known) or 'none'}")
    if frontal_only:
        frame = frame.filter(pl.col("view") != "LAT")
    if reader is not None:
        frame = _read_by(index, frame, reader)
    labels = np.stack([_labels(frame, label_sources(index, name)) for name in classes], axis=1)
    sources = {name: _box_sources(index, name, classes) if boxes else () for name in classes}
    image_ids = tuple(frame["image_id"])
    table = _read_boxes(boxes_path(index.path), reader) if any(sources.values()) else None
    grouped, visibility, left_out = _boxes(table, image_ids, sources)
    complete = [bool(found) and all(index.box_complete[s] for s in found) for found in sources.values()]
    empty = np.array([[len(b) == 0 for b in row] for row in grouped], dtype=bool)
    looked = frame["boxes_read"].fill_null(True).to_numpy() if "boxes_read" in frame.columns else np.array([True])
    told = np.array(complete) & looked[:, None]  # an absent box says that the finding is absent
    return Truth(
        image_ids=image_ids,
        classes=classes,
        labels=labels,
        boxes=grouped,
        sizes=frame.select(pl.col("width", "height").cast(pl.Float64).fill_null(float("nan"))).to_numpy(),
        ignore=empty & ~told & (labels != 0) if boxes else np.ones(labels.shape, dtype=bool),
        boxed=np.array([bool(found) for found in sources.values()]),
        texts=tuple(frame["text"]),
        patient_ids=tuple(frame["patient_id"]),
        dataset=index.dataset,
        text_origin=index.text_origin,
        index_hash=index.content_hash,
        left_out=left_out,
        visibility=visibility,
        box_kind="region" if table is not None and set(table["kind"]) == {"region"} else "lesion",
    )


def label_sources(index: Index, name: str) -> tuple[str, ...]:
    """The index's classes whose labels make class ``name``: itself, else its native classes; empty without any."""
    return (name,) if name in index.classes else tuple(n for n in natives_of(name) if n in index.classes)


def _box_sources(index: Index, name: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Boxed classes whose boxes are those of ``name``: itself, else those native classes that are not wanted too."""
    if name in index.boxed_classes:
        return (name,)
    return tuple(n for n in natives_of(name) if n in index.boxed_classes and n not in classes)


def _read_by(index: Index, frame: pl.DataFrame, reader: str) -> pl.DataFrame:
    """The images that ``reader`` read."""
    if "readers" not in frame.columns:
        raise DataError(f"{index.path}: no readers are told apart in this index; leave the reader out")
    readers = frame["readers"].fill_null("").str.split(";")
    known = sorted(set(readers.explode()) - {"", None})
    if reader not in known:
        raise DataError(f"{index.path}: no reader {reader!r}{nearest(reader, known)}")
    return frame.filter(readers.list.contains(reader))


def _labels(frame: pl.DataFrame, sources: Sequence[str]) -> np.ndarray:
    """(n,) label of a class made of ``sources``."""
    columns = [frame[label_column(s)].cast(pl.Float64).fill_null(float("nan")).to_numpy() for s in sources]
    values = np.stack(columns, axis=1)
    rest = np.where(np.isnan(values).any(1), np.nan, 0.0)
    return np.where((values == 1).any(1), 1.0, np.where((values == -1).any(1), -1.0, rest))


def _boxes(
    frame: pl.DataFrame | None, image_ids: Sequence[str], sources: dict[str, tuple[str, ...]]
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]] | None, int]:
    """[n][c] boxes of the images, [n][c] their visibility, and the number of boxes that belong to no wanted class."""
    grouped: list[list[list[np.ndarray]]] = [[[] for _ in sources] for _ in image_ids]
    if frame is None:
        return [[np.zeros((0, 4)) for _ in row] for row in grouped], None, 0
    row_of = {image_id: i for i, image_id in enumerate(image_ids)}
    column_of = {s: k for k, found in enumerate(sources.values()) for s in found}
    seen = frame["visibility"].fill_null(float("nan")).to_numpy() if "visibility" in frame.columns else None
    values = frame.select("x1", "y1", "x2", "y2").to_numpy()
    if seen is not None:
        values = np.column_stack([values, seen])
    left_out = 0
    for image_id, label, box in zip(frame["image_id"], frame["label"], values, strict=True):
        if image_id not in row_of:
            continue
        if label in column_of:
            grouped[row_of[image_id]][column_of[label]].append(box)
        else:
            left_out += 1
    whole = [[np.array(found).reshape(-1, values.shape[1]) for found in row] for row in grouped]
    visibility = None if seen is None else [[found[:, 4] for found in row] for row in whole]
    return [[found[:, :4] for found in row] for row in whole], visibility, left_out


def _read_boxes(path: Path, reader: str | None) -> pl.DataFrame:
    """The boxes of one reader, or the reference boxes; ``kind`` filled in, region boxes only where alone; checked."""
    try:
        frame = pl.read_parquet(path)
        optional = {name: dtype for name, dtype in BOX_OPTIONAL.items() if name in frame.columns}
        frame = frame.select(pl.col(name).cast(dtype) for name, dtype in (BOX_COLUMNS | optional).items())
        kind = pl.col("kind") if "kind" in optional else pl.lit(None, dtype=pl.String)
        who = pl.col("reader") if "reader" in optional else pl.lit(None, dtype=pl.String)
        frame = frame.with_columns(kind.fill_null("lesion").alias("kind")).filter(who.eq_missing(pl.lit(reader)))
        drawn = frame.filter(pl.col("kind") != "region")
        frame = drawn if drawn.height else frame
    except FileNotFoundError:
        raise DataError(f"{path}: the index has boxed classes but this file is missing; make the index again") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = first_line(error)
        raise DataError(f"{path}: not a readable boxes table ({reason}); make the index again") from None
    values = frame.select("x1", "y1", "x2", "y2").to_numpy()
    bad = ~np.isfinite(values).all(1) | (values[:, 2] <= values[:, 0]) | (values[:, 3] <= values[:, 1])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path}: row {row}, box {values[row].tolist()} is empty or not finite; make the index again")
    return frame
