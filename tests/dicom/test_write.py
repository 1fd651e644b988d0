"""A written DICOM radiograph shows the picture it was made from, says what it should and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

from wsrpn_vl.data.pixels import image_size, read_image
from wsrpn_vl.dicom.read import dicom_view
from wsrpn_vl.dicom.write import Header, make_uid, radiograph_bytes, write_radiograph

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 56)).astype(np.uint8)
PICTURE[:8, :32] = np.arange(256, dtype=np.uint8).reshape(8, 32)  # every level
FULL = Header(
    uid_key="seed/p1", view="AP", modality="CR", patient_id="p1", date="21500102", time="080556.875", sex="F", age=57,
    spacing=0.5,
)  # fmt: skip
BARE = Header(uid_key="k", bare=True, uid="0a" * 16, sex="M", age=9, spacing=0.2)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("voi", ["window", "lut"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_reading_back_gives_the_picture(photometric: str, voi: str, bits: int, tmp_path: Path) -> None:
    header = dataclasses.replace(FULL, photometric=photometric, voi=voi, bits=bits)
    path = write_radiograph(tmp_path / "a" / "x.dcm", PICTURE, header)
    assert np.array_equal(np.rint(read_image(path) * 255), PICTURE)
    assert image_size(path) == (56, 40) and dicom_view(path) == "AP"
    ds = pydicom.dcmread(path)
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, bits, bits - 1)
    assert int(ds.pixel_array.max()) < 2**bits
    if bits > 10:  # more than a screen's levels lie in the file
        assert int(ds.pixel_array.max()) > 2 ** (bits - 1)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("compressed", [False, True])
def test_a_bare_file_keeps_the_picture_and_hardly_anything_else(compressed: bool, tmp_path: Path) -> None:
    header = dataclasses.replace(BARE, compressed=compressed, bits=14, photometric="MONOCHROME1")
    path = write_radiograph(tmp_path / "x.dicom", PICTURE, header)
    assert np.array_equal(np.rint(read_image(path) * 255), PICTURE)
    ds = pydicom.dcmread(path)
    for name in ("PatientID", "PatientName", "SOPInstanceUID", "StudyInstanceUID", "ViewPosition", "Modality"):
        assert name not in ds
    assert ds.file_meta.MediaStorageSOPInstanceUID == "0a" * 16 and ds.PatientSex == "M" and ds.PatientAge == "009Y"
    assert dicom_view(path) == "UNK"


@pytest.mark.parametrize(
    ("modality", "view", "kind"),
    [("DX", "PA", DigitalXRayImageStorageForPresentation), ("CR", "AP", ComputedRadiographyImageStorage)],
)
def test_a_full_file_says_who_when_and_how(modality: str, view: str, kind: str, tmp_path: Path) -> None:
    ds = pydicom.dcmread(
        write_radiograph(tmp_path / "x.dcm", PICTURE, dataclasses.replace(FULL, modality=modality, view=view))
    )
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == kind
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert len({ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID}) == 3
    assert all(uid.is_valid for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID))
    assert (ds.Modality, ds.ViewPosition, ds.PatientID) == (modality, view, "p1")
    assert list(ds.PatientOrientation) == ["L", "F"] and list(ds.ImagerPixelSpacing) == [0.5, 0.5]
    assert (ds.StudyDate, ds.StudyTime) == ("21500102", "080556.875")


def test_the_same_arguments_give_the_same_bytes_and_others_other_ids() -> None:
    assert radiograph_bytes(PICTURE, FULL) == radiograph_bytes(PICTURE.copy(), FULL)
    assert make_uid("a", "b") == make_uid("a", "b") != make_uid("a", "c")
    assert len(make_uid("a")) <= 64


def test_a_colour_or_float_picture_is_refused() -> None:
    for wrong in (PICTURE / 255, np.stack([PICTURE] * 3, -1)):
        with pytest.raises(ValueError, match="uint8"):
            radiograph_bytes(wrong, FULL)


@pytest.mark.parametrize(("photometric", "sign"), [("MONOCHROME1", 1), ("MONOCHROME2", -1)])
def test_the_sign_tells_which_values_saw_less_of_the_beam(photometric: str, sign: int, tmp_path: Path) -> None:
    """-1: higher values, less intensity behind the patient; stored values rise with density in MONOCHROME2 alone."""
    header = dataclasses.replace(FULL, modality="DX", photometric=photometric)
    ds = pydicom.dcmread(write_radiograph(tmp_path / "x.dcm", PICTURE, header))
    density = np.corrcoef(ds.pixel_array.ravel(), PICTURE.ravel())[0, 1]
    assert ds.PixelIntensityRelationshipSign == sign == -np.sign(density)
