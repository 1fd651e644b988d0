"""Radiographs as arrays: grey, float32 in [0, 1], bright = dense (the sense of DICOM's MONOCHROME2).

The content decides how a file is read, not its suffix: copies of data sets say ``.png`` where JPEGs lie, and DICOM
files often have no suffix. EXIF orientation is ignored, because boxes refer to the pixels as stored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsrpn_vl.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_STRIPPED = (b"\x02\x00", b"\x08\x00")  # little-endian group of the first element of a DICOM file without preamble
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)  # all that Pillow raises


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
        raise DataError(f"{path}: truncated or corrupt image ({_first_line(error)}); copy it again") from None


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
        raise DataError(f"{path}: corrupt image header ({_first_line(error)}); copy it again") from None


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
    if image.mode == "P":
        image = image.convert("RGB")
    return np.asarray(image.convert("L")).astype(np.float32) / np.float32(255)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
