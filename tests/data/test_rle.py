"""Run lengths: golden strings, COCO's own codec, round trips, and boxes of components worked out by a flood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrpn_vl.data.rle import coco_runs, decode_coco, decode_siim, encode_coco, mask_boxes, mask_runs, run_boxes
from wsrpn_vl.errors import DataError


def draw(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


MASK = draw(
    ".##...",
    ".#..#.",
    "#...##",
    "......",
)  # column by column: ..#. / ##.. / #... / .... / .##. / ..#.
RUNS = [2, 1, 1, 2, 2, 1, 8, 2, 3, 1, 1]

shapes = st.tuples(st.integers(1, 24), st.integers(1, 24))
masks = st.builds(
    lambda shape, seed, density: np.random.default_rng(seed).random(shape) < density,
    shapes,
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.02, 0.2, 0.5, 0.9, 1.0]),
)


def test_golden_runs() -> None:
    assert mask_runs(MASK).tolist() == RUNS
    assert (decode_coco(RUNS, 4, 6) == MASK).all()
    assert mask_runs(np.ones((3, 2))).tolist() == [0, 6] and mask_runs(np.zeros((3, 2))).tolist() == [6]


def test_golden_string() -> None:
    """By hand: 2, 1, 1, then 2-1, 2-1, 1-2, 8-2, 2-1, 3-8, 1-2, 1-3; -5 is 11011 with the sign bit and no more."""
    wanted = "".join(chr(48 + (d & 0x1F)) for d in (2, 1, 1, 1, 1, -1, 6, 1, -5, -1, -2))
    assert encode_coco(MASK) == wanted
    assert coco_runs(wanted, 4, 6).tolist() == RUNS
    # 300 = 01001 01100: low chunk with the continuation bit first; 16 needs a second chunk, or it would read as -16
    assert encode_coco(np.zeros((20, 15))) == chr(48 + 0x2C) + chr(48 + 9)
    assert encode_coco(np.zeros((4, 4))) == chr(48 + 0x30) + chr(48)


@settings(max_examples=150, deadline=None)
@given(masks)
def test_round_trip(mask: np.ndarray) -> None:
    h, w = mask.shape
    assert (decode_coco(encode_coco(mask), h, w) == mask).all()
    assert (decode_coco(encode_coco(mask).encode(), h, w) == mask).all()
    assert (decode_coco(mask_runs(mask).tolist(), h, w) == mask).all()


@settings(max_examples=100, deadline=None)
@given(masks)
def test_same_as_cocos_own_codec(mask: np.ndarray) -> None:
    own = pytest.importorskip("faster_coco_eval.core.mask", reason="COCO's codec is not installed")
    coded = own.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert coded["counts"].decode() == encode_coco(mask)
    assert (decode_coco(coded["counts"], *coded["size"]) == own.decode(coded)).all()


def siim(mask: np.ndarray) -> str:
    runs = mask_runs(mask).tolist()
    return " ".join(map(str, runs[: len(runs) // 2 * 2])) or "-1"


@settings(max_examples=100, deadline=None)
@given(masks)
def test_siim_round_trip(mask: np.ndarray) -> None:
    assert (decode_siim(siim(mask), *mask.shape) == mask).all()


def test_siim_golden() -> None:
    assert (decode_siim(" 2 1 1 2 2 1 8 2 3 1", 4, 6) == MASK).all()
    assert not decode_siim(" -1", 4, 6).any()


def flood(mask: np.ndarray) -> list[tuple[float, ...]]:
    """Boxes of the 8-connected components, found pixel by pixel."""
    left = {(int(x), int(y)) for y, x in np.argwhere(mask)}
    boxes = []
    while left:
        todo, part = [min(left)], set()
        while todo:
            x, y = todo.pop()
            if (x, y) in left:
                left.discard((x, y))
                part.add((x, y))
                todo += [(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        xs, ys = [x for x, _ in part], [y for _, y in part]
        boxes.append((float(min(xs)), float(min(ys)), float(max(xs) + 1), float(max(ys) + 1)))
    return boxes


def test_golden_boxes() -> None:
    """The diagonal pixel belongs to the left part; the right edge is the one after the last pixel."""
    assert mask_boxes(MASK, "component") == [(0, 0, 3, 3), (4, 1, 6, 3)]
    assert mask_boxes(MASK, "union") == [(0, 0, 6, 3)]
    assert mask_boxes(np.zeros((4, 6)), "component") == mask_boxes(np.zeros((4, 6)), "union") == []
    assert mask_boxes(np.ones((4, 6))) == [(0, 0, 6, 4)]
    assert mask_boxes(draw("#.#", "#.#", "###")) == [(0, 0, 3, 3)]
    assert mask_boxes(draw("###", "#.#", "#.#", "...", ".#.")) == [(0, 0, 3, 3), (1, 4, 2, 5)]


@settings(max_examples=150, deadline=None)
@given(masks)
def test_boxes_are_those_of_a_flood(mask: np.ndarray) -> None:
    boxes = mask_boxes(mask, "component")
    assert boxes == flood(mask)
    if boxes:
        low, high = np.array(boxes)[:, :2].min(0), np.array(boxes)[:, 2:].max(0)
        assert mask_boxes(mask, "union") == [(*low, *high)]


@settings(max_examples=50, deadline=None)
@given(masks)
def test_a_run_of_no_length_cuts_nothing(mask: np.ndarray) -> None:
    runs: list[int] = []
    for i, length in enumerate(mask_runs(mask).tolist()):
        half = length // 2
        runs += [half, 0, length - half] if i % 2 else [length]
    assert run_boxes(coco_runs(runs, *mask.shape), *mask.shape) == mask_boxes(mask)


FAULTS = [
    ([1, 2], 2, 2, "do not fill an image of 2 x 2"),
    ([5, -1], 2, 2, "do not fill"),
    ([2.0, 2.0], 2, 2, "neither a string nor a list of whole numbers"),
    (None, 2, 2, "neither a string"),
    ("", 2, 2, "do not fill"),
    ("4\x10", 2, 2, "no compressed run lengths"),
    ("é", 2, 2, "no compressed run lengths"),
    ("P", 2, 2, "no compressed run lengths"),  # continuation without an end
    ("P" * 9 + "0", 2, 2, "longer than any image"),
    ("4", "2", 2, "size '2' x 2"),
    ("4", 10**9, 1, "size 1000000000 x 1"),
    ("4", 0, 1, "size 0 x 1"),
]


@pytest.mark.parametrize(("counts", "height", "width", "message"), FAULTS)
def test_damaged_counts_are_refused(counts, height, width, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_coco(counts, height, width, "masks.json: key")
    assert str(caught.value).startswith("masks.json: key: ")


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "1 x", "1 -2", "9 9", "1 99999999999", "²³ 1"])
def test_damaged_siim_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="train-rle.csv: line 3: "):
        decode_siim(text, 4, 4, "train-rle.csv: line 3")


def test_unknown_mode() -> None:
    with pytest.raises(DataError, match="did you mean 'component'"):
        mask_boxes(MASK, "components")


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=30), st.binary(max_size=30), st.lists(st.integers(), max_size=8)), shapes)
def test_whatever_the_counts_there_is_a_mask_or_one_line(counts, shape: tuple[int, int]) -> None:
    try:
        found: str | tuple[int, ...] = decode_coco(counts, *shape).shape
    except DataError as error:
        found = str(error)
    assert found == shape or "\n" not in found
