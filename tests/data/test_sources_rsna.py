"""RSNA Pneumonia: several rows for several boxes, normal and not normal images, hidden patients, the real table."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest

from fixtures.challenges import RSNA, RSNA_NIH, write_rsna, write_rsna_headers
from fixtures.txv import txv_file
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.data.sources.rsna import build
from wsrpn_vl.errors import DataError

CORNERS = ["x1", "y1", "x2", "y2"]
IDS = [image for image, *_ in RSNA]


@pytest.fixture
def rsna(tmp_path: Path) -> Path:
    return write_rsna(tmp_path / "rsna")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_boxes_become_corners_in_the_stored_file(rsna: Path) -> None:
    """(264, 152, 213, 379) is 264 to 477, 152 to 531; 1 / 16 of it is 16.5, 9.5, 29.8125, 33.1875."""
    tables = build(rsna)
    assert tables.boxes is not None
    assert tables.boxes.select("image_id", "label", *CORNERS).rows() == [
        (IDS[2], "Lung Opacity", 16.5, 9.5, 29.8125, 33.1875),
        (IDS[2], "Lung Opacity", 35.125, 9.5, 51.125, 37.8125),
        (IDS[3], "Lung Opacity", 63, 32, 64, 64),
    ]
    assert tables.boxed_classes == ("Lung Opacity",) and tables.box_complete == {"Lung Opacity": True}


def test_labels_views_and_people(rsna: Path) -> None:
    """An abnormal image without opacity is neither normal nor of a finding we know."""
    frame = build(rsna).frame
    assert frame["image_id"].to_list() == IDS
    assert frame["y_lung_opacity"].to_list() == [0, 0, 1, 1]
    assert frame["no_finding"].to_list() == [None, 1, 0, 0]
    assert frame["view"].to_list() == ["PA", "AP", "UNK", "PA"]
    assert frame["age"].to_list() == [58, None, 43, None], "155 years is a typing error"
    assert frame["sex"].to_list() == ["M", "F", "M", "F"] and frame["patient_id"].null_count() == 4
    assert any("1 x image file not in the table" in note for note in build(rsna).notes)


def test_the_header_table_stands_for_the_files(rsna: Path, tmp_path: Path) -> None:
    wanted = build(rsna).frame
    png = write_rsna(tmp_path / "png", suffix=".png")
    assert set(build(png).frame["view"]) == {"UNK"}
    write_rsna_headers(png)
    assert build(png).frame.drop("path").equals(wanted.drop("path"))
    assert build(png).frame["path"].to_list()[0] == f"stage_2_train_images/{IDS[0]}.png"


def test_the_detailed_classes_are_optional(tmp_path: Path) -> None:
    frame = build(write_rsna(tmp_path / "rsna", classes=False)).frame
    assert frame["no_finding"].to_list() == [None, None, 0, 0]


def test_opacities_count_as_pneumonia_only_when_asked_for(rsna: Path) -> None:
    tables = build(rsna, approximate=True)
    assert tables.frame["y_pneumonia"].to_list() == [0, 0, 1, 1] and not tables.box_complete["Pneumonia"]
    assert build(rsna).classes == ("Lung Opacity",)


def test_splits_are_drawn_by_image_and_the_hidden_patients_told(rsna: Path) -> None:
    tables = build(rsna, val_share=0.4, test_share=0.4)
    assert len(set(tables.frame["split"])) > 1
    assert any("nih_map=" in note and "NIH ChestX-ray14" in note for note in tables.notes)
    (rsna / "stage_2_train_images" / f"{IDS[0]}.dcm").unlink()
    fewer = build(rsna, val_share=0.4, test_share=0.4)
    assert fewer.frame["split"].to_list() == tables.frame["split"].to_list()[1:] and fewer.missing == (f"{IDS[0]}.dcm",)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_organisers_map_gives_the_patients(rsna: Path, tmp_path: Path, form: str) -> None:
    """Two images are of NIH's patient 1 and stay together, whatever the seed."""
    pairs = list(zip(IDS, RSNA_NIH, strict=True))
    if form == "json":
        items = [{"orig_labels": ["Mass"], "subset_img_id": a, "img_id": b} for a, b in pairs]
        (rsna / "map.json").write_text(json.dumps(items))
    else:
        (rsna / "map.csv").write_text("\n".join(["img_id,subset_img_id", *(f"{b},{a}" for a, b in pairs)]))
    for seed in range(6):
        tables = build(rsna, nih_map=f"map.{form}", seed=seed, val_share=0.3, test_share=0.3)
        split = tables.frame["split"]
        assert split[0] == split[2]
        assert tables.frame["patient_id"].to_list() == ["00000001", "00000002", "00000001", "00000003"]
        assert tables.frame["nih_image"].to_list() == [name.removesuffix(".png") for name in RSNA_NIH]
    path = build_index("rsna", rsna, tmp_path / "out", nih_map=str(rsna / f"map.{form}"))
    assert read_index(path).frame["patient_id"].null_count() == 0
    assert pl.read_parquet(boxes_path(path)).height == 3


