"""Regions of Chest ImaGenome as boxes of the findings affirmed in them, in pixels of the original image.

The data set has no boxes of lesions (data format reference §2.9): a nodule gets its whole lung zone. Coordinates are
taken from ``original_*``; where only those of the 224 pixel frame exist they are taken back. Devices get no box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

from wsrpn_vl.data.scene_graphs import Place
from wsrpn_vl.data.sources.tables import box_frame, clip_boxes
from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.regions import smallest

SIDE = 224
Box = tuple[float, float, float, float]
Regions = tuple[tuple[str, tuple[str, ...]], ...]  # (finding, its regions) pairs


class Affirmed(NamedTuple):
    """What boxes are made of: image, (finding, its regions) pairs, region -> its boxes."""

    image_id: str
    findings: Regions
    places: Mapping[str, tuple[Place, ...]]


def affirmed(image_id: str, findings: Regions, places: Mapping[str, tuple[Place, ...]]) -> Affirmed:
    """What boxes of an image are made of: its findings that are observations."""
    return Affirmed(image_id, tuple((name, found) for name, found in findings if name in OBSERVATIONS), places)


def unboxed(counts: Mapping[str, int]) -> tuple[tuple[int, str], ...]:
    """Counts of :func:`region_boxes` and what they are of, for ``count_notes``."""
    return (
        (counts.get("unplaced", 0), "region of an affirmed finding without a box"),
        (counts.get("unsized", 0), "box of the 224 pixel frame of an image of unknown size, left out"),
        (counts.get("empty", 0), "box without area in its image, left out"),
    )


class Padding(NamedTuple):
    """How the original lies in the 224 pixel frame: x224 = x * ratio + left, y224 = y * ratio + top."""

    ratio: float
    left: float
    top: float


def padding(width: float, height: float) -> Padding:
    """The longer side becomes 224 pixels, the shorter is cut to whole pixels and padded evenly."""
    ratio = SIDE / max(width, height)
    return Padding(ratio, (SIDE - int(width * ratio)) // 2, (SIDE - int(height * ratio)) // 2)


def to_frame(box: Box, pad: Padding) -> Box:
    """xyxy of the original in the 224 pixel frame."""
    x1, y1, x2, y2 = box
    ratio, left, top = pad
    return x1 * ratio + left, y1 * ratio + top, x2 * ratio + left, y2 * ratio + top


def to_original(box: Box, pad: Padding) -> Box:
    """xyxy of the 224 pixel frame in the original; stored whole numbers leave 0.5 / ratio pixels of doubt."""
    x1, y1, x2, y2 = box
    ratio, left, top = pad
    return (x1 - left) / ratio, (y1 - top) / ratio, (x2 - left) / ratio, (y2 - top) / ratio


def region_boxes(
    stated: Iterable[Affirmed], frame: pl.DataFrame, source: str, *, nested: str, paddings: Mapping[str, Padding]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Boxes table, and counts of the regions without box and of the boxes without area.

    frame: image_id, width, height (null where unknown); nested: ``smallest`` leaves out a region that contains another
    one of the same finding and has a box, ``all`` keeps both; paddings: of images whose frame is stated, else it
    follows from their size. Boxes of one image, finding and region become their union.
    """
    sizes = {row[0]: row[1:] for row in frame.select("image_id", "width", "height").iter_rows()}
    counts = {"unplaced": 0, "unsized": 0, "empty": 0}
    rows: list[tuple] = []
    for image_id, findings, places in stated:
        width, height = sizes[image_id]
        pad = paddings.get(image_id) or (padding(width, height) if width and height else None)
        boxes: dict[str, list[Box]] = {}
        for region, found in places.items():
            boxes[region] = [box for place in found if (box := _original(place, pad)) is not None]
            counts["unsized"] += len(found) - len(boxes[region])
        for finding, regions in findings:
            placed = [region for region in regions if boxes.get(region)]
            counts["unplaced"] += len(regions) - len(placed)
            for region in smallest(placed) if nested == "smallest" else placed:
                rows += [(image_id, finding, *box, source, "region", region) for box in boxes[region]]
    table, counts["empty"] = clip_boxes(box_frame(rows, "kind", "region"), frame)
    key = ("image_id", "label", "source", "kind", "region")
    union = table.group_by(key, maintain_order=True).agg(pl.col("x1", "y1").min(), pl.col("x2", "y2").max())
    return union.select(table.columns), counts


def _original(place: Place, pad: Padding | None) -> Box | None:
    box = place.x1, place.y1, place.x2, place.y2
    if place.original:
        return box
    return to_original(box, pad) if pad else None
