"""Folders as people have them: tables with odd columns, boxes in two forms, DICOM beside PNG, faults named by line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.folder import build
from wsrpn_vl.errors import DataError

HEAD = "path,patient_id,Pleural Effusion,Edema"


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="JPEG" if path.suffix == ".jpg" else "PNG")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ward"
    for number, name in enumerate(("a.png", "b.png", "in/c.jpg", "in/d.png")):
        picture(folder / name, number)
    return folder


def put(root: Path, *lines: str, name: str = "table.csv") -> None:
    (root / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def columns(frame: pl.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return frame.select(names).rows()


def test_a_table_is_read(root: Path) -> None:
    put(
        root,
        "path,split,patient_id,study_id,view,report,Pleural Effusion,Edema",
        'a.png,train,1,s1,PA,"Erguß, links.",1,0',
        "b.png,validate,2,s2,lateral,,-1,",
        "in/c.jpg,test,3,s3,,clear,0.0,1.0",
        "in/d.png,,4,s4,AP, ,,",
    )
    tables = build(root)
    frame = tables.frame
    assert frame["image_id"].to_list() == ["a", "b", "in/c", "in/d"]
    assert frame["split"].to_list() == ["train", "val", "test", ""]
    assert frame["view"].to_list() == ["PA", "LAT", "UNK", "AP"]
    assert frame["text"].to_list() == ["Erguß, links.", None, "clear", None]
    assert columns(frame, "y_pleural_effusion", "y_edema") == [(1, 0), (-1, None), (0, 1), (None, None)]
    assert columns(frame, "width", "height") == [(40, 30)] * 4
    assert frame["study_id"].to_list() == ["s1", "s2", "s3", "s4"]
    assert (tables.dataset, tables.classes, tables.text_origin) == ("ward", ("Edema", "Pleural Effusion"), "report")
    assert tables.boxes is None and tables.boxed_classes == () and tables.missing == ()


def test_form_of_the_file_does_not_matter(root: Path) -> None:
    """BOM, CRLF, shuffled and extra columns, an unnamed first column, other spelling of names, trailing commas."""
    put(root, HEAD, "a.png,1,1,0", "b.png,2,,-1", "in/c.jpg,3,0,1")
    wanted = build(root)
    text = "\ufeff,EDEMA,Notes,Path,pleural_effusion,patient_id,\r\n"
    text += '0,0,"x, y",a.png,1,1,\r\n1,-1,,b.png,,2,\r\n\r\n2,1,,in/c.jpg,0,3,\r\n'
    (root / "table.csv").write_bytes(text.encode())
    got = build(root)
    assert got.frame.equals(wanted.frame) and got.classes == wanted.classes
    assert "columns not used: Notes" in got.notes


def test_labels_joined_by_bars(root: Path) -> None:
    """A filled cell says that the other findings of the column are absent; a blank one says nothing."""
    put(root, "image,labels", "a,Edema|Pleural Effusion", "b,No Finding", "c,", "d,edema")
    tables = build(root, val_share=0, test_share=0)
    assert tables.classes == ("Edema", "Pleural Effusion")
    assert columns(tables.frame, "y_edema", "y_pleural_effusion") == [(1, 1), (0, 0), (None, None), (1, 0)]
    assert tables.frame["path"].to_list() == ["a.png", "b.png", "in/c.jpg", "in/d.png"]


def test_a_column_of_its_own_has_the_last_word(root: Path) -> None:
    put(root, "image,labels,Edema", "a,Edema,-1", "b,Mass,", "c,,1")
    frame = build(root).frame
    assert columns(frame, "y_edema", "y_mass") == [(-1, 0), (0, 1), (1, None)]


def test_without_a_table_the_index_is_unlabelled(root: Path, tmp_path: Path) -> None:
    (root / "README").write_text("not an image")
    (root / ".hidden.png").write_bytes(b"")
    index = read_index(build_index("folder", root, tmp_path / "out"))
    assert index.classes == () and index.text_origin == "none"
    assert index.frame["path"].to_list() == ["a.png", "b.png", "in/c.jpg", "in/d.png"]
    assert set(index.frame["split"]) == {""} and set(index.frame["view"]) == {"UNK"}


def test_same_name_with_two_suffixes_keeps_both(root: Path) -> None:
    picture(root / "a.jpg")
    assert build(root).frame["image_id"].to_list()[:3] == ["a.jpg", "a.png", "b"]


def many(root: Path, patients: int) -> dict[str, str]:
    """Patient -> split of ``patients`` patients with two images each."""
    lines = [f"p{p}_{i}.png,{p},1,0" for p in range(patients) for i in range(2)]
    for line in lines:
        shutil.copy(root / "a.png", root / line.split(",")[0])
    put(root, HEAD, *lines)
    frame = build(root).frame
    assert frame.group_by("patient_id").agg(pl.col("split").n_unique())["split"].max() == 1
    return dict(frame.select("patient_id", "split").iter_rows())


def test_splits_are_by_patient_and_stay_when_the_folder_grows(root: Path) -> None:
    few, more = many(root, 40), many(root, 200)
    assert few == {patient: more[patient] for patient in few}
    share = {s: list(more.values()).count(s) / 200 for s in ("train", "val", "test")}
    assert share["val"] == pytest.approx(0.15, abs=0.06) and share["test"] == pytest.approx(0.15, abs=0.06)


def test_splits_without_patients_keep_studies_together(root: Path) -> None:
    for number in range(30):
        shutil.copy(root / "a.png", root / f"x{number}.png")
    put(root, "path,study_id", *(f"x{n}.png,s{n // 3}" for n in range(30)))
    frame = build(root, val_share=0.3, test_share=0.3).frame
    assert frame.group_by("study_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(frame["split"]) == {"train", "val", "test"}


def test_boxes_as_corners_or_extents(root: Path, tmp_path: Path) -> None:
    put(root, HEAD, "a.png,1,1,0", "in/c.jpg,3,0,1")
    put(root, "path,label,x1,y1,x2,y2", "a.png,Pleural Effusion,1,2,11.5,22", "c,Mass,0,0,40,30", name="boxes.csv")
    tables = build(root)
    assert tables.boxes is not None
    wanted = [("a", "Pleural Effusion", 1, 2, 11.5, 22, "boxes.csv"), ("in/c", "Mass", 0, 0, 40, 30, "boxes.csv")]
    assert tables.boxes.rows() == wanted
    assert tables.boxed_classes == ("Pleural Effusion", "Mass")
    assert tables.box_complete == dict.fromkeys(tables.classes, False)
    assert tables.frame["y_mass"].null_count() == 2  # a box is no label: training must not learn from it
    put(root, "h,w,label,y,x,image_id", "20,10.5,pleural_effusion,2,1,a", "30,40,Mass,0,0,in/c", name="boxes.csv")
    again = build(root, box_complete=True)
    assert again.boxes is not None and again.boxes.equals(tables.boxes)
    assert again.box_complete == {"Edema": False, "Pleural Effusion": True, "Mass": True}
    assert pl.read_parquet(boxes_path(build_index("folder", root, tmp_path / "out"))).equals(tables.boxes)


def test_missing_images_and_their_boxes_are_counted(root: Path, tmp_path: Path) -> None:
    put(root, HEAD, "a.png,1,1,0", "gone.png,2,1,0")
    put(root, "path,label,x,y,w,h", "gone.png,Edema,1,1,5,5", "b.png,Edema,1,1,5,5", name="boxes.csv")
    path = build_index("folder", root, tmp_path / "out")
    index = read_index(path)
    assert index.frame["image_id"].to_list() == ["a"]
    assert missing_path(path).read_text() == "gone.png\n"
    assert index.notes == (
        "1 x image of the table missing (see the .missing.txt list)",
        "3 x image file not in the table, left out",
        "2 x box of an image that is missing or not in the table, left out",
    )


def test_paths_of_other_systems_and_absolute_paths(root: Path) -> None:
    """Also of converted copies: the table says .png or .dcm, the file is .jpg or .png."""
    put(root, HEAD, "in\\c.png,1,1,0", f"{root / 'b.png'},2,1,0", "./a.png,3,0,0", "d.dcm,4,0,0")
    assert build(root).frame["path"].to_list() == ["in/c.jpg", "b.png", "a.png", "in/d.png"]


def test_a_table_may_be_named(root: Path, tmp_path: Path) -> None:
    put(root, HEAD, "a.png,1,1,0", name="one.csv")
    put(root, HEAD, "b.png,1,1,0", name="two.csv")
    with pytest.raises(DataError, match=r"several CSV files \(one\.csv, two\.csv\); name one with table="):
        build(root)
    tables = build(root, table="two.csv", name="clinic")
    assert (tables.frame["image_id"].to_list(), tables.dataset) == (["b"], "clinic")
    with pytest.raises(DataError, match=r"three\.csv: cannot be read"):
        build(root, table="three.csv")


def test_the_view_of_dicom_files_is_read_from_them(root: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    ds.Rows, ds.Columns, ds.ViewPosition = 20, 10, "PA"
    for name in ("IM1", "1.2.840.77"):
        ds.save_as(root / name, enforce_file_format=True)
        row = build(root).frame.row(by_predicate=pl.col("image_id") == name, named=True)
        assert (row["view"], row["width"], row["height"]) == ("PA", 10, 20)


FAULTS = [
    ((HEAD, "a.png,1,yes,0"), "", r"line 2, Pleural Effusion='yes'; use 1, 0, -1"),
    ((HEAD, "b.png,1,1,0", "a.png,1,2,0"), "", "line 3, Pleural Effusion='2'"),
    ((HEAD, ",1,1,0"), "", "line 2, path is blank"),
    ((HEAD, "a.png,1,1,0", "a,1,1,0"), "", "line 3, path: 'a.png' is named a second time"),
    ((HEAD, "a.png,1,1,0,9"), "", "line 2 has more fields than the header"),
    ((HEAD, "/etc/a.png,1,1,0"), "", "line 2: '/etc/a.png' lies outside"),
    (("path,Pleural Efusion", "a.png,1"), "", "column 'Pleural Efusion' is no class; did you mean 'Pleural Effusion'"),
    (("path,Edema,edema", "a.png,1,1"), "", "columns 'Edema' and 'edema' say the same"),
    (("path,Edema,Edema", "a.png,1,1"), "", "column 'Edema' appears twice"),
    (("file,Edema", "a.png,1"), "", "needs one of the columns path, image"),
    (("path,text,report", "a.png,x,y"), "", "at most one of the columns text, report"),
    (("path,split", "a.png,holdout"), "", "line 2, split='holdout'"),
    (("path,labels", "b.png,Edema", "a.png,Oedema"), "", "line 3, labels: finding 'Oedema'.*did you mean 'Edema'"),
    (("path,labels", "a.png,Edema|No Finding"), "", "line 2, labels=.*keep one of them"),
    (("path,split,patient_id", "a.png,train,1", "b.png,test,1"), "", "patient_id '1' is in more than one split"),
    (("path,image_id", "a.png,1", "b.png,1"), "", "image_id='1'.*appears twice"),
    (("path", "gone.png"), "", "none of its 1 images is below"),
    ((), "", "the file is empty"),
    ((HEAD, "a.png,1,1,0"), "path,label,x1,y1,x2,y2\na.png,Efusion,1,1,2,2", "line 2, label='Efusion'.*'Effusion'"),
    ((HEAD, "a.png,1,1,0"), "path,label,x1,y1,x2,y2\na.png,Edema,1,1,2,", "line 2 needs numbers in x1, y1, x2, y2"),
    ((HEAD, "a.png,1,1,0"), "path,label,x1,y1\na.png,Edema,1,1", "needs path, image or image_id; label; and x1"),
    ((HEAD, "a.png,1,1,0"), "path,label,x,y,w,h\nz.png,Edema,1,1,2,2", "line 2, path='z.png': no such image"),
    ((HEAD, "a.png,1,1,0"), "path,label,x,y,w,h\na.png,Edema,1,1,200,2", "x2=201.0.*outside the image"),
]


@pytest.mark.parametrize(("table", "boxes", "message"), FAULTS)
def test_a_fault_is_named_in_one_line_and_nothing_is_written(
    root: Path, tmp_path: Path, table: tuple[str, ...], boxes: str, message: str
) -> None:
    put(root, *table)
    if boxes:
        put(root, boxes, name="boxes.csv")
    with pytest.raises(DataError, match=message) as caught:
        build_index("folder", root, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("path,report,Edema", "a.png,x,Big heart"), "line 2, Edema; use 1, 0"),
        (("path,report,split", "a.png,x,Big heart"), "line 2, split; use train"),
        (("path,report,labels", "a.png,x,Big heart"), "line 2, labels: finding is unknown"),
        (("path,report,labels", "a.png,x,Edema|no finding"), "line 2, labels names a finding and"),
    ],
)
def test_a_table_with_reports_is_not_quoted(root: Path, rows: tuple[str, ...], message: str) -> None:
    """In a shifted row the words of a report lie in any column."""
    put(root, *rows)
    with pytest.raises(DataError, match=message) as caught:
        build(root)
    assert "Big heart" not in str(caught.value)


def test_a_report_for_a_header_is_not_quoted(root: Path) -> None:
    put(root, "path,Big heart today,Big heart today", "a.png,x,1")
    with pytest.raises(DataError, match=r"table\.csv: a column appears twice; keep one"):
        build(root)


def test_a_lost_header_is_not_quoted_in_the_notes(root: Path) -> None:
    put(root, "path,report,Edema,site,Big heart today", "a.png,x,1,2,3")
    assert "columns not used: site, 1 of longer names" in build(root).notes


def test_a_name_that_fits_two_files_is_refused(root: Path) -> None:
    picture(root / "in" / "a.png")
    put(root, "image", "a")
    assert build(root).frame["path"].to_list() == ["a.png"]  # as written below the root
    put(root, "image", "d", "c")
    picture(root / "out" / "d.png")
    with pytest.raises(DataError, match=r"line 2: 'd' may be 'in/d\.png' or 'out/d\.png'"):
        build(root)


def test_other_encodings_and_empty_folders_are_named(root: Path, tmp_path: Path) -> None:
    (root / "table.csv").write_bytes("path,report\na.png,Erguß\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"table\.csv: not a UTF-8 CSV file"):
        build(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no PNG, JPEG or DICOM file"):
        build(tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        build(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"val_share=0\.2, test_share=0\.9"):
        build(root, val_share=0.2, test_share=0.9)


def test_real_notes(real_data: Path, tmp_path: Path) -> None:
    """Clinical notes of real radiographs, words as they came: 183 images, each with a text; some texts repeat."""
    index = read_index(build_index("folder", real_data / "covid-notes", tmp_path))
    assert index.frame.height == 183 and index.text_origin == "report"
    assert index.frame["text"].null_count() == 0 and index.frame["text"].n_unique() < 183
    assert set(index.frame["view"]) <= {"AP", "PA", "UNK"}
    assert set(index.frame["split"]) == {"train", "val", "test"}
    assert any("license" in note for note in index.notes)
