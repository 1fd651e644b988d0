"""DICOM radiographs as arrays. Only the elements listed here are parsed, so no patient data is ever held or shown.

Order (PS3.3 C.11): stored values, modality LUT or rescale, VOI LUT (a sequence wins over a window), scaling to [0, 1],
and MONOCHROME1 inverted last.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from wsrpn_vl.data.index import parse_view
from wsrpn_vl.errors import DataError

PERCENTILES = (0.5, 99.5)  # black and white where the file does not say: markers and borders do not set the contrast
_LUMINANCE = (0.299, 0.587, 0.114)

_SIZE_TAGS = ["Rows", "Columns"]
_VIEW_TAGS = ["ViewPosition", "ViewCodeSequence", "SeriesDescription"]
_PIXEL_TAGS = [
    *_SIZE_TAGS,
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
]
_log = logging.getLogger(__name__)


def read_dicom(path: Path | str) -> np.ndarray:
    """Pixels of a DICOM radiograph: (height, width) float32 in [0, 1], bright = dense.

    Of several frames the first is read; colour becomes luminance. Black and white are the output range of the VOI
    transformation; without one, the stored range of images of up to 8 bits, else the 0.5 and 99.5 percentiles.
    Raises: DataError if the file is broken, holds no image, or needs a decoder that is not installed.
    """
    path = Path(path)
    ds = _read(path, _PIXEL_TAGS, pixels=True)
    if "PixelData" not in ds:
        raise DataError(f"{path}: this DICOM file holds no image; leave it out")
    plugin = _decoder_plugin(path, ds)
    try:
        return _render(path, ds, plugin)
    except DataError:
        raise
    except Exception as error:  # decoders and LUTs of a broken file can raise anything
        raise DataError(f"{path}: the image cannot be decoded ({_first_line(error)}); export it again") from None


def dicom_size(path: Path | str) -> tuple[int, int]:
    """(width, height) in pixels, from the header alone. Raises: DataError if the file is broken or has no size."""
    path = Path(path)
    ds = _read(path, _SIZE_TAGS)
    try:
        width, height = int(ds.Columns), int(ds.Rows)
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{path}: no Rows and Columns in this DICOM file; it holds no image, leave it out") from None
    return width, height


def dicom_view(path: Path | str) -> str:
    """``AP``, ``PA``, ``LAT`` or ``UNK``: from ViewPosition, else ViewCodeSequence, else SeriesDescription.

    Raises: DataError if the file is broken.
    """
    ds = _read(Path(path), _VIEW_TAGS)
    codes = ds.get("ViewCodeSequence") or []
    said = [ds.get("ViewPosition"), *(c.get("CodeMeaning") for c in codes), ds.get("SeriesDescription")]
    views = [parse_view(str(text)) for text in said if text]
    return next((view for view in views if view != "UNK"), "UNK")


def decoders() -> dict[str, bool]:
    """Compressed transfer syntaxes met in radiography -> whether a decoder is installed."""
    syntaxes = (JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)
    return {uid.name: get_decoder(uid).is_available for uid in syntaxes}


def _read(path: Path, tags: list[str], pixels: bool = False) -> pydicom.FileDataset:
    """The listed elements only."""
    try:
        try:
            ds = pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=not pixels)
        except InvalidDicomError:  # some archives strip preamble and file meta
            ds = pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=not pixels, force=True)
        if "TransferSyntaxUID" not in ds.file_meta:
            implicit, little = ds.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return ds
    except FileNotFoundError:
        raise DataError(f"{path}: no such DICOM file; check the root folder (data.root)") from None
    except Exception as error:  # a broken file can raise anything
        raise DataError(f"{path}: not a readable DICOM file ({type(error).__name__}); copy it again") from None


def _decoder_plugin(path: Path, ds: pydicom.FileDataset) -> str:
    """Decoder for the file's transfer syntax; gdcm only where it is alone: on broken data it ends the whole process."""
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(f"{path}: transfer syntax {syntax.name} is not an image format read here; convert it") from None
    if not decoder.is_available:
        raise DataError(f'{path}: no decoder for transfer syntax {syntax.name}; pip install "wsrpn-vl[dicom]"')
    return min(decoder.available_plugins, key=lambda name: name == "gdcm", default="")


def _render(path: Path, ds: pydicom.FileDataset, plugin: str) -> np.ndarray:
    kind = str(ds.PhotometricInterpretation)
    signed = bool(ds.get("PixelRepresentation", 0))
    # unsigned values beyond BitsStored are clipped below; pydicom would cut their high bits and turn white into grey
    values = pixel_array(ds, index=0, decoding_plugin=plugin, correct_unused_bits=signed)
    if values.ndim == 3:
        grey = values.astype(np.float32) @ np.asarray(_LUMINANCE, dtype=np.float32)
        return np.clip(grey / (2 ** int(ds.BitsStored) - 1), 0, 1)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{path}: PhotometricInterpretation {kind} is not read here; export the image as MONOCHROME2")
    bits = int(ds.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if outside := int(((values < low) | (values > high)).sum()):
        _log.warning("%s: %d pixels lie outside the %d stored bits; clipped", path, outside, bits)
        values = values.clip(low, high)
    image = _to_unit(ds, values, float(low), float(high))
    return (1 - image if kind == "MONOCHROME1" else image).astype(np.float32)


def _to_unit(ds: pydicom.FileDataset, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Stored values of the range low ... high through modality and VOI stage, then to [0, 1]."""
    if table := ds.get("ModalityLUTSequence"):
        values, high = _look_up(ds, table[0], values)
        low = 0.0
    elif _given(ds, "RescaleSlope", "RescaleIntercept"):
        slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
        values = values * slope + intercept
        low, high = low * slope + intercept, high * slope + intercept
    if table := ds.get("VOILUTSequence"):
        values, white = _look_up(ds, table[0], values)
        black = 0.0
    elif _given(ds, "WindowCenter", "WindowWidth"):
        values = apply_windowing(values, ds)
        black, white = low, high  # with a negative slope low > high, and the window's output is swapped likewise
    elif ds.BitsStored <= 8:  # ready for the screen
        black, white = min(low, high), max(low, high)
    else:
        black, white = np.percentile(values, PERCENTILES)
    span = white - black
    return np.clip((values - black) / span, 0, 1) if span else np.zeros(values.shape)


def _given(ds: pydicom.Dataset, *names: str) -> bool:
    """All elements are there with a value; some files carry them empty."""
    return all(name in ds and not ds[name].is_empty for name in names)


def _look_up(ds: pydicom.FileDataset, item: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values through a modality or VOI table (PS3.3 C.11.1.1, C.11.2.1.1), and the largest value it can give.

    pydicom 3's own functions fail where the table has 8 bits and more than 256 entries, or its input was rescaled.
    """
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, dtype="u1" if len(data) <= (entries or 2**16) else f"{order}u2")
    table = np.asarray(data)[: entries or 2**16]
    at = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[at].astype(np.float64), 2.0**bits - 1


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
