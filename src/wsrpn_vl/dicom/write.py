"""A radiograph as a DICOM file: Digital X-Ray or Computed Radiography image, 12 bits of 16, or any other depth.

The grey levels of the picture are what a viewer shows through the file's VOI stage (window or look-up table), so
:func:`wsrpn_vl.dicom.read.read_dicom` gives the same picture back. Identifiers are hashes and no clock is read: the
same arguments give the same bytes. Elements: PS3.3 A.2 (CR), A.26 (DX).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
)

from wsrpn_vl.files import replacing

_SOP_CLASS = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}
_VIEW_CODE = {"PA": ("R-10214", "postero-anterior"), "AP": ("R-10206", "antero-posterior")}  # CID 4010
_MARGIN = 1 / 16  # of the stored range, left free at both ends of a window


@dataclass(frozen=True)
class Header:
    """What a file says besides its pixels.

    uid_key: what the identifiers are made from; modality: DX or CR; date: YYYYMMDD; time: HHMMSS; age: years;
    spacing: mm per pixel at the detector; photometric: MONOCHROME1 or MONOCHROME2; voi: "window" or "lut";
    bare: only what VinDr-CXR's files have left (no patient id, identifiers, view or modality); uid: file name's hash,
    which is the only identifier of a bare file; compressed: JPEG 2000, lossless.
    """

    uid_key: str
    view: str = ""
    modality: str = "DX"
    patient_id: str = ""
    study_key: str = ""
    date: str = ""
    time: str = ""
    sex: str = ""
    age: int | None = None
    spacing: float | None = None
    photometric: str = "MONOCHROME2"
    bits: int = 12
    voi: str = "window"
    bare: bool = False
    uid: str = ""
    compressed: bool = False


def make_uid(*parts: str) -> UID:
    """An identifier under ``2.25.`` (PS3.5 B.2) made of a hash of ``parts``."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def write_radiograph(path: Path | str, pixels: np.ndarray, header: Header) -> Path:
    """Write ``pixels``, (h, w) uint8 with bright = dense; whole or not at all."""
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_bytes(radiograph_bytes(pixels, header))
    return path


def radiograph_bytes(pixels: np.ndarray, header: Header) -> bytes:
    """The DICOM file of ``pixels``, (h, w) uint8 with bright = dense."""
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ValueError(f"a radiograph is (h, w) uint8, not {pixels.shape} {pixels.dtype}")
    ds = Dataset()
    ds.file_meta = _meta(header)
    if not header.bare:
        _identify(ds, header)
    _describe(ds, header)
    stored = _voi(ds, pixels, header)
    _image(ds, stored, header)
    out = io.BytesIO()
    with pydicom_config.disable_value_validation():  # a bare file's hash is no valid UID, as in the original
        ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _meta(header: Header) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = _SOP_CLASS[header.modality]
    with pydicom_config.disable_value_validation():
        meta.MediaStorageSOPInstanceUID = UID(header.uid) if header.bare else make_uid("image", header.uid_key)
    meta.TransferSyntaxUID = JPEG2000Lossless if header.compressed else ExplicitVRLittleEndian
    meta.ImplementationClassUID = make_uid("wsrpn-vl")
    meta.ImplementationVersionName = "WSRPN-VL"
    return meta


def _identify(ds: Dataset, header: Header) -> None:
    study = header.study_key or header.uid_key
    ds.SOPClassUID = _SOP_CLASS[header.modality]
    ds.SOPInstanceUID = make_uid("image", header.uid_key)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = make_uid("study", study), make_uid("series", header.uid_key)
    ds.StudyDate = ds.ContentDate = ds.AcquisitionDate = header.date
    ds.StudyTime = ds.ContentTime = ds.AcquisitionTime = header.time
    ds.PatientName = ds.PatientID = header.patient_id
    ds.PatientBirthDate = ds.AccessionNumber = ds.ReferringPhysicianName = ds.Manufacturer = ""
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "", 1, 1
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = header.modality, "CHEST", header.view
    ds.PatientOrientation = ["L", "F"]  # rows run to the patient's left, columns to the feet
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.BurnedInAnnotation = "YES"  # lead letters
    if header.view in _VIEW_CODE:
        ds.ViewCodeSequence = Sequence([_code(*_VIEW_CODE[header.view])])
        ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    if header.modality == "DX":
        ds.PresentationIntentType, ds.ImageLaterality = "FOR PRESENTATION", "U"
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = 1 if header.photometric == "MONOCHROME1" else -1  # PS3.3 C.8.11.3.1.2
        ds.AnatomicRegionSequence = Sequence([_code("T-D3000", "Chest")])
        ds.AcquisitionContextSequence = Sequence()
        ds.DetectorType = "DIRECT"
        ds.PresentationLUTShape = "INVERSE" if header.photometric == "MONOCHROME1" else "IDENTITY"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SRT", meaning
    return item


def _describe(ds: Dataset, header: Header) -> None:
    ds.PatientSex = header.sex
    if header.age is not None:
        ds.PatientAge = f"{header.age:03d}Y"
    if header.spacing is not None:
        spacing = [round(header.spacing, 6)] * 2
        if header.bare:
            ds.PixelSpacing = spacing
        else:
            ds.ImagerPixelSpacing = spacing
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.LossyImageCompression = "00"


def _voi(ds: Dataset, pixels: np.ndarray, header: Header) -> np.ndarray:
    """Stored values, and the VOI stage that turns them into the picture (MONOCHROME1: into its negative)."""
    top = 2**header.bits - 1
    wanted = (255 - pixels if header.photometric == "MONOCHROME1" else pixels).astype(np.float64) / 255
    if header.voi == "lut":
        table = _response(top)
        levels = _nearest(table, np.arange(256) / 255 * top)
        item = Dataset()
        item.LUTDescriptor = [len(table) if len(table) < 2**16 else 0, 0, header.bits]
        item["LUTDescriptor"].VR = "US"
        item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
        item.LUTExplanation = "NORMAL"
        ds.VOILUTSequence = Sequence([item])
        return levels[np.rint(wanted * 255).astype(int)].astype(np.uint16)
    low = round(_MARGIN * top)
    width = top - 2 * low
    # PS3.3 C.11.2.1.2.1: LINEAR maps centre - 0.5 -+ (width - 1) / 2 to black and white
    ds.WindowCenter, ds.WindowWidth = low + width / 2 + 0.5, width + 1
    return np.rint(low + wanted * width).astype(np.uint16)


def _nearest(table: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Index of the entry of a rising ``table`` nearest to each level."""
    above = np.clip(np.searchsorted(table, levels), 1, len(table) - 1)
    return above - (levels - table[above - 1] < table[above] - levels)


def _response(top: int) -> np.ndarray:
    """A film-like curve: (top + 1,) levels from 0 to ``top`` that never fall."""
    x = np.linspace(-2.2, 2.2, top + 1)
    curve = np.tanh(x)
    return np.rint((curve - curve[0]) / (curve[-1] - curve[0]) * top)


def _image(ds: Dataset, stored: np.ndarray, header: Header) -> None:
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, header.photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, header.bits, header.bits - 1, 0
    if header.bare:
        ds.NumberOfFrames = 1
        ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(stored.min()), int(stored.max())
        for name in ("SmallestImagePixelValue", "LargestImagePixelValue"):
            ds[name].VR = "US"
    if not header.compressed:
        ds.PixelData = stored.astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        return
    from openjpeg.utils import encode_array  # here, because few files are compressed

    frame = encode_array(stored, bits_stored=header.bits, photometric_interpretation=2)
    ds.PixelData = encapsulate([bytes(frame)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
