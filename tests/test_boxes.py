"""Geometry: letterbox forward and back for boxes, images and maps; conversions; IoU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrpn_vl.boxes import Letterbox, box_iou, cxcywh_to_xyxy, iou_matrix, xyxy_to_cxcywh

quick = settings(deadline=None, max_examples=60)
extent = st.integers(1, 4000)
net = st.integers(16, 600)
unit = st.floats(0, 1)
SHAPES = [(300, 200, 96), (200, 300, 96), (128, 128, 128), (97, 61, 64), (2048, 2500, 224), (40, 30, 224)]


@quick
@given(extent, extent, net, st.lists(st.tuples(unit, unit, unit, unit), min_size=0, max_size=5))
def test_boxes_make_the_round_trip(width: int, height: int, size: int, corners: list[tuple[float, ...]]) -> None:
    box = Letterbox(width, height, size)
    u = np.array(corners, dtype=float).reshape(-1, 2, 2)
    xyxy = np.concatenate([u.min(1), u.max(1)], axis=1) * [width, height, width, height]
    there = box.boxes_to_network(xyxy)
    assert there.shape == (len(corners), 4)
    assert ((there >= -1e-12) & (there <= 1 + 1e-12)).all()
    assert np.allclose(box.boxes_to_original(there), xyxy, rtol=0, atol=1e-9 * max(width, height))


@quick
@given(extent, extent, net)
def test_content_keeps_its_aspect_fills_one_side_and_is_centred(width: int, height: int, size: int) -> None:
    box = Letterbox(width, height, size)
    (w, h), (x, y) = box.resized, box.offset
    assert max(w, h) == size and min(w, h) >= 1
    assert abs(w - width * size / max(width, height)) <= max(0.5, 1 - width * size / max(width, height))
    assert abs(h - height * size / max(width, height)) <= max(0.5, 1 - height * size / max(width, height))
    assert 0 <= (size - w) - 2 * x <= 1 and 0 <= (size - h) - 2 * y <= 1


def test_the_whole_image_is_the_content_rectangle() -> None:
    """300 x 200 into 96: content 96 x 64, 16 rows of padding above; (cx, cy, w, h) = (.5, .5, 1, 2/3)."""
    box = Letterbox(300, 200, 96)
    assert (box.resized, box.offset) == ((96, 64), (0, 16))
    assert box.boxes_to_network(np.array([0, 0, 300, 200])).tolist() == [pytest.approx([0.5, 0.5, 1.0, 2 / 3])]
    point = box.boxes_to_network(np.array([[150, 100, 150, 100], [0, 0, 0, 0]]))
    assert point.tolist() == [pytest.approx([0.5, 0.5, 0, 0]), pytest.approx([0, 16 / 96, 0, 0])]


def test_boxes_beyond_the_image_are_clipped_unless_asked_otherwise() -> None:
    box = Letterbox(300, 200, 96)
    whole_square = np.array([[0.5, 0.5, 1.0, 1.0]])
    assert box.boxes_to_original(whole_square).tolist() == [[0, 0, 300, 200]]
    assert box.boxes_to_original(whole_square, clip=False).tolist() == [pytest.approx([0, -50, 300, 250])]


@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
def test_a_drawn_rectangle_is_found_where_its_box_says(width: int, height: int, size: int) -> None:
    """Image and boxes go through the same map: the bright area of the letterboxed image has the mapped corners."""
    box = Letterbox(width, height, size)
    x1, y1, x2, y2 = round(width * 0.2), round(height * 0.35), round(width * 0.7), round(height * 0.8)
    image = torch.zeros(1, height, width)
    image[:, y1:y2, x1:x2] = 1.0
    square = box.image_to_network(image)
    assert square.shape == (1, size, size)
    ys, xs = torch.nonzero(square[0] > 0.5, as_tuple=True)
    found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], dtype=float)
    expected = cxcywh_to_xyxy(torch.from_numpy(box.boxes_to_network(np.array([x1, y1, x2, y2])))).numpy()[0] * size
    assert np.abs(found - expected).max() <= max(1.0, size / max(width, height))
    centroid = [
        (square[0].sum(0) * (torch.arange(size) + 0.5)).sum(),
        (square[0].sum(1) * (torch.arange(size) + 0.5)).sum(),
    ]
    middle = box.boxes_to_network(np.array([x1, y1, x2, y2]))[0, :2] * size
    assert [float(c / square.sum()) for c in centroid] == pytest.approx(middle.tolist(), abs=0.05)


@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
def test_padding_is_black_and_content_keeps_its_brightness(width: int, height: int, size: int) -> None:
    box = Letterbox(width, height, size)
    square = box.image_to_network(torch.ones(2, height, width))
    (w, h), (x, y) = box.resized, box.offset
    assert torch.allclose(square[:, y : y + h, x : x + w], torch.ones(2, h, w), atol=1e-5)
    assert square.sum().item() == pytest.approx(2 * w * h, rel=1e-5)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = torch.rand(3, 64, 64)
    assert torch.allclose(Letterbox(64, 64, 64).image_to_network(image), image, atol=1e-6)


@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
@pytest.mark.parametrize("grid", [(7, 7), (14, 14)])
def test_content_mask_marks_patches_whose_centre_shows_image(
    width: int, height: int, size: int, grid: tuple[int, int]
) -> None:
    box = Letterbox(width, height, size)
    square = box.image_to_network(torch.ones(1, height, width))[0]
    centres = [[square[int((i + 0.5) / grid[0] * size), int((j + 0.5) / grid[1] * size)] > 0.5 for j in range(grid[1])]
               for i in range(grid[0])]  # fmt: skip
    assert box.content_mask(*grid).tolist() == centres


@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
def test_a_hot_patch_lies_on_the_original_where_its_box_lies(width: int, height: int, size: int) -> None:
    """The map's peak, mapped to the original, is at the centre of the patch's own box."""
    box, grid = Letterbox(width, height, size), 8
    heat = torch.zeros(grid, grid)
    heat[4, 3] = 1.0
    original = box.map_to_original(heat)
    assert original.shape == (height, width)
    patch = np.array([[3.5 / grid, 4.5 / grid, 1 / grid, 1 / grid]])
    x1, y1, x2, y2 = box.boxes_to_original(patch)[0]
    y, x = divmod(int(original.argmax()), width)
    assert abs(x + 0.5 - (x1 + x2) / 2) <= (x2 - x1) / 4 + 1 and abs(y + 0.5 - (y1 + y2) / 2) <= (y2 - y1) / 4 + 1
    weight = original.sum()
    assert float((original.sum(0) * (torch.arange(width) + 0.5)).sum() / weight) == pytest.approx(
        (x1 + x2) / 2, abs=0.02 * width + 0.5
    )


def test_maps_and_images_are_inverse_on_smooth_pictures() -> None:
    box = Letterbox(150, 100, 120)
    y, x = torch.meshgrid(torch.linspace(0, 3, 100), torch.linspace(0, 3, 150), indexing="ij")
    picture = 0.5 + 0.4 * torch.sin(x) * torch.cos(y)
    back = box.map_to_original(box.image_to_network(picture[None])[0])
    assert (back - picture)[2:-2, 2:-2].abs().max() < 0.01
    assert torch.allclose(box.map_to_original(torch.full((7, 7), 0.3)), torch.full((100, 150), 0.3), atol=1e-6)


@pytest.mark.parametrize("bad", [(0, 10, 10), (10, 0, 10), (10, 10, 0), (-1, 10, 10)])
def test_a_letterbox_needs_positive_extents(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="positive extents"):
        Letterbox(*bad)


def test_conversions_are_mutual_inverses() -> None:
    """Corners (1, 2, 5, 10) are centre (3, 6), size (4, 8)."""
    assert xyxy_to_cxcywh(torch.tensor([1.0, 2, 5, 10])).tolist() == [3, 6, 4, 8]
    boxes = torch.rand(2, 7, 4, dtype=torch.float64)
    assert torch.allclose(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes, atol=1e-15)


def test_golden_iou() -> None:
    """Two 2 x 2 squares that share one unit: 1 / (4 + 4 - 1) = 1/7; half of a square: 2/4; touching: 0."""
    a = np.array([[0, 0, 2, 2]])
    b = np.array([[1, 1, 3, 3], [0, 0, 1, 2], [2, 0, 4, 2], [0, 0, 2, 2]])
    assert iou_matrix(a, b).tolist() == [pytest.approx([1 / 7, 0.5, 0.0, 1.0])]
    assert box_iou(torch.tensor(a), torch.tensor(b)).tolist() == [pytest.approx([1 / 7, 0.5, 0.0, 1.0])]


boxes = st.lists(
    st.tuples(*[st.floats(0, 100)] * 4).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    ),
    max_size=4,
)


@quick
@given(boxes, boxes)
def test_iou_is_symmetric_and_between_zero_and_one(a: list[tuple[float, ...]], b: list[tuple[float, ...]]) -> None:
    one, other = iou_matrix(np.array(a), np.array(b)), iou_matrix(np.array(b), np.array(a))
    assert one.shape == (len(a), len(b))
    assert ((one >= 0) & (one <= 1 + 1e-12)).all()  # NaN would fail
    assert np.allclose(one, other.T, atol=1e-12)


def test_boxes_without_area_overlap_nothing() -> None:
    flat = np.array([[1, 1, 1, 1], [1, 1, 5, 1]])
    assert iou_matrix(flat, flat).tolist() == [[0, 0], [0, 0]]
