"""ChestX-Det (Lian et al., 2021): 13 findings boxed and outlined by radiologists on 3,578 images of ChestX-ray14.

Needs ``ChestX_Det_train.json`` and ``ChestX_Det_test.json`` (lists of file_name, syms, boxes, polygons: one box and
one outline for each name in syms) and the images of ``train_data.zip`` and ``test_data.zip`` anywhere below the root.
Boxes are xyxy in the 1024 pixel frame of the original files and scaled to the stored ones.

The files were renumbered: nothing says which NIH image or patient one is, so patients are unknown and images that NIH
gives for training may lie in the test set here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import BOX_COLUMNS
from wsrpn_vl.data.sources.json_files import json_list
from wsrpn_vl.data.sources.stored import (
    find_stored,
    header_facts,
    image_stem,
    scale_boxes,
    split_by_hash,
    with_plain,
)
from wsrpn_vl.data.sources.tables import SourceTables, box_frame, check_shares, clip_boxes, count_notes, locate
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import label_column

FILES = {"train": "ChestX_Det_train.json", "test": "ChestX_Det_test.json"}
FRAME = 1024  # pixels, both ways
LEAK = "images are NIH ChestX-ray14 ones under new names: never train on NIH and test here, or the other way round"


def build(root: Path | str, *, val_share: float = 0.15, seed: int = 0, check_files: bool = True) -> SourceTables:
    """Tables of ChestX-Det in ``root``.

    val_share: of the training images, drawn by a hash of the image's name and ``seed``; check_files: False makes
    the index without looking for the images.
    Raises: DataError if a table is missing or broken, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share)
    entries = [e for part, name in FILES.items() for e in _entries(root, name, part)]
    _check_names(root, entries)
    expected = pl.DataFrame(
        [(e["image_id"], f"{e['part']}_data/{e['name']}") for e in entries],
        schema={"image_id": pl.String, "path": pl.String},
        orient="row",
    )
    stored = find_stored(root, expected, check_files=check_files, size=FRAME, first=(".png",))
    frame, classes = _frame(root, {e["image_id"]: e for e in entries}, stored.frame, val_share, seed, check_files)
    rows = [(e["image_id"], *box, FILES[e["part"]], "lesion") for e in entries for box in e["boxes"]]
    boxes, broken = clip_boxes(scale_boxes(box_frame(rows, "kind"), stored.frame, FRAME), frame)
    boxed = tuple(n.cls for n in mapping.table("chestx_det"))
    notes = count_notes(
        (broken, "box without area inside its image, left out"),
        (sum(not e["boxes"] for e in entries), "image without any of the 13 findings"),
    )
    return SourceTables(
        frame=frame,
        boxes=boxes.select(*BOX_COLUMNS, "kind"),
        dataset="chestx_det",
        classes=classes,
        box_complete={c: c in boxed for c in classes},
        boxed_classes=boxed,
        text_origin="none",
        notes=(LEAK, *stored.notes, *notes),
        missing=stored.missing,
    )


def _entries(root: Path, name: str, part: str) -> list[dict[str, Any]]:
    path = locate(root, name, required="ChestX-Det's annotations")
    assert path is not None  # required
    return [_entry(item, f"{path}: item {number}", part) for number, item in enumerate(json_list(path), start=1)]


def _entry(item: Any, place: str, part: str) -> dict[str, Any]:
    """image_id, name, part and boxes (class, x1, y1, x2, y2 in the original frame)."""
    if not isinstance(item, dict) or not isinstance(item.get("file_name"), str) or not item["file_name"].strip("./ "):
        raise DataError(f"{place}: no file_name; download the file again")
    name = Path(item["file_name"].strip().replace("\\", "/")).name
    syms, drawn, outlines = (item.get(key) for key in ("syms", "boxes", "polygons"))
    if not (isinstance(syms, list) and isinstance(drawn, list) and isinstance(outlines, list)):
        raise DataError(f"{place} ({name}): syms, boxes and polygons must be lists; download the file again")
    if not len(syms) == len(drawn) == len(outlines):
        raise DataError(
            f"{place} ({name}): {len(syms)} syms, {len(drawn)} boxes, {len(outlines)} polygons; each finding needs one "
            "of each: download the file again"
        )
    boxes = []
    for native, box in zip(syms, drawn, strict=True):
        if not isinstance(native, str):
            raise DataError(f"{place} ({name}): syms must be names; download the file again")
        label = mapping.classes_of("chestx_det", native, f"{place} ({name})")[0]
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
            raise DataError(f"{place} ({name}): a box must be four numbers x1, y1, x2, y2; download the file again")
        boxes.append((label, *map(float, box)))
    return {"image_id": image_stem(name), "name": name, "part": part, "boxes": boxes}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value)


def _check_names(root: Path, entries: list[dict[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if entry["image_id"] in seen:
            first, second = FILES[seen[entry["image_id"]]], FILES[entry["part"]]
            raise DataError(f"{root}: image {entry['name']!r} is listed twice ({first}, {second}); download them again")
        seen[entry["image_id"]] = entry["part"]


def _frame(
    root: Path, entries: dict[str, dict[str, Any]], stored: pl.DataFrame, val_share: float, seed: int, look: bool
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    own = tuple(n.cls for n in mapping.table("chestx_det"))
    found = [{box[0] for box in entries[image_id]["boxes"]} for image_id in stored["image_id"]]
    drawn = split_by_hash(stored["image_id"].to_list(), val_share, 0, seed)
    test = pl.Series([entries[image_id]["part"] == "test" for image_id in stored["image_id"]])
    facts = header_facts(root, stored["path"].to_list(), look=look)
    frame = stored.with_columns(
        pl.when(test).then(pl.lit("test")).otherwise(drawn).alias("split"),
        facts["view"],
        *(pl.Series(label_column(c), [int(c in names) for names in found], dtype=pl.Int8) for c in own),
        # none of the 13 is not the same as nothing at all
        pl.Series("no_finding", [0 if names else None for names in found], dtype=pl.Int8),
    )
    return mapping.with_observations(with_plain(frame, "chestx_det"), own)
