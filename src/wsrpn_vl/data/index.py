"""The index: one validated Parquet table per data set, and beside it the boxes, which only evaluation opens.

``index.parquet`` has one row per image (:data:`COLUMNS`, one ``y_<class>`` column per class, any further plain columns)
and a JSON record in its key-value metadata. ``index.boxes.parquet`` (:data:`BOX_COLUMNS`, and any of
:data:`BOX_OPTIONAL`) holds the reference boxes, ``xyxy`` float pixels of the original image. Nothing here reads the
boxes back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wsrpn_vl.errors import DataError, first_line, nearest
from wsrpn_vl.files import replacing
from wsrpn_vl.labels import label_column
from wsrpn_vl.text.triples import KEYS

FORMAT = "wsrpn-vl index"
VERSION = 1
META_KEY = "wsrpn_vl"
SPLITS = ("train", "val", "test", "")  # "" = in no split
LEARNT = ("train", "val")  # what a run sees
VIEWS = ("AP", "PA", "LAT", "UNK")
TEXT_ORIGINS = ("report", "labels", "none")

COLUMNS: dict[str, Any] = {
    "dataset": pl.String,
    "split": pl.String,
    "image_id": pl.String,
    "patient_id": pl.String,
    "study_id": pl.String,
    "view": pl.String,
    "path": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "text": pl.String,
    "triples": pl.String,
}
BOX_COLUMNS: dict[str, Any] = {
    "image_id": pl.String,
    "label": pl.String,
    "x1": pl.Float64,
    "y1": pl.Float64,
    "x2": pl.Float64,
    "y2": pl.Float64,
    "source": pl.String,
}
BOX_OPTIONAL: dict[str, Any] = {
    "visibility": pl.Float64,  # contrast-to-noise ratio, null where unknown
    "kind": pl.String,  # one of BOX_KINDS; null: lesion
    "reader": pl.String,  # who drew it; null: the reference (one reader, consensus or fusion)
    "phrase": pl.String,  # words that the box belongs to
    "region": pl.String,  # anatomical region that the box is, or lies in
}
BOX_KINDS = ("lesion", "mask", "region")  # drawn box; box of a mask or its component; region standing for a finding
FIXED: dict[str, Any] = {  # columns a source may add, whose meaning is fixed
    "no_finding": pl.Boolean,  # the data set says that nothing was found
    "boxes_read": pl.Boolean,  # false: nobody looked for boxes here, so their absence says nothing
    "readers": pl.String,  # who read the image, joined by ";"
    "text_confidence": pl.Float64,  # how far the words can be trusted to describe this image, 0 to 1
}
_VIEW_WORDS = {
    "AP": {"AP", "ANTEROPOSTERIOR"},
    "PA": {"PA", "POSTEROANTERIOR"},
    "LAT": {"LAT", "LATERAL", "LL", "RL", "LLAT", "RLAT"},
}
_FILLED = ("dataset", "split", "image_id", "view", "path")  # never null
_HASHED = 16_384  # rows hashed at once: all reports of a large index, joined, would take gigabytes
_TOLERANCE = 1e-6  # pixels that a scaled box may stick out of its image by rounding


@dataclass(frozen=True)
class Index:
    """A read index.

    frame: the table; root: folder that ``path`` is relative to; box_complete: class -> absence of a box means absence
    of the finding; boxed_classes: classes with boxes; text_origin: ``report``, ``labels`` or ``none``;
    content_hash: SHA-256 over the table's values in row order, whatever the Parquet encoding.
    """

    path: Path
    frame: pl.DataFrame
    dataset: str
    root: Path
    classes: tuple[str, ...]
    box_complete: dict[str, bool]
    boxed_classes: tuple[str, ...]
    text_origin: str
    notes: tuple[str, ...]
    content_hash: str
    text_labels: tuple[str, ...] = ()
    """Classes whose labels were read out of the very texts of the index."""


def boxes_path(path: Path | str) -> Path:
    """Where the boxes of an index lie: ``index.parquet`` -> ``index.boxes.parquet``."""
    path = Path(path)
    return path.with_name(f"{path.stem}.boxes.parquet")


def parse_view(text: str | None) -> str:
    """``AP``, ``PA``, ``LAT`` or ``UNK`` of what files say: ``PA``, ``LL``, ``antero-posterior`` and so on."""
    words = set(re.findall(r"[A-Z]+", (text or "").upper().replace("O-", "O")))
    found = {view for view, names in _VIEW_WORDS.items() if words & names}
    return found.pop() if len(found) == 1 else "UNK"


def write_index(
    frame: pl.DataFrame,
    boxes: pl.DataFrame | None,
    path: Path | str,
    *,
    dataset: str,
    root: Path | str,
    classes: Sequence[str],
    box_complete: Mapping[str, bool],
    boxed_classes: Sequence[str],
    text_origin: str,
    notes: Sequence[str] = (),
    text_labels: Sequence[str] = (),
) -> Path:
    """Validate and write an index, and its boxes when given; returns ``path``.

    ``root`` is stored relative to the index's folder when it lies at or below it. A boxes file left by an earlier
    index of the same name is replaced, or removed when ``boxes`` is None.
    Raises: DataError for the first fault found; nothing is written then.
    """
    path = Path(path)
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": dataset,
        "root": _stored_root(Path(root), path.parent),
        "classes": list(classes),
        "box_complete": dict(box_complete),
        "boxed_classes": list(boxed_classes),
        "text_origin": text_origin,
        "notes": list(notes),
        "text_labels": list(text_labels),
    }
    _check_meta(meta, path)
    frame = _typed(frame, _columns(classes, frame), path, extra=True)
    _check_frame(frame, meta, path)
    _check_triples(frame, path)
    if boxes is not None:
        further = {name: dtype for name, dtype in BOX_OPTIONAL.items() if name in boxes.columns}
        boxes = _typed(boxes, BOX_COLUMNS | further, boxes_path(path))
        _check_boxes(boxes, frame, tuple(boxed_classes), boxes_path(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_parquet(boxes, boxes_path(path), {})
        _write_parquet(frame, path, {META_KEY: json.dumps(meta)})
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None
    return path


def read_index(path: Path | str) -> Index:
    """Read and validate an index. Its boxes are never touched.

    Raises: DataError if the file is missing, is no index, or breaks the layout.
    """
    path = Path(path)
    try:
        meta = json.loads(pl.read_parquet_metadata(path).get(META_KEY, "null"))
        frame = pl.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such index; make it with `wsrpn-vl index` or `wsrpn-vl phantom write`") from None
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = first_line(error)
        raise DataError(f"{path}: not a readable Parquet file ({reason}); make the index again") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataError(f"{path}: not a WSRPN-VL index (no {META_KEY!r} metadata); make it with `wsrpn-vl index`")
    if meta.get("version") != VERSION:
        raise DataError(f"{path}: index version {meta.get('version')}, this program reads {VERSION}; make it again")
    _check_meta(meta, path)
    frame = _typed(frame, _columns(meta["classes"], frame), path, extra=True)
    _check_frame(frame, meta, path)
    return Index(
        path=path,
        frame=frame,
        dataset=meta["dataset"],
        root=Path(os.path.normpath(path.parent / meta["root"])),
        classes=tuple(meta["classes"]),
        box_complete=meta["box_complete"],
        boxed_classes=tuple(meta["boxed_classes"]),
        text_origin=meta["text_origin"],
        notes=tuple(meta["notes"]),
        content_hash=content_hash(frame),
        text_labels=tuple(meta.get("text_labels", ())),
    )


def rewrite_index(index: Index, frame: pl.DataFrame, *, classes: Sequence[str] = (), notes: Sequence[str] = ()) -> Path:
    """Write ``frame`` in the place of ``index``, whose metadata stay; its boxes are neither read nor touched.

    classes: those whose labels were read out of the texts just now, added if new; notes: added to the index's own.
    Raises: DataError for the first fault found; nothing is written then.
    """
    meta = json.loads(pl.read_parquet_metadata(index.path)[META_KEY])
    meta["classes"] = [*meta["classes"], *(c for c in classes if c not in meta["classes"])]
    meta["box_complete"] = {c: meta["box_complete"].get(c, False) for c in meta["classes"]}
    meta["notes"] = [*meta["notes"], *notes]
    meta["text_labels"] = list(dict.fromkeys([*meta.get("text_labels", ()), *classes]))
    frame = _typed(frame, _columns(meta["classes"], frame), index.path, extra=True)
    _check_frame(frame, meta, index.path)
    _check_triples(frame, index.path)
    _write_parquet(frame, index.path, {META_KEY: json.dumps(meta)})
    return index.path


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256 (hex) over column names and values: columns by name, rows in order, integers and floats as 64 bit."""
    digest = hashlib.sha256()
    for name in sorted(frame.columns):
        column = frame[name]
        digest.update(f"{name}\0{_kind(column.dtype)}\0{len(column)}\0".encode())
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        if column.dtype == pl.String:
            digest.update(column.str.len_bytes().fill_null(0).to_numpy().astype("<i8").tobytes())
            for start in range(0, len(column), _HASHED):
                digest.update("".join(column.slice(start, _HASHED).fill_null("")).encode())
        else:
            wide = "<f8" if column.dtype.is_float() else "<i8"
            zero = False if column.dtype == pl.Boolean else 0
            digest.update(column.fill_null(zero).to_numpy().astype(wide).tobytes())
    return digest.hexdigest()


