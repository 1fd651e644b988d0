"""Boxes that others drew on MIMIC-CXR: in original pixels, and their patients out of training."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fixtures.mimic import (
    HEIGHT,
    TAM_BOXES,
    WIDTH,
    by_name,
    dicom_id,
    write_coco,
    write_mimic,
    write_ms_cxr,
)
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.data.sources.mimic import build
from wsrpn_vl.errors import DataError


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    return write_mimic(tmp_path / "mimic")


def test_boxes_of_both_sets_are_joined_and_their_patients_are_not_learnt_from(mimic: Path, tmp_path: Path) -> None:
    """a1 and d1 are drawn on, and c1 of val: their patients' images are in no split. e1 stays in test."""
    write_ms_cxr(mimic / "ms-cxr" / "0.1")
    write_coco(mimic / "tam" / "221v2hiqualnihsplit.json", TAM_BOXES, report="words nobody should read")
    index = read_index(build_index("mimic", mimic, tmp_path / "i", views="all"))
    boxes = pl.read_parquet(boxes_path(index.path))
    assert boxes.height == 7 and set(index.boxed_classes) == set(boxes["label"])
    splits = by_name(index.frame, "split")
    assert {name for name, split in splits.items() if split == ""} == {"a1", "a2", "a3", "a4", "c1", "d1", "d2", "d3"}
    assert {name for name, split in splits.items() if split == "train"} == {"b1", "b2"}
    assert splits["e1"] == "test"
    assert {n for n, read in by_name(index.frame, "boxes_read").items() if read} == {"a1", "a2", "c1", "d1", "e1"}
    assert "3 patients (8 images) with boxes taken out of train and val, in no split now" in index.notes
    assert "5 boxes of MS-CXR on 3 images" in index.notes and "2 boxes of Tam et al. on 2 images" in index.notes
    kept = build(mimic, views="all", keep_boxed_in_train=True)
    assert by_name(kept.frame, "split")["a1"] == "train"
    assert "3 patients (8 images) with boxes stay in train and val, as asked: do not test on them" in kept.notes


@pytest.mark.parametrize("where", ["chest-imagenome/1.0.0/silver_dataset/splits", "silver_dataset/splits"])
def test_gold_patients_of_chest_imagenome_are_not_learnt_from(mimic: Path, where: str) -> None:
    """b's images are in train, f's in test; the list names one image of each."""
    path = mimic / where / "images_to_avoid.csv"
    path.parent.mkdir(parents=True)
    names = [("10000002", "50000003", "b2"), ("19000002", "59000003", "f1")]
    rows = "".join(f"{subject},{study},{dicom_id(name)},x.dcm,AP\n" for subject, study, name in names)
    path.write_text(f"subject_id,study_id,dicom_id,path,ViewPosition\n{rows}")
    built = build(mimic, views="all")
    splits = by_name(built.frame, "split")
    assert {name for name, split in splits.items() if split == ""} == {"b1", "b2"} and splits["f1"] == "test"
    out = "1 patients (2 images) of Chest ImaGenome's gold set taken out of train and val, in no split now"
    assert out in built.notes and built.boxes is None
    kept = build(mimic, views="all", keep_boxed_in_train=True)
    assert by_name(kept.frame, "split")["b1"] == "train"


def test_boxes_are_corners_clipped_to_the_original_image(mimic: Path) -> None:
    write_ms_cxr(mimic)
    tables = build(mimic)
    assert tables.boxes is not None
    rows = tables.boxes.filter(image_id=dicom_id("e1"), label="Lung Opacity").select("x1", "y1", "x2", "y2").rows()
    assert rows == [(100.0, 200.0, 400.0, 600.0), (1600.0, 200.0, 2544.0, 600.0)]
    heart = tables.boxes.row(by_predicate=pl.col("label") == "Cardiomegaly", named=True)
    assert (heart["x1"], heart["y1"], heart["x2"], heart["y2"]) == (700.5, 1500.25, 1800.5, 2400.25)
    assert heart["phrase"] == "large heart" and heart["source"] == "MS_CXR_Local_Alignment_v1.0.0.csv"
    assert "1 x box of MS-CXR that stuck out of its image, clipped" in tables.notes


def test_box_on_an_image_left_out_still_keeps_its_patient_out_of_train(mimic: Path) -> None:
    """a2 is lateral: no box of it is in the index, yet who drew it saw the patient."""
    write_coco(mimic / "boxes.json", TAM_BOXES[1:])
    tables = build(mimic, tam="boxes.json")
    assert tables.boxes is not None and tables.boxes.height == 0 and tables.boxed_classes == ()
    assert by_name(tables.frame, "split")["a1"] == ""
    assert "1 x box of Tam et al. on an image that is not in the index, left out" in tables.notes


def test_boxes_stated_for_another_size(mimic: Path) -> None:
    """Boxes on a picture twice as large are halved; on one with width and height exchanged they mean nothing here."""
    double = {"image_width": str(2 * WIDTH), "image_height": str(2 * HEIGHT)}
    turned = {"image_width": str(HEIGHT), "image_height": str(WIDTH)}
    write_ms_cxr(mimic, a1=double, c1=turned)
    tables = build(mimic)
    assert tables.boxes is not None
    rows = tables.boxes.filter(image_id=dicom_id("a1")).select("x1", "y1", "x2", "y2").rows()
    assert rows == [(750.0, 1000.0, 1050.0, 1250.0)]
    assert dicom_id("c1") not in set(tables.boxes["image_id"])
    assert "1 x box of MS-CXR stated for another image size, scaled" in tables.notes
    assert "1 x box of MS-CXR stated for an image of another form, left out" in tables.notes


def test_box_files_that_are_not_wanted(mimic: Path) -> None:
    write_ms_cxr(mimic)
    tables = build(mimic, ms_cxr="none")
    assert tables.boxes is None and "boxes_read" not in tables.frame.columns
    with pytest.raises(DataError, match="ms_cxr='nowhere': no such file or folder"):
        build(mimic, ms_cxr="nowhere")
