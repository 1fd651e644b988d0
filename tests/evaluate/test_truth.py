"""Truth from an index: labels, boxes, native names joined, and which pairs may be judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.scored import make_index
from wsrpn_vl.data.index import boxes_path, read_index, rewrite_index, write_index
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.truth import load_truth
from wsrpn_vl.labels import NIH8

NATIVE = ("Mass", "Nodule", "Effusion", "Edema")


@pytest.fixture
def native(tmp_path: Path) -> Path:
    """Boxes of Mass, Nodule and Effusion, none complete; Edema never boxed."""
    rows = [
        {
            "image_id": "a",
            "split": "test",
            "labels": {"Mass": 1, "Nodule": 0, "Effusion": 1, "Edema": 1},
            "text": "mass",
        },
        {"image_id": "b", "split": "test", "labels": {"Mass": 0, "Nodule": -1, "Effusion": 0}, "patient_id": "p"},
        {"image_id": "c", "split": "test", "labels": {"Mass": 0}, "width": None, "height": None},
        {"image_id": "d", "split": "train", "labels": {"Mass": 1}},
    ]
    boxes = [
        ("a", "Mass", 0, 0, 10, 10),
        ("a", "Nodule", 5, 5, 9, 9),
        ("d", "Mass", 1, 1, 2, 2),
        ("b", "Effusion", 1, 2, 3, 4),
    ]
    return make_index(tmp_path / "index.parquet", rows, boxes, NATIVE)


def test_native_classes(native: Path) -> None:
    truth = load_truth(native, "test")
    assert truth.image_ids == ("a", "b", "c") and truth.classes == NATIVE
    nan = np.nan
    wanted = [[1, 0, 1, 1], [0, -1, 0, nan], [0, nan, nan, nan]]
    assert np.array_equal(truth.labels, wanted, equal_nan=True)
    assert truth.box_counts.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert truth.boxes[1][2].tolist() == [[1, 2, 3, 4]]
    assert truth.boxed.tolist() == [True, True, True, False]
    assert np.array_equal(truth.sizes, [[100, 100], [100, 100], [nan, nan]], equal_nan=True)
    assert truth.texts == ("mass", None, None) and truth.patient_ids == (None, "p", None)
    assert truth.index_hash == read_index(native).content_hash


def test_pairs_without_complete_boxes_are_ignored(native: Path) -> None:
    """Ignored: no box and label 1, -1 or unknown. Judged: a box, whatever the label; no box and label 0."""
    wanted = [[False, False, True, True], [False, True, False, True], [False, True, True, True]]
    assert load_truth(native, "test").ignore.tolist() == wanted


def test_complete_boxes_leave_nothing_out(tmp_path: Path) -> None:
    rows = [{"image_id": "a", "split": "test", "labels": {"Mass": 1}}, {"image_id": "b", "split": "test"}]
    path = make_index(tmp_path / "index.parquet", rows, [("a", "Mass", 0, 0, 1, 1)], ("Mass",), complete=("Mass",))
    assert not load_truth(path).ignore.any()


def test_chexpert_classes_are_joined_from_native_names(native: Path) -> None:
    """Lung Lesion = Mass or Nodule: 1 if one is, else uncertain if one is, else unknown if one is."""
    truth = load_truth(native, "test", ["Pleural Effusion", "Lung Lesion"])
    assert np.array_equal(truth.labels, [[1, 1], [0, -1], [np.nan, np.nan]], equal_nan=True)
    assert truth.box_counts.tolist() == [[0, 2], [1, 0], [0, 0]]
    assert truth.left_out == 0


def test_a_wanted_native_class_keeps_its_boxes(native: Path) -> None:
    truth = load_truth(native, "test", ["Lung Lesion", "Mass"])
    assert truth.box_counts.tolist() == [[1, 1], [0, 0], [0, 0]], "the mass is not also a lesion's box"
    assert load_truth(native, "test", ["Mass"]).left_out == 2


def test_an_index_with_joined_labels_but_native_boxes(tmp_path: Path) -> None:
    """Labels come from the class's own column, boxes from the native names."""
    rows = [{"image_id": "a", "split": "test", "labels": {"Lung Lesion": 1, "Mass": 0, "Nodule": 1}}]
    boxes = [("a", "Nodule", 0, 0, 1, 1)]
    path = make_index(tmp_path / "index.parquet", rows, boxes, ("Lung Lesion", "Mass", "Nodule"))
    truth = load_truth(path, "test", ["Lung Lesion"])
    assert truth.labels.tolist() == [[1]] and truth.box_counts.tolist() == [[1]] and truth.boxed.tolist() == [True]


def test_labels_alone_never_open_the_boxes(native: Path) -> None:
    boxes_path(native).unlink()
    truth = load_truth(native, "test", boxes=False)
    assert truth.ignore.all() and not truth.boxed.any() and truth.box_counts.sum() == 0
    assert truth.labels[0, 0] == 1
    with pytest.raises(DataError, match=r"index\.boxes\.parquet.*missing"):
        load_truth(native, "test")


def test_wrong_requests_and_files(native: Path) -> None:
    with pytest.raises(DataError, match=r"no images in split 'val'; splits: test, train"):
        load_truth(native, "val")
    with pytest.raises(DataError, match=r"no class 'Masss'; did you mean 'Mass'"):
        load_truth(native, "test", ["Masss"])
    good = pl.read_parquet(boxes_path(native))
    good.with_columns(x2=pl.col("x1")).write_parquet(boxes_path(native))
    with pytest.raises(DataError, match=r"row 0, box .* is empty"):
        load_truth(native, "test")
    good.drop("label").write_parquet(boxes_path(native))
    with pytest.raises(DataError, match="not a readable boxes table"):
        load_truth(native, "test")


