"""VinDr-CXR from PhysioNet and from Kaggle: three readers kept apart and fused, every spelling, every fault."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import polars as pl
import pytest

from fixtures.layouts import table, write
from fixtures.vindr import (
    HEALTHY,
    HEIGHT,
    LOCAL,
    SICK,
    SPLIT,
    TEST,
    TEST_MARKS,
    TRAIN,
    WIDTH,
    Vindr,
    write_kaggle,
    write_physionet,
)
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import SourceTables, build_index
from wsrpn_vl.data.sources.vindr import build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import BY_NAME, label_column

CORNERS = ["x1", "y1", "x2", "y2"]


@pytest.fixture
def vindr(tmp_path: Path) -> Path:
    return write_physionet(tmp_path / "vindr-cxr" / "1.0.0")


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    return write_kaggle(tmp_path / "kaggle")


def row(tables: SourceTables, image_id: str) -> dict:
    return tables.frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


def boxes_of(tables: SourceTables, reader: str | None, image_id: str) -> set[tuple]:
    assert tables.boxes is not None
    mine = pl.col("reader").is_null() if reader is None else pl.col("reader") == reader
    return set(tables.boxes.filter(mine, image_id=image_id).select("label", *CORNERS).rows())


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_each_reader_keeps_the_boxes_and_the_reference_is_fused(vindr: Path) -> None:
    """Means worked out by hand: x1 (10 + 12 + 14) / 3, y1 (40 + 45) / 2; the infiltrations overlap by 1 / 3 only."""
    tables = build(vindr)
    assert boxes_of(tables, "R9", SICK) == {
        ("Cardiomegaly", 12, 20, 52, 60),
        ("Pleural Effusion", 40, 45, 60, 65),
        ("Infiltration", 10, 0, 30, 20),
    }
    reference = {("Cardiomegaly", 12, 20, 52, 60), ("Pleural Effusion", 40, 42.5, 60, 62.5)}
    assert boxes_of(tables, None, SICK) == reference
    assert boxes_of(tables, None, SPLIT) == set()
    everyone = boxes_of(build(vindr, fuse="all"), None, SICK)
    assert everyone == reference | {
        ("Infiltration", 0, 0, 20, 20),
        ("Infiltration", 10, 0, 30, 20),
        ("Nodule/Mass", 100, 60, 120, 80),
    }
    assert boxes_of(build(vindr, fuse_readers=3), None, SICK) == {("Cardiomegaly", 12, 20, 52, 60)}
    wide = reference | {("Infiltration", 5, 0, 25, 20)}
    assert boxes_of(build(vindr, fuse_iou=0.3), None, SICK) == wide
    for label, *box in boxes_of(build(vindr, fuse="wbf"), None, SICK):
        if label != "Nodule/Mass":
            assert any(label == name and box == pytest.approx(other) for name, *other in wide)


def test_the_consensus_of_the_test_set_stays_as_it_is(vindr: Path) -> None:
    tables = build(vindr)
    assert boxes_of(tables, None, TEST[0]) == {("Cardiomegaly", 20, 20, 100, 70), ("Rib fracture", 1, 2, 11, 12)}
    one = row(tables, TEST[0])
    assert (one["readers"], one["y_fracture"], one["y_rib_fracture"], one["no_finding"]) == (None, 1, 1, 0)
    assert row(tables, TEST[1])["y_other_disease"] == 1 and row(tables, TEST[2])["no_finding"] == 1
    with_readers = vindr / "annotations" / "annotations_test.csv"
    lines = with_readers.read_text().splitlines()
    with_readers.write_text("\n".join([f"{lines[0]},rad_id", *(f"{line},R1" for line in lines[1:])]))
    assert boxes_of(build(vindr), None, TEST[0]) == boxes_of(tables, None, TEST[0])


def test_image_labels_are_what_most_readers_say(vindr: Path) -> None:
    """Cardiomegaly by three, pneumonia by two, a nodule by one; another disease by one; the rest by none."""
    tables = build(vindr)
    sick, healthy, split = (row(tables, image_id) for image_id in (SICK, HEALTHY, SPLIT))
    names = ("cardiomegaly", "pneumonia", "infiltration", "nodule_mass", "lung_lesion", "other_disease", "ild")
    assert [sick[f"y_{name}"] for name in names] == [1, 1, 1, -1, -1, -1, 0]
    assert (sick["readers"], sick["no_finding"]) == ("R8;R9;R10", 0)
    assert healthy["no_finding"] == 1 and not any(healthy[label_column(c)] for c in tables.classes)
    assert split["no_finding"] == 1 and split["y_fibrosis"] == -1, "two readers of three see nothing"
    most = build(vindr, labels="any")
    assert [row(most, SICK)[f"y_{name}"] for name in names] == [1, 1, 1, 1, 1, 1, 0]
    assert row(most, SPLIT)["no_finding"] == 0 and row(most, HEALTHY)["no_finding"] == 1
    assert any(note.startswith("1 x finding that most readers name, without") for note in tables.notes)


def test_views_splits_and_people(vindr: Path) -> None:
    tables = build(vindr, val_share=0.5)
    frame = tables.frame
    assert set(frame["view"]) == {"PA"} and frame["patient_id"].null_count() == len(TRAIN) + len(TEST)
    assert set(frame.filter(pl.col("image_id").is_in(TEST))["split"]) == {"test"}
    assert set(frame.filter(pl.col("image_id").is_in(TRAIN))["split"]) == {"train", "val"}
    assert frame.select("width", "height").unique().rows() == [(WIDTH, HEIGHT)]
    assert frame.filter(pl.col("image_id").is_in(TRAIN)).select("age", "sex").rows()[:3] == [
        (40, "M"),
        (41, "F"),
        (42, None),
    ]
    assert "patients are unknown" in tables.notes[0]
    fewer = build(vindr, val_share=0.5).frame.filter(pl.col("image_id") != SICK)
    assert fewer["split"].to_list() == frame.filter(pl.col("image_id") != SICK)["split"].to_list()


def test_what_is_boxed_and_what_is_complete(vindr: Path, kaggle: Path) -> None:
    tables, small = build(vindr, disputed="absent"), build(kaggle, disputed="absent")
    assert len(tables.boxed_classes) == len(LOCAL) and "Pneumonia" not in tables.boxed_classes
    assert len(small.boxed_classes) == 14 and "Edema" not in small.classes and "Pneumonia" not in small.classes
    for found in (tables, small):
        assert set(found.classes) <= set(BY_NAME)
        assert {c for c, complete in found.box_complete.items() if complete} == set(found.boxed_classes)
    assert not any(build(vindr).box_complete.values())  # what single readers drew is in dispute
    assert {"Lung Lesion", "Fracture", "Pleural Other", "Lung Opacity"} <= set(tables.classes)
    assert not {"Enlarged Cardiomediastinum", "Support Devices"} & set(tables.classes)


def test_the_rough_equivalents_are_labelled_only_when_asked_for(kaggle: Path) -> None:
    """Two readers see an enlarged aorta, which is near an enlarged cardiomediastinum."""
    tables = build(kaggle, approximate=True)
    assert row(tables, SPLIT)["y_enlarged_cardiomediastinum"] == row(tables, SPLIT)["y_aortic_enlargement"] == 1
    assert row(tables, HEALTHY)["y_enlarged_cardiomediastinum"] == 0
    assert not tables.box_complete["Enlarged Cardiomediastinum"]
    assert "y_enlarged_cardiomediastinum" not in build(kaggle).frame.columns


def test_kaggle_gives_what_the_readers_boxed(kaggle: Path) -> None:
    tables = build(kaggle)
    assert tables.dataset == "vindr_kaggle" and tables.frame["image_id"].to_list() == list(
        dict.fromkeys([SICK, SPLIT, *TRAIN])
    )
    sick = row(tables, SICK)
    assert [sick[f"y_{n}"] for n in ("cardiomegaly", "infiltration", "nodule_mass", "ild")] == [1, 1, -1, 0]
    assert row(tables, HEALTHY)["no_finding"] == 1 and row(tables, HEALTHY)["readers"] == "R8;R9;R10"
    assert boxes_of(tables, None, SICK) == {
        ("Cardiomegaly", 12, 20, 52, 60),
        ("Pleural Effusion", 40, 42.5, 60, 62.5),
    }
    assert any(f"{len(TEST)} x image file not in the table" in note for note in tables.notes)
    assert "test" not in set(tables.frame["split"])
    assert "test" in set(build(kaggle, test_share=0.5, val_share=0.1).frame["split"])


FORMS = [Vindr("rad_ID"), Vindr(crlf=True, bom=True)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [write_physionet, write_kaggle])
def test_every_spelling_gives_the_same_tables(tmp_path: Path, make, form: Vindr) -> None:
    wanted, got = build(make(tmp_path / "a")), build(make(tmp_path / "b", form))
    assert got.frame.equals(wanted.frame)
    assert wanted.boxes is not None and got.boxes is not None and got.boxes.equals(wanted.boxes)


def test_columns_may_be_shuffled_and_extra_and_packed(kaggle: Path) -> None:
    wanted = build(kaggle)
    frame = pl.read_csv(kaggle / "train.csv", infer_schema=False)
    frame = frame.select(*reversed(frame.columns), pl.lit("x").alias("comment"))
    (kaggle / "train.csv").unlink()
    (kaggle / "train.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    got = build(kaggle)
    assert got.frame.equals(wanted.frame)
    assert got.boxes is not None and wanted.boxes is not None and got.boxes.equals(wanted.boxes)


def test_a_resized_copy_is_scaled_with_the_original_sizes(tmp_path: Path) -> None:
    """120 x 80 stored as 30 x 40: x / 4, y / 2. dim0 is the height."""
    root = write_kaggle(tmp_path / "small", Vindr(size=(30, 40)))
    with pytest.raises(DataError, match="resized copy; put train_meta.csv"):
        build(root)
    lines = [f"{image},{HEIGHT},{WIDTH}" for image in TRAIN]
    (root / "train_meta.csv").write_text("\n".join(["image_id,dim0,dim1", *lines]))
    tables = build(root)
    assert ("Cardiomegaly", 12 / 4, 20 / 2, 52 / 4, 60 / 2) in boxes_of(tables, None, SICK)
    assert set(tables.frame.select("width", "height").rows()) == {(30, 40)}
    (root / "train_meta.csv").rename(root / "sizes.csv")
    named = build(root, size_table="sizes.csv")
    assert named.boxes is not None and tables.boxes is not None and named.boxes.equals(tables.boxes)
    (root / "sizes.csv").write_text("\n".join(["image_id,dim0,dim1", *lines[1:]]))
    with pytest.raises(DataError, match=f"no original size of image '{SICK}'"):
        build(root, size_table="sizes.csv")
    (root / "sizes.csv").write_text("image_id,rows\n")
    with pytest.raises(DataError, match="no original size"):
        build(root, size_table="sizes.csv")


def test_sizes_may_stand_in_the_table_itself(tmp_path: Path) -> None:
    root = write_kaggle(tmp_path / "small", Vindr(size=(30, 40)))
    frame = pl.read_csv(root / "train.csv", infer_schema=False)
    frame.with_columns(width=pl.lit(WIDTH), height=pl.lit(HEIGHT)).write_csv(root / "train.csv")
    assert ("Cardiomegaly", 3, 10, 13, 30) in boxes_of(build(root), None, SICK)


def test_converted_images_of_full_size_need_no_size_table(tmp_path: Path) -> None:
    root = write_physionet(tmp_path / "png", Vindr(size=(WIDTH, HEIGHT)))
    assert ("Nodule/Mass", 100, 60, 120, 80) in boxes_of(build(root), "R10", SICK)


def test_boxes_are_clipped_and_repeats_left_out(kaggle: Path) -> None:
    with (kaggle / "train.csv").open("a") as file:
        file.write(f"{SPLIT},Pulmonary fibrosis,13,R8,5.0,5.0,25.0,15.0\n")  # once more
        file.write(f"{SPLIT},Nodule/Mass,8,R8,110.0,70.0,121.0,81.0\n")  # the last pixel counted in
        file.write(f"{SPLIT},Nodule/Mass,8,R9,120.0,10.0,130.0,20.0\n")  # outside
    tables = build(kaggle)
    assert boxes_of(tables, "R8", SPLIT) == {("Fibrosis", 5, 5, 25, 15), ("Nodule/Mass", 110, 70, 120, 80)}
    assert any(note.startswith("1 x row that repeats a box") for note in tables.notes)
    assert any(note.startswith("1 x box without area") for note in tables.notes)


def test_the_index_is_written_and_missing_images_are_listed(vindr: Path, tmp_path: Path) -> None:
    (vindr / "train" / f"{SICK}.dicom").unlink()
    path = build_index("vindr", vindr, tmp_path / "out")
    index = read_index(path)
    assert index.frame.height == len(TRAIN) + len(TEST) - 1
    assert (tmp_path / "out" / "index.missing.txt").read_text() == f"{SICK}.dicom\n"
    boxes = pl.read_parquet(boxes_path(path))
    assert SICK not in set(boxes["image_id"]) and boxes.height == len(TEST_MARKS) + 1
    assert index.frame["path"].str.contains(r"^(train|test)/[0-9a-f]{32}\.dicom$").all()


FAULTS = [
    ("annotations_train.csv", "Cardiomegaly,10", "Cardiomegalie,10", "data row 1, class_name: .*mean 'Cardiomegaly'"),
    ("annotations_train.csv", "10,20,50,60", "10,20,50,", "data row 1, class_name.*all four corners"),
    ("annotations_train.csv", "10,20,50,60", "10,20,50,wide", "data row 1, y_max='wide'.*expected a number"),
    ("annotations_train.csv", f"{HEALTHY},R8", f"{'f' * 32},R8", "no such image in the table of image labels"),
    ("annotations_train.csv", "No finding,,,,", "No finding,1,2,3,4", "without a finding cannot have a box"),
    ("annotations_train.csv", "class_name", "finding", "column 'class_name' is missing"),
    ("image_labels_train.csv", "Lung tumor", "Lung tumour", "column 'Lung tumor' is missing"),
    ("image_labels_train.csv", f"{HEALTHY},R8,0", f"{HEALTHY},R8,2", "Aortic enlargement=2.*use 0 or 1"),
    ("image_labels_train.csv", f"{HEALTHY},R8", f"{HEALTHY},R9", f"'{HEALTHY}' has two rows of one reader"),
    ("image_labels_train.csv", f"{HEALTHY},R8", f"{HEALTHY},", "rad_id=None.*name the reader"),
    ("image_labels_test.csv", TEST[0], TRAIN[0], f"image '{TRAIN[0]}' is in image_labels_train.csv too"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), FAULTS)
def test_a_fault_is_named_in_one_line_and_nothing_is_written(
    vindr: Path, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    replace(vindr / "annotations" / file, old, new)
    with pytest.raises(DataError, match=message) as caught:
        build_index("vindr", vindr, tmp_path / "out")
    assert "\n" not in str(caught.value) and file in str(caught.value)
    assert not (tmp_path / "out").exists()


KAGGLE_FAULTS = [
    ("Cardiomegaly,3,R8", "Cardiomegaly,7,R8", "class_name='Cardiomegaly' goes with more than one class_id"),
    ("Nodule/Mass,8", "Nodule/Mass,6", "class_id='6' goes with more than one class_name"),
    ("Cardiomegaly,3,R8", "Cardiomegaly,3,", "rad_id=None.*name the reader"),
    (f"{HEALTHY},No finding,14,R8,,,,", f"{SICK},No finding,14,R8,,,,", f"image '{SICK}', reader R8: a finding and no"),
]


@pytest.mark.parametrize(("old", "new", "message"), KAGGLE_FAULTS)
def test_kaggle_faults_are_named(kaggle: Path, old: str, new: str, message: str) -> None:
    replace(kaggle / "train.csv", old, new)
    with pytest.raises(DataError, match=message):
        build(kaggle)


def test_missing_tables_and_images_are_named(vindr: Path, kaggle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"neither annotations_train.csv \(PhysioNet\) nor train.csv"):
        build(tmp_path / "empty")
    (vindr / "annotations" / "image_labels_test.csv").unlink()
    with pytest.raises(DataError, match="no image_labels_test.csv"):
        build(vindr)
    shutil.rmtree(kaggle / "train")
    with pytest.raises(DataError, match="none of the table's 7 images is there"):
        build(kaggle)
    with pytest.raises(DataError, match="'majorty'; did you mean 'majority'"):
        build(kaggle, labels="majorty")


def test_phantom_written_as_vindr_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, "vindr", images=16)
    root = tmp_path / "vindr-cxr" / "1.0.0"
    tables = build(tmp_path)
    said = table(root / "annotations" / "annotations_train.csv")
    drawn = {(r["image_id"], r["rad_id"]) for r in said if r["x_min"]}
    assert tables.boxes is not None
    own = tables.boxes.filter(pl.col("reader").is_not_null())
    assert set(own.select("image_id", "reader").rows()) == drawn and own.height == sum(bool(r["x_min"]) for r in said)
    assert 0 < tables.boxes.filter(pl.col("reader").is_null()).height < own.height
    for r in table(root / "annotations" / "image_labels_test.csv"):
        got = row(tables, r["image_id"])
        assert got["split"] == "test" and got["no_finding"] == int(r["No finding"])
        assert got["y_pleural_effusion"] == int(r["Pleural effusion"]) and got["y_pneumonia"] == int(r["Pneumonia"])
    assert build_index("vindr", tmp_path, tmp_path / "out").is_file()