def _kind(dtype: pl.DataType) -> str:
    """Family of a plain column type; empty for any other."""
    if dtype == pl.String:
        return "string"
    if dtype == pl.Boolean:
        return "bool"
    return "float" if dtype.is_float() else "int" if dtype.is_integer() and dtype != pl.UInt64 else ""


def _columns(classes: Sequence[str], frame: pl.DataFrame) -> dict[str, Any]:
    """Name -> type of the columns whose type is fixed."""
    further = {name: dtype for name, dtype in FIXED.items() if name in frame.columns}
    return COLUMNS | {label_column(c): pl.Int8 for c in classes} | further


def _stored_root(root: Path, folder: Path) -> str:
    root, folder = root.resolve(), folder.resolve()
    return root.relative_to(folder).as_posix() if root.is_relative_to(folder) else str(root)


def _check_meta(meta: dict[str, Any], path: Path) -> None:
    def strings(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(v, str) for v in value)

    def refuse(field: str, mend: str) -> None:
        raise DataError(f"{path}: metadata {field}={meta.get(field)!r}; {mend}")

    for field in ("dataset", "root"):
        if not isinstance(meta.get(field), str) or not meta[field]:
            refuse(field, "give a non-empty string")
    for field in ("classes", "boxed_classes", "notes"):
        if not strings(meta.get(field)):
            refuse(field, "give a list of strings")
    if not strings(meta.get("text_labels", [])):
        refuse("text_labels", "give a list of strings")
    classes = meta["classes"]
    if len({label_column(c) for c in classes}) != len(classes):
        refuse("classes", "two classes share a label column; name each class once")
    if unknown := [c for c in meta["boxed_classes"] if c not in classes]:
        refuse("boxed_classes", f"{unknown[0]!r} is not among the classes{nearest(unknown[0], classes)}")
    complete = meta.get("box_complete")
    if not isinstance(complete, dict) or set(complete) != set(classes) or set(map(type, complete.values())) > {bool}:
        refuse("box_complete", "give true or false for each class, and for no other")
    if meta.get("text_origin") not in TEXT_ORIGINS:
        refuse("text_origin", f"use one of {', '.join(TEXT_ORIGINS)}")


