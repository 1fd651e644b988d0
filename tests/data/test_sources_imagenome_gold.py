"""Chest ImaGenome's gold set and its coordinates, and the phantom in the data set's layout read back."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.imagenome import (
    GOLD1,
    GOLD2,
    GOLD_BOXES,
    IMAGENOME,
    Form,
    labels_of,
    places_of,
    row,
    write_imagenome,
)
from fixtures.layouts import write as write_phantom_layout
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.phantom.layouts.imagenome_words import places
from wsrpn_vl.data.sources import imagenome
from wsrpn_vl.data.sources.imagenome_boxes import padding, to_frame, to_original
from wsrpn_vl.data.sources.tables import SourceTables
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.text.regions import paired, smallest
from wsrpn_vl.text.triples import Triple, from_json

BOXES = "gold_bbox_coordinate_annotations_1000images.csv"
ATTRIBUTES = "gold_attributes_relations_500pts_500studies1st.txt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unspoilt copy that no test changes."""
    return write_imagenome(tmp_path_factory.mktemp("imagenome"))


# ---- gold


def test_gold_has_labels_of_500_and_region_boxes(whole: Path) -> None:
    tables = imagenome.build(whole, part="gold")
    assert tables.dataset == "imagenome-gold" and set(tables.frame["split"]) == {"test"}
    assert tables.frame["image_id"].to_list() == [GOLD1, GOLD2]  # images_to_avoid.csv names just these
    assert tables.frame["boxes_read"].to_list() == [True, False]
    assert labels_of(tables, GOLD1) == {
        "Lung Opacity": 1, "Edema": 1, "Pneumothorax": 0, "Pleural Effusion": 1, "Fracture": 1, "Support Devices": 1,
    }  # fmt: skip
    assert labels_of(tables, GOLD2) == {} and row(tables, GOLD2)["no_finding"] is None
    assert from_json(row(tables, GOLD1)["triples"]) == (
        Triple("Lung Opacity", "left lung"),
        Triple("Edema", "right hilar structures"),
        Triple("Pneumothorax", "both lungs", polarity="negative"),
        Triple("Pleural Effusion", "left costophrenic angle"),
        Triple("Fracture", "left chest wall", ("rib",)),
        Triple("Support Devices", "svc", ("PICC",)),
    )
    assert places_of(tables) == [
        (GOLD1, "Lung Opacity", "left lung", 21.0, 6.0, 36.0, 50.0),
        (GOLD1, "Pleural Effusion", "left costophrenic angle", 30.0, 44.0, 36.0, 50.0),
    ]
    assert {
        "gold patients by MIMIC-CXR's split: train 1; give this index as --exclude to those you train on",
        "1 x gold image without attributes: no label, and nobody looked for findings",
        "1 x row of the attribute table that affirms and denies nothing, left out",
        "1 x region of an affirmed finding without a box",
        "1 x box without area in its image, left out",
    } <= set(tables.notes)
    nested = places_of(imagenome.build(whole, part="gold", nested="all"))
    assert [box[1:3] for box in nested][1:] == [
        ("Pleural Effusion", "left costophrenic angle"),
        ("Pleural Effusion", "left lung"),
    ]


def test_gold_ids_may_end_in_dcm_or_not(whole: Path, tmp_path: Path) -> None:
    plain = imagenome.build(write_imagenome(tmp_path, Form(dcm=False, crlf=True, bom=True)), part="gold")
    ours = imagenome.build(whole, part="gold")
    assert plain.frame.equals(ours.frame) and places_of(plain) == places_of(ours) and plain.notes == ours.notes


def test_gold_sentences_with_line_ends_and_quotation_marks_are_read(whole: Path) -> None:
    text = row(imagenome.build(whole, part="gold", text="phrases"), GOLD1)["text"]
    assert text == 'Some water. A shadow. No "loose" air, none at all. Water again. A rib. A line. Hilum.'


def test_gold_boxes_come_back_from_the_224_pixel_frame(whole: Path, tmp_path: Path) -> None:
    root = write_imagenome(tmp_path, Form(original=False))
    for edited in (lambda: None, lambda: _write_scales(root)):
        edited()
        back, ours = imagenome.build(root, part="gold"), imagenome.build(whole, part="gold")
        assert [b[:3] for b in places_of(back)] == [b[:3] for b in places_of(ours)]
        doubt = 0.5 / (224 / 56)
        for stated, wanted in zip(places_of(back), places_of(ours), strict=True):
            assert stated[3:] == pytest.approx(wanted[3:], abs=doubt + 1e-9)


def _write_scales(root: Path) -> None:
    path = root / IMAGENOME / "gold_dataset" / "gold_bbox_scaling_factors_original_to_224x224.csv"
    path.write_text(f"image_id,top,bottom,left,right,ratio\n{GOLD1}.dcm,0,0,32,32,4.0\n", "utf-8")


