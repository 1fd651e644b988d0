"""CheXlocalize (Saporta et al., Nature Machine Intelligence 2022): radiologists' masks on CheXpert's val and test.

Reads ``gt_annotations_{val,test}.json`` (contours) or ``gt_segmentations_{val,test}.json`` (run-length masks), the
images of ``CheXpert/val`` and ``CheXpert/test``, and ``val_labels.csv`` (or CheXpert's ``valid.csv``) and
``test_labels.csv`` where they are; without these an image of the ground truth is labelled by its masks. Ten tasks were
outlined on every image, so an image that the ground truth does not name has none of them. ``Airspace Opacity`` is the
label tables' ``Lung Opacity``. Masks are stated for original images and scaled to the stored ones; sizes are height,
width. Patients and image ids are CheXpert's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.rle import coco_runs, run_boxes
from wsrpn_vl.data.sources.chexpert import PEOPLE, files, finish, read_labels, with_ids
from wsrpn_vl.data.sources.json_files import json_object
from wsrpn_vl.data.sources.stored import scale_boxes
from wsrpn_vl.data.sources.tables import SourceTables, box_frame, boxed_among, clip_boxes, count_notes, locate
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import label_column

CLASSES = mapping.index_classes("chexlocalize")
TASKS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Atelectasis", "Pneumothorax", "Pleural Effusion", "Support Devices"),
)
_LABELS = {"val": ("val_labels.csv", "valid.csv"), "test": ("test_labels.csv", "groundtruth.csv")}
_IN_SPLIT = {"val": re.compile(r"(^|/)val(id)?/patient"), "test": re.compile(r"(^|/)test/patient")}
_SHAPE = 0.03  # by how much width : height of a stored image may differ from the original's
_FAR = 1e6  # pixels; no outline reaches there
_Box = tuple[float, float, float, float]
# image id -> ((height, width), class -> boxes) of one file
_Masks = dict[str, tuple[tuple[int, int], dict[str, list[_Box]]]]


def build(root: Path | str, *, boxes: str = "contour") -> SourceTables:
    """Tables of CheXlocalize in ``root``, the folder with ``CheXpert`` and ``CheXlocalize``; it has no ``train``.

    boxes: ``contour`` one box per outline (the default: as the radiologists drew), ``union`` one around all outlines
    of a task in an image, ``component`` one per 8-connected component of the run-length masks, which joins outlines
    that touch.
    Raises: DataError if no ground truth or no image is there, or a file is damaged.
    """
    root = Path(root)
    kind, read = lookup("boxes", boxes, _READERS, DataError)
    truth = {split: locate(root, f"gt_{kind}_{split}.json") for split in _LABELS}
    if not any(truth.values()):
        other = "contour" if boxes == "component" else "component"
        raise DataError(f"{root}: no gt_{kind}_val.json or gt_{kind}_test.json; put it there, or use boxes={other}")
    masks: dict[str, _Masks] = {s: dict(read(p)) if p else {} for s, p in truth.items()}
    found, repeats = files(root, root)
    parts = [_rows(root, split, found, masks[split], truth[split] is not None) for split in _LABELS]
    table = pl.concat(parts, how="diagonal")
    here = table.with_columns(path=pl.col("image_id").replace_strict(found, default=None, return_dtype=pl.String))
    missing = tuple(here.filter(pl.col("path").is_null())["said"])
    here = here.filter(pl.col("path").is_not_null())
    if here.is_empty():
        raise DataError(f"{root}: none of the {len(missing):,} images is there; unpack the images of CheXpert below it")
    frame, odd = finish(here, "chexlocalize", root, measure=True)
    placed, notes = _placed(root, masks, truth, frame)
    ours = {i for i, path in found.items() if any(p.search(path) for p in _IN_SPLIT.values())}
    counted = count_notes(
        (len(missing), "image missing (see the .missing.txt list)"),
        (len(ours - set(frame["image_id"])), "image file not in the tables, left out"),
        (repeats, "image stored twice, the first by path is used"),
    )
    return SourceTables(
        frame=frame,
        boxes=placed,
        dataset="chexlocalize",
        classes=CLASSES,
        box_complete={c: c in TASKS for c in CLASSES},
        boxed_classes=boxed_among(TASKS, placed),
        text_origin="none",
        notes=(*counted, *odd, *notes, f"boxes: one per {boxes}"),
        missing=missing,
    )


def _rows(root: Path, split: str, found: dict[str, str], masks: _Masks, read: bool) -> pl.DataFrame:
    """Rows of one split, as :func:`wsrpn_vl.data.sources.chexpert.read_labels` has them, and ``boxes_read``."""
    path = locate(root, *_LABELS[split])
    if path is not None:
        rows = read_labels(path, split)
        if strangers := masks.keys() - set(rows["image_id"]):
            raise DataError(f"{path}: image {min(strangers)!r} of the ground truth is not there; use one release")
        return rows.with_columns(boxes_read=pl.lit(read))
    ids = {i for i, p in found.items() if _IN_SPLIT[split].search(p)} | masks.keys()
    said = [found.get(i, f"{split}/{i.replace('_', '/', 2)}.jpg") for i in sorted(ids)]
    rows = with_ids(pl.DataFrame({"said": said}, schema={"said": pl.String}), root, "said")
    drawn = [masks[i][1] if i in masks else {} for i in rows["image_id"]]
    labels = {c: [int(c in d) if read and c in TASKS else None for d in drawn] for c in CLASSES}
    return rows.with_columns(
        *(pl.lit(None, dtype=pl.String).alias(name) for name in PEOPLE),
        *(pl.Series(label_column(c), values, dtype=pl.Int8) for c, values in labels.items()),
        no_finding=pl.lit(None, dtype=pl.Int8),
        split=pl.lit(split),
        boxes_read=pl.lit(read),
    )


def _placed(
    root: Path, masks: dict[str, _Masks], truth: dict[str, Path | None], frame: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Boxes in pixels of the stored images, and notes on those that are not as they should be."""
    here = set(frame["image_id"])
    rows, originals, lost = [], [], 0
    for split, path in truth.items():
        for image_id, ((height, width), tasks) in masks[split].items():
            if image_id not in here:
                lost += sum(len(found) for found in tasks.values())
                continue
            originals.append((image_id, width, height))
            rows += [(image_id, c, *box, path.name, "mask") for c, found in tasks.items() for box in found if path]
    schema = {"image_id": pl.String, "width": pl.Int32, "height": pl.Int32}
    original = pl.DataFrame(originals, schema=schema, orient="row")
    _same_shape(root, frame, original)
    boxes, flat = clip_boxes(scale_boxes(box_frame(rows, "kind"), frame, original), frame)
    drawn = set(boxes.select("image_id", "label").rows())
    read = frame.filter(pl.col("boxes_read"))
    label = {(i, c): v for c in TASKS for i, v in read.select("image_id", label_column(c)).iter_rows()}
    return boxes, count_notes(
        (lost, "box of a missing image, left out"),
        (flat, "box without area inside its image, left out"),
        (sum(v == 1 and pair not in drawn for pair, v in label.items()), "finding labelled but not outlined"),
        (sum(label.get(pair) == 0 for pair in drawn), "finding outlined but labelled absent"),
    )


