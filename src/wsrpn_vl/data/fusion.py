"""Boxes that several readers drew on the same images, fused into one reference.

Each reader boxes every finding anew, so one lesion comes up to as many times as there are readers; counted as they
are, the same lesion would be found or missed three times. The order of the rows changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.overlap import iou_pairs, weighted_fusion

CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Fusion:
    """A way to fuse. group: sorted boxes and IoU -> clusters as lists of rows; iou: its usual threshold; votes: a
    cluster needs as many readers as asked for, else one is enough."""

    group: Callable[[pl.DataFrame, float], list[list[int]]]
    iou: float
    votes: bool


def fuse_boxes(boxes: pl.DataFrame, how: str = "cluster", *, iou: float = 0.0, readers: int = 2) -> pl.DataFrame:
    """One box per cluster of boxes of the same image and class: image_id, label, x1, y1, x2, y2 and agreed (readers).

    boxes: image_id, label, x1, y1, x2, y2, reader; how: ``cluster`` (pairs of different readers that overlap by IoU 0.4
    or more are joined, best overlap first, never two boxes of one reader; kept from ``readers`` readers on; mean
    coordinates), ``all`` (the same, kept whoever drew it), ``wbf`` (weighted boxes fusion at IoU 0.1 with equal
    weights, all kept); iou: another threshold than these, if not 0.
    Raises: DataError for another way or an impossible number.
    """
    fusion = lookup("fusion of readers", how, FUSIONS, DataError)
    if not 0 <= iou < 1 or readers < 1:
        raise DataError(f"fuse_iou={iou}, fuse_readers={readers}; give an IoU from 0 to below 1 and at least 1 reader")
    rows = boxes.sort("image_id", "label", *CORNERS, "reader")
    clusters = fusion.group(rows, iou or fusion.iou)
    number = np.empty(rows.height, dtype=np.int64)
    for n, members in enumerate(clusters):
        number[members] = n
    return (
        rows.with_columns(cluster=pl.Series(number))
        .group_by("cluster", "image_id", "label", maintain_order=True)
        .agg(*(pl.col(c).mean() for c in CORNERS), agreed=pl.col("reader").n_unique())
        .filter(pl.col("agreed") >= (readers if fusion.votes else 1))
        .drop("cluster")
    )


def _cluster(rows: pl.DataFrame, iou: float) -> list[list[int]]:
    """Single linkage over pairs of different readers, best first, at most one box of each reader in a cluster."""
    members = [[i] for i in range(rows.height)]
    readers = [{reader} for reader in rows["reader"]]
    home = list(range(rows.height))
    for i, j in _overlapping(rows, iou):
        a, b = home[i], home[j]
        if a == b or readers[a] & readers[b]:
            continue
        members[a] += members[b]
        readers[a] |= readers[b]
        for k in members[b]:
            home[k] = a
        members[b] = []
    return [group for group in members if group]


def _overlapping(rows: pl.DataFrame, iou: float) -> list[tuple[int, int]]:
    """Pairs of rows of one image and class, of different readers, that overlap enough, best first."""
    keys = rows.select("image_id", "label", "reader").with_row_index("at")
    pairs = keys.join(keys, on=["image_id", "label"], suffix="_2").filter(
        (pl.col("at") < pl.col("at_2")) & (pl.col("reader") != pl.col("reader_2"))
    )
    first, second = pairs["at"].to_numpy(), pairs["at_2"].to_numpy()
    corners = rows.select(CORNERS).to_numpy()
    overlap = iou_pairs(corners[first], corners[second])
    order = np.lexsort((second, first, -overlap))
    order = order[overlap[order] >= iou]
    return list(zip(first[order].tolist(), second[order].tolist(), strict=True))


def _weighted(rows: pl.DataFrame, iou: float) -> list[list[int]]:
    clusters: list[list[int]] = []
    corners = rows.select(CORNERS).to_numpy(writable=True)
    start = 0
    for size in rows.group_by("image_id", "label", maintain_order=True).len()["len"]:
        found = weighted_fusion(corners[start : start + size], np.ones(size), iou)[0] if size > 1 else [[0]]
        clusters += [[start + i for i in group] for group in found]
        start += size
    return clusters


FUSIONS: dict[str, Fusion] = {
    "cluster": Fusion(_cluster, 0.4, True),
    "all": Fusion(_cluster, 0.4, False),
    "wbf": Fusion(_weighted, 0.1, False),
}
