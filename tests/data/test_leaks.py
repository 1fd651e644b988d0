"""Who of another table is in this data set."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from wsrpn_vl.data.leaks import members_of, overlap, take_out
from wsrpn_vl.errors import DataError

FRAME = pl.DataFrame(
    {
        "image_id": ["a1", "a2", "b1", "c1", "d1"],
        "patient_id": ["10000032", "10000032", "10000764", "10000980", None],
        "split": ["train", "val", "train", "test", "train"],
    }
)


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("avoid.csv", "subject_id,study_id,dicom_id,path\n10000032,5,a1,files/p10/p10000032/s5/a1.dcm\n"),
        ("avoid.csv.gz", "subject_id\n10000032\n"),
        ("ms.csv", "\ufeffdicom_id,category_name,x\r\na2,Edema,3\r\n"),
        ("gold.txt", 'patient_id\timage_id\tsentence\n10000032\ta1.dcm\tsays, "quoted\n'),
        ("paths.csv", "path,label\nfiles/p10/p10000032/s5/a1.jpg,Edema\n"),
        ("p.csv", "PatientID\np10000032\n"),
    ],
)
def test_a_patient_is_found_by_own_id_or_by_an_image(tmp_path: Path, name: str, text: str) -> None:
    """Naming one image of a patient names all of them."""
    found = overlap(FRAME, members_of(write(tmp_path / name, text)))
    assert found.to_list() == [True, True, False, False, False]


def test_an_image_without_patient_is_found_alone(tmp_path: Path) -> None:
    found = overlap(FRAME, members_of(write(tmp_path / "t.csv", "image_id\nd1\nc1\n")))
    assert found.to_list() == [False, False, False, True, True]


def test_they_are_taken_out_of_training_and_stay_in_the_index(tmp_path: Path) -> None:
    table = write(tmp_path / "avoid.csv", "subject_id\n10000032\n10000980\n")
    frame, notes = take_out(FRAME, [table])
    assert frame["split"].to_list() == ["", "", "train", "test", "train"]  # a test patient stays one
    assert frame.drop("split").equals(FRAME.drop("split"))
    assert notes == ("avoid.csv: 1 patients (2 images) taken out of training and validation",)
    again, notes = take_out(frame, [table])
    assert again.equals(frame) and "no patient or image in common" in notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finding,x\nEdema,3\n", "no column of patient or image ids"),
        ("", "not a readable table"),
        ("image_id\n\n\n", "no column of patient or image ids"),
    ],
)
def test_a_table_that_names_nobody_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        members_of(write(tmp_path / "t.csv", text))
    assert "\n" not in str(caught.value) and "t.csv" in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        members_of(tmp_path / "gone.csv")
