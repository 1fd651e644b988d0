"""The white-list: what may be known of a file, and that nothing else comes out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless

from fixtures.dicom import SECRET, dataset, fill, jpeg2000, save, stored
from wsrpn_vl.dicom.header import dicom_facts, pseudonym, quiet, read_pseudonyms
from wsrpn_vl.dicom.read import dicom_size, dicom_view, read_dicom
from wsrpn_vl.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def test_the_facts_of_a_file(tmp_path: Path) -> None:
    ds = dataset(stored(12), 12, ViewPosition="PA", Modality="DX", BodyPartExamined="CHEST")
    facts = dicom_facts(save(tmp_path / "a.dcm", ds))
    assert dataclasses.asdict(facts) == {
        "view": "PA", "modality": "DX", "width": 64, "height": 48, "frames": 1, "chest": True, "complete": True,
    }  # fmt: skip
    assert facts.radiograph


@pytest.mark.parametrize(
    ("elements", "radiograph", "chest"),
    [
        ({}, True, True),  # VinDr's stripped headers
        ({"Modality": "CR", "BodyPartExamined": "Thorax"}, True, True),
        ({"Modality": "CT", "BodyPartExamined": "CHEST"}, False, True),
        ({"Modality": "SR"}, False, True),
        ({"Modality": SECRET}, False, True),
        ({"Modality": "DX", "BodyPartExamined": "HAND"}, True, False),
        ({"Modality": "DX", "BodyPartExamined": "CHESTABDOMEN"}, True, True),
        ({"Modality": "DX", "NumberOfFrames": 3}, False, True),
    ],
)
def test_what_is_a_chest_radiograph(tmp_path: Path, elements: dict, radiograph: bool, chest: bool) -> None:
    facts = dicom_facts(save(tmp_path / "a.dcm", dataset(stored(8), 8, **elements)))
    assert (facts.radiograph, facts.chest) == (radiograph, chest) and SECRET not in str(facts)


def test_a_report_object_is_no_radiograph(tmp_path: Path) -> None:
    ds = dataset(stored(8), 8, Modality="DX")
    del ds.PixelData, ds.Rows, ds.Columns
    facts = dicom_facts(save(tmp_path / "a.dcm", ds))
    assert not facts.radiograph and (facts.width, facts.height) == (0, 0)


def test_a_download_cut_off_shows_in_the_header_pass(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", dataset(stored(16), 16))
    assert dicom_facts(path).complete
    path.write_bytes(path.read_bytes()[:-2000])
    assert not dicom_facts(path).complete
    packed = fill(dataset(stored(16), 16), JPEG2000Lossless, jpeg2000(stored(16), 16))
    assert dicom_facts(save(tmp_path / "b.dcm", packed)).complete


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ProtocolName": "Thorax ap Bett"}, "AP"),
        ({"SeriesDescription": "Chest", "ProtocolName": "CHEST PA"}, "PA"),
        ({"AcquisitionDeviceProcessingDescription": "CHEST,LAT"}, "LAT"),
        ({"PerformedProcedureStepDescription": "CHEST (PORTABLE AP)"}, "AP"),
        ({"PerformedProcedureStepDescription": "CHEST (PA AND LAT)"}, "UNK"),
        ({"ViewPosition": "LATERAL", "ProtocolName": "CHEST PA"}, "LAT"),
        ({"StudyDescription": "CHEST PA", "ImageComments": "PA"}, "UNK"),  # of the study, or anybody's words
    ],
)
def test_where_the_view_is_looked_for(tmp_path: Path, elements: dict[str, str], view: str) -> None:
    assert dicom_view(save(tmp_path / "a.dcm", dataset(stored(8), 8, **elements))) == view


def test_a_view_code_of_any_shape(tmp_path: Path) -> None:
    lateral, empty = Dataset(), Dataset()
    lateral.CodeMeaning = "left lateral"
    ds = dataset(stored(8), 8, ViewCodeSequence=Sequence([empty, lateral]), SeriesDescription="PA")
    assert dicom_view(save(tmp_path / "a.dcm", ds)) == "LAT"
    ds = dataset(stored(8), 8, ViewCodeSequence=Sequence([]), SeriesDescription="PA")
    assert dicom_view(save(tmp_path / "b.dcm", ds)) == "PA"


def ids(path: Path, patient: str | None, salt: str = "s") -> tuple[str | None, str | None, str | None]:
    ds = dataset(stored(8), 8, StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4")
    del ds.PatientID
    if patient is not None:
        ds.PatientID = patient
    return dataclasses.astuple(read_pseudonyms(save(path, ds), salt)[1])


def test_pseudonyms_follow_the_id_the_salt_and_nothing_else(tmp_path: Path) -> None:
    a, b = ids(tmp_path / "a.dcm", "4711"), ids(tmp_path / "b.dcm", " 4711 ")
    assert a == b and len({*a, *ids(tmp_path / "c.dcm", "4711", salt="t")}) == 6
    assert ids(tmp_path / "d.dcm", "4712")[0] != a[0] and all("4711" not in str(name) for name in a)
    assert pseudonym("p", "4711", "s") == a[0] and len(str(a[0])) == 20


@pytest.mark.parametrize("nobody", [None, "", " ", "ANONYMOUS", "^anonymized^", "0", "000000", "XXXX", "unknown"])
def test_placeholders_are_not_one_patient(tmp_path: Path, nobody: str | None) -> None:
    patient, study, image = ids(tmp_path / "a.dcm", nobody)
    assert patient is None and study and image


def test_complaints_of_the_library_do_not_get_through(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    """pydicom quotes values that break the rules of their type: here a name where an identifier belongs."""
    ds = dataset(stored(8), 8, ViewPosition="PA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("StudyInstanceUID", "SOPInstanceUID", "PatientBirthDate", "SpecificCharacterSet"):
            setattr(ds, name, SECRET)
        ds.file_meta.MediaStorageSOPInstanceUID = SECRET
        path = save(tmp_path / "a.dcm", ds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts, names = read_pseudonyms(path, "s")
        assert dicom_facts(path) == facts and names.study
    assert SECRET not in caplog.text + "".join(capfd.readouterr()) + str(names)


def test_loggers_below_the_library_s_own_are_silent_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken stream makes pydicom log a traceback, and every decoding the values of the header."""
    caplog.set_level("DEBUG")
    frame = jpeg2000(stored(8), 8)
    good = save(tmp_path / "a.dcm", fill(dataset(stored(8), 8), JPEG2000Lossless, frame))
    assert read_dicom(good).shape == stored(8).shape
    broken = save(tmp_path / "b.dcm", fill(dataset(stored(8), 8), JPEG2000Lossless, frame[:150]))
    with pytest.raises(DataError, match="the image cannot be decoded"):
        read_dicom(broken)
    assert not [record for record in caplog.records if record.name.startswith("pydicom")]


