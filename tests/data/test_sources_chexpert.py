"""CheXpert as downloaded: under any name, in batches, beside its test set; the real training table in full."""

from __future__ import annotations

import gzip
import json
import shutil
from importlib import resources
from pathlib import Path

import polars as pl
import pytest

from fixtures import layouts
from fixtures.chexpert import HEADER, TRAIN, VALID, key, lines, picture, write_batches, write_chexpert
from fixtures.chexpert import write_test as write_test_set
from fixtures.txv import txv_file
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.chexpert import build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_chexpert(tmp_path)


def row(frame: pl.DataFrame, image_id: str) -> dict:
    return frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


def labels(record: dict) -> dict[str, int | None]:
    return {c: v for c in OBSERVATIONS if (v := record[label_column(c)]) is not None}


def test_tables_people_and_labels(root: Path) -> None:
    tables = build(root)
    frame = tables.frame
    assert frame["image_id"].to_list() == [key(r.split(",")[0]) for r in (*TRAIN, *VALID)]
    assert frame["split"].to_list() == ["train"] * 10 + ["val"] * 3
    assert frame["view"].to_list() == ["AP", "PA", "LAT", *["AP"] * 2, "UNK", "PA", *["AP"] * 4, "PA", "LAT"]
    assert frame["age"].to_list() == [68, 87, 87, 88, None, 41, 90, 55, 33, 71, 73, 70, 70]
    assert frame["sex"].to_list() == ["F"] * 4 + [None, "M", "M", "M", "F", "M", "M", "M", "M"]
    assert frame["no_finding"].to_list() == [1] + [None] * 7 + [1, None, 0, 1, 1]
    assert frame["width"].null_count() == frame["text"].null_count() == frame.height
    first = row(frame, "patient00001_study1_view1_frontal")
    assert (first["patient_id"], first["study_id"]) == ("patient00001", "patient00001_study1")
    assert first["path"] == "train/patient00001/study1/view1_frontal.jpg"
    assert labels(first) == {"Pneumothorax": 0, "Support Devices": 1}  # beside No Finding
    both = {"Cardiomegaly": -1, "Lung Opacity": 1, "Edema": -1, "Consolidation": -1, "Atelectasis": -1}
    both |= {"Pleural Effusion": -1, "Fracture": 1}
    assert labels(row(frame, "patient00002_study1_view1_frontal")) == both
    assert labels(row(frame, "patient00002_study1_view2_lateral")) == both
    later = {"Enlarged Cardiomediastinum": 1, "Edema": 0, "Pleural Effusion": 1}
    assert labels(row(frame, "patient00002_study2_view1_frontal")) == later
    assert (tables.classes, tables.boxes, tables.boxed_classes) == (OBSERVATIONS, None, ())
    assert tables.notes == (
        "1 x frontal image whose AP/PA is neither, view unknown",
        "1 x age 0, above 120 or no number, left blank",
        "1 x sex neither Male nor Female, left blank",
    )


@pytest.mark.parametrize("name", ["CheXpert-v1.0", "CheXpert-v1.0-small", "renamed"])
@pytest.mark.parametrize("above", [False, True])
def test_the_name_of_the_folder_does_not_matter(root: Path, tmp_path: Path, name: str, above: bool) -> None:
    """The tables say -small or the full name, whatever the folder is called; the root may be the folder above."""
    other = write_chexpert(tmp_path / "other", name, said="CheXpert-v1.0")
    got = build(other.parent if above else other).frame
    assert got.drop("path").equals(build(root).frame.drop("path"))
    assert got["path"][0] == f"{name}/" * above + "train/patient00001/study1/view1_frontal.jpg"


def test_batches_of_the_full_download(root: Path, tmp_path: Path) -> None:
    folder = write_batches(tmp_path / "batches")
    tables = build(folder)
    assert tables.frame.drop("path").equals(build(root).frame.drop("path"))
    assert all((folder / path).is_file() for path in tables.frame["path"]) and tables.missing == ()


def test_form_of_the_tables_does_not_matter(root: Path) -> None:
    """BOM, CRLF, shuffled and extra columns, gzip."""
    wanted = build(root).frame
    said = ["CheXpert-v1.0-small/" + r for r in TRAIN]
    names = HEADER.split(",")
    order = [*reversed(names), "extra"]
    rows = [dict(zip(names, r.split(","), strict=True)) | {"extra": "x"} for r in said]
    lines(root / "train.csv", ",".join(order), *(",".join(r[n] for n in order) for r in rows), crlf=True, bom=True)
    assert build(root).frame.equals(wanted)
    (root / "train.csv.gz").write_bytes(gzip.compress((root / "train.csv").read_bytes()))
    (root / "train.csv").unlink()
    assert build(root).frame.equals(wanted)


