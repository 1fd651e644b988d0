"""Predictions as COCO JSON, in and out, and as a flat CSV.

Read: the full object (``images``, ``categories``, ``annotations`` with ``score``) or the bare results list. Boxes are
``xywh`` in the file. Classes are matched by name. An ``images`` entry may carry ``probs`` {class: probability};
without it a class's probability is the highest score of its boxes on the image, 0 without a box.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.layout import (
    PredictionSet,
    check_boxes,
    check_predictions,
    check_probabilities,
    known_class,
    match_classes,
    replace_file,
)
from wsrpn_vl.labels import slug
from wsrpn_vl.types import Detections, Prediction

_NAME_KEYS = ("category", "label", "category_name")


def read_coco(path: Path, classes: Sequence[str] | None = None) -> PredictionSet:
    """Predictions of a COCO file, images in file order (bare list: order of first appearance).

    classes: wanted classes in order; None: the file's categories by id (bare list: names in order of appearance).
    In a bare list a ``category_id`` without a name counts from 1 into ``classes``. ``image_id`` of a full object is
    the image's ``file_name``.
    Raises: PredictionsError naming the entry and the mend.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PredictionsError(f"{path}: not readable as JSON ({error})") from None
    if isinstance(content, list):
        images, meta = {}, {}
        annotations, name_of, classes = content, *_bare_names(content, classes, path)
    elif isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        images = _images(content["images"], path)
        annotations, name_of, classes = (
            content["annotations"],
            *_category_names(content, classes, path),
        )
        meta = content["info"].get("wsrpn_vl") if isinstance(content.get("info"), dict) else None
        meta = meta if isinstance(meta, dict) else {}
    else:
        raise PredictionsError(f"{path}: neither a COCO results list nor an object with 'images' and 'annotations'")
    boxes: dict[Any, list[tuple[int, list[float], float]]] = {key: [] for key in images}
    for i, entry in enumerate(annotations):
        at = f"{path}: annotation {i}"
        key, box, score = _annotation(entry, at)
        if isinstance(content, dict) and key not in images:
            raise PredictionsError(f"{at}: image_id {key!r} is not among 'images'")
        name = name_of(entry, at)
        if name is not None:
            boxes.setdefault(key, []).append((classes.index(name), box, score))
        else:
            boxes.setdefault(key, [])
    predictions = [
        _prediction(images.get(key, {"file_name": str(key)}), found, classes, path) for key, found in boxes.items()
    ]
    # whoever reads a table of AUROC should know where the probabilities came from
    origin = {} if any("probs" in entry for entry in images.values()) else {"prob_origin": "highest box score"}
    listed = check_predictions(predictions, classes, str(path))
    return PredictionSet(classes, tuple(listed), {"format": "COCO", **origin, **meta})


def write_coco(
    path: Path | str,
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    meta: Mapping[str, Any],
) -> Path:
    """Write the full COCO object: category ids from 1 in the order of ``classes``, ``xywh`` boxes with ``score``.

    ``images`` entries also carry ``probs``, and ``info.wsrpn_vl`` carries ``meta``. Returns ``path``.
    Raises: PredictionsError for a value that is not finite or out of range; nothing is written then.
    """
    path, classes = Path(path), tuple(classes)
    images, annotations = [], []
    for i, p in enumerate(check_predictions(predictions, classes, str(path)), start=1):
        probs = dict(zip(classes, p.probs.tolist(), strict=True))
        size = {"width": p.width, "height": p.height} if p.width and p.height else {}
        images.append({"id": i, "file_name": p.image_id, **size, "probs": probs})
        d = p.detections
        for (x1, y1, x2, y2), score, k in zip(d.xyxy.tolist(), d.scores.tolist(), d.class_ids.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": k + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "score": score,
                }
            )
    content = {
        "info": {"description": "WSRPN-VL predictions", "wsrpn_vl": dict(meta)},
        "images": images,
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, start=1)],
        "annotations": annotations,
    }
    return replace_file(path, lambda tmp: tmp.write_text(json.dumps(content), "utf-8"))


def write_csv(path: Path | str, predictions: Iterable[Prediction]) -> Path:
    """Write one line per box (image_id, width, height, label, prob, x1, y1, x2, y2, score), pixels of the original.

    A class without a box has one line with empty box fields, so no probability is lost. Returns ``path``.
    Raises: PredictionsError for a value that is not finite or out of range; nothing is written then.
    """
    path = Path(path)
    listed = list(predictions)
    listed = check_predictions(listed, listed[0].classes if listed else (), str(path))

    def write(tmp: Path) -> None:
        with tmp.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(
                (
                    "image_id",
                    "width",
                    "height",
                    "label",
                    "prob",
                    "x1",
                    "y1",
                    "x2",
                    "y2",
                    "score",
                )
            )
            for p in listed:
                for k, name in enumerate(p.classes):
                    mine = p.detections[p.detections.class_ids == k]
                    head = (
                        p.image_id,
                        p.width or "",
                        p.height or "",
                        name,
                        float(p.probs[k]),
                    )
                    rows = [(*b, s) for b, s in zip(mine.xyxy.tolist(), mine.scores.tolist(), strict=True)]
                    out.writerows((*head, *row) for row in rows or [("",) * 5])

    return replace_file(path, write)