def test_real_boxes_are_where_the_data_set_says(real_data: Path, tmp_path: Path) -> None:
    """NIH's own list against the loaded truth: 238 boxes of 217 test images, in the frame of the stored images."""
    from wsrpn_vl.data.sources import build_index

    root = real_data / "nih-subset"
    path = build_index("nih", root, tmp_path / "index.parquet")
    truth = load_truth(path, "test", NIH8)
    assert len(truth) == 217 and truth.box_counts.sum() == 238 and truth.left_out == 0
    lines = [line.split(",") for line in (root / "BBox_List_2017.csv").read_text().splitlines()[1:]]
    listed = {}
    for name, label, x, y, w, h, *_ in lines:
        box = np.array([float(x), float(y), float(x) + float(w), float(y) + float(h)])
        listed.setdefault((name.split(".")[0], label.replace("Infiltrate", "Infiltration")), []).append(box)
    for i, image_id in enumerate(truth.image_ids):
        for k, label in enumerate(NIH8):
            wanted = listed.get((image_id, label), [])
            assert len(wanted) == len(truth.boxes[i][k])
            if wanted:
                scale = np.tile(truth.sizes[i] / 1024, 2)
                assert np.sort(truth.boxes[i][k], axis=0) == pytest.approx(np.sort(np.array(wanted) * scale, axis=0))
    assert truth.ignore.any() and not (truth.ignore & (truth.box_counts > 0)).any()


def read_by_three(folder: Path, kinds: tuple[str | None, ...] = (None, None, None)) -> Path:
    """Image a: one fused box, and one box each of R1 and R2; b: read by R1 and R3, who found nothing."""
    rows = [{"image_id": "a", "split": "test", "labels": {"Mass": 1}}, {"image_id": "b", "split": "test"}]
    path = make_index(folder / "index.parquet", rows, [("a", "Mass", 0, 0, 10, 10)], ("Mass",), complete=("Mass",))
    boxes = pl.DataFrame(
        {
            "image_id": ["a"] * 3,
            "label": ["Mass"] * 3,
            "x1": [0.0, 1.0, 2.0],
            "y1": [0.0] * 3,
            "x2": [10.0] * 3,
            "y2": [10.0] * 3,
            "source": ["t"] * 3,
            "reader": [None, "R1", "R2"],
            "kind": pl.Series(kinds, dtype=pl.String),
        }
    )
    index = read_index(path)
    readers = pl.Series("readers", ["R1;R2;R3", "R1;R3"])
    write_index(
        index.frame.with_columns(readers),
        boxes,
        path,
        dataset="made",
        root=folder,
        classes=("Mass",),
        box_complete={"Mass": True},
        boxed_classes=("Mass",),
        text_origin="report",
    )
    return path


def test_the_reference_is_what_no_single_reader_drew(tmp_path: Path) -> None:
    truth = load_truth(read_by_three(tmp_path), "test")
    assert [b.tolist() for b in truth.boxes[0]] == [[[0, 0, 10, 10]]] and truth.box_counts.tolist() == [[1], [0]]


def test_one_readers_boxes_on_the_images_they_read(tmp_path: Path) -> None:
    path = read_by_three(tmp_path)
    one = load_truth(path, "test", reader="R1")
    assert one.image_ids == ("a", "b") and one.boxes[0][0].tolist() == [[1, 0, 10, 10]]
    two = load_truth(path, "test", reader="R2")
    assert two.image_ids == ("a",) and two.boxes[0][0].tolist() == [[2, 0, 10, 10]]
    three = load_truth(path, "test", reader="R3")
    assert three.image_ids == ("a", "b") and three.box_counts.sum() == 0
    with pytest.raises(DataError, match="no reader 'R4'"):
        load_truth(path, "test", reader="R4")


def test_readers_cannot_be_told_apart_where_they_are_not_named(native: Path) -> None:
    with pytest.raises(DataError, match="no readers are told apart"):
        load_truth(native, "test", reader="R1")


def test_region_boxes_count_only_where_there_are_no_others(tmp_path: Path) -> None:
    mixed = load_truth(read_by_three(tmp_path, ("region", None, None)), "test")
    assert mixed.box_kind == "region" and mixed.box_counts.sum() == 1  # the reference has nothing else
    frame = pl.read_parquet(boxes_path(tmp_path / "index.parquet")).with_columns(reader=pl.lit(None, dtype=pl.String))
    frame.write_parquet(boxes_path(tmp_path / "index.parquet"))
    drawn = load_truth(tmp_path / "index.parquet", "test")
    assert drawn.box_kind == "lesion" and drawn.box_counts.tolist() == [[2], [0]]


def test_where_nobody_looked_for_boxes_their_absence_says_nothing(tmp_path: Path) -> None:
    """The class is complete, so b (label unknown, no box) is judged, until b is said not to have been looked at."""
    path = read_by_three(tmp_path)
    assert load_truth(path, "test").ignore.tolist() == [[False], [False]]
    index = read_index(path)
    rewrite_index(index, index.frame.with_columns(pl.Series("boxes_read", [True, False])))
    assert load_truth(path, "test").ignore.tolist() == [[False], [True]]