MAPS = [
    ("[]", "not a JSON list, or an empty one"),
    ('[{"img_id": "00000001_000.png"}]', "an item lacks subset_img_id or img_id"),
    ('[{"subset_img_id": "a", "img_id": "1.png"}]', "img_id='1.png'.*expected a name of NIH"),
    ('[{"subset_img_id": "a", "img_id": "00000001_000.png"}]', f"image '{IDS[0]}' is not in it"),
    ('[{"subset_img_id": "a", "img_id": "00000001_000.png"}, {"subset_img_id": "a", "img_id": "00000001_000.png"}]',
     "image_id='a'.*appears twice"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MAPS)
def test_a_faulty_map_is_named(rsna: Path, text: str, message: str) -> None:
    (rsna / "map.json").write_text(text)
    with pytest.raises(DataError, match=message):
        build(rsna, nih_map="map.json")
    with pytest.raises(DataError, match=r"maps\.json: no such file"):
        build(rsna, nih_map="maps.json")


LABELS, DETAILS = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
FAULTS = [
    (LABELS, f"{IDS[0]},,,,,0", f"{IDS[0]},,,,,1", "data row 1, Target=1: 1 needs x, y, width and height"),
    (LABELS, f"{IDS[0]},,,,,0", f"{IDS[0]},1,2,3,4,0", "data row 1, Target=0"),
    (LABELS, f"{IDS[0]},,,,,0", f"{IDS[0]},,,,,2", "Target=2.*use 0 or 1"),
    (LABELS, f"{IDS[0]},,,,,0", f"{IDS[2]},,,,,0", "this image has Target 0 and 1"),
    (LABELS, "264.0", "left", "data row 3, x='left'.*expected a number"),
    (LABELS, "patientId", "patient", "column 'patientId' is missing"),
    (DETAILS, ",Normal", ",Norml", "data row 2, class: finding 'Norml' is unknown; did you mean 'Normal'"),
    (DETAILS, f"{IDS[3]},Lung Opacity", f"{IDS[3]},Normal", "class='Normal'.*contradicts stage_2_train_labels.csv"),
    (DETAILS, f"{IDS[1]},Normal", f"{IDS[1]},Lung Opacity", "class='Lung Opacity'.*contradicts"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), FAULTS)
def test_a_fault_is_named_in_one_line(rsna: Path, tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    replace(rsna / file, old, new)
    with pytest.raises(DataError, match=message) as caught:
        build_index("rsna", rsna, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", [LABELS, DETAILS])
def test_a_table_of_a_header_alone_is_named(rsna: Path, file: str) -> None:
    header = (rsna / file).read_text().partition("\n")[0]
    (rsna / file).write_text(f"{header}\n")
    with pytest.raises(DataError, match=f"{file}: the table has no rows"):
        build(rsna)


def test_missing_table_and_images_are_named(rsna: Path) -> None:
    shutil.rmtree(rsna / "stage_2_train_images")
    with pytest.raises(DataError, match="none of the table's 4 images is there"):
        build(rsna)
    (rsna / LABELS).unlink()
    with pytest.raises(DataError, match="no stage_2_train_labels.csv"):
        build(rsna)


def test_the_real_table(tmp_path: Path) -> None:
    """30,227 rows, 26,684 images, 6,012 of them with 9,555 boxes, 1 to 4 each; views of the DICOM headers."""
    zipfile.ZipFile(txv_file("kaggle_stage_2_train_labels.csv.zip")).extractall(tmp_path)
    shutil.copy(txv_file("kaggle_stage_2_train_images_dicom_headers.csv.gz"), tmp_path)
    tables = build(tmp_path, check_files=False)
    assert tables.frame.height == 26_684 and tables.frame["y_lung_opacity"].sum() == 6_012
    assert tables.boxes is not None and tables.boxes.height == 9_555 == 30_227 - 20_672
    each = tables.boxes.group_by("image_id").len()["len"]
    assert (each.len(), each.min(), each.max()) == (6_012, 1, 4)
    assert dict(tables.frame["view"].value_counts().rows()) == {"PA": 14_511, "AP": 12_173}
    assert tables.frame["age"].max() < 120 and 0 < tables.frame["age"].null_count() < 10  # pyright: ignore
    centre = tables.boxes.select((pl.col("x1") + pl.col("x2")) / 2048, (pl.col("y1") + pl.col("y2")) / 2048).mean()
    assert centre.row(0) == pytest.approx((0.49, 0.52), abs=0.005)
    size = tables.boxes.select((pl.col("x2") - pl.col("x1")) / 1024, (pl.col("y2") - pl.col("y1")) / 1024).mean()
    assert size.row(0) == pytest.approx((0.21, 0.32), abs=0.006)