def test_measured_sizes_and_index(root: Path, tmp_path: Path) -> None:
    index = read_index(build_index("chexpert", root, tmp_path / "out", measure=True))
    assert set(index.frame.select("width", "height").rows()) == {(80, 60)}
    assert index.box_complete == dict.fromkeys(OBSERVATIONS, False) and index.text_origin == "none"


def test_the_test_set_has_no_people(root: Path) -> None:
    write_test_set(root.parent)
    frame = build(root.parent).frame.filter(split="test")
    assert frame["image_id"].to_list() == ["patient64741_study1_view1_frontal", "patient64742_study1_view1_frontal"]
    assert set(frame.select("view", "age", "sex").rows()) == {("UNK", None, None)}
    assert frame["y_lung_opacity"].to_list() == [1, 0] and frame["no_finding"].to_list() == [0, 1]


def test_a_share_of_the_patients_for_validation(root: Path) -> None:
    """All that radiologists labelled is test then; the draw hangs on patient and seed, not on the rest of the table."""
    write_test_set(root.parent)
    shared = build(root.parent, val="share", val_share=0.4).frame
    held = set(shared.filter(split="val")["patient_id"])
    assert 0 < len(held) < 8 and held.isdisjoint(shared.filter(split="train")["patient_id"])
    assert shared.filter(split="test").height == len(VALID) + 2
    lines(root / "train.csv", HEADER, *(f"x/{r}" for r in TRAIN[3:]))
    fewer = build(root, val="share", val_share=0.4).frame
    assert set(fewer.filter(split="val")["patient_id"]) == held & set(fewer["patient_id"])
    assert set(build(root, val="share", val_share=0.4, seed=1).frame.filter(split="val")["patient_id"]) != held
    with pytest.raises(DataError, match="unknown val 'offical'; did you mean 'official'"):
        build(root, val="offical")


def test_missing_copied_and_unknown_images(root: Path, tmp_path: Path) -> None:
    (root / "train/patient00001/study1/view1_frontal.jpg").unlink()
    picture(root / "train/patient00099/study1/view1_frontal.jpg")
    picture(tmp_path / "CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg")  # sorts before the table's folder
    picture(root / "train/patient00003/study1/._view1_frontal.jpg")
    out = build_index("chexpert", tmp_path, tmp_path / "out")
    index = read_index(out)
    assert missing_path(out).read_text() == "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg\n"
    assert index.notes[:3] == (
        "1 x image of the tables missing (see the .missing.txt list)",
        "1 x image file not in the tables, left out",
        "1 x image stored twice, one is used (pictures before DICOM, then by path)",
    )
    assert row(index.frame, "patient00002_study1_view1_frontal")["path"].startswith("CheXpert-v1.0-small/")


