"""Letterboxed squares: the same values as at full resolution, and boxes that find back to the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fixtures.pixels import picture_index
from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.pixels import load_square, read_image
from wsrpn_vl.data.store import PixelStore
from wsrpn_vl.errors import DataError


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4000), st.integers(1, 4000), st.integers(32, 512), st.lists(st.floats(0, 1), min_size=4, max_size=4)
)
def test_boxes_come_back_to_original_pixels(width: int, height: int, size: int, at: list[float]) -> None:
    """Through the square and back, with the width and height that the store keeps."""
    box = np.array([[at[0] * width, at[1] * height, at[2] * width, at[3] * height]])
    letterbox = Letterbox(width, height, size)
    assert np.allclose(
        letterbox.boxes_to_original(letterbox.boxes_to_network(box)), box, atol=1e-4 * max(width, height)
    )


def marked(path: Path, width: int, height: int, box: tuple[int, int, int, int]) -> Path:
    image = np.full((height, width), 40, np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 240
    Image.fromarray(image).save(path, quality=95)
    return path


@pytest.mark.parametrize(("width", "height"), [(2544, 3056), (3051, 2539), (1024, 1024), (301, 640)])
def test_what_is_bright_in_the_square_is_bright_in_the_original(tmp_path: Path, width: int, height: int) -> None:
    """Pixels and geometry agree, also of a JPEG decoded at a fraction of its size: the bright rectangle's outline in
    the square, led back by the Letterbox, is the rectangle drawn, to half a pixel of the square."""
    box = (width // 4, height // 3, width // 2 + 5, height // 2 + 9)
    names = [marked(tmp_path / "a.jpg", width, height, box).name]
    index = read_index(picture_index(tmp_path, names, tmp_path / "index.parquet"))
    pixels, shape = PixelStore.open(index, index.frame, 224)[0]
    assert shape == (width, height)
    ys, xs = np.nonzero(pixels > 140)
    found = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]) / 224
    x1, y1, x2, y2 = found[0]
    back = Letterbox(*shape, 224).boxes_to_original(np.array([[(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]]))
    assert np.abs(back - np.array([box])).max() <= 0.51 * max(width, height) / 224


def full_resolution(path: Path, size: int) -> np.ndarray:
    """Every pixel decoded, resized in float32, rounded last."""
    image = read_image(path)
    letterbox = Letterbox(image.shape[1], image.shape[0], size)
    square = letterbox.image_to_network(torch.from_numpy(np.ascontiguousarray(image))[None])[0]
    return (square.clamp(0, 1) * 255).round().numpy()


@pytest.mark.parametrize("size", [64, 224, 300])
@pytest.mark.parametrize("kind", ["large.jpg", "odd.jpg", "colour.jpg", "small.png", "deep.png", "palette.png"])
def test_squares_are_within_one_grey_level_of_full_resolution(tmp_path: Path, kind: str, size: int) -> None:
    """Noise over broad structure as in a radiograph; 16-bit files are resized in float32 too."""
    rng = np.random.default_rng(5)
    width, height = {"large.jpg": (1856, 2048), "odd.jpg": (1931, 1543)}.get(kind, (401, 333))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = 120 + 70 * np.sin(x / 90) * np.cos(y / 70) + rng.normal(0, 4, (height, width))
    path = tmp_path / kind
    grey = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    if kind == "deep.png":
        Image.fromarray((image.clip(0, 255) * 257).astype(np.uint16)).save(path)
    elif kind == "palette.png":
        grey.convert("P").save(path)
    else:
        (grey.convert("RGB") if kind == "colour.jpg" else grey).save(path, quality=95)
    difference = np.abs(load_square(path, size)[0].astype(int) - full_resolution(path, size))
    assert difference.max() <= 1 and difference.mean() < (0.01 if kind == "deep.png" else 0.25)


def test_a_jpeg_is_reduced_only_where_four_times_the_target_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2048 px: half of it is 4 times 256 px, but less than 4 times 257 px, for which all pixels are decoded."""
    path = marked(tmp_path / "a.jpg", 2048, 2048, (500, 500, 900, 900))
    seen: list[tuple[int, int]] = []
    original = Image.Image.resize

    def resize(self, *args, **kwargs):
        seen.append(self.size)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", resize)
    for size in (128, 129, 256, 257):
        load_square(path, size)
    assert seen == [(512, 512), (1024, 1024), (1024, 1024), (2048, 2048)]


def test_letterbox_of_a_wide_image(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((20, 40), 200, np.uint8)).save(path)
    square, shape = load_square(path, 16)
    assert shape == (40, 20)
    assert (square[:4] == 0).all() and (square[12:] == 0).all() and (square[5:11] == 200).all()


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_cut_off_jpeg_is_no_image_at_any_reduction(tmp_path: Path, share: float) -> None:
    path = marked(tmp_path / "a.jpg", 2048, 1024, (500, 500, 900, 900))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for size in (32, 1024):
        with pytest.raises(DataError, match=r"a\.jpg: truncated or corrupt image"):
            load_square(path, size)
