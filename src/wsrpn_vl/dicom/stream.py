"""Compressed pixel data: which decoder reads it, and whether it is of the size that the header says."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from wsrpn_vl.errors import DataError

LARGEST = 2**28  # pixels; detectors have 2^24 at most, and a damaged header may promise any number
_FRAME_MARKERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
_BARE_MARKERS = (0x01, *range(0xD0, 0xD9))  # without a length


def decoders() -> dict[str, bool]:
    """Compressed transfer syntaxes met in radiography -> whether a decoder is installed."""
    syntaxes = (
        JPEGBaseline8Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
        JPEG2000Lossless,
        HTJ2KLossless,
        RLELossless,
    )
    return {uid.name: get_decoder(uid).is_available for uid in syntaxes}


def decoder_plugin(path: Path, ds: pydicom.FileDataset) -> str:
    """Decoder for the file's transfer syntax; gdcm only where it is alone: on broken data it ends the whole process.

    Raises: DataError naming the transfer syntax, and the package where one is missing.
    """
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    name = syntax.name if syntax.name != syntax else "(not in the standard)"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(f"{path}: transfer syntax {name} is not an image format read here; convert it") from None
    if not decoder.is_available:
        raise DataError(f'{path}: no decoder for transfer syntax {name}; pip install "wsrpn-vl[dicom]"')
    plugins = decoder.available_plugins
    if syntax == JPEGExtended12Bit and ds.BitsStored > 8:
        if "pylibjpeg" not in plugins:
            raise DataError(
                f"{path}: no decoder for transfer syntax {name} with {ds.BitsStored} bits; pip install "
                "pylibjpeg-libjpeg (GPLv3), or convert the file"
            )
        return "pylibjpeg"
    return min(plugins, key=lambda plugin: plugin == "gdcm", default="")


def check_size(path: Path, ds: pydicom.FileDataset) -> None:
    """Raises: DataError if the image is impossibly large, or its stream is of another size than the header.

    Decoders go by the stream, and would work for many seconds, or take all memory, on one that is damaged.
    """
    width, height = int(ds.Columns), int(ds.Rows)
    if width * height > LARGEST:
        raise DataError(f"{path}: {width} x {height} pixels are more than a radiograph has; copy the file again")
    if not UID(ds.file_meta.TransferSyntaxUID).is_encapsulated:
        return
    try:
        size = stream_size(get_frame(ds.PixelData, 0, number_of_frames=1))
    except Exception:  # what is wrong with it, the decoder will say
        return
    if size and size != (width, height):
        inside = f"{size[0]} x {size[1]}"
        raise DataError(f"{path}: the header says {width} x {height} pixels and the stream {inside}; export it again")


def stream_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) that a JPEG, JPEG-LS or JPEG 2000 stream says of itself; None if it does not or is another."""
    if frame.startswith(b"\xff\x4f\xff\x51"):
        right, bottom, left, top = struct.unpack(">4I", frame[8:24])
        return right - left, bottom - top
    at = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack(">2H", frame[at + 5 : at + 9])
            return (width, height) if height else None  # 0: said at the end
        if marker == 0xFF:  # filling
            at += 1
        else:
            at += 2 if marker in _BARE_MARKERS else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