def _typed(frame: pl.DataFrame, wanted: Mapping[str, Any], path: Path, extra: bool = False) -> pl.DataFrame:
    """``frame`` with the wanted columns first, in order and type; integers and all-null columns are converted."""
    if absent := [name for name in wanted if name not in frame.columns]:
        raise DataError(f"{path}: column {absent[0]!r} is missing; add it (null where unknown)")
    further = [name for name in frame.columns if name not in wanted]
    if not extra and further:
        raise DataError(f"{path}: column {further[0]!r} is not part of the layout; leave it out")
    for name in further:
        if name.startswith("y_"):
            raise DataError(f"{path}: label column {name!r} belongs to no class{nearest(name, wanted)}")
        if not _kind(frame[name].dtype):
            raise DataError(f"{path}: column {name!r} is {frame[name].dtype}; use text, a number or true/false")
    columns = []
    for name, dtype in wanted.items():
        have = frame[name].dtype
        number = (dtype.is_numeric() or dtype == pl.Boolean) and have.is_integer()
        if have != dtype and have != pl.Null and not number:
            raise DataError(f"{path}: column {name!r} is {have}, expected {dtype}; convert it")
        try:
            columns.append(frame[name].cast(dtype))
        except pl.exceptions.PolarsError:
            raise DataError(f"{path}: column {name!r} has a value that does not fit {dtype}; correct it") from None
    return pl.DataFrame(columns).hstack(frame.select(further))


def _check_frame(frame: pl.DataFrame, meta: dict[str, Any], path: Path) -> None:
    def refuse(field: str, bad: pl.Expr, mend: str) -> None:
        _refuse(frame, path, field, bad, mend)

    if frame.height == 0:
        raise DataError(f"{path}: the index has no images; check the source folder")
    for field in _FILLED:
        refuse(field, pl.col(field).is_null(), "give a value")
    refuse("dataset", pl.col("dataset") != meta["dataset"], f"expected {meta['dataset']!r}")
    refuse("split", ~pl.col("split").is_in(SPLITS), "use train, val, test, or an empty string for none")
    refuse("view", ~pl.col("view").is_in(VIEWS), f"use one of {', '.join(VIEWS)}")
    for field in ("image_id", "path"):
        refuse(field, pl.col(field).str.strip_chars() == "", "give a value")
        refuse(field, ~pl.col(field).is_first_distinct(), "appears twice; each image needs its own row and file")
    outside = pl.col("path").str.contains(r"^([/\\]|[A-Za-z]:)|\\|(^|/)\.\.(/|$)")
    refuse("path", outside, "give it relative to the root, with forward slashes and without '..'")
    for field, other in (("width", "height"), ("height", "width")):
        refuse(field, pl.col(field) < 1, "give a positive number of pixels, or null if unknown")
        refuse(field, pl.col(field).is_null() & pl.col(other).is_not_null(), "give both width and height, or neither")
    for name in meta["classes"]:
        column = label_column(name)
        refuse(column, ~pl.col(column).is_in([1, 0, -1]), "use 1, 0, -1 (uncertain) or null (not mentioned)")
    refuse("text", ~pl.col("text").str.contains(r"\S"), "use null where there is no text")  # copies no report
    if meta["text_origin"] == "none":
        refuse("text", pl.col("text").is_not_null(), "text_origin is 'none'; use 'report' or 'labels'")
    if "text_confidence" in frame.columns:
        outside = ~pl.col("text_confidence").is_between(0, 1)
        refuse("text_confidence", outside, "give a number from 0 to 1, or null")
    _check_leaks(frame, path)


