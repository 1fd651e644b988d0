"""Radiographs as arrays: grey, float32 in [0, 1], bright = dense (the sense of DICOM's MONOCHROME2).

The content decides how a file is read, not its suffix: copies of data sets say ``.png`` where JPEGs lie, and DICOM
files often have no suffix. EXIF orientation is ignored, because boxes refer to the pixels as stored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsrpn_vl.errors import DataError, first_line
from wsrpn_vl.placement import Placement

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")

# raise whenever some file comes out otherwise: images that earlier versions kept are then decoded again
RENDERING = 2
REDUCTION = 4.0  # a JPEG is decoded at half, a quarter or an eighth of its size if that is this often the target's

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_STRIPPED = (b"\x02\x00", b"\x08\x00")  # little-endian group of the first element of a DICOM file without preamble
# all that Pillow raises; MemoryError where a damaged header promises more pixels than any machine holds
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError)


def read_image(path: Path | str) -> np.ndarray:
    """Pixels of a PNG, JPEG or DICOM file: (height, width) float32 in [0, 1].

    Colour becomes luminance (ITU-R 601), an alpha channel is left out, 16-bit values are divided by 65535. DICOM files
    go through :func:`wsrpn_vl.dicom.read.read_dicom`.
    Raises: DataError if the file is missing, of another kind, truncated or corrupt.
    """
    path = Path(path)
    if _kind(path) == "dicom":
        from wsrpn_vl.dicom.read import read_dicom  # here, because pydicom is slow to import

        return read_dicom(path)
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return _grey(image)
    except _BROKEN as error:
        raise DataError(f"{path}: truncated or corrupt image ({first_line(error)}); copy it again") from None


def load_square(path: Path | str, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """(size, size) uint8 letterboxed image of a file and its (width, height), for training and prediction alike.

    Resizing is bilinear with antialiasing (Pillow), in 8 bits where the file has 8. A JPEG of at least twice
    ``REDUCTION`` times the target is decoded at a fraction of its size by the decoder's own DCT scaling. Against full
    decoding and resizing in float32 that changes radiographs of 2,544 x 3,056 pixels at size 224 by at most 2 grey
    levels, 0.08 on average, and without it by 1 and 0.05; full-contrast stripes, the worst found, by 7. REDUCTION = 2
    would change them by 6, stripes by 15, for a tenth more speed: entropy decoding, which no scaling spares, is the
    bound. ``benchmarks/prepare_speed.py`` measures both.
    Raises: DataError as :func:`read_image`.
    """
    path = Path(path)
    if _kind(path) == "dicom":
        image = read_image(path)
        place = Placement(image.shape[1], image.shape[0], size)
        return _squared(_resized(Image.fromarray(image), place, None), place), (place.width, place.height)
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            place = Placement(*image.size, size)
            box = _reduce(image, place)
            grey = Image.fromarray(_grey(image)) if image.mode.startswith("I") else _luminance(image)
            content = _resized(grey, place, box)
    except _BROKEN as error:
        raise DataError(f"{path}: truncated or corrupt image ({first_line(error)}); copy it again") from None
    return _squared(content, place), (place.width, place.height)


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) in pixels as stored, from the header alone.

    Raises: DataError as :func:`read_image`, as far as the header shows it.
    """
    path = Path(path)
    if _kind(path) == "dicom":
        from wsrpn_vl.dicom.read import dicom_size

        return dicom_size(path)
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return image.size
    except _BROKEN as error:
        raise DataError(f"{path}: corrupt image header ({first_line(error)}); copy it again") from None


def is_dicom(path: Path | str) -> bool:
    """Whether the content is DICOM. Raises: DataError as :func:`read_image`."""
    return _kind(Path(path)) == "dicom"


def looks_like_image(path: Path | str) -> bool:
    """Whether the file can be opened and begins like a PNG, JPEG or DICOM file."""
    try:
        return bool(_kind(Path(path)))
    except DataError:
        return False


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image; check the root folder (data.root)") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path and its permissions") from None
    if head.startswith((_PNG, _JPEG)):
        return "picture"
    if head[128:] == b"DICM" or head.startswith(_STRIPPED):
        return "dicom"
    what = "an empty file" if not head else "neither PNG, JPEG nor DICOM"
    raise DataError(f"{path}: {what}; convert or copy it again, or leave it out")


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey: "I;16", or "I" in older Pillow
        return np.asarray(image).astype(np.float32) / np.float32(65535)
    return np.asarray(_luminance(image)).astype(np.float32) / np.float32(255)


def _luminance(image: Image.Image) -> Image.Image:
    return (image.convert("RGB") if image.mode == "P" else image).convert("L")


def _reduce(image: Image.Image, place: Placement) -> tuple[float, float, float, float] | None:
    """Set the decoder's scaling; the whole image in pixels of what it will give, None where it gives all pixels."""
    wanted = tuple(max(1, int(side * REDUCTION)) for side in place.resized)
    if image.format != "JPEG" or min(place.width / wanted[0], place.height / wanted[1]) < 2:
        return None
    scaled = image.draft(None, (wanted[0], wanted[1]))  # its last row and column may reach beyond the image
    return None if scaled is None else scaled[1]


def _resized(grey: Image.Image, place: Placement, box: tuple[float, float, float, float] | None) -> np.ndarray:
    """(h, w) uint8 content of the square, of an image of mode L, or F with values in [0, 1]."""
    pixels = np.asarray(grey.resize(place.resized, Image.Resampling.BILINEAR, box=box))
    return pixels if grey.mode == "L" else (pixels.clip(0, 1) * np.float32(255)).round().astype(np.uint8)


def _squared(content: np.ndarray, place: Placement) -> np.ndarray:
    """The content in its square, zero around it."""
    (w, h), (x, y) = place.resized, place.offset
    square = np.zeros((place.size, place.size), np.uint8)
    square[y : y + h, x : x + w] = content
    return square
