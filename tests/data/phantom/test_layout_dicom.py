"""The layouts made of DICOM files: a bare folder and VinDr-CXR with its readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from PIL import Image

from fixtures.layouts import SIZE, table
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.dicom.read import dicom_view

Root = Callable[[str], Path]

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # VinDr's hash in place of an identifier


def test_dicom_files_show_the_native_pictures(root: Root, native: pl.DataFrame) -> None:
    kinds = set()
    for row in native.iter_rows(named=True):
        place = root("dicom") / row["patient_id"] / row["study_id"]
        path = place / f"{row['image_id']}.dcm"
        with Image.open(root("native") / row["path"]) as image:
            assert np.array_equal(np.rint(read_image(path) * 255), np.asarray(image))
        assert dicom_view(path) == row["view"] and (place / f"{row['study_id']}.txt").read_text() == row["text"]
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        kinds.add((ds.Modality, ds.PhotometricInterpretation, "VOILUTSequence" in ds, ds.BitsStored))
    assert len({k[0] for k in kinds}) == len({k[1] for k in kinds}) == len({k[2] for k in kinds}) == 2


def test_the_dicom_source_finds_every_film_its_patient_study_and_view(
    root: Root, native: pl.DataFrame, tmp_path: Path
) -> None:
    frame = read_index(build_index("dicom", root("dicom"), tmp_path / "index.parquet")).frame
    frame = frame.with_columns(true=pl.col("path").str.extract(r"([^/]+)\.dcm$")).sort("true")
    native = native.sort("image_id")
    assert frame["true"].to_list() == native["image_id"].to_list() and frame["view"].equals(native["view"])
    assert frame["width"].equals(native["width"]) and frame["height"].equals(native["height"])
    for column in ("patient_id", "study_id"):
        pairs = set(zip(frame[column], native[column], strict=True))
        assert len(pairs) == frame[column].n_unique() == native[column].n_unique()


def test_vindr_files_show_the_native_pictures_under_another_name(root: Root, native: pl.DataFrame) -> None:
    shown = {}
    for path in (root("vindr")).rglob("*.dicom"):
        picture = np.rint(read_image(path) * 255).astype(np.uint8)
        shown[picture.tobytes()] = path.parent.name
    for row in native.iter_rows(named=True):
        with Image.open(root("native") / row["path"]) as image:
            part = shown[np.asarray(image).tobytes()]
        assert (part == "test") == (row["split"] == "test")


def test_vindr_training_is_read_by_three_readers(root: Root) -> None:
    tables = root("vindr") / "vindr-cxr" / "1.0.0" / "annotations"
    boxes, labels = table(tables / "annotations_train.csv"), table(tables / "image_labels_train.csv")
    train = {p.stem for p in (root("vindr")).rglob("train/*.dicom")}
    readers = {i: {r["rad_id"] for r in labels if r["image_id"] == i} for i in train}
    assert all(len(r) == 3 for r in readers.values()) and len(labels) == 3 * len(train)
    assert all(re.fullmatch(r"R([1-9]|1[0-7])", r) for found in readers.values() for r in found)
    said = {(r["image_id"], r["rad_id"]): r for r in labels}
    for key, row in said.items():
        mine = [b for b in boxes if (b["image_id"], b["rad_id"]) == key]
        assert mine, "a reader who saw nothing says so"
        if mine[0]["class_name"] == "No finding":
            assert len(mine) == 1 and mine[0]["x_min"] == mine[0]["y_max"] == ""
            continue
        for box in mine:
            assert row[box["class_name"]] == "1" and row["No finding"] == "0"
            x1, y1, x2, y2 = (float(box[c]) for c in ("x_min", "y_min", "x_max", "y_max"))
            assert 0 <= x1 < x2 <= SIZE and 0 <= y1 < y2 <= SIZE and re.fullmatch(r"\d+\.0", box["x_min"])
    for image in train:  # no image mixes both
        assert len({b["class_name"] == "No finding" for b in boxes if b["image_id"] == image}) == 1
    disagree = [
        i
        for i in train
        if len(
            {
                tuple(sorted(b["class_name"] for b in boxes if b["rad_id"] == r and b["image_id"] == i))
                for r in readers[i]
            }
        )
        > 1
    ]
    assert 0 < len(disagree) < len(train)


def test_vindr_test_boxes_are_the_truth(root: Root, native: pl.DataFrame) -> None:
    tables = root("vindr") / "vindr-cxr" / "1.0.0" / "annotations"
    found = [b for b in table(tables / "annotations_test.csv") if b["class_name"] != "No finding"]
    kept = {"Cardiomegaly", "Pleural effusion", "Pneumothorax", "Edema", "Atelectasis", "Consolidation"}
    ours = pl.read_parquet(boxes_path(root("native") / "index.parquet")).join(
        native.filter(pl.col("split") == "test").select("image_id"), on="image_id"
    )
    true = sorted(
        (label.capitalize(), *corners)
        for label, *corners in ours.select("label", "x1", "y1", "x2", "y2").iter_rows()
        if label.capitalize() in kept
    )
    given = sorted(
        (b["class_name"], *(float(b[c]) for c in ("x_min", "y_min", "x_max", "y_max")))
        for b in found
        if b["class_name"] in kept
    )
    assert given == true and given
