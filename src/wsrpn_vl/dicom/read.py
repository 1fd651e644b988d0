"""DICOM radiographs as arrays. Only the elements listed here are parsed, so no patient data is ever held or shown.

Order (PS3.3 C.11): stored values, modality LUT or rescale, VOI LUT (a sequence wins over a window), scaling to [0, 1],
and MONOCHROME1 inverted last. Wrong and missing tags are put right first, where only one reading makes sense.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit, JPEGExtended12Bit

from wsrpn_vl.dicom.header import (
    COLOUR,
    SIZE_TAGS,
    dicom_facts,
    dicom_size,
    dicom_view,
    number_of,
    one_frame,
    quiet,
    read_elements,
    text_of,
    whole_of,
)
from wsrpn_vl.dicom.stream import check_size, decoder_plugin, decoders
from wsrpn_vl.errors import DataError

__all__ = ["decoders", "dicom_facts", "dicom_size", "dicom_view", "read_dicom"]

PERCENTILES = (0.5, 99.5)  # black and white where the file does not say: markers and borders do not set the contrast
_LUMINANCE = (0.299, 0.587, 0.114)
_GREY = ("MONOCHROME1", "MONOCHROME2")
_WINDOWS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_LOSSY_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit)

_PIXEL_TAGS = (
    *SIZE_TAGS,
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
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
)
_log = logging.getLogger(__name__)


@quiet()
def read_dicom(path: Path | str) -> np.ndarray:
    """Pixels of a DICOM radiograph: (height, width) float32 in [0, 1], bright = dense.

    Colour becomes luminance. Black and white are the output range of the VOI transformation; without one, the stored
    range of images of up to 8 bits, else the 0.5 and 99.5 percentiles. Padding (PixelPaddingValue, PS3.3 C.7.5.1.1.2)
    is black and has no part in them.
    Raises: DataError if the file is broken, holds no image or several, or needs a decoder that is not installed.
    """
    path = Path(path)
    ds = read_elements(path, _PIXEL_TAGS, pixels=True)
    if "PixelData" not in ds:
        raise DataError(f"{path}: this DICOM file holds no image; leave it out")
    one_frame(path, ds)
    try:
        _mend_numbers(path, ds)
        _mend_photometry(path, ds)
    except (NotImplementedError, ValueError, TypeError, KeyError, OSError) as error:  # an element that is no value
        raise DataError(f"{path}: the DICOM header is damaged ({type(error).__name__}); copy it again") from None
    plugin = decoder_plugin(path, ds)
    check_size(path, ds)
    try:
        image = _render(path, ds, plugin)
    except Exception as error:  # decoders and LUTs of a broken file can raise anything
        raise DataError(f"{path}: the image cannot be decoded ({_reason(error)}); export it again") from None
    if not np.isfinite(image).all():
        raise DataError(f"{path}: rescale and window of the DICOM header lead to no finite value; export it again")
    return image


def _mend_numbers(path: Path, ds: pydicom.FileDataset) -> None:
    """Every number checked, so that no later message can quote a header; defaults where the standard has one.

    Raises: DataError naming the element.
    """
    for name in ("Rows", "Columns", "BitsAllocated"):
        if (whole_of(ds, name) or 0) < 1:
            raise DataError(f"{path}: {name} of the DICOM header is missing or no number; export the image again")
        setattr(ds, name, whole_of(ds, name))
    bits, allocated = whole_of(ds, "BitsStored") or 0, int(ds.BitsAllocated)
    if not 0 < bits <= allocated:
        _log.warning("%s: BitsStored is missing or impossible; read as %d", path, allocated)
    ds.BitsStored = bits if 0 < bits <= allocated else allocated
    ds.PixelRepresentation = int(whole_of(ds, "PixelRepresentation") == 1)
    ds.NumberOfFrames = 1
    for pair in (("RescaleSlope", "RescaleIntercept"), ("WindowCenter", "WindowWidth")):
        for name in pair:
            if name in ds and not _is_empty(ds, name) and number_of(ds, name) is None:
                raise DataError(f"{path}: {name} of the DICOM header is no number; correct it")
    slope, intercept = number_of(ds, "RescaleSlope"), number_of(ds, "RescaleIntercept")
    if slope == 0:
        _log.warning("%s: RescaleSlope 0 would make all pixels one value; left out", path)
        slope = intercept = None
    given = slope is not None or intercept is not None
    _put(ds, RescaleSlope=1.0 if slope is None else slope, RescaleIntercept=intercept or 0.0, given=given)
    centre, width = number_of(ds, "WindowCenter"), number_of(ds, "WindowWidth")
    _put(ds, WindowCenter=centre, WindowWidth=width, given=centre is not None and width is not None)
    shape = text_of(ds, "VOILUTFunction").upper() or "LINEAR"
    if shape not in _WINDOWS:
        raise DataError(f"{path}: VOILUTFunction is none of {', '.join(_WINDOWS)}; correct it")
    ds.VOILUTFunction = shape


def _put(ds: pydicom.Dataset, given: bool, **elements: float | None) -> None:
    """Set the elements, or take them out."""
    for name, value in elements.items():
        if given:
            setattr(ds, name, value)
        elif name in ds:
            delattr(ds, name)


def _is_empty(ds: pydicom.Dataset, name: str) -> bool:
    try:
        return ds[name].is_empty
    except Exception:  # a value that cannot be converted
        return False


def _mend_photometry(path: Path, ds: pydicom.FileDataset) -> None:
    """PhotometricInterpretation and SamplesPerPixel that agree.

    One sample is grey whatever the tag says, and three are colour; but of three samples called MONOCHROME1, nobody
    knows whether they are to be inverted. Raises: DataError for that, palettes and what is not known.
    """
    said = text_of(ds, "PhotometricInterpretation").upper().replace("-", "_")
    samples = whole_of(ds, "SamplesPerPixel") or (3 if said in COLOUR else 1)
    inverse = text_of(ds, "PresentationLUTShape").upper() == "INVERSE"
    kind = said
    if samples == 1 and said not in _GREY and said in ("", "MONOCHROME", *COLOUR):
        kind = "MONOCHROME1" if inverse else "MONOCHROME2"
    elif samples == 3 and said in ("", "MONOCHROME", "MONOCHROME2"):
        kind = "YBR_FULL_422" if ds.file_meta.TransferSyntaxUID in _LOSSY_JPEG else "RGB"
    elif samples not in (1, 3) or kind not in (_GREY if samples == 1 else COLOUR):
        known = said if said in ("PALETTE COLOR", *_GREY, *COLOUR) else "of an unknown kind"
        raise DataError(
            f"{path}: PhotometricInterpretation {known} with {samples} sample(s) per pixel is not read here; export "
            "the image as MONOCHROME2"
        )
    if kind != said:
        what = f"PhotometricInterpretation {said}" if said in (*_GREY, *COLOUR) else "no PhotometricInterpretation"
        _log.warning("%s: %s, but %d sample(s) per pixel; read as %s", path, what, samples, kind)
    ds.PhotometricInterpretation, ds.SamplesPerPixel = kind, samples
    if samples == 3:
        ds.PlanarConfiguration = int(whole_of(ds, "PlanarConfiguration") == 1)


def _render(path: Path, ds: pydicom.FileDataset, plugin: str) -> np.ndarray:
    bits, signed = int(ds.BitsStored), bool(ds.PixelRepresentation)
    # raw: pydicom would cut the high bits of values beyond BitsStored, which turns white into grey, and lose padding
    raw = pixel_array(ds, index=0, decoding_plugin=plugin, correct_unused_bits=False)
    if raw.ndim == 3:
        grey = raw.astype(np.float32) @ np.asarray(_LUMINANCE, dtype=np.float32)
        return np.clip(grey / (2**bits - 1), 0, 1)
    values = _sign_extended(raw, bits) if signed else _right_aligned(ds, raw, bits)
    padding = _padding(ds, raw, values)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if outside := int((((values < low) | (values > high)) & ~padding).sum()):
        _log.warning("%s: %d pixels lie outside the %d stored bits; clipped", path, outside, bits)
    image = _to_unit(ds, values.clip(low, high), ~padding, float(low), float(high))
    if ds.PhotometricInterpretation == "MONOCHROME1":
        image = 1 - image
    return np.where(padding, 0, image).astype(np.float32)


def _sign_extended(raw: np.ndarray, bits: int) -> np.ndarray:
    """Signed values whose unused high bits were left 0."""
    spare = raw.dtype.itemsize * 8 - bits
    return np.right_shift(np.left_shift(raw, spare), spare) if spare else raw


def _right_aligned(ds: pydicom.Dataset, raw: np.ndarray, bits: int) -> np.ndarray:
    """Values that lie in the upper bits (HighBit, PS3.5 8.1.1) moved down; some files say so and do not do it."""
    shift = (whole_of(ds, "HighBit") or bits - 1) - (bits - 1)
    if not 0 < shift <= ds.BitsAllocated - bits or not raw.size:
        return raw
    moved = int(raw.max()) >= 2**bits and not (raw & (2**shift - 1)).any()
    return raw >> shift if moved else raw


def _padding(ds: pydicom.Dataset, raw: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which pixels are padding: bool, shape of the image. The tag's sign is often wrong, so it is taken modulo."""
    ends = [whole_of(ds, "PixelPaddingValue"), whole_of(ds, "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(raw.shape, dtype=bool)
    wrap = 2 ** int(ds.BitsAllocated)
    top = wrap // 2 if ds.PixelRepresentation else wrap
    a, b = (
        (end % wrap) - (wrap if end % wrap >= top else 0) for end in (e if e is not None else ends[0] for e in ends)
    )
    return np.logical_or(*((v >= min(a, b)) & (v <= max(a, b)) for v in (raw, values)))


def _to_unit(ds: pydicom.FileDataset, values: np.ndarray, shown: np.ndarray, low: float, high: float) -> np.ndarray:
    """Stored values of the range low ... high through modality and VOI stage, then to [0, 1].

    shown: bool, the pixels that may set black and white.
    """
    if table := ds.get("ModalityLUTSequence"):
        values, high = _look_up(ds, table[0], values)
        low = 0.0
    elif "RescaleSlope" in ds:
        slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
        values = values * slope + intercept
        low, high = low * slope + intercept, high * slope + intercept
    if table := ds.get("VOILUTSequence"):
        values, white = _look_up(ds, table[0], values)
        black = 0.0
    elif "WindowWidth" in ds:
        values = apply_windowing(values, ds)
        black, white = low, high  # with a negative slope low > high, and the window's output is swapped likewise
    elif ds.BitsStored <= 8:  # ready for the screen
        black, white = min(low, high), max(low, high)
    else:
        black, white = np.percentile(values[shown], PERCENTILES) if shown.any() else (0.0, 0.0)
    span = white - black
    return np.clip((values - black) / span, 0, 1) if span else np.zeros(values.shape)


def _look_up(ds: pydicom.FileDataset, item: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values through a modality or VOI table (PS3.3 C.11.1.1, C.11.2.1.1), and the largest value it can give.

    pydicom 3's own functions fail where the table has 8 bits and more than 256 entries, or its input was rescaled.
    """
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    entries %= 2**16  # a descriptor of signed values may call 40000 entries -25536
    if ds.PixelRepresentation and first >= 2**15:  # and one of unsigned ones the level -2048 63488
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, dtype="u1" if len(data) <= (entries or 2**16) else f"{order}u2")
    table = np.asarray(data)[: entries or 2**16]
    at = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[at].astype(np.float64), 2.0**bits - 1


def _reason(error: BaseException) -> str:
    """First telling line; what a library says over several lines ends in the decoder's own words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
