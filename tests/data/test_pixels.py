"""Pictures of every kind a data set holds become the same grey array; broken ones become one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from wsrpn_vl.data.pixels import image_size, is_dicom, looks_like_image, read_image
from wsrpn_vl.errors import DataError

GREY = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
EXPECTED = GREY.astype(np.float32) / np.float32(255)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def palette() -> Image.Image:
    """Index i stands for grey 255 - i, so that reading indices as grey would show."""
    image = Image.frombytes("P", (20, 12), (255 - GREY).tobytes())
    image.putpalette([v for i in range(256) for v in (255 - i,) * 3])
    return image


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_grey_survives_every_mode(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GREY).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(255 - GREY))  # not blended in
    got = read_image(saved(tmp_path / "a.png", image))
    assert got.dtype == np.float32 and got.shape == (12, 20)
    assert np.array_equal(got, EXPECTED)


def test_palette_is_looked_up(tmp_path: Path) -> None:
    assert np.array_equal(read_image(saved(tmp_path / "a.png", palette())), EXPECTED)


def test_sixteen_bit_is_divided_by_65535(tmp_path: Path) -> None:
    """257 * v / 65535 = v / 255; and 65535 -> 1, 128 -> 128 / 65535."""
    path = saved(tmp_path / "a.png", Image.fromarray(GREY.astype(np.uint16) * 257))
    assert np.allclose(read_image(path), EXPECTED, atol=1e-7)
    few = np.array([[0, 128, 65535]], dtype=np.uint16)
    assert read_image(saved(tmp_path / "b.png", Image.fromarray(few)))[0].tolist() == pytest.approx([0, 128 / 65535, 1])


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(GREY > 100))
    assert np.array_equal(read_image(path), (GREY > 100).astype(np.float32))


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    """ITU-R 601: pure red 0.299 * 255 = 76.2, green 149.7, blue 29.1, rounded to whole grey levels."""
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    got = read_image(saved(tmp_path / "a.png", Image.fromarray(rgb))) * 255
    assert got[0].round().tolist() == [76, 150, 29]


def test_jpeg_is_read_whatever_its_name(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), 2 * np.arange(80)).astype(np.uint8)
    for name in ("a.png", "a.dcm", "a"):
        path = saved(tmp_path / name, Image.fromarray(smooth), format="JPEG", quality=95)
        assert np.abs(read_image(path) * 255 - smooth).max() < 4
        assert image_size(path) == (80, 64) and not is_dicom(path)


def test_orientation_tags_do_not_turn_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer would turn it by 90 degrees
    path = saved(tmp_path / "a.png", Image.fromarray(GREY), exif=exif)
    assert np.array_equal(read_image(path), EXPECTED) and image_size(path) == (20, 12)


def test_size_needs_the_header_alone(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(GREY))
    path.write_bytes(path.read_bytes()[:60])
    assert image_size(path) == (20, 12)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
def test_truncated_files_are_named_in_one_line(tmp_path: Path, form: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    path = saved(tmp_path / "cut.img", Image.fromarray(noise), format=form)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(DataError, match=r"cut\.img: .*copy it again") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_damaged_png_data_are_not_read_as_a_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    path = saved(tmp_path / "bad.png", Image.fromarray(noise))
    raw = bytearray(path.read_bytes())
    raw[500:600] = bytes(100)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"bad\.png"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"<html>sign in</html>", "neither PNG, JPEG nor DICOM"),
        (b"GIF89a" + bytes(200), "neither"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=rf"a\.png: {message}"):
            read(path)
    assert not looks_like_image(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: no such image; check the root folder"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match="cannot be opened"):
        image_size(tmp_path)


def test_real_pictures_are_read_and_measured(real_data: Path) -> None:
    paths = [
        p for folder in ("nih-subset", "covid-notes") for p in sorted((real_data / folder / "images").iterdir())[:12]
    ]
    assert len(paths) == 24
    for path in paths:
        image = read_image(path)
        assert image.shape[::-1] == image_size(path)
        assert image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1 and image.std() > 0.05


def test_a_header_that_promises_too_much_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow asks for as many bytes as a damaged chunk says that it has."""

    def load(image: Image.Image) -> None:
        raise MemoryError

    path = saved(tmp_path / "a.png", Image.fromarray(GREY))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(DataError, match=r"a\.png: truncated or corrupt image \(MemoryError\)"):
        read_image(path)