def test_gold_regions_that_the_box_table_lacks_come_from_the_other(whole: Path, tmp_path: Path) -> None:
    root = write_imagenome(tmp_path)
    path = root / IMAGENOME / "gold_dataset" / BOXES
    lines = path.read_text("utf-8").splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if "costophrenic" not in line), "utf-8")
    assert len(lines) == 1 + len(GOLD_BOXES)
    assert places_of(imagenome.build(root, part="gold")) == places_of(imagenome.build(whole, part="gold"))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (BOXES, "original_x2", "original_x9", None),  # then the 224 pixel frame is used
        (BOXES, "bbox_name", "region", "column 'bbox_name' is missing"),
        (BOXES, ",21,36,", ",21,wide,", "expected a number"),
        (ATTRIBUTES, "label_name", "labels", "column 'label_name' is missing; did you mean 'labels'"),
        (ATTRIBUTES, "lung opacity", "a hazy patch", r"data row \d+, label_name: a finding .*unknown=count"),
        (ATTRIBUTES, "10000001\t", "\t", "patient_id=None"),
    ],
)
def test_broken_gold_files_are_one_line(tmp_path: Path, name: str, old: str, new: str, message: str | None) -> None:
    root = write_imagenome(tmp_path)
    path = root / IMAGENOME / "gold_dataset" / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    if message is None:
        assert len(places_of(imagenome.build(root, part="gold"))) == 2
        return
    with pytest.raises(DataError, match=message) as error:
        imagenome.build(root, part="gold")
    assert "\n" not in str(error.value) and name in str(error.value) and "hazy" not in str(error.value)


sides = st.integers(200, 4000)


@given(sides, sides, st.data())
def test_the_frame_and_the_original_lead_to_each_other(width: int, height: int, data: st.DataObject) -> None:
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2)))
    y1, y2 = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2)))
    pad = padding(width, height)
    frame = to_frame((x1, y1, x2, y2), pad)
    assert all(-1 <= v <= 225 for v in frame)
    assert to_original(frame, pad) == pytest.approx((x1, y1, x2, y2), abs=1e-6)
    a, b, c, d = (round(v) for v in frame)
    assert to_original((a, b, c, d), pad) == pytest.approx((x1, y1, x2, y2), abs=0.5 / pad.ratio + 1e-6)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((2544, 3056), (19, 0)), ((3056, 2544), (0, 19)), ((2000, 2000), (0, 0))],
)
def test_padding_is_even_on_the_shorter_side(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    pad = padding(*size)
    assert (pad.left, pad.top) == wanted and pad.ratio == 224 / max(size)


# ---- the phantom


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom_layout(folder / "imagenome", "chest-imagenome", images=32)
    write_phantom_layout(folder / "native", "native", images=32)
    return folder


def _triples(values: dict) -> tuple[Triple, ...]:
    return from_json(values["triples"]) if values["triples"] else ()


def _native(phantom: Path, tables: SourceTables) -> Callable[[str], dict]:
    """Native row of an image: both folders hold the same patients in the same order of simulated pictures."""
    reports = zipfile.ZipFile(phantom / "imagenome" / "mimic-cxr/2.1.0/mimic-cxr-reports.zip")
    texts = {Path(n).stem[1:]: reports.read(n).decode() for n in reports.namelist()}
    by_text = {r["text"]: r for r in read_index(phantom / "native" / "index.parquet").frame.iter_rows(named=True)}
    studies_of = dict(tables.frame.select("image_id", "study_id").iter_rows())
    return lambda image_id: by_text[texts[studies_of[image_id]]]


def test_the_phantom_is_read_back(phantom: Path) -> None:
    """Findings and polarities agree; places are those of the data set's regions, doubt is affirmed."""
    tables = imagenome.build(phantom / "imagenome")
    native = _native(phantom, tables)
    assert tables.frame.height == 32 and len(set(tables.frame["split"])) == 4 - 1 + ("" in set(tables.frame["split"]))
    compared = 0
    for values in tables.frame.iter_rows(named=True):
        original = native(values["image_id"])
        told = [Triple.from_dict(t) for t in json.loads(original["triples"])]
        for name in OBSERVATIONS:
            said_of = {t.polarity for t in told if t.finding == name}
            wanted = 1 if said_of & {"positive", "uncertain"} else 0 if said_of else None
            assert values[label_column(name)] == wanted, (name, told)
            compared += wanted is not None
        assert values["view"] == original["view"] and (values["width"], values["height"]) == (64, 64)
        for name in {t.finding for t in told} - {"Support Devices"}:
            stated = [r for t in told if t.finding == name and t.polarity != "negative" for r in places(t.as_dict())]
            mine = [t.location for t in _triples(values) if t.finding == name and t.polarity == "positive"]
            assert sorted(paired(mine)) == sorted(paired(smallest(stated)))
    assert compared > 200


def test_the_phantom_s_regions_lie_over_the_lesions_they_stand_for(phantom: Path) -> None:
    """They cannot be its boxes: an effusion rises above the angle that stands for it, edema leaves the hilum."""
    tables = imagenome.build(phantom / "imagenome", nested="all")
    native = _native(phantom, tables)
    drawn = pl.read_parquet(phantom / "native" / "index.boxes.parquet")
    assert tables.boxes is not None
    over, compared = 0, 0
    for (image_id, label), regions in tables.boxes.group_by("image_id", "label"):
        for box in drawn.filter(image_id=native(str(image_id))["image_id"], label=label).iter_rows(named=True):
            axes = "x" if label == "Pleural Effusion" else "xy"
            over += any(
                all(min(r[f"{k}2"], box[f"{k}2"]) > max(r[f"{k}1"], box[f"{k}1"]) for k in axes)
                for r in regions.iter_rows(named=True)
            )
            compared += 1
    assert compared >= 20 and over > 0.9 * compared


def test_the_phantom_s_gold_agrees_with_its_silver(phantom: Path) -> None:
    gold = imagenome.build(phantom / "imagenome", part="gold")
    silver = imagenome.build(phantom / "imagenome")
    first = gold.frame.filter("boxes_read")
    assert 0 < first.height < gold.frame.height
    for image_id in first["image_id"]:
        assert labels_of(gold, image_id) == labels_of(silver, image_id)
    patients = first["patient_id"].n_unique()
    assert gold.notes[0].startswith(
        f"gold patients by MIMIC-CXR's split: test {patients}; give this index as --exclude"
    )
