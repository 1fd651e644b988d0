"""ChestX-ray14 in every layout it is found in: same rows, same splits, boxes in pixels of the stored file."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import polars as pl
import pytest

from fixtures.layouts import table, write
from fixtures.nih import BOXES, ROWS, TEST_PATIENTS, Nih, write_nih
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.nih import CLASSES, build
from wsrpn_vl.data.sources.tables import find_images
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NIH14, label_column


@pytest.fixture
def nih(tmp_path: Path) -> Path:
    return write_nih(tmp_path / "nih")


def row(frame: pl.DataFrame, image_id: str) -> dict:
    return frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


FORMS = [
    Nih("flat"),
    Nih("nested"),
    Nih("mixed", old=True),
    Nih("flat", sex_column="Patient Sex", crlf=True, bom=True, box_commas=True),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_layout_gives_the_same_tables(nih: Path, tmp_path: Path, form: Nih) -> None:
    wanted, got = build(nih), build(write_nih(tmp_path / "other", form))
    assert wanted.boxes is not None and got.boxes is not None
    assert got.frame.drop("path").equals(wanted.frame.drop("path"))
    assert got.boxes.equals(wanted.boxes)
    for path in got.frame["path"]:
        assert (tmp_path / "other" / path).is_file()


def test_labels_views_and_people(nih: Path) -> None:
    """Lung Opacity, Lung Lesion, Pleural Effusion and Pleural Other are the maximum of their native classes."""
    tables = build(nih)
    frame = tables.frame
    assert frame["image_id"].to_list() == [r[0] for r in ROWS]
    assert tables.classes == CLASSES
    for image_id, findings, age, sex, view in ROWS:
        got = row(frame, image_id)
        positive = {c for c in NIH14 if got[label_column(c)] == 1}
        assert positive == set(findings.split("|")) - {"No Finding"}
        assert got["y_lung_opacity"] == int("Infiltration" in findings)
        assert got["y_lung_lesion"] == int("Mass" in findings or "Nodule" in findings)
        assert got["y_pleural_effusion"] == int("Effusion" in findings)
        assert got["y_pleural_other"] == int("Pleural_Thickening" in findings)
        assert got["no_finding"] == int(findings == "No Finding")
        assert (got["sex"], got["view"], got["patient_id"]) == (sex, view, image_id[:8])
        assert got["age"] == (None if age == 412 else age)
    assert all(frame[label_column(c)].null_count() == 0 for c in CLASSES)
    assert any("age above 120" in note for note in tables.notes)


def test_boxes_are_scaled_to_the_stored_file(nih: Path, tmp_path: Path) -> None:
    """64 / 1024 = 1/16: x 256..768, y 128..192 becomes 16..48, 8..12; at 128 x 32, 1/8 and 1/32: 32..96, 4..6."""
    boxes = build(nih).boxes
    assert boxes is not None and boxes.height == len(BOXES)
    assert boxes.row(0)[:6] == ("00000009_000", "Infiltration", 16.0, 8.0, 48.0, 12.0)
    assert boxes.row(3)[:6] == ("00000010_000", "Nodule", 60.0, 60.0, 64.0, 64.0)
    resized = build(write_nih(tmp_path / "small", Nih("flat", suffix=".jpg", size=(128, 32))))
    assert resized.boxes is not None
    assert resized.boxes.row(0)[:6] == ("00000009_000", "Infiltration", 32.0, 4.0, 96.0, 6.0)
    assert row(resized.frame, "00000009_000")["path"] == "images/00000009_000.jpg"
    assert set(resized.frame.select("width", "height").rows()) == {(128, 32)}


def test_what_is_boxed_and_what_is_complete(nih: Path) -> None:
    tables = build(nih)
    assert tables.boxed_classes == ("Atelectasis", "Cardiomegaly", "Infiltration", "Mass", "Nodule")
    assert tables.box_complete == dict.fromkeys(CLASSES, False)
    assert tables.text_origin == "none" and tables.frame["text"].null_count() == len(ROWS)
    (nih / "BBox_List_2017.csv").unlink()
    without = build(nih)
    assert without.boxes is None and without.boxed_classes == ()


def test_splits_follow_the_lists_and_the_hash_of_the_patient(nih: Path) -> None:
    """val: the first 8 bytes of SHA-1("seed/patient") as a fraction of 2^64 below val_share.

    Of patients 1 to 8 and 11, written out here for seed 0 and a share of one half.
    """

    def low(patient: str) -> bool:
        return int(hashlib.sha1(f"0/{patient}".encode()).hexdigest()[:16], 16) / 16**16 < 0.5

    frame = build(nih, val_share=0.5).frame
    splits = dict(frame.select("image_id", "split").iter_rows())
    for image_id, split in splits.items():
        patient = image_id[:8]
        expected = "test" if patient in TEST_PATIENTS else "val" if low(patient) else "train"
        assert split == ("" if image_id == "00000012_001" else expected)
    assert sorted({i[7] for i, s in splits.items() if s == "val"}) == ["1", "4", "6", "7"]
    assert "val" not in set(build(nih, val_share=0).frame["split"])
    assert build(nih, val_share=0.5, seed=1).frame["split"].to_list() != frame["split"].to_list()


def test_a_patient_keeps_its_split_when_others_are_not_there(nih: Path) -> None:
    before = dict(build(nih, val_share=0.5).frame.select("image_id", "split").iter_rows())
    for file in (nih / "images_001" / "images").glob("0000000[1-4]_*"):
        file.unlink()
    after = dict(build(nih, val_share=0.5).frame.select("image_id", "split").iter_rows())
    assert 0 < len(after) < len(before)
    assert after == {image_id: before[image_id] for image_id in after}


def test_missing_images_are_listed_and_forgotten_when_back(nih: Path, tmp_path: Path) -> None:
    gone = nih / "images_002" / "images" / "00000010_000.png"
    gone.rename(tmp_path / "kept.png")
    path = build_index("nih", nih, tmp_path / "out")
    index = read_index(path)
    assert index.frame.height == len(ROWS) - 1
    assert missing_path(path).read_text() == "00000010_000.png\n"
    assert any(note.startswith("1 x image of the table missing") for note in index.notes)
    assert any(note.startswith("2 x box of a missing image") for note in index.notes)
    assert "00000010_000" not in set(pl.read_parquet(boxes_path(path))["image_id"])
    (tmp_path / "kept.png").rename(gone)
    build_index("nih", nih, tmp_path / "out")
    assert read_index(path).frame.height == len(ROWS) and not missing_path(path).exists()


def test_stray_double_and_hidden_files_do_not_become_rows(nih: Path) -> None:
    first = nih / "images_001" / "images" / "00000001_000.png"
    shutil.copy(first, nih / "images" / "._00000001_000.png")
    shutil.copy(first, nih / "images" / "00000099_000.png")
    shutil.copy(first, nih / "images" / "00000001_000.jpg")
    tables = build(nih)
    assert tables.frame["image_id"].to_list() == [r[0] for r in ROWS]
    assert row(tables.frame, "00000001_000")["path"] == "images_001/images/00000001_000.png"
    assert any("1 x image file not in the table" in n for n in tables.notes)
    assert any("1 x image stored twice" in n for n in tables.notes)


FAULTS = [
    (
        "Data_Entry_2017_v2020.csv",
        "Hernia|Infiltration",
        "Hernia|Infiltratoin",
        "data row 5.*did you mean 'Infiltration'",
    ),
    ("Data_Entry_2017_v2020.csv", "00000002_000.png,", "2.png,", "data row 3.*Image Index='2.png'"),
    ("Data_Entry_2017_v2020.csv", "No Finding,0,2,", "No Finding,0,3,", "data row 3, Patient ID='3'"),
    ("Data_Entry_2017_v2020.csv", "Finding Labels", "Findings", "column 'Finding Labels' is missing"),
    ("BBox_List_2017.csv", "png,Mass,", "png,Masses,", "line 4.*did you mean 'Mass'"),
    ("BBox_List_2017.csv", "00000012_000", "00000013_000", "line 6.*not in the label table"),
    ("BBox_List_2017.csv", "960.0,960.0,64.0,64.0", "960.0,960.0,64.0,wide", "line 5 needs four numbers"),
    ("BBox_List_2017.csv", "960.0,960.0,64.0,64.0", "960.0,960.0,64.0", "line 5 needs four numbers"),
    ("BBox_List_2017.csv", "960.0,960.0,64.0,64.0", "960.0,960.0,65.0,64.0", "x2=64.0625.*outside the image"),
    ("BBox_List_2017.csv", "960.0,960.0,64.0,64.0", "nan,960.0,64.0,64.0", "line 5 needs four numbers"),
    (
        "Data_Entry_2017_v2020.csv",
        "00000002_000.png,No Finding,0,2,",
        "00000001_000.png,No Finding,0,1,",
        "row 1, .*keep one",
    ),
    ("test_list.txt", "00000009_000.png", "<html>", r"test_list\.txt: line \d+ is no name such as 00000001_000\.png"),
    ("test_list.txt", "00000009_000", "00000001_000", "'00000001_000' is in train_val_list.txt and in test_list.txt"),
    ("train_val_list.txt", "00000001_000", "00000012_001", "patient_id '00000012' is in more than one split"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), FAULTS)
def test_a_fault_is_named_in_one_line_and_nothing_is_written(
    nih: Path, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    replace(nih / file, old, new)
    with pytest.raises(DataError, match=message) as caught:
        build_index("nih", nih, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_links_are_followed_and_circles_of_them_come_to_an_end(nih: Path, tmp_path: Path) -> None:
    """Two links back double the tree at every turn, to a depth of 40 if they are followed blindly."""
    wanted = build(nih)
    (nih / "images").rename(tmp_path / "elsewhere")
    (nih / "images").symlink_to(tmp_path / "elsewhere")
    (nih / "images_001" / "back").symlink_to(nih)
    (nih / "images_001" / "aside").symlink_to(nih / "images_002")
    (nih / "images_002" / "aside").symlink_to(nih / "images_001")
    got = build(nih)
    assert got.frame["image_id"].equals(wanted.frame["image_id"]) and not got.missing
    assert len(find_images(nih)) < 3 * len(ROWS)


@pytest.mark.parametrize("file", ["Data_Entry_2017_v2020.csv", "train_val_list.txt", "test_list.txt"])
def test_a_missing_table_is_named(nih: Path, file: str) -> None:
    (nih / file).unlink()
    with pytest.raises(DataError, match=file):
        build(nih)


@pytest.mark.parametrize(
    "content", [b"<html>sign in</html>", b"", b"\x89PNG\r\n\x1a\n\0\0"], ids=["page", "empty", "cut"]
)
def test_a_broken_image_is_listed_and_left_out_like_a_missing_one(nih: Path, content: bytes) -> None:
    wanted = build(nih)
    (nih / "images" / "00000012_000.png").write_bytes(content)
    tables = build(nih)
    assert tables.missing == ("images/00000012_000.png",)
    assert "1 x image that cannot be read, left out (see the .missing.txt list)" in tables.notes
    assert tables.frame.equals(wanted.frame.filter(pl.col("image_id") != "00000012_000"))
    assert tables.boxes is not None and wanted.boxes is not None
    assert tables.boxes.equals(wanted.boxes.filter(pl.col("image_id") != "00000012_000"))


@pytest.mark.parametrize("file", ["test_list.txt", "BBox_List_2017.csv", "Data_Entry_2017_v2020.csv"])
def test_an_empty_file_is_a_broken_download(nih: Path, file: str) -> None:
    (nih / file).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{file}: .*; download it again"):
        build(nih)


def test_when_no_image_can_be_read_the_first_says_why(nih: Path) -> None:
    for path in nih.rglob("*.png"):
        path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(DataError, match=r"0000000\d_00\d\.png: neither PNG, JPEG nor DICOM"):
        build(nih)


def test_tables_may_be_packed_and_lie_below_the_root(nih: Path, tmp_path: Path) -> None:
    """As after ``kaggle datasets download`` into a folder of its own, or with the tables kept in gzip."""
    wanted = build(nih)
    inner = tmp_path / "downloads" / "nih-chest-xrays"
    shutil.copytree(nih, inner)
    for path in (*inner.glob("*.csv"), *inner.glob("*.txt")):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    got = build(tmp_path / "downloads")
    assert got.frame.drop("path").equals(wanted.frame.drop("path"))
    assert got.boxes is not None and wanted.boxes is not None and got.boxes.equals(wanted.boxes)
    (inner / "test_list.txt.gz").write_bytes(gzip.compress(b"00000012_000.png\n")[:-6])
    with pytest.raises(DataError, match=r"test_list\.txt\.gz: not a whole gzip file; download it again"):
        build(tmp_path / "downloads")


@pytest.mark.parametrize(("said", "age"), [("058Y", 58), ("011M", 0), ("018M", 1), ("3D", 0), ("-4", None), ("", None)])
def test_ages_of_the_old_table(nih: Path, said: str, age: int | None) -> None:
    replace(nih / "Data_Entry_2017_v2020.csv", ",1,57,M,", f",1,{said},M,")
    tables = build(nih)
    assert row(tables.frame, "00000001_000")["age"] == age
    left = 2 if said == "-4" else 1  # beside the one of 412 years; no age at all is no odd age
    assert f"{left} x age above 120 or no age, left blank" in tables.notes


def test_no_image_at_all_is_an_error(nih: Path) -> None:
    for folder in ("images", "images_001", "images_002"):
        shutil.rmtree(nih / folder)
    with pytest.raises(DataError, match="none of the table's 20 images"):
        build(nih)


def test_unknown_sources_and_options_are_named(nih: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown source 'nhi'; did you mean 'nih'"):
        build_index("nhi", nih, tmp_path)
    with pytest.raises(DataError, match="'val_shar'; did you mean 'val_share'"):
        build_index("nih", nih, tmp_path, val_shar=0.1)
    with pytest.raises(DataError, match=r"val_share=1\.5"):
        build_index("nih", nih, tmp_path, val_share=1.5)


def test_the_index_file_can_be_named(nih: Path, tmp_path: Path) -> None:
    path = build_index("nih", nih, tmp_path / "tables" / "chest.parquet")
    assert path == tmp_path / "tables" / "chest.parquet"
    assert read_index(path).root == nih.resolve()


def test_without_looking_for_images_the_frame_of_1024_pixels_is_taken(nih: Path) -> None:
    for folder in ("images", "images_001", "images_002"):
        shutil.rmtree(nih / folder)
    tables = build(nih, check_files=False)
    assert tables.frame.height == len(ROWS) and tables.missing == ()
    assert set(tables.frame.select("width", "height").rows()) == {(1024, 1024)}
    assert tables.frame["path"][0] == "images/00000001_000.png"
    assert tables.boxes is not None and tables.boxes.row(0)[2:6] == (256, 128, 768, 192)
    assert any("check_files=false" in note for note in tables.notes)


def test_phantom_written_as_nih_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, "nih", images=16)
    tables = build(tmp_path)
    for line in table(tmp_path / "Data_Entry_2017_v2020.csv"):
        got = row(tables.frame, line["Image Index"].removesuffix(".png"))
        assert {c for c in NIH14 if got[label_column(c)]} == set(line["Finding Labels"].split("|")) - {"No Finding"}
        assert (got["sex"], got["age"]) == (line["Patient Gender"], int(line["Patient Age"]))
    assert tables.boxes is not None and tables.boxes.height == len(table(tmp_path / "BBox_List_2017.csv"))
    assert build_index("nih", tmp_path, tmp_path / "out").is_file()


def test_real_subset(real_data: Path, tmp_path: Path) -> None:
    """Counts of the folder's own description: 1,344 images of 512 pixels, 217 in the test list with 238 boxes."""
    path = build_index("nih", real_data / "nih-subset", tmp_path)
    index = read_index(path)
    boxes = pl.read_parquet(boxes_path(path))
    assert index.frame.height == 1344 and not missing_path(path).exists()
    assert set(index.frame.select("width", "height").rows()) == {(512, 512)}
    test = index.frame.filter(pl.col("split") == "test")
    assert test.height == 217
    assert boxes.filter(pl.col("image_id").is_in(test["image_id"].implode())).height == 238
    patients = index.frame.filter(pl.col("split") != "test").group_by("patient_id").agg(pl.col("split").n_unique())
    assert patients["split"].max() == 1
    val = index.frame.filter(pl.col("split") == "val")["patient_id"].n_unique() / patients.height
    assert val == pytest.approx(0.15, abs=0.03)
    for image_id, label in boxes.select("image_id", "label").iter_rows():
        assert row(index.frame, image_id)[label_column(label)] == 1
    one = row(index.frame, "00014716_007")
    x = boxes.row(by_predicate=(pl.col("image_id") == "00014716_007"), named=True)["x1"]
    assert x == pytest.approx(686.101694915254 / 2)
    assert read_image(index.root / one["path"]).shape == (512, 512)
