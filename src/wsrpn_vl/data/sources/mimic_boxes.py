"""Boxes that others drew on MIMIC-CXR images: MS-CXR (CSV or COCO JSON) and Tam et al. 2020 (COCO JSON).

Both state top left corner and size in pixels of the original image, and the size of that image. Column order differs
between copies of MS-CXR, so columns are selected by name; its own ``split`` column (1.1.0) is not read, because it is
not MIMIC-CXR's. Tam's file carries reports too, which are not read. Source: data format reference §6.3, §6.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import BOX_COLUMNS
from wsrpn_vl.data.sources.json_files import json_object
from wsrpn_vl.data.sources.tables import clip_boxes, count_notes, csv_frame, locate, numbers, refuse_rows
from wsrpn_vl.errors import DataError

FILES = {
    "ms_cxr": tuple(f"MS_CXR_Local_Alignment_v{v}.{form}" for form in ("csv", "json") for v in ("1.1.0", "1.0.0")),
    "tam": ("221v2hiqualnihsplit.json",),
}
COLUMNS = (*BOX_COLUMNS, "phrase")
_NUMBERS = ("x", "y", "w", "h", "image_width", "image_height")
_LARGEST = 100_000  # pixels a side; more is a damaged file
_SAME_ASPECT = 0.01  # relative; a box stated for a smaller copy is scaled, one for a picture of another form is not


def find_boxes(dataset: str, root: Path, where: str) -> Path | None:
    """The box file of a data set. where: file or folder (also relative to ``root``); empty: look below; ``none``: none.

    Raises: DataError if what was given is not there.
    """
    if where == "none":
        return None
    if not where:
        return locate(root, *FILES[dataset])
    place = next((p for p in (root / where, Path(where)) if p.exists()), None)
    if place is None:
        raise DataError(f"{dataset}={where!r}: no such file or folder; give {FILES[dataset][0]} or its folder")
    return place if place.is_file() else locate(place, *FILES[dataset], required="the boxes")


def read_boxes(dataset: str, path: Path) -> pl.DataFrame:
    """All boxes of a file: :data:`COLUMNS`, path as written, image_width, image_height.

    Raises: DataError if the file is broken or names a finding that the data set does not have.
    """
    if path.suffix == ".json":
        raw = _coco(path)
    else:
        required = ("dicom_id", "category_name", "label_text", *_NUMBERS)
        raw = numbers(csv_frame(path, required, ("path",)), path, _NUMBERS, quoted=False)
    for name in ("dicom_id", "category_name", *_NUMBERS):
        refuse_rows(raw, path, name, pl.col(name).is_null(), "give a value; download the file again")
    for name in ("image_width", "image_height"):
        odd = ~pl.col(name).is_between(1, _LARGEST)
        refuse_rows(raw, path, name, odd, "expected a number of pixels; download the file again")
    said = raw["category_name"].unique().sort()  # not quoted where unknown: beside it lie phrases of reports
    names = {name: mapping.classes_of(dataset, name, str(path), quoted=False)[0] for name in said}
    return raw.select(
        pl.col("dicom_id").alias("image_id"),
        pl.col("category_name").replace_strict(names, return_dtype=pl.String).alias("label"),
        pl.col("x").alias("x1"),
        pl.col("y").alias("y1"),
        (pl.col("x") + pl.col("w")).alias("x2"),
        (pl.col("y") + pl.col("h")).alias("y2"),
        pl.lit(path.name).alias("source"),
        pl.col("label_text").str.strip_chars().alias("phrase"),
        "path",
        "image_width",
        "image_height",
    )


def place_boxes(boxes: pl.DataFrame, frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Boxes of the images of ``frame`` (image_id, width, height) in their pixels, clipped to them, and notes.

    name: of the data set, for the notes. Columns then: :data:`COLUMNS`.
    """
    here = boxes.join(frame.select("image_id", "width", "height"), on="image_id", maintain_order="left")
    wide, high = pl.col("width") / pl.col("image_width"), pl.col("height") / pl.col("image_height")
    wide, high = wide.fill_null(1.0), high.fill_null(1.0)
    other_form = (wide / high - 1).abs() > _SAME_ASPECT
    fitting = here.filter(~other_form)
    scaled = fitting.filter((wide != 1) | (high != 1)).height
    boxes_in = fitting.with_columns(
        *(pl.col(c) * wide for c in ("x1", "x2")), *(pl.col(c) * high for c in ("y1", "y2"))
    ).select(COLUMNS)
    kept, vanished = clip_boxes(boxes_in, frame)
    cut = boxes_in.join(kept, on=["image_id", "x1", "y1", "x2", "y2"], how="anti").height - vanished
    notes = count_notes(
        (boxes.height - here.height, f"box of {name} on an image that is not in the index, left out"),
        (here.height - fitting.height, f"box of {name} stated for an image of another form, left out"),
        (scaled, f"box of {name} stated for another image size, scaled"),
        (cut, f"box of {name} that stuck out of its image, clipped"),
        (vanished, f"box of {name} outside its image or without area, left out"),
    )
    return kept, notes


def _coco(path: Path) -> pl.DataFrame:
    """Annotations of a COCO file under the CSV's column names; an image's id is the stem of its file."""
    data = json_object(path)
    images = {i["id"]: i for i in _objects(data, "images", path)}
    names = {c["id"]: c.get("name") for c in _objects(data, "categories", path)}
    rows = []
    for number, entry in enumerate(_objects(data, "annotations", path)):
        place = f"{path}: annotations[{number}]"
        try:
            image, name = images[entry["image_id"]], names[entry["category_id"]]
            x, y, w, h = (float(v) for v in entry["bbox"])
            size = (float(image["width"]), float(image["height"]))
            at = str(image.get("path") or image["file_name"])
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"{place}: needs a bbox of four numbers, and the image_id and category_id of entries of this file"
            ) from None
        file = str(image.get("file_name") or at).replace("\\", "/").rpartition("/")[2]
        phrase = str(entry.get("label_text") or "")
        rows.append((file.partition(".")[0], str(name), phrase, at, x, y, w, h, *size))
    text = ("dicom_id", "category_name", "label_text", "path")
    schema = [*((name, pl.String) for name in text), *((name, pl.Float64) for name in _NUMBERS)]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    for name in _NUMBERS:
        refuse_rows(frame, path, name, ~pl.col(name).is_finite(), "expected a number; download the file again")
    return frame.with_columns(pl.when(pl.col(c) != "").then(c).alias(c) for c in text)


def _objects(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    items = data.get(key)
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise DataError(f"{path}: {key!r} is no list of objects; a COCO file has images, categories, annotations")
    if key != "annotations" and not all(isinstance(i.get("id"), int | str) for i in items):
        raise DataError(f"{path}: one of {key!r} has no id; download the file again")
    return items
