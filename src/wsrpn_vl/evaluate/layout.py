"""What every predictions format shares: the value, its checks, names of classes and images, atomic writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError

from wsrpn_vl.errors import PredictionsError, nearest
from wsrpn_vl.files import replacing
from wsrpn_vl.labels import BY_NAME, slug
from wsrpn_vl.types import Detections, Prediction

_IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".dcm",
    ".dicom",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
)
_ASPECT_TOLERANCE = 0.01  # resizing to whole pixels changes the aspect ratio by less


@dataclass(frozen=True)
class PredictionSet:
    """Predictions of many images over the same classes.

    predictions: in file order; width = height = 0 where the file does not tell the size; meta: provenance.
    calibrated: (n, c) calibrated probabilities, NaN where absent; thresholds: (c,) image-level operating points on
    ``probs``, NaN where absent; both None when the file has none at all.
    """

    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    meta: dict[str, Any]
    calibrated: np.ndarray | None = None
    thresholds: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Image identifiers in order."""
        return tuple(p.image_id for p in self.predictions)

    @property
    def probs(self) -> np.ndarray:
        """(n, c) image-level probabilities."""
        return np.array([p.probs for p in self.predictions], dtype=float).reshape(len(self), len(self.classes))


@dataclass(frozen=True)
class Alignment:
    """Predictions in the order of the truth, and what had to be done for it.

    extra: predictions of images the truth lacks, left out; missing: truth images without a prediction, filled with
    probability 0 and no box; rescaled: images whose boxes were given in a resized frame of the same aspect ratio.
    """

    predictions: PredictionSet
    extra: int
    missing: int
    rescaled: int


def image_key(image_id: str) -> str:
    """``image_id`` without folders and without an image file's suffix: ``a/00000001_000.png`` -> ``00000001_000``."""
    name = image_id.replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in _IMAGE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def by_image(image_ids: Sequence[str], place: str) -> Callable[[str], int | None]:
    """Finder of an image's position: exact identifier first, then without folders and suffix.

    Raises: PredictionsError if two of ``image_ids`` are equal; at a look-up, if the short form fits two of them.
    """
    exact: dict[str, int] = {}
    short: dict[str, list[int]] = {}
    for i, image_id in enumerate(image_ids):
        if image_id in exact:
            raise PredictionsError(f"{place}: image {image_id!r} appears twice; keep one entry per image")
        exact[image_id] = i
        short.setdefault(image_key(image_id), []).append(i)

    def find(image_id: str) -> int | None:
        if image_id in exact:
            return exact[image_id]
        found = short.get(image_key(image_id), [])
        if len(found) > 1:
            a, b = (image_ids[i] for i in found[:2])
            raise PredictionsError(f"{place}: {a!r} and {b!r} both fit image {image_id!r}; use the index's image_id")
        return found[0] if found else None

    return find


def match_classes(have: Sequence[str], wanted: Sequence[str], place: str) -> dict[str, str]:
    """Name in the file -> wanted name, equal up to case and punctuation; further names of the file are left out.

    Raises: PredictionsError if a wanted class is not in the file.
    """
    slugs = {slug(h): h for h in have}
    out = {}
    for name in wanted:
        found = name if name in have else slugs.get(slug(name))
        if found is None:
            raise PredictionsError(f"{place}: class {name!r} is not in the file{nearest(name, have)}")
        out[found] = name
    return out


def known_class(name: str, wanted: Sequence[str], place: str) -> str | None:
    """The wanted name that ``name`` means; None for another class of a known vocabulary.

    Raises: PredictionsError if the name is in no vocabulary.
    """
    for candidate in wanted:
        if slug(candidate) == slug(name):
            return candidate
    if slug(name) in {slug(n) for n in (*BY_NAME, "No Finding")}:
        return None
    raise PredictionsError(f"{place}: unknown class {name!r}{nearest(name, wanted)}")


def align(
    predictions: PredictionSet,
    image_ids: Sequence[str],
    sizes: np.ndarray | None = None,
    *,
    allow_missing: bool = False,
    place: str = "predictions",
) -> Alignment:
    """Predictions for exactly ``image_ids``, in that order, boxes in the frame given by ``sizes``.

    sizes: (n, 2) width, height, NaN where unknown. Boxes of a prediction of another size but the same aspect ratio
    are scaled; of unknown size, they are taken as they are.
    Raises: PredictionsError if an image has no prediction (unless ``allow_missing``), or its aspect ratio differs.
    """
    find = by_image(predictions.image_ids, place)
    where = [find(i) for i in image_ids]
    missing = [i for i, w in zip(image_ids, where, strict=True) if w is None]
    used = {w for w in where if w is not None}
    if missing and not (allow_missing and used):
        raise PredictionsError(
            f"{place}: {len(missing)} of {len(where)} images have no prediction, the first is {missing[0]!r}; "
            "predict them too, or allow missing images (they then count as nothing found)"
        )
    out, rescaled = [], 0
    for i, (image_id, w) in enumerate(zip(image_ids, where, strict=True)):
        size = (0, 0) if sizes is None or np.isnan(sizes[i]).any() else (int(sizes[i, 0]), int(sizes[i, 1]))
        if w is None:
            c = predictions.classes
            out.append(Prediction(image_id, *size, c, np.zeros(len(c)), Detections.empty(c)))
            continue
        one, scaled = _in_frame(replace(predictions.predictions[w], image_id=image_id), size, place)
        rescaled += scaled
        out.append(one)
    calibrated = predictions.calibrated
    if calibrated is not None:
        calibrated = np.array([calibrated[w] if w is not None else np.full(calibrated.shape[1], np.nan) for w in where])
    aligned = replace(predictions, predictions=tuple(out), calibrated=calibrated)
    return Alignment(aligned, len(predictions) - len(used), len(missing), rescaled)