def _check_leaks(frame: pl.DataFrame, path: Path) -> None:
    used = frame.filter(pl.col("split") != "")
    alone = used.filter(pl.col("patient_id").is_null())  # of unknown patients, at least the study must stay together
    for field, rows in (("patient_id", used), ("study_id", alone)):
        spread = rows.filter(pl.col(field).is_not_null()).group_by(field).agg(pl.col("split").unique().sort())
        leaks = spread.filter(pl.col("split").list.len() > 1).sort(field)
        if leaks.height:
            which, splits = leaks.row(0)
            what = {"patient_id": "patient(s)", "study_id": "studies"}[field]
            raise DataError(
                f"{path}: {field} {which!r} is in more than one split ({', '.join(splits)}), {leaks.height:,} {what} "
                "in all, which leaks images from training into testing; put all images of a "
                f"{field.removesuffix('_id')} into one split"
            )


def _check_triples(frame: pl.DataFrame, path: Path) -> None:
    for row, value in enumerate(frame["triples"]):
        if value is None:
            continue
        try:
            items = json.loads(value)
        except ValueError:
            items = None
        if not isinstance(items, list) or not all(isinstance(t, dict) and set(t) == set(KEYS) for t in items):
            keys = ", ".join(KEYS)
            raise DataError(f"{_at(frame, path, row)}, triples: not a JSON list of objects with exactly {keys}")


def _check_boxes(boxes: pl.DataFrame, frame: pl.DataFrame, boxed: tuple[str, ...], path: Path) -> None:
    joined = boxes.join(frame.select("image_id", "width", "height"), on="image_id", how="left", maintain_order="left")

    def refuse(field: str, bad: pl.Expr, mend: str) -> None:
        _refuse(joined, path, field, bad, mend)

    known = frame["image_id"].implode()
    refuse("image_id", ~pl.col("image_id").is_in(known).fill_null(False), "no such image in the index")
    refuse("label", ~pl.col("label").is_in(boxed).fill_null(False), f"not among boxed_classes ({', '.join(boxed)})")
    refuse("source", pl.col("source").is_null(), "name where the box comes from")
    if "kind" in boxes.columns:
        refuse("kind", ~pl.col("kind").is_in(BOX_KINDS).fill_null(True), f"use one of {', '.join(BOX_KINDS)}, or null")
    for field in ("x1", "y1", "x2", "y2"):
        refuse(field, ~pl.col(field).is_finite().fill_null(False), "give a finite number of pixels")
    for low, high, extent in (("x1", "x2", "width"), ("y1", "y2", "height")):
        refuse(high, pl.col(high) <= pl.col(low), f"must be greater than {low} (xyxy, not xywh)")
        refuse(low, pl.col(low) < -_TOLERANCE, "outside the image; clip the box or correct the frame")
        beyond = pl.col(high) > pl.col(extent) + _TOLERANCE
        refuse(high, beyond, f"outside the image ({extent}); boxes are pixels of the original image: check the scale")


def _refuse(frame: pl.DataFrame, path: Path, field: str, bad: pl.Expr, mend: str) -> None:
    rows = frame.select(bad.fill_null(False).arg_true()).to_series()
    if len(rows):
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        said = "" if field == "text" else f"={frame[field][rows[0]]!r:.80}"  # never the words of a report
        raise DataError(f"{_at(frame, path, rows[0])}, {field}{said}{more}: {mend}")


def _at(frame: pl.DataFrame, path: Path, row: int) -> str:
    return f"{path}: row {row} (image_id {frame['image_id'][row]!r})"


def _write_parquet(frame: pl.DataFrame | None, path: Path, metadata: dict[str, str]) -> None:
    """Write under a temporary name, then rename; None removes the file."""
    if frame is None:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        frame.write_parquet(temporary, metadata=metadata)
