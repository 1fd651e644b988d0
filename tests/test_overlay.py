"""Pictures of boxes and heat maps: what is drawn where, by the pixel."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import colour
from wsrpn_vl.overlay import DASH, draw_overlay, heatmap_overlay, inferno, save_png, score_text
from wsrpn_vl.types import Detections

CLASSES = ("Cardiomegaly", "Pneumothorax")
RED, BLUE = (ImageColor.getrgb(colour(name)) for name in CLASSES)


def detections(*found: tuple[tuple[float, ...], float, int]) -> Detections:
    return Detections(
        CLASSES,
        np.array([f[0] for f in found]),
        np.array([f[1] for f in found]),
        np.array([f[2] for f in found]),
    )


def drawn(*found: tuple[tuple[float, ...], float, int], shape=(400, 400), fill=255, truth=(), **options) -> np.ndarray:
    """Pixels of the picture without its legend; one image pixel is one canvas pixel unless ``scale_to`` is given."""
    options.setdefault("scale_to", max(shape))
    image = np.full(shape, fill, np.uint8)
    picture = np.asarray(draw_overlay(image, detections(*found), truth, **options)).astype(int)
    height = round(shape[0] * options["scale_to"] / max(shape))
    return picture[:height]


def dark(pixels: np.ndarray) -> int:
    """Pixels of predicted boxes' caption plates on a white image (their text is white, so it is not counted)."""
    return int((pixels.max(-1) < 70).sum())


def test_box_edges_are_where_they_should_be():
    """200 x 100 pixels at scale_to=400 is scale 2: box (20, 10, 80, 40) -> (40, 20, 160, 80), line 2 inside it.

    So columns 40, 41 and 158, 159 and rows 20, 21 and 78, 79 are red; 42 and 157 are not.
    """
    pixels = drawn(((20, 10, 80, 40), 0.9, 0), shape=(100, 200), fill=0, scale_to=400)
    middle = 50
    red = [x for x in range(400) if tuple(pixels[middle, x]) == RED]
    assert red == [40, 41, 158, 159]
    red = [y for y in range(200) if tuple(pixels[y, 155]) == RED]  # right of the caption
    assert red == [20, 21, 78, 79]


def test_box_that_fills_the_image_stays_visible_on_all_sides():
    pixels = drawn(((0, 0, 400, 400), 0.9, 0))
    assert tuple(pixels[-1, 200]) == tuple(pixels[200, 0]) == tuple(pixels[200, -1]) == tuple(pixels[0, 390]) == RED


def test_annotated_box_is_dashed_and_lets_a_predicted_one_through():
    """On the same edge white dashes and the red of the predicted box alternate, with dashes at the corners."""
    box = (100.0, 100.0, 300.0, 300.0)
    pixels = drawn((box, 0.9, 0), truth=[("Cardiomegaly", box)])
    edge = [tuple(p) for p in pixels[101, 100:300]]
    assert edge.count(DASH) > 60
    assert edge.count(RED) > 40
    assert edge[-1] == DASH
    only_truth = [tuple(p) for p in drawn(truth=[("Cardiomegaly", box)], fill=90)[101, 100:300]]
    assert only_truth.count((90, 90, 90)) > 40


def test_best_boxes_above_the_score_are_drawn():
    found = [((200, 20 + 60 * i, 390, 60 + 60 * i), 0.1 + 0.1 * i, 1) for i in range(6)]

    def shown(**options) -> list[int]:
        pixels = drawn(*found, **options)
        return [i for i in range(6) if tuple(pixels[55 + 60 * i, 389]) == BLUE]

    assert shown() == [0, 1, 2, 3, 4, 5]
    assert shown(max_boxes=2) == [4, 5]
    assert shown(min_score=0.35) == [3, 4, 5]
    assert shown(min_score=0.99) == []


def test_best_box_lies_on_top():
    box = (100.0, 100.0, 300.0, 300.0)
    assert tuple(drawn((box, 0.2, 0), (box, 0.9, 1))[250, 100]) == BLUE
    assert tuple(drawn((box, 0.9, 0), (box, 0.2, 1))[250, 100]) == RED


@settings(max_examples=40, deadline=None)
@given(x=st.floats(0, 380), y=st.floats(0, 380), w=st.floats(1, 400), h=st.floats(1, 400))
@example(x=0.0, y=0.0, w=87.0, h=11.0)
def test_caption_is_never_cut_off(x, y, w, h):
    """Wherever the box is, its plate has as many pixels as that of a box in the middle; a flat box's line adds some."""
    box = (x, y, min(x + w, 400), min(y + h, 400))
    more = dark(drawn((box, 0.9, 0))) - dark(drawn(((150, 150, 250, 250), 0.9, 0)))
    assert -40 <= more <= 100


