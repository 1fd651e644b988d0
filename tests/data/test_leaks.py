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
        ("pandas.csv", "subject_id\n10000032.0\n"),
        ("gone.csv", "dicom_id,path\nzz,files/p10/p10000032/s50000009/zz.jpg\n"),  # of an image that is not here
        ("study.csv", "path\nfiles/p10/p10000032/s50000009.txt\n"),
        ("coco.json", '{"images": [{"id": 1, "file_name": "a1.jpg", "width": 9}], "annotations": []}'),
        ("coco2.json.gz", '{"images": [{"id": 1, "path": "files/p10/p10000032/s50000009/zz.jpg"}]}'),
        ("list.json", '[{"ImageID": "a2.png"}, {"ImageID": null}]'),
        ("lines.txt", 'sentence\timage_id\n"one\nof ""three""\nlines"\ta1.dcm\n'),
        ("loose.tsv", 'sentence\tsubject_id\n"loose\t10000032\nend"\tx\n'),
    ],
)
def test_a_patient_is_found_by_own_id_or_by_an_image(tmp_path: Path, name: str, text: str) -> None:
    """Naming one image of a patient names all of them."""
    found = overlap(FRAME, members_of(write(tmp_path / name, text)))
    assert found.to_list() == [True, True, False, False, False]


@pytest.mark.parametrize("text", ["Path\nCheXpert-v1.0/valid/patient00007/study1/view1_frontal.jpg\n",
                                  "path_to_image,report\ntrain/Patient00007/study3/view2_lateral.png,x\n"])  # fmt: skip
def test_paths_of_chexpert_name_the_patient(tmp_path: Path, text: str) -> None:
    """The last part alone, ``view1_frontal``, would be every image's name."""
    frame = pl.DataFrame({"image_id": ["patient00007_study2_view1_frontal", "patient00008_study1_view1_frontal"]})
    frame = frame.with_columns(patient_id=pl.col("image_id").str.head(12))
    assert overlap(frame, members_of(write(tmp_path / "t.csv", text))).to_list() == [True, False]


def test_ids_of_an_index_may_be_paths_or_file_names(tmp_path: Path) -> None:
    frame = pl.DataFrame({"image_id": ["sub/d1", "d2.PNG", "d3"]}).with_columns(patient_id=pl.lit(None, pl.String))
    found = overlap(frame, members_of(write(tmp_path / "t.csv", "path\nelsewhere\\d1.jpg\nd2.jpg\n")))
    assert found.to_list() == [True, True, False]


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
        ("", "not a readable CSV file"),
        ("image_id\n\n\n", "no column of patient or image ids"),
    ],
)
def test_a_table_that_names_nobody_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        members_of(write(tmp_path / "t.csv", text))
    assert "\n" not in str(caught.value) and "t.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'subject_id,report\n1,the "hilum, is, full\n'),
        ("t.csv", 'report,x\n"the hilum is full\n'),
        ("t.csv", "the hilum,is full\nx,y\n"),
        ("t.txt", 'the hilum\tis full\n"x\ty\n'),
        ("t.json", '{"images": ["the hilum is full"'),
        ("t.json", '"the hilum is full"'),
        ("t.json", '{"images": {"hilum": 1}}'),
    ],
)
def test_a_table_of_reports_is_not_quoted(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(DataError) as caught:
        members_of(write(tmp_path / name, text))
    assert "hilum" not in str(caught.value) and "\n" not in str(caught.value) and name in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        members_of(tmp_path / "gone.csv")