def _same_shape(root: Path, frame: pl.DataFrame, original: pl.DataFrame) -> None:
    """Raises: DataError if a stored image is no scaled copy of what was outlined: cropped, or sides swapped."""
    both = frame.join(original, on="image_id", how="inner", suffix="_drawn")
    ratio = pl.col("width") / pl.col("height") * pl.col("height_drawn") / pl.col("width_drawn")
    bad = both.filter((ratio - 1).abs() > _SHAPE)
    if bad.height:
        row = bad.row(0, named=True)
        raise DataError(
            f"{root / row['path']}: {row['width']} x {row['height']} pixels, but outlined on {row['width_drawn']} x "
            f"{row['height_drawn']} ({bad.height:,} images in all); use the images of the same release, not cropped"
        )


def _entries(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(place for messages, image id, entry) of a ground-truth file."""
    for key, entry in json_object(path).items():
        if not re.fullmatch(r"patient\d+_study\d+_view\d+_(frontal|lateral)", key) or not isinstance(entry, dict):
            raise DataError(f"{path}: {key!r} is no image such as patient64541_study1_view1_frontal with its tasks")
        yield f"{path}: {key}", key, entry


def _contours(path: Path, join: bool) -> Iterator[tuple[str, tuple[tuple[int, int], dict[str, list[_Box]]]]]:
    """Image id -> size and boxes of the outlines: their own extents, in continuous pixels."""
    for place, key, entry in _entries(path):
        size = _size(entry.get("img_size"), place, "img_size")
        tasks: dict[str, list[_Box]] = {}
        for task, drawn in entry.items():
            if task == "img_size":
                continue
            if not isinstance(drawn, list):
                raise DataError(f"{place}, {task!r}: not a list of outlines; download the file again")
            found = [_extent(points, f"{place}, {task!r}") for points in drawn]
            if join and found:
                x1, y1, x2, y2 = zip(*found, strict=True)
                found = [(min(x1), min(y1), max(x2), max(y2))]
            for name in mapping.classes_of("chexlocalize", task, place):
                tasks.setdefault(name, []).extend(found)
        yield key, (size, {name: found for name, found in tasks.items() if found})


def _components(path: Path) -> Iterator[tuple[str, tuple[tuple[int, int], dict[str, list[_Box]]]]]:
    """Image id -> size and boxes of the components of the masks."""
    for place, key, entry in _entries(path):
        size, tasks = None, {}
        for task, mask in entry.items():
            at = f"{place}, {task!r}"
            if not isinstance(mask, dict):
                raise DataError(f"{at}: not a mask of size and counts; download the file again")
            own = _size(mask.get("size"), at, "size")
            if size not in (None, own):
                raise DataError(f"{at}: size {own} differs from {size} before; download the file again")
            size = own
            found = run_boxes(coco_runs(mask.get("counts", ()), *size, at), *size, "component")
            for name in mapping.classes_of("chexlocalize", task, place) if found else ():
                tasks.setdefault(name, []).extend(found)
        if size is not None:
            yield key, (size, tasks)


def _size(value: Any, place: str, field: str) -> tuple[int, int]:
    """(height, width) as the files state it."""
    if isinstance(value, list) and len(value) == 2 and all(type(v) is int and 0 < v < 100_000 for v in value):
        return value[0], value[1]
    raise DataError(f"{place}: {field}={value!r}; expected [height, width] in pixels")


def _extent(points: Any, place: str) -> _Box:
    """Box of an outline given as [x, y] points."""

    def point(p: Any) -> bool:
        return isinstance(p, list) and len(p) == 2 and all(type(v) in (int, float) and abs(v) < _FAR for v in p)

    if not isinstance(points, list) or not points or not all(map(point, points)):
        raise DataError(f"{place}: an outline is no list of [x, y] points; download the file again")
    x, y = zip(*points, strict=True)
    return float(min(x)), float(min(y)), float(max(x)), float(max(y))


_READERS: dict[str, tuple[str, Callable[[Path], Iterator]]] = {
    "contour": ("annotations", lambda path: _contours(path, join=False)),
    "union": ("annotations", lambda path: _contours(path, join=True)),
    "component": ("segmentations", _components),
}
