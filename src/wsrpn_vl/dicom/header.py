"""What a DICOM header says about a radiograph, without letting the patient's data out.

Only the elements of a short white-list are parsed. Identifiers are read by :func:`read_pseudonyms` alone, and leave it
as salted hashes. pydicom's warnings and log lines quote the values they complain about, so they are not let through.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config as pydicom_config
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from wsrpn_vl.data.index import parse_view
from wsrpn_vl.errors import DataError

RADIOGRAPHY = ("CR", "DX", "RG", "XR", "")  # blank: stripped headers; XR: not in the standard, but written
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_OTHERS = ("CT", "MR", "US", "PT", "NM", "MG", "XA", "RF", "PX", "IO", "OT", "SC", "SR", "PR", "KO", "SEG", "DOC")
_CHEST = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB", "HEART")
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)

SIZE_TAGS = ("Rows", "Columns", "NumberOfFrames")
VIEW_TAGS = (
    "ViewPosition",
    "ViewCodeSequence",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription",
)
_FACT_TAGS = (*SIZE_TAGS, *VIEW_TAGS, "Modality", "BodyPartExamined", "BitsAllocated", "SamplesPerPixel")
_ID_TAGS = ("PatientID", "StudyInstanceUID", "SOPInstanceUID")
# what de-identification tools write in place of an id: not one patient, but nobody known
_NOBODY = frozenset(("anonymous", "anonymized", "anonymised", "anon", "deidentified", "unknown", "none", "null", "na"))
_library = logging.getLogger("pydicom")
_library.addFilter(lambda record: False)
_library.setLevel(logging.CRITICAL + 1)  # the filter does not hold for the loggers below, which print tracebacks


@dataclass(frozen=True)
class DicomFacts:
    """White-listed facts of a file.

    view: AP, PA, LAT or UNK; modality: as stated, "" if not, "?" if it is none of the usual codes; width, height:
    pixels, 0 without an image; frames: how many images it holds; chest: no other body part is named; complete: the
    file is long enough for its pixels (always true of a compressed one).
    """

    view: str
    modality: str
    width: int
    height: int
    frames: int
    chest: bool
    complete: bool

    @property
    def radiograph(self) -> bool:
        """One image of a projection radiograph, as far as the header says."""
        return self.modality in RADIOGRAPHY and self.frames == 1 and self.width > 0


@dataclass(frozen=True)
class Pseudonyms:
    """Salted hashes of PatientID, StudyInstanceUID and SOPInstanceUID; None where the header has none."""

    patient: str | None
    study: str | None
    image: str | None


_lock, _silence, _inside = threading.Lock(), ExitStack(), 0


@contextmanager
def quiet() -> Iterator[None]:
    """Python warnings of pydicom, which quote header values, are not shown; values are not checked against their VR.

    Both are settings of the whole process: the first thread to come in makes them, the last to go out unmakes them.
    """
    global _inside
    with _lock:
        if not _inside:
            _silence.enter_context(warnings.catch_warnings())
            _silence.enter_context(pydicom_config.disable_value_validation())
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _silence.close()


@quiet()
def dicom_facts(path: Path | str) -> DicomFacts:
    """View, modality, size and kind of a file. Raises: DataError if it is broken."""
    return _facts(Path(path), read_elements(Path(path), _FACT_TAGS))


@quiet()
def read_pseudonyms(path: Path | str, salt: str) -> tuple[DicomFacts, Pseudonyms]:
    """The facts, and hashes of who and what the image is. The identifiers themselves do not leave this function.

    salt: secret of the data set; the same id gives the same hash under the same salt. Raises: DataError if broken.
    """
    ds = read_elements(Path(path), (*_FACT_TAGS, *_ID_TAGS))
    said = [text_of(ds, name).strip("\0 ") for name in _ID_TAGS]
    if said[0].casefold().strip("^.-_ ") in _NOBODY or not said[0].strip("0xX-_.^ "):
        said[0] = ""
    names = [pseudonym(kind, value, salt) if value else None for kind, value in zip("psi", said, strict=True)]
    return _facts(Path(path), ds), Pseudonyms(*names)


def pseudonym(kind: str, value: str, salt: str) -> str:
    """20 hex digits: BLAKE2b of ``value``, keyed with ``salt``; ``kind`` keeps patients, studies and images apart."""
    key = hashlib.blake2b(salt.encode()).digest()
    return hashlib.blake2b(f"{kind}/{value}".encode(errors="replace"), key=key, digest_size=10).hexdigest()


@quiet()
def dicom_size(path: Path | str) -> tuple[int, int]:
    """(width, height) in pixels, from the header alone.

    Raises: DataError if the file is broken, has no size, or holds several frames.
    """
    path = Path(path)
    ds = read_elements(path, SIZE_TAGS)
    one_frame(path, ds)
    width, height = whole_of(ds, "Columns"), whole_of(ds, "Rows")
    if not width or not height:
        raise DataError(f"{path}: no Rows and Columns in this DICOM file; it holds no image, leave it out")
    return width, height


@quiet()
def dicom_view(path: Path | str) -> str:
    """``AP``, ``PA``, ``LAT`` or ``UNK``: from ViewPosition, else ViewCodeSequence, else what the series is called.

    Raises: DataError if the file is broken.
    """
    return _view(read_elements(Path(path), VIEW_TAGS))


def one_frame(path: Path, ds: pydicom.Dataset) -> None:
    """Raises: DataError if the file holds several frames: which of them is the radiograph is not ours to guess."""
    if (frames := whole_of(ds, "NumberOfFrames") or 1) > 1:
        raise DataError(f"{path}: holds {frames} frames, a radiograph has one; export one frame, or leave the file out")


def read_elements(path: Path, tags: Sequence[str], pixels: bool = False) -> pydicom.FileDataset:
    """The listed elements only. Raises: DataError if the file is not there or broken."""
    try:
        try:
            ds = pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=not pixels)
        except InvalidDicomError:  # some archives strip preamble and file meta
            ds = pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=not pixels, force=True)
        if not isinstance(ds.file_meta.get("TransferSyntaxUID"), str):
            implicit, little = ds.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return ds
    except FileNotFoundError:
        raise DataError(f"{path}: no such DICOM file; check the root folder (data.root)") from None
    except Exception as error:  # a broken file can raise anything
        raise DataError(f"{path}: not a readable DICOM file ({type(error).__name__}); copy it again") from None


def value_of(ds: pydicom.Dataset, name: str) -> Any:
    """First value of an element; None if it is absent, empty or cannot be converted."""
    try:
        value = ds.get(name)
        return value[0] if isinstance(value, (list, tuple, MultiValue)) else value
    except Exception:  # a broken value can raise anything
        return None


def text_of(ds: pydicom.Dataset, name: str) -> str:
    """First value as text without blanks around it; "" if there is none."""
    value = value_of(ds, name)
    return "" if value is None or isinstance(value, bytes) else str(value).strip()


def number_of(ds: pydicom.Dataset, name: str) -> float | None:
    """First value as a finite number; None if there is none."""
    try:
        number = float(value_of(ds, name))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def whole_of(ds: pydicom.Dataset, name: str) -> int | None:
    """First value as a whole number; None if there is none."""
    number = number_of(ds, name)
    return int(number) if number is not None and number == int(number) else None


def _facts(path: Path, ds: pydicom.FileDataset) -> DicomFacts:
    size = [whole_of(ds, name) or 0 for name in ("Columns", "Rows")]
    modality, part = text_of(ds, "Modality").upper(), text_of(ds, "BodyPartExamined").upper()
    values = size[0] * size[1] * (whole_of(ds, "SamplesPerPixel") or 1)
    wanted = values * (whole_of(ds, "BitsAllocated") or 0) // 8
    plain = ds.file_meta.get("TransferSyntaxUID") in _UNCOMPRESSED
    return DicomFacts(
        view=_view(ds),
        modality=modality if modality in (*RADIOGRAPHY, *_OTHERS) else "?",
        width=size[0],
        height=size[1],
        frames=whole_of(ds, "NumberOfFrames") or 1,
        chest=not part or any(word in part for word in _CHEST),
        complete=not plain or path.stat().st_size >= wanted,
    )


def _view(ds: pydicom.Dataset) -> str:
    try:
        codes = list(ds.get("ViewCodeSequence") or [])
    except Exception:  # a broken sequence can raise anything
        codes = []
    meanings = [text_of(code, "CodeMeaning") for code in codes if isinstance(code, pydicom.Dataset)]
    said = [text_of(ds, "ViewPosition"), *meanings, *(text_of(ds, name) for name in VIEW_TAGS[2:])]
    views = [parse_view(text) for text in said]
    return next((view for view in views if view != "UNK"), "UNK")