def _images(entries: list[Any], path: Path) -> dict[Any, dict[str, Any]]:
    out: dict[Any, dict[str, Any]] = {}
    for i, entry in enumerate(entries):
        at = f"{path}: image {i}"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int | float):
            raise PredictionsError(f"{at} has no 'id'")
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            raise PredictionsError(f"{at} has no 'file_name'; it names the image")
        if entry["id"] in out:
            raise PredictionsError(f"{at}: id {entry['id']!r} appears twice")
        for field in ("width", "height"):
            value = entry.get(field)
            if value is not None and (not _is_number(value) or not 1 <= value < 2**31):
                raise PredictionsError(f"{at}: {field}={value!r}; give a positive number of pixels or leave it out")
        out[entry["id"]] = entry
    return out


def _category_names(content: dict[str, Any], classes: Sequence[str] | None, path: Path):
    """Function (annotation, place) -> class or None, and the classes, of a full object."""
    names: dict[Any, str] = {}
    listed = content.get("categories")
    for i, entry in enumerate(listed if isinstance(listed, list) else []):
        known = isinstance(entry, dict) and isinstance(entry.get("id"), str | int | float)
        if not known or not isinstance(entry.get("name"), str):
            raise PredictionsError(f"{path}: category {i} needs an 'id' and a 'name'")
        names[entry["id"]] = entry["name"]
    if not names:
        raise PredictionsError(f"{path}: 'categories' is empty; give id and name of each class")
    have = list(dict.fromkeys(names.values()))
    for a, b in combinations(have, 2):
        if slug(a) == slug(b):
            raise PredictionsError(f"{path}: categories {a!r} and {b!r} are one class; give it one spelling")
    match = {h: h for h in have} if classes is None else match_classes(have, classes, str(path))

    def name_of(entry: dict[str, Any], at: str) -> str | None:
        key = entry.get("category_id")
        if not isinstance(key, str | int | float) or key not in names:
            raise PredictionsError(f"{at}: category_id {key!r} is not among 'categories'")
        return match.get(names[key])

    return name_of, tuple(have if classes is None else classes)


def _bare_names(entries: list[Any], classes: Sequence[str] | None, path: Path):
    """Function (annotation, place) -> class or None, and the classes, of a bare results list."""

    def stated(entry: Any) -> str | None:
        return next(
            (entry[k] for k in _NAME_KEYS if isinstance(entry, dict) and isinstance(entry.get(k), str)),
            None,
        )

    if classes is None:
        classes = tuple(dict.fromkeys(name for name in map(stated, entries) if name is not None))
        if not classes:
            raise PredictionsError(
                f"{path}: a results list without class names; give the classes in the order of category_id (from 1)"
            )
    classes = tuple(classes)
    cache: dict[str, str | None] = {}

    def name_of(entry: dict[str, Any], at: str) -> str | None:
        name = stated(entry)
        if name is not None:
            if name not in cache:
                cache[name] = known_class(name, classes, at)
            return cache[name]
        key = entry.get("category_id")
        if isinstance(key, bool) or not isinstance(key, int) or not 1 <= key <= len(classes):
            raise PredictionsError(f"{at}: category_id {key!r} is not in 1..{len(classes)} and no name is given")
        return classes[key - 1]

    return name_of, classes


def _annotation(entry: Any, at: str) -> tuple[Any, list[float], float]:
    """Image key, ``xyxy`` box and score of one annotation."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), str | int):
        raise PredictionsError(f"{at} has no 'image_id'")
    box, score = entry.get("bbox"), entry.get("score")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise PredictionsError(f"{at}: bbox={box!r}; give [x, y, width, height]")
    if not _is_number(score):
        raise PredictionsError(f"{at}: score={score!r}; predictions need a score in [0, 1]")
    x, y, w, h = map(float, box)
    if w < 0 or h < 0:
        raise PredictionsError(f"{at}: bbox={box!r} has a negative width or height; give [x, y, width, height]")
    xyxy = [x, y, x + w, y + h]
    check_boxes(np.array([xyxy]), np.array([score], dtype=float), at)
    return entry["image_id"], xyxy, float(score)


def _is_number(value: Any) -> TypeGuard[int | float]:
    """A number that a float can hold, or NaN or infinity; JSON's whole numbers have no largest one."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**1000)


def _prediction(
    image: Mapping[str, Any],
    found: list[tuple[int, list[float], float]],
    classes: tuple[str, ...],
    path: Path,
) -> Prediction:
    ids = np.array([k for k, _, _ in found], dtype=int)
    scores = np.array([s for _, _, s in found], dtype=float)
    detections = Detections(classes, np.array([b for _, b, _ in found]), scores, ids)
    probs = np.zeros(len(classes))
    np.maximum.at(probs, ids, scores)
    stated = image.get("probs")
    if stated is not None:
        at = f"{path}: image {image['file_name']!r}"
        by_slug = {slug(k): v for k, v in stated.items()} if isinstance(stated, dict) else {}
        if missing := [c for c in classes if not _is_number(by_slug.get(slug(c)))]:
            raise PredictionsError(f"{at}: 'probs' has no number for class {missing[0]!r}")
        probs = np.array([by_slug[slug(c)] for c in classes], dtype=float)
        check_probabilities(probs, f"{at}, prob")
    size = int(image.get("width") or 0), int(image.get("height") or 0)
    return Prediction(image["file_name"], *size, classes, probs, detections)
