"""MS-CXR on its own: a test set of phrases and boxes, whichever copy of the boxes and of MIMIC-CXR is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from fixtures.mimic import (
    CXR,
    HEIGHT,
    JPG,
    MS_CXR_BOXES,
    SHOTS,
    WIDTH,
    Mimic,
    dicom_id,
    path_of,
    write_coco,
    write_mimic,
)
from fixtures.mimic import write_ms_cxr as write_boxes
from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.mimic_boxes import place_boxes, read_boxes
from wsrpn_vl.data.sources.ms_cxr import build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column

NEW, OLD = "MS_CXR_Local_Alignment_v1.1.0.csv", "MS_CXR_Local_Alignment_v1.0.0.csv"
JSON = "MS_CXR_Local_Alignment_v1.0.0.json"
BOXED = ("a1", "e1", "c1")  # in the order of the file


@pytest.fixture
def ms_cxr(tmp_path: Path) -> Path:
    write_boxes(tmp_path / "ms-cxr", NEW)
    return tmp_path / "ms-cxr"


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    return write_mimic(tmp_path / "mimic")


def test_boxed_images_are_the_test_set(ms_cxr: Path, mimic: Path, tmp_path: Path) -> None:
    index = read_index(build_index("ms_cxr", ms_cxr, tmp_path / "i", images=str(mimic)))
    frame = index.frame
    assert frame["image_id"].to_list() == [dicom_id(name) for name in BOXED]
    assert frame["patient_id"].to_list() == ["10000001", "19000001", "11000001"]
    assert frame["study_id"].to_list() == ["50000001", "59000001", "51000001"]
    assert set(frame["split"]) == {"test"} and set(frame["view"]) == {"PA"}
    assert set(frame["width"]) == {WIDTH} and set(frame["height"]) == {HEIGHT}
    assert all((index.root / path).is_file() for path in frame["path"])
    assert not any(index.box_complete.values())
    assert "3 images of 3 patients, 5 boxes of 4 phrases" in index.notes


def test_every_box_keeps_its_phrase(ms_cxr: Path, mimic: Path, tmp_path: Path) -> None:
    index = read_index(build_index("ms_cxr", ms_cxr, tmp_path / "i", images=str(mimic)))
    boxes = pl.read_parquet(boxes_path(index.path))
    columns = ("image_id", "label", "phrase", "x1", "y1", "x2", "y2")
    wanted = [(dicom_id(i), f, p, x, y, min(x + w, WIDTH), y + h) for i, f, p, x, y, w, h in MS_CXR_BOXES]
    assert boxes.select(columns).rows() == wanted
    assert index.frame["text"].to_list() == [
        "small effusion",
        "opacity on both sides. perhaps infection",
        "large heart",
    ]
    assert set(index.boxed_classes) == {f for _, f, *_ in MS_CXR_BOXES}


def test_a_box_says_more_than_a_labeller(ms_cxr: Path, mimic: Path) -> None:
    """Pneumonia of e1 is uncertain and its box makes it 1; Edema of a1 has no box and stays 0; the rest is not said."""
    rows = {row["image_id"]: row for row in build(ms_cxr, images=str(mimic)).frame.iter_rows(named=True)}
    assert rows[dicom_id("e1")][label_column("Pneumonia")] == 1
    assert rows[dicom_id("a1")][label_column("Edema")] == 0
    assert rows[dicom_id("a1")][label_column("Atelectasis")] == -1
    assert rows[dicom_id("a1")][label_column("Fracture")] is None


def test_images_without_mimic_tables(ms_cxr: Path, mimic: Path) -> None:
    shutil.move(mimic / JPG / "files", ms_cxr / "files")
    tables = build(ms_cxr)
    assert tables.frame["path"].to_list() == [path_of(s) for n in BOXED for s in SHOTS if s.name == n]
    assert set(tables.frame["view"]) == {"UNK"}
    boxed = {(dicom_id(i), f) for i, f, *_ in MS_CXR_BOXES}
    for row in tables.frame.iter_rows(named=True):
        for name in OBSERVATIONS:
            assert row[label_column(name)] == (1 if (row["image_id"], name) in boxed else None)
    assert "no mimic-cxr-2.0.0-metadata.csv: views are unknown" in tables.notes
    assert "no mimic-cxr-2.0.0-chexpert.csv: findings without a box are unknown" in tables.notes


def test_every_copy_of_the_boxes_says_the_same(ms_cxr: Path, mimic: Path, tmp_path: Path) -> None:
    """1.0.0 and 1.1.0 order their columns differently, the JSON file groups them otherwise."""
    wanted = build(ms_cxr, images=str(mimic))
    old, coco = tmp_path / "old", tmp_path / "coco" / "0.1"
    write_boxes(old, OLD)
    write_coco(coco / JSON, MS_CXR_BOXES)
    for folder in (old, coco.parent):
        got = build(folder, images=str(mimic))
        assert wanted.boxes is not None and got.boxes is not None
        assert got.boxes.drop("source").sort(pl.all()).equals(wanted.boxes.drop("source").sort(pl.all()))
        assert got.frame.sort("image_id").equals(wanted.frame.sort("image_id"))


def test_dicom_images(ms_cxr: Path, tmp_path: Path) -> None:
    root = write_mimic(tmp_path / "m", Mimic(kinds=("dicom",)))
    paths = build(ms_cxr, images=str(root)).frame["path"].to_list()
    assert paths == [f"{CXR}/{path_of(s, '.dcm')}" for n in BOXED for s in SHOTS if s.name == n]


def test_missing_images_are_listed(ms_cxr: Path, mimic: Path, tmp_path: Path) -> None:
    gone = mimic / JPG / path_of(next(s for s in SHOTS if s.name == "e1"))
    gone.unlink()
    index = build_index("ms_cxr", ms_cxr, tmp_path / "i", images=str(mimic))
    assert read_index(index).frame.height == 2 and pl.read_parquet(boxes_path(index)).height == 2
    assert missing_path(index).read_text() == f"{gone.relative_to(mimic).as_posix()}\n"
    assert "1 x image with boxes missing (see the .missing.txt list)" in read_index(index).notes


def test_without_boxes_or_images(tmp_path: Path, ms_cxr: Path) -> None:
    with pytest.raises(DataError, match="no images below a folder files/p10 to p19; give images=FOLDER"):
        build(ms_cxr)
    (ms_cxr / NEW).unlink()
    with pytest.raises(DataError, match=r"no MS_CXR_Local_Alignment_v1\.1\.0\.csv here or below"):
        build(ms_cxr)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"category_name": "Pneumonla"}, "finding of a row is unknown; did you mean 'Pneumonia'"),
        ({"category_name": "A hazy patch, lower left."}, "finding of a row is unknown; known: Atelectasis"),
        ({"x": "A hazy patch, lower left."}, "data row 1, x: expected a number"),
        ({"image_width": "A hazy patch, lower left."}, "data row 1, image_width: expected a number"),
        ({"w": ""}, "data row 1, w=None.*give a value"),
        ({"image_width": "0"}, "data row 1, image_width=0.0.*expected a number of pixels"),
        ({"image_width": "2147483648"}, "data row 1, image_width=2147483648.0.*expected a number of pixels"),
        ({"path": "A hazy patch, lower left."}, "data row 1, path: expected files/p1x"),
    ],
)
def test_faults_are_one_line(ms_cxr: Path, mimic: Path, changes: dict[str, str], said: str) -> None:
    write_boxes(ms_cxr, NEW, a1=changes)
    with pytest.raises(DataError, match=said) as error:
        build(ms_cxr, images=str(mimic))
    assert NEW in str(error.value) and "\n" not in str(error.value) and "hazy" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "entry", "said"),
    [
        (
            "annotations",
            {"id": 1, "image_id": 10, "category_id": 1, "bbox": [1, 2, 3]},
            r"annotations\[5\]: needs a bbox",
        ),
        ("annotations", {"id": 1, "image_id": 99, "category_id": 1, "bbox": [1, 2, 3, 4]}, r"annotations\[5\]: needs"),
        ("annotations", {"id": 1, "image_id": [], "category_id": 1, "bbox": [1, 2, 3, 4]}, r"annotations\[5\]: needs"),
        ("annotations", {"id": 1, "image_id": 10, "category_id": 1, "bbox": [1, 2, float("nan"), 4]}, "w=nan"),
        ("annotations", 7, "'annotations' is no list of objects"),
        ("images", {"file_name": "x.jpg"}, "one of 'images' has no id"),
    ],
)
def test_broken_json_is_one_line(ms_cxr: Path, mimic: Path, key: str, entry: object, said: str) -> None:
    (ms_cxr / NEW).unlink()
    path = write_coco(ms_cxr / JSON, MS_CXR_BOXES)
    data = json.loads(path.read_text())
    data[key].append(entry)
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=said):
        build(ms_cxr, images=str(mimic))


def test_clipping_drops_what_lies_outside(tmp_path: Path) -> None:
    """A box beside the image and one of no width vanish; nothing that stays reaches past the border."""
    boxes = tuple((*MS_CXR_BOXES[0][:3], *box) for box in ((-50, -50, 60, 70), (WIDTH + 1, 0, 9, 9), (5, 5, 0, 9)))
    frame = pl.DataFrame({"image_id": [dicom_id("a1")], "width": [WIDTH], "height": [HEIGHT]})
    placed, notes = place_boxes(read_boxes("ms_cxr", write_coco(tmp_path / JSON, boxes)), frame, "MS-CXR")
    assert placed.select("x1", "y1", "x2", "y2").rows() == [(0.0, 0.0, 10.0, 20.0)]
    assert "2 x box of MS-CXR outside its image or without area, left out" in notes
    assert "1 x box of MS-CXR that stuck out of its image, clipped" in notes


def test_names_are_those_of_the_observations() -> None:
    for dataset in ("mimic", "ms_cxr", "tam"):
        assert set(mapping.index_classes(dataset)) <= set(OBSERVATIONS)
    assert mapping.classes_of("mimic", "Airspace Opacity", "x") == ("Lung Opacity",)
    assert mapping.classes_of("mimic", "No Finding", "x") == ()
    assert len(mapping.index_classes("ms_cxr")) == 8
