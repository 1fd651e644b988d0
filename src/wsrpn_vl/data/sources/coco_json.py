"""COCO detection files of any data set: images, categories, boxes (x, y, width, height), checked against the images.

A category on an image is a statement about the image, so it labels it; coordinates go to the boxes table alone. An
image without a category is labelled absent only where the user says that boxes are complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.pixels import image_size
from wsrpn_vl.data.sources.json_files import json_object
from wsrpn_vl.errors import DataError, nearest
from wsrpn_vl.labels import BY_NAME, NO_FINDING, slug

_PARTS = ("images", "annotations", "categories")
_SPLIT = re.compile(r"(?:^|[^a-z])(train|val|test)", re.IGNORECASE)
_IDS = ("patient_id", "study_id")
_CLASSES = {slug(name): name for name in BY_NAME}
_SLACK = 1.0  # pixels that a box may stick out by rounding; clipped
_SHAPE = 0.03  # by how much width : height of the stored image may differ from the stated one
_Find = Callable[[str, str], str | None]
_Box = tuple[float, float, float, float]


@dataclass
class Coco:
    """Images of COCO files that are there, as rows for an index, and their boxes.

    rows: path, split and whatever ids the file states; present: classes of each row; boxes: path, class, ``xyxy``
    pixels of the stored image, file name; classes: those of the categories; missing: names without a file;
    crowds, empty, lost: boxes left out, as around a crowd, without area, of a missing image.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    present: list[set[str]] = field(default_factory=list)
    boxes: list[tuple[str, str, _Box, str]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    crowds: int = 0
    empty: int = 0
    lost: int = 0


def coco_files(root: Path) -> list[Path]:
    """COCO detection files in ``root`` and ``root/annotations``, sorted; other JSON files are passed over.

    Raises: DataError for several of which not each one's name says its split.
    """
    paths = sorted(p for folder in (root, root / "annotations") for p in folder.glob("*.json") if p.name[0] != ".")
    found = [path for path in paths if _is_coco(path)]
    if len(found) > 1 and not all(split_of(path) for path in found):
        names = ", ".join(path.relative_to(root).as_posix() for path in found)
        raise DataError(f"{root}: several COCO files ({names}); name one with table=, or put train, val, test in each")
    return found


def split_of(path: Path) -> str:
    """``train``, ``val`` or ``test`` if the file's name says so, else an empty string."""
    words = {found[1].lower() for found in _SPLIT.finditer(path.stem)}
    return words.pop() if len(words) == 1 else ""


def read_coco(paths: Sequence[Path], find: _Find, root: Path) -> Coco:
    """The images and boxes of COCO files.

    find: (name, place for messages) -> path of the image below ``root``, or None; splits are those of the file names,
    where there are several.
    Raises: DataError for the first fault, with file and entry.
    """
    out = Coco()
    seen: set[str] = set()
    for path in paths:
        content = json_object(path)
        for part in _PARTS:
            if not isinstance(content.get(part), list):
                raise DataError(f"{path}: no list {part!r}; a COCO detection file has {', '.join(_PARTS)}")
        classes = _categories(content["categories"], path)
        out.classes += [c for c in classes.values() if c and c not in out.classes]
        split = {"split": split_of(path)} if len(paths) > 1 else {}
        place = _images(content["images"], path, find, root, split, out, seen)
        _annotations(content["annotations"], path, classes, place, out)
    return out


@dataclass
class _Image:
    """An image of the file: where it lies (None: missing), its stated size, and its row."""

    path: str | None
    size: tuple[int, int]
    scale: tuple[float, float]
    present: set[str]


def _is_coco(path: Path) -> bool:
    try:
        content = json_object(path)
    except DataError:
        return False
    return all(isinstance(content.get(part), list) for part in _PARTS)


def _categories(entries: list[Any], path: Path) -> dict[Any, str]:
    """Category id -> class; empty for ``No Finding``."""
    names: dict[Any, str] = {}
    for i, entry in enumerate(entries):
        place = f"{path}: category {i}"
        key, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if type(key) not in (int, str) or not isinstance(name, str):
            raise DataError(f"{place} needs an 'id' and a 'name'")
        if key in names:
            raise DataError(f"{place}: id {key!r} appears twice; give each category its own")
        if slug(name) not in _CLASSES and slug(name) != slug(NO_FINDING):
            raise DataError(f"{place}: class {name!r} is unknown{nearest(name, BY_NAME)}; rename or remove it")
        names[key] = _CLASSES.get(slug(name), "")
    return names


def _images(
    entries: list[Any], path: Path, find: _Find, root: Path, split: dict[str, str], out: Coco, seen: set[str]
) -> dict[Any, _Image]:
    """Image id -> image; a row for each that is there."""
    images: dict[Any, _Image] = {}
    for i, entry in enumerate(entries):
        place = f"{path}: image {i}"
        key, name = (entry.get("id"), entry.get("file_name")) if isinstance(entry, dict) else (None, None)
        if type(key) not in (int, str) or not isinstance(name, str) or not name.strip():
            raise DataError(f"{place} needs an 'id' and a 'file_name'")
        if key in images:
            raise DataError(f"{place}: id {key!r} appears twice; give each image its own")
        found = find(name, place) or find(PurePosixPath(name.replace("\\", "/")).name, place)
        stored = image_size(root / found) if found else (1, 1)
        size = _stated(entry, place) or stored
        image = images[key] = _Image(found, size, (stored[0] / size[0], stored[1] / size[1]), set())
        if found is None:
            out.missing.append(name)
            continue
        if found in seen:
            raise DataError(f"{place}, file_name: {found!r} is named a second time; keep one entry per image")
        seen.add(found)
        if abs(image.scale[0] / image.scale[1] - 1) > _SHAPE:
            width, height = stored
            raise DataError(f"{place}: {size[0]} x {size[1]} pixels, but {found} has {width} x {height}; correct it")
        view = {"view": parse_view(str(entry["view"]))} if "view" in entry else {}
        ids = {name: str(entry[name]) for name in _IDS if entry.get(name) not in (None, "")}
        out.rows.append({"path": found, **dict.fromkeys(_IDS), **ids, **split, **view})
        out.present.append(image.present)
    return images


def _stated(entry: dict[str, Any], place: str) -> tuple[int, int] | None:
    size = entry.get("width"), entry.get("height")
    if size == (None, None):
        return None
    if not all(type(v) is int and 1 <= v <= 100_000 for v in size):
        raise DataError(f"{place}: width, height = {size[0]!r}, {size[1]!r}; give both in pixels or leave both out")
    return size  # pyright: ignore[reportReturnType]


def _annotations(entries: list[Any], path: Path, classes: dict[Any, str], images: dict[Any, _Image], out: Coco) -> None:
    largest = 0.0
    for i, entry in enumerate(entries):
        place = f"{path}: annotation {i}"
        if not isinstance(entry, dict):
            raise DataError(f"{place} is no object with image_id, category_id and bbox")
        for name, known in (("image_id", images), ("category_id", classes)):
            key = entry.get(name)
            if type(key) not in (int, str) or key not in known:
                raise DataError(f"{place}: {name} {key!r} is not in the file; correct or remove it")
        if "score" in entry:
            raise DataError(f"{place} has a score: these are predictions, not a reference")
        image, name = images[entry["image_id"]], classes[entry["category_id"]]
        if not name:
            continue
        image.present.add(name)
        if entry.get("bbox") in (None, []):
            continue
        box = _box(entry["bbox"], image.size, place)
        largest = max(largest, *box)
        if entry.get("iscrowd"):
            out.crowds += 1
        elif box[2] <= box[0] or box[3] <= box[1]:
            out.empty += 1
        elif image.path is None:
            out.lost += 1
        else:
            sx, sy = image.scale
            scaled = (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)
            out.boxes.append((image.path, name, scaled, path.name))
    if 0 < largest <= 1 and min(min(image.size) for image in images.values()) > 2:
        raise DataError(f"{path}: every bbox lies within 0 to 1; give pixels of the image")


def _box(bbox: Any, size: tuple[int, int], place: str) -> _Box:
    """``xyxy`` inside the stated image."""
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(type(v) in (int, float) and abs(v) < 1e6 for v in bbox)):
        raise DataError(f"{place}: bbox={str(bbox)[:60]!r}; give [x, y, width, height]")
    x, y, w, h = bbox
    if w < 0 or h < 0 or min(x, y) < -_SLACK or x + w > size[0] + _SLACK or y + h > size[1] + _SLACK:
        raise DataError(
            f"{place}: bbox={bbox!r} leaves the image of {size[0]} x {size[1]}; give [x, y, width, height], not "
            "corners, in pixels of the stated size"
        )
    return max(0.0, x), max(0.0, y), min(float(size[0]), x + w), min(float(size[1]), y + h)