def test_without_looking_for_files(root: Path, tmp_path: Path) -> None:
    wanted = build(root.parent).frame
    bare = tmp_path / "tables"
    for name in ("train.csv", "valid.csv"):
        lines(bare / root.name / name, *(root / name).read_text().splitlines())
    assert build(bare, check_files=False).frame.equals(wanted)
    assert build(bare / root.name, check_files=False).frame["path"][0] == TRAIN[0].split(",")[0]
    with pytest.raises(DataError, match="none of the tables' 13 images is there; unpack the images"):
        build(bare)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Path,Sex", "Paths,Sex", r"column 'Path' is missing; did you mean 'paths'"),
        (",Lung Lesion,", ",Lung Lesions,", r"column 'Lung Lesion' is missing; did you mean 'lung lesions'"),
        ("68,Frontal,AP,1.0", "68,Frontal,AP,2.0", r"data row 1, No Finding=2: use 1, 0 or blank"),
        ("87,Frontal,PA,,,-1.0", "87,Frontal,PA,,,-2.0", r"data row 2, Cardiomegaly=-2: use 1, 0, -1 \(uncertain\)"),
        ("87,Frontal,PA,,,-1.0", "87,Frontal,PA,,,x", r"data row 2, Cardiomegaly='x'.*expected a whole number"),
        ("87,Frontal,PA,,,-1.0", "87,Frontal,PA,-1.0,,", r"data row 2, No Finding=-1: use 1, 0 or blank"),
        ("patient00004/study1/view1", "patient00004/view1", r"data row 6, Path='.*': expected a path such as train/"),
        ("patient00004/study1/view1", "patient00003/study1/view1", r"image_id='patient00003_.*appears twice"),
        ("patient00004/", "patient64541/", "'patient64541.*appears twice"),
        ("patient00004/study1", "patient64541/study2", r"patient_id 'patient64541' is in more than one split"),
    ],
)
def test_faults_are_named_in_one_line(root: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (root / "train.csv").read_text()
    assert old in text
    (root / "train.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message) as caught:
        build_index("chexpert", root, tmp_path / "out", check_files=False)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_missing_tables(root: Path, tmp_path: Path) -> None:
    (root / "valid.csv").unlink()
    assert "no valid.csv" in build(root).notes[0]
    (root / "train.csv").unlink()
    with pytest.raises(DataError, match=r"no train\.csv \(or \.gz\) here or below; put CheXpert's label table there"):
        build(root)
    with pytest.raises(DataError, match="no such folder"):
        build(tmp_path / "nowhere")


def test_the_real_training_table(tmp_path: Path) -> None:
    """All 223,414 rows: images, patients, studies, views and the counts of each label are the published ones."""
    shutil.copy(txv_file("chexpert_train.csv.gz"), tmp_path / "train.csv.gz")
    frame = build(tmp_path, check_files=False).frame
    text = (resources.files("wsrpn_vl.data") / "published/chexpert.json").read_text("utf-8")
    published = json.loads(text)["splits"]["train"]
    assert frame.height == frame["path"].n_unique() == published["images"] == 223_414
    assert frame["patient_id"].n_unique() == published["patients"] == 64_540
    assert frame["study_id"].n_unique() == published["studies"] == 187_641
    assert dict(frame["view"].value_counts().iter_rows()) == published["views"]
    for value, name in ((1, "positives"), (0, "negatives"), (-1, "uncertain")):
        counted = {c: int((frame[label_column(c)] == value).sum()) for c in OBSERVATIONS}
        assert counted == published[name]
    assert (published["positives"]["Pneumonia"], published["negatives"]["Pneumonia"]) == (6_039, 2_799)
    assert published["uncertain"]["Atelectasis"] == 33_739
    assert frame["no_finding"].sum() == 22_381 and frame["no_finding"].drop_nulls().n_unique() == 1
    assert frame["age"].max() == 90 and frame["age"].null_count() == 3 and frame["sex"].null_count() == 1
    clean = frame.filter(no_finding=1)
    others = [c for c in OBSERVATIONS if c != "Support Devices"]
    assert sum(int((clean[label_column(c)] == 1).sum()) for c in others) == 0
    assert (clean["y_support_devices"] == 1).sum() == 8_808


def words_labels(triples: str | None) -> tuple[int | None, ...]:
    said = [(t["finding"], t["polarity"]) for t in json.loads(triples or "[]")]

    def label(name: str) -> int | None:
        values = {polarity for finding, polarity in said if finding == name}
        return 1 if "positive" in values else -1 if "uncertain" in values else 0 if values else None

    return tuple(map(label, OBSERVATIONS))


def test_the_phantoms_layout(tmp_path: Path) -> None:
    """Read back, the layout says of each training study what its words say, and of the others what is there."""
    layouts.write(tmp_path / "chexpert", "chexpert", images=12)
    layouts.write(tmp_path / "native", "native", images=12)
    index = read_index(build_index("chexpert", tmp_path / "chexpert", tmp_path / "out"))
    native = read_index(tmp_path / "native/index.parquet")
    assert index.notes == () and index.frame.height == native.frame.height == 12
    assert set(index.frame.filter(split="test").select("view", "age").rows()) == {("UNK", None)}
    columns = [label_column(c) for c in OBSERVATIONS]
    for split in ("train", "val", "test"):
        mine, theirs = index.frame.filter(split=split), native.frame.filter(split=split)
        wanted = [words_labels(t) for t in theirs["triples"]] if split == "train" else theirs.select(columns).rows()
        assert sorted(map(str, mine.select(columns).rows())) == sorted(map(str, wanted))
        if split != "test":
            assert sorted(mine["view"]) == sorted(theirs["view"])
