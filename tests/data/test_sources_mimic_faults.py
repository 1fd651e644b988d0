"""What is missing or broken in a copy of MIMIC-CXR is counted, or said in one line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fixtures.mimic import (
    CHEXPERT,
    CXR,
    JPG,
    LABELS,
    METADATA,
    NEGBIO,
    REPORTS,
    SHOTS,
    SPLIT,
    TEST_LABELS,
    by_name,
    dicom_id,
    path_of,
    rewrite,
    tables,
    write_mimic,
    write_table,
)
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.mimic import build
from wsrpn_vl.errors import DataError


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    return write_mimic(tmp_path / "mimic")


def test_missing_images_are_listed(mimic: Path, tmp_path: Path) -> None:
    gone = [s for s in SHOTS if s.name in ("a1", "c1")]
    for shot in gone:
        (mimic / JPG / path_of(shot)).unlink()
    (mimic / JPG / path_of(gone[0])).with_name("._x.jpg").write_bytes(b"")
    (mimic / JPG / path_of(gone[0])).with_name("other.jpg").write_bytes(b"")
    index = build_index("mimic", mimic, tmp_path / "i")
    assert read_index(index).frame.height == 8
    assert missing_path(index).read_text().split() == [f"{JPG}/{path_of(s)}" for s in gone]
    notes = read_index(index).notes
    assert "2 x image of the tables missing (see the .missing.txt list)" in notes
    assert "1 x image file not in the tables, left out" in notes
    with pytest.raises(DataError, match=r"2 images of the tables are not there, first mimic-cxr-jpg/2\.1\.0/files/p10"):
        build(mimic, missing="error")
    assert build(mimic, missing="unchecked").frame.height == 10


def test_tables_without_any_image(mimic: Path) -> None:
    shutil.rmtree(mimic / JPG / "files")
    with pytest.raises(DataError, match="no JPEG or DICOM files below a folder files/p10 to p19"):
        build(mimic)
    frame = build(mimic, missing="unchecked", views="all").frame
    assert frame["path"].to_list() == [f"{JPG}/{path_of(s)}" for s in SHOTS]


FAULTS: list[tuple[str, str, dict[str, dict[str, str]], str]] = [
    ("duplicate", METADATA, {dicom_id("a2"): {"dicom_id": dicom_id("a1")}}, r"dicom_id='\w{8}-.*appears twice"),
    ("bad id", METADATA, {dicom_id("a2"): {"dicom_id": "../../x"}}, r"data row 2, dicom_id='../../x'.*not an id"),
    ("bad subject", METADATA, {dicom_id("a2"): {"subject_id": "17"}}, r"data row 2, subject_id='17'.*not an id"),
    ("no size", METADATA, {dicom_id("a2"): {"Rows": ""}}, "data row 2, Rows=None.*expected a number of pixels"),
    ("wordy size", METADATA, {dicom_id("a2"): {"Columns": "wide"}}, "data row 2, Columns='wide'.*whole number"),
    ("other patient", METADATA, {dicom_id("a2"): {"subject_id": "10000009"}}, "data row 2, patient_id=.*says another"),
    ("split word", SPLIT, {dicom_id("a2"): {"split": "valid"}}, "data row 2, split='valid'.*train, validate, test"),
    ("study twice", CHEXPERT, {"10000002": {"study_id": "50000001"}}, "study_id='50000001'.*appears twice"),
    ("study as float", CHEXPERT, {"10000002": {"study_id": "50000003.0"}}, "study_id='50000003.0'.*not a study"),
    ("label", CHEXPERT, {"10000002": {"Edema": "2.0"}}, r"data row 3, Edema=2.0.*expected 1.0, 0.0, -1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "said"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_faults_of_tables_are_one_line(mimic: Path, name: str, changes: dict[str, dict[str, str]], said: str) -> None:
    rewrite(mimic, name, **changes)
    with pytest.raises(DataError, match=said) as error:
        build(mimic)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_labels_of_other_studies_are_not_taken_for_blank_ones(mimic: Path) -> None:
    header = ("subject_id", "study_id", *LABELS)
    write_table(mimic / JPG / CHEXPERT, header, [(10000001, 59999999, *["1.0"] * len(LABELS))])
    with pytest.raises(DataError, match=rf"{CHEXPERT} has none of the \d studies that are there; use one release"):
        build(mimic)


@pytest.mark.parametrize("name", [METADATA, SPLIT, CHEXPERT, NEGBIO, TEST_LABELS])
def test_a_table_that_is_not_there_is_named(mimic: Path, name: str) -> None:
    (mimic / JPG / f"{name}.gz").unlink()
    for listed in mimic.rglob("cxr-record-list.csv.gz"):
        listed.unlink()
    with pytest.raises(DataError, match=re.escape(f"no {name}")):
        build(mimic, labels="both", test_labels=True)


@pytest.mark.parametrize("name", [METADATA, SPLIT, CHEXPERT])
def test_a_table_cut_short_or_empty(mimic: Path, name: str) -> None:
    path = mimic / JPG / f"{name}.gz"
    whole = path.read_bytes()
    for data in (whole[:40], b""):
        path.write_bytes(data)
        with pytest.raises(DataError, match=re.escape(path.name)) as error:
            build(mimic)
        assert "\n" not in str(error.value)


def test_images_of_one_table_alone_are_counted(mimic: Path) -> None:
    """b1 and b2 lack a split: in none. An image only in the split table is left out."""
    header, rows = next((h, r) for n, h, r in tables() if n == SPLIT)
    (mimic / JPG / f"{SPLIT}.gz").unlink()
    kept = [r for r in rows if r[1] != 50000003] + [(dicom_id("zz"), 50000009, 10000002, "train")]
    write_table(mimic / JPG / SPLIT, header, kept)
    built = build(mimic, views="all")
    assert by_name(built.frame, "split")["b1"] == "" and built.frame.height == 15
    assert "1 x study of the metadata not in the split table, in no split" in built.notes
    assert "2 x image of the metadata not in the split table, in no split" in built.notes
    assert "1 x image of the split table not in the metadata, left out" in built.notes


@pytest.mark.parametrize("cut", [0, 30, 400, -30])
def test_a_broken_archive_is_one_line_without_words(mimic: Path, cut: int) -> None:
    path = mimic / CXR / "mimic-cxr-reports.zip"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip: not a readable archive.*download it again") as error:
        build(mimic)
    assert "\n" not in str(error.value)
    assert not any(text[-30:-10] in str(error.value) for text in REPORTS.values() if len(text) > 30)


def test_a_damaged_member_is_one_line(mimic: Path) -> None:
    path = mimic / CXR / "mimic-cxr-reports.zip"
    data = bytearray(path.read_bytes())
    data[data.index(b"Blunting")] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a readable archive"):
        build(mimic)


@pytest.mark.parametrize(
    "option",
    [{"images": "jpeg"}, {"views": "front"}, {"labels": "chexbert"}, {"missing": "lists"}, {"reports": "nowhere"}],
)
def test_unknown_options_are_named(mimic: Path, option: dict[str, str]) -> None:
    with pytest.raises(DataError, match=re.escape(next(iter(option.values())))):
        build(mimic, **option)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ['s50000001,"A hazy patch\n', "s50000001,A hazy, patch\ns50000002,x\n"])
def test_parts_that_are_no_tables_are_not_quoted(mimic: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "mimic_cxr_000.csv").write_text(text)
    with pytest.raises(DataError, match=r"mimic_cxr_000\.csv: .*make it again") as error:
        build(mimic, reports=str(tmp_path / "mimic_cxr_000.csv"))
    assert "hazy" not in str(error.value) and "\n" not in str(error.value)