def test_captions_do_not_cover_each_other():
    """Of six boxes in nearly one place the plates cover no less than the six plates alone."""
    boxes = [((100.0 + 4 * i, 100.0 + 4 * i, 300.0 + 4 * i, 300.0 + 4 * i), 0.9 - 0.1 * i, i % 2) for i in range(6)]
    alone = sum(dark(drawn(box)) for box in boxes)
    assert dark(drawn(*boxes)) >= alone - 40


def test_long_class_name_fits_a_small_picture():
    name = "Enlarged Cardiomediastinum with a very long addition to its name"
    found = Detections((name,), np.array([[5.0, 5.0, 60.0, 60.0]]), np.array([0.5]), np.array([0]))
    picture = np.asarray(draw_overlay(np.full((64, 64), 255, np.uint8), found, scale_to=128)).astype(int)[:128]
    columns = np.flatnonzero((picture.max(-1) < 70).any(0))
    assert columns.min() >= 0
    assert columns.max() <= 127
    assert dark(picture) > 500


def test_legend_lies_below_the_image_and_says_what_is_drawn():
    image = np.random.default_rng(0).integers(0, 255, (300, 200), dtype=np.uint8)
    plain = draw_overlay(image, Detections.empty(CLASSES), scale_to=300)
    assert plain.mode == "RGB"
    assert plain.width == 200
    assert plain.height > 300
    assert np.array_equal(np.asarray(plain)[:300], np.stack([image] * 3, -1))
    both = draw_overlay(image, detections(((10, 10, 50, 50), 0.5, 0)), [("Edema", (5, 5, 9, 9))], scale_to=300)
    legends = {np.asarray(picture)[300:].tobytes() for picture in (plain, both)}
    assert len(legends) == 2


def test_float_and_uint8_give_the_same_picture():
    grey = np.random.default_rng(1).integers(0, 256, (50, 70), dtype=np.uint8)
    found = detections(((5, 5, 30, 30), 0.5, 0))
    assert draw_overlay(grey, found) == draw_overlay(grey.astype(np.float32) / np.float32(255), found)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int32), np.zeros(4)])
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"expected \(h, w\)"):
        draw_overlay(image, Detections.empty(CLASSES))


def test_heat_lies_over_the_patch_it_belongs_to():
    """Image 200 x 100, square 200: content rows 50..150. Patch (2, 6) of 8 x 8 (25 pixels) is x 150..175, y 50..75 of
    the square, so x 150..175, y 0..25 of the image.
    """
    letterbox = Letterbox(200, 100, 200)
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[2, 6] = 0.3
    pixels = np.asarray(heatmap_overlay(np.full((100, 200), 128, np.uint8), heatmap, letterbox, scale_to=200)).astype(
        int
    )
    change = np.abs(pixels - 128).sum(-1)
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert 150 <= x < 175
    assert 0 <= y < 25
    assert change[:, :125].max() == 0
    assert change[51:].max() == 0


def test_heatmap_of_zeros_leaves_the_image_and_scale_does_not_matter():
    image = np.random.default_rng(2).integers(0, 256, (64, 48), dtype=np.uint8)
    letterbox = Letterbox(48, 64, 64)
    none = heatmap_overlay(image, np.zeros((4, 4)), letterbox, scale_to=64)
    assert np.array_equal(np.asarray(none), np.stack([image] * 3, -1))
    heat = np.random.default_rng(3).random((4, 4)).astype(np.float32)
    one, half = (np.asarray(heatmap_overlay(image, k * heat, letterbox)).astype(int) for k in (1.0, 0.5))
    assert np.abs(one - half).max() <= 1


def test_letterbox_of_another_image_is_refused():
    with pytest.raises(ValueError, match="letterbox is for"):
        heatmap_overlay(np.zeros((10, 20)), np.zeros((2, 2)), Letterbox(10, 20, 32))


def test_inferno_is_matplotlibs():
    values = np.linspace(0, 1, 256)
    assert np.abs(inferno(values) - 255 * matplotlib.colormaps["inferno"](values)[:, :3]).max() < 8


def test_small_scores_do_not_read_as_zero():
    assert [score_text(s) for s in (1.0, 0.126, 0.01, 0.004, 0.00002, 0.0)] == [
        "1.00", "0.13", "0.01", "0.004", "2e-05", "0.00",
    ]  # fmt: skip


def test_saved_png_reads_back_and_leaves_nothing_else(tmp_path):
    picture = Image.fromarray(np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    path = save_png(tmp_path / "new" / "a.png", picture)
    with Image.open(path) as back:
        assert np.array_equal(np.asarray(back), np.asarray(picture))
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"a\.png: cannot be written"):
        save_png(tmp_path / "file" / "a.png", picture)