def _in_frame(one: Prediction, size: tuple[int, int], place: str) -> tuple[Prediction, bool]:
    """``one`` with its boxes in an image of ``size``, and whether they had to be scaled."""
    have = (one.width, one.height)
    if 0 in size or have == size:
        return one, False
    if 0 in have:
        return replace(one, width=size[0], height=size[1]), False
    scale = np.array(size) / np.array(have)
    if abs(scale[0] / scale[1] - 1) > _ASPECT_TOLERANCE:
        raise PredictionsError(
            f"{place}: image {one.image_id!r} is {have[0]}x{have[1]} here but {size[0]}x{size[1]} in the index; "
            "give boxes in pixels of the original image"
        )
    detections = replace(one.detections, xyxy=one.detections.xyxy * np.tile(scale, 2))
    return replace(one, width=size[0], height=size[1], detections=detections), True


def select_classes(predictions: PredictionSet, classes: Sequence[str], place: str = "predictions") -> PredictionSet:
    """The same predictions over ``classes`` only, in that order.

    Raises: PredictionsError if one of them is not there.
    """
    classes = tuple(classes)
    if classes == predictions.classes:
        return predictions
    match = match_classes(predictions.classes, classes, place)
    columns = [predictions.classes.index(name) for name in match]
    new_id = np.full(len(predictions.classes), -1)
    new_id[columns] = np.arange(len(columns))
    out = []
    for one in predictions.predictions:
        d = one.detections
        ids = new_id[d.class_ids]
        keep = ids >= 0
        out.append(
            replace(
                one,
                classes=classes,
                probs=np.asarray(one.probs)[columns],
                detections=Detections(classes, d.xyxy[keep], d.scores[keep], ids[keep]),
                heatmaps={k: v[columns] for k, v in one.heatmaps.items()},
            )
        )
    calibrated = None if predictions.calibrated is None else predictions.calibrated[:, columns]
    thresholds = None if predictions.thresholds is None else predictions.thresholds[columns]
    return PredictionSet(classes, tuple(out), predictions.meta, calibrated, thresholds)


def check_predictions(predictions: Iterable[Prediction], classes: Sequence[str], place: str) -> list[Prediction]:
    """The predictions as a list, each with its boxes best first.

    Raises: PredictionsError for other classes, a repeated image, or a value that is not finite or out of range.
    """
    classes = tuple(classes)
    out: list[Prediction] = []
    seen: set[str] = set()
    for one in predictions:
        at = f"{place}: image {one.image_id!r}"
        if one.classes != classes or one.detections.classes != classes:
            raise PredictionsError(f"{at} has classes {one.classes}, the file has {classes}")
        if one.image_id in seen:
            raise PredictionsError(f"{at} appears twice; keep one entry per image")
        seen.add(one.image_id)
        check_probabilities(one.probs, f"{at}, prob")
        check_boxes(one.detections.xyxy, one.detections.scores, at)
        out.append(
            replace(
                one,
                probs=np.asarray(one.probs, dtype=float),
                detections=one.detections.sorted(),
            )
        )
    return out


def check_probabilities(values: Any, at: str) -> None:
    """Raises: PredictionsError if a value is not finite or lies outside [0, 1]."""
    values = np.asarray(values, dtype=float).reshape(-1)
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise PredictionsError(f"{at}={values[bad][0]:g}; give a probability in [0, 1] (a logit needs a sigmoid)")


def check_boxes(xyxy: np.ndarray, scores: np.ndarray, at: str) -> None:
    """Raises: PredictionsError for a box (m, 4) that is not finite or turned over, or a score (m,) outside [0, 1]."""
    bad = ~np.isfinite(xyxy).all(1)
    if bad.any():
        raise PredictionsError(f"{at}, box {xyxy[bad][0].tolist()} is not finite; leave such boxes out")
    bad = (xyxy[:, 2] < xyxy[:, 0]) | (xyxy[:, 3] < xyxy[:, 1])
    if bad.any():
        raise PredictionsError(f"{at}, box {xyxy[bad][0].tolist()} has x2 < x1 or y2 < y1; give corners x1, y1, x2, y2")
    check_probabilities(scores, f"{at}, box score")


def replace_file(path: Path, write: Callable[[Path], Any]) -> Path:
    """``write(temporary)``, then rename the temporary file to ``path``; nothing half-written is ever at ``path``."""
    try:
        with replacing(path) as temporary:
            write(temporary)
    except (OSError, pl.exceptions.PolarsError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise PredictionsError(f"{path}: cannot be written ({reason}); choose another place") from None
    return path