def test_threads_leave_the_settings_as_they_were() -> None:
    """Two that overlap: the second still reads in silence when the first has left."""
    before = list(warnings.filters), pydicom_config.settings.reading_validation_mode
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert warnings.filters[0][0] == "ignore" and pydicom_config.settings.reading_validation_mode == 0
    second.__exit__(None, None, None)
    assert (list(warnings.filters), pydicom_config.settings.reading_validation_mode) == before


@pytest.mark.parametrize("read", [dicom_facts, dicom_view, dicom_size, lambda path: read_pseudonyms(path, "s")])
def test_broken_files_are_one_line_or_have_no_facts(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(DataError, match="no such DICOM file"):
        read(tmp_path / "gone.dcm")
    path, refused = tmp_path / "a.dcm", 0
    view = Dataset()
    view.CodeMeaning = SECRET
    whole = save(path, dataset(stored(8), 8, ViewCodeSequence=Sequence([view]), Modality="DX")).read_bytes()[:1200]
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole[: rng.integers(132, len(whole))])
        for at in rng.integers(132, len(damaged), 6) if len(damaged) > 132 else ():
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        said = ""
        try:
            said = str(read(path))
        except DataError as error:
            said, refused = str(error), refused + 1
        assert "\n" not in said and SECRET not in said
    assert refused
