"""Boxes of several readers fused into one reference: worked out on paper, and what must not change it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from wsrpn_vl.boxes import iou_matrix, iou_pairs, weighted_fusion
from wsrpn_vl.data.fusion import CORNERS, FUSIONS, fuse_boxes
from wsrpn_vl.errors import DataError

SCHEMA = ["image_id", "label", *CORNERS, "reader"]


def table(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame([("a", "Mass", *map(float, box), reader) for reader, box in rows], schema=SCHEMA, orient="row")


def corners(frame: pl.DataFrame) -> list[tuple]:
    return sorted(frame.select(CORNERS).rows())


def readings(seed: int, images: int = 12) -> pl.DataFrame:
    """Lesions that each of three readers sees with odds 0.7 and boxes a little off, one of them twice at times."""
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(images):
        for lesion in range(int(rng.integers(1, 5))):
            x, y, w, h = rng.uniform((0, 0, 5, 5), (80, 80, 20, 20))
            for reader in rng.choice(["R1", "R2", "R3"], size=int(rng.integers(1, 5))):
                box = np.array([x, y, x + w, y + h]) + rng.normal(0, 1, 4)
                rows.append((f"i{image}", ("Mass", "Nodule")[lesion % 2], *box.tolist(), str(reader)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_three_boxes_of_one_lesion_become_their_mean() -> None:
    """(10 + 12 + 14) / 3 = 12; the box that overlaps none of them belongs to one reader and goes."""
    boxes = table(("R8", (10, 20, 50, 60)), ("R9", (12, 20, 52, 60)), ("R10", (14, 20, 54, 63)), ("R8", (80, 0, 90, 9)))
    fused = fuse_boxes(boxes)
    assert corners(fused) == [(12, 20, 52, 61)] and fused["agreed"].to_list() == [3]
    assert corners(fuse_boxes(boxes, "all")) == [(12, 20, 52, 61), (80, 0, 90, 9)]
    assert corners(fuse_boxes(boxes, readers=1)) == corners(fuse_boxes(boxes, "all"))


def test_the_threshold_is_reached_from_it_on() -> None:
    """Shifted by 5 of 15: 10 / 20 = 0.5."""
    boxes = table(("R8", (0, 0, 15, 10)), ("R9", (5, 0, 20, 10)))
    assert corners(fuse_boxes(boxes, iou=0.5)) == [(2.5, 0, 17.5, 10)]
    assert fuse_boxes(boxes, iou=0.51).is_empty()


def test_a_chain_of_readers_is_one_cluster_however_far_its_ends_are() -> None:
    """Neighbours 6 / 14 = 0.43, the ends 2 / 18 = 0.11."""
    boxes = table(("R8", (0, 0, 10, 10)), ("R9", (4, 0, 14, 10)), ("R10", (8, 0, 18, 10)))
    assert corners(fuse_boxes(boxes)) == [(4, 0, 14, 10)]


def test_a_cluster_has_one_box_of_each_reader() -> None:
    """R8 boxed two lesions, R9 one across both: it joins the one it overlaps more (9 / 11 against 8 / 12)."""
    boxes = table(("R8", (0, 0, 10, 10)), ("R8", (0, 3, 10, 13)), ("R9", (0, 1, 10, 11)))
    assert corners(fuse_boxes(boxes)) == [(0, 0.5, 10, 10.5)]
    assert corners(fuse_boxes(boxes, "all")) == [(0, 0.5, 10, 10.5), (0, 3, 10, 13)]
    alone = table(("R8", (0, 0, 10, 10)), ("R8", (0, 1, 10, 11)))
    assert fuse_boxes(alone).is_empty() and fuse_boxes(alone, "all").height == 2


def test_images_and_classes_are_never_mixed() -> None:
    one = table(("R8", (0, 0, 10, 10)))
    assert fuse_boxes(pl.concat([one, one.with_columns(image_id=pl.lit("b"), reader=pl.lit("R9"))])).is_empty()
    assert fuse_boxes(pl.concat([one, one.with_columns(label=pl.lit("Nodule"), reader=pl.lit("R9"))])).is_empty()


def test_weighted_boxes_fusion_joins_from_an_overlap_of_a_tenth_and_keeps_all() -> None:
    """2 / 18 = 0.11 joins, 1 / 19 does not; as in :func:`weighted_fusion`."""
    boxes = table(("R8", (0, 0, 10, 10)), ("R9", (8, 0, 18, 10)), ("R10", (50, 0, 60, 10)), ("R9", (59, 0, 69, 10)))
    wanted = [(4, 0, 14, 10), (50, 0, 60, 10), (59, 0, 69, 10)]
    assert np.array(corners(fuse_boxes(boxes, "wbf"))) == pytest.approx(np.array(wanted))
    values = boxes.sort(CORNERS).select(CORNERS).to_numpy(writable=True)
    assert sorted(map(tuple, weighted_fusion(values, np.ones(4), 0.1)[1].round(6))) == wanted


@pytest.mark.parametrize("how", sorted(FUSIONS))
@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_and_place_of_the_origin_do_not_matter(how: str, seed: int) -> None:
    boxes = readings(seed)
    fused = fuse_boxes(boxes, how)
    assert fuse_boxes(boxes.sample(fraction=1, shuffle=True, seed=seed), how).equals(fused)
    moved = fuse_boxes(boxes.with_columns(pl.col(CORNERS) * 3 + 100), how)
    assert moved.select(CORNERS).to_numpy() == pytest.approx(fused.select(CORNERS).to_numpy() * 3 + 100)
    assert fused.height > 4 and set(fused["image_id"]) <= set(boxes["image_id"])


@pytest.mark.parametrize("seed", range(3))
def test_who_the_readers_are_does_not_matter_and_more_votes_never_give_more_boxes(seed: int) -> None:
    boxes = readings(seed)
    renamed = boxes.with_columns(pl.col("reader").replace({"R1": "R3", "R2": "R1", "R3": "R2"}))
    assert fuse_boxes(renamed).equals(fuse_boxes(boxes))
    counts = [fuse_boxes(boxes, readers=n).height for n in (1, 2, 3, 4)]
    assert counts == sorted(counts, reverse=True) and counts[3] == 0
    assert fuse_boxes(boxes, readers=2)["agreed"].is_between(2, 3).all()


def test_nothing_to_fuse() -> None:
    assert fuse_boxes(table().cast({"reader": pl.String})).is_empty()


@pytest.mark.parametrize("options", [{"iou": -0.1}, {"iou": 1.0}, {"readers": 0}])
def test_impossible_numbers_are_named(options: dict) -> None:
    with pytest.raises(DataError, match="give an IoU"):
        fuse_boxes(table(), **options)
    with pytest.raises(DataError, match="'clusters'; did you mean 'cluster'"):
        fuse_boxes(table(), "clusters")


def test_iou_by_rows_is_the_diagonal_of_the_matrix() -> None:
    values = readings(0).select(CORNERS).to_numpy(writable=True)
    assert iou_pairs(values[:-1], values[1:]) == pytest.approx(np.diagonal(iou_matrix(values[:-1], values[1:])))
    assert iou_pairs(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [0]
