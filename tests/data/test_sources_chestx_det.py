"""ChestX-Det: three parallel lists, boxes scaled from the 1024 pixel frame, and files that say nothing of patients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from fixtures.challenges import DET_TEST, DET_TRAIN, write_chestx_det
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.data.sources.chestx_det import build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import BY_NAME, label_column

CORNERS = ["x1", "y1", "x2", "y2"]


@pytest.fixture
def det(tmp_path: Path) -> Path:
    return write_chestx_det(tmp_path / "ChestX-Det")


def change(path: Path, item: int, **values) -> None:
    items = json.loads(path.read_text())
    items[item] |= values
    path.write_text(json.dumps(items))


def test_boxes_labels_and_splits(det: Path) -> None:
    """1 / 16 of the frame: 16, 32, 160, 320 becomes 1, 2, 10, 20."""
    tables = build(det)
    assert tables.frame["image_id"].to_list() == ["36199", "36200", "36201", "36249", "36250"]
    assert tables.frame["path"].to_list()[::3] == ["train_data/36199.png", "test_data/36249.png"]
    assert tables.frame["split"].to_list()[3:] == ["test", "test"] and tables.frame["patient_id"].null_count() == 5
    assert tables.boxes is not None
    assert tables.boxes.select("image_id", "label", *CORNERS).rows() == [
        ("36199", "Effusion", 1, 2, 10, 20),
        ("36199", "Effusion", 32, 0, 64, 64),
        ("36199", "Pleural_Thickening", 0, 0, 2, 1),
        ("36201", "Diffuse Nodule", 10, 10, 30, 40),
        ("36249", "Fracture", 0, 32, 1, 64),
    ]
    positive = [{c for c in tables.classes if r[label_column(c)] == 1} for r in tables.frame.iter_rows(named=True)]
    assert positive == [
        {"Effusion", "Pleural_Thickening", "Pleural Effusion", "Pleural Other"},
        set(),
        {"Diffuse Nodule", "Lung Lesion"},
        {"Fracture"},
        set(),
    ]
    assert tables.frame["no_finding"].to_list() == [0, None, 0, 0, None]


def test_every_class_is_boxed_and_complete(det: Path) -> None:
    tables = build(det)
    assert len(tables.boxed_classes) == 13 and set(tables.classes) <= set(BY_NAME)
    assert {c for c, complete in tables.box_complete.items() if complete} == set(tables.boxed_classes)


def test_the_leak_into_nih_is_told(det: Path) -> None:
    assert any("NIH ChestX-ray14" in note for note in build(det).notes)


def test_val_depends_on_the_name_alone(det: Path) -> None:
    before = dict(build(det, val_share=0.5).frame.select("image_id", "split").rows())
    assert set(before.values()) == {"train", "val", "test"}
    (det / "train_data" / DET_TRAIN[0][0]).unlink()
    after = build(det, val_share=0.5)
    assert dict(after.frame.select("image_id", "split").rows()) == {k: v for k, v in before.items() if k != "36199"}
    assert after.missing == ("36199.png",) and after.boxes is not None and after.boxes.height == 2


def test_flat_and_resized_copies(det: Path) -> None:
    """512 / 1024 = 1 / 2 across, 256 / 1024 = 1 / 4 down."""
    wanted = build(det)
    (det / "images").mkdir()
    for path in [*det.glob("*_data/*.png")]:
        with Image.open(path) as image:
            image.resize((512, 256)).save(det / "images" / f"{path.stem}.jpg")
        path.unlink()
    tables = build(det)
    assert tables.frame.drop("path", "width", "height").equals(wanted.frame.drop("path", "width", "height"))
    assert tables.boxes is not None and tables.boxes.row(0)[2:6] == (8, 8, 80, 80)


def test_without_images_the_boxes_stay_in_their_frame(det: Path) -> None:
    shutil.rmtree(det / "train_data")
    tables = build(det, check_files=False)
    assert tables.boxes is not None and tables.boxes.row(0)[2:6] == (16, 32, 160, 320)
    assert tables.frame.height == len(DET_TRAIN) + len(DET_TEST)
    assert tables.frame.select("width", "height").unique().rows() == [(1024, 1024)]


def test_boxes_are_clipped_and_empty_ones_left_out(det: Path) -> None:
    change(det / "ChestX_Det_test.json", 0, boxes=[[-16, 1000, 16, 1040]])
    assert build(det).boxes.row(-1)[2:6] == (0, 62.5, 1, 64)  # pyright: ignore[reportOptionalMemberAccess]
    change(det / "ChestX_Det_test.json", 0, boxes=[[16, 100, 16, 200]])
    tables = build(det)
    assert tables.boxes is not None and "36249" not in set(tables.boxes["image_id"])
    assert any(note.startswith("1 x box without area") for note in tables.notes)


def test_the_index_is_written(det: Path, tmp_path: Path) -> None:
    path = build_index("chestx_det", det, tmp_path / "out")
    assert read_index(path).frame.height == 5 and pl.read_parquet(boxes_path(path)).height == 5


FAULTS = [
    ({"syms": ["Effusion"]}, r"item 1 \(36199.png\): 1 syms, 3 boxes, 3 polygons"),
    ({"syms": ["Efusion"] * 3}, r"item 1 \(36199.png\): finding 'Efusion' is unknown; did you mean 'Effusion'"),
    ({"syms": [1, 2, 3]}, "syms must be names"),
    ({"boxes": [[1, 2, 3]] * 3}, "a box must be four numbers"),
    ({"boxes": [[1, 2, 3, "4"]] * 3}, "a box must be four numbers"),
    ({"boxes": [[1, 2, 3, float("nan")]] * 3}, "a box must be four numbers"),
    ({"polygons": None}, "must be lists"),
    ({"file_name": ""}, "item 1: no file_name"),
    ({"file_name": "36201.png"}, "'36201.png' is listed twice"),
    ({"file_name": "36249.png"}, "'36249.png' is listed twice"),
]


@pytest.mark.parametrize(("values", "message"), FAULTS)
def test_a_fault_is_named_in_one_line(det: Path, tmp_path: Path, values: dict, message: str) -> None:
    change(det / "ChestX_Det_train.json", 0, **values)
    with pytest.raises(DataError, match=message) as caught:
        build_index("chestx_det", det, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "[" * 100_000, "\xff"])
def test_a_broken_file_is_named(det: Path, text: str) -> None:
    (det / "ChestX_Det_test.json").write_text(text, "latin-1")
    with pytest.raises(DataError, match=r"ChestX_Det_test\.json"):
        build(det)
    (det / "ChestX_Det_test.json").unlink()
    with pytest.raises(DataError, match="no ChestX_Det_test.json"):
        build(det)
