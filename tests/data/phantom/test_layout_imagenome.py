"""Chest ImaGenome: regions where the anatomy is, attributes that follow the words, gold kept apart."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.layouts import CXR, DICOM_ID, IMAGENOME, SIZE, names, table
from wsrpn_vl.data.phantom.layouts.imagenome_words import DEVICES, Sentence, reason, sentences, statements
from wsrpn_vl.data.phantom.layouts.regions import GOLD, REGIONS, anatomy_boxes
from wsrpn_vl.data.phantom.records import Case, Record, Settings
from wsrpn_vl.data.phantom.study import patient_thorax
from wsrpn_vl.data.phantom.thorax import position
from wsrpn_vl.data.phantom.traps import NO_TRAPS, Quality
from wsrpn_vl.text.triples import Triple

Root = Callable[[str], Path]


@pytest.fixture(scope="module")
def graphs(root: Root) -> list[dict]:
    with zipfile.ZipFile(root("chest-imagenome") / IMAGENOME / "silver_dataset" / "scene_graph.zip") as archive:
        assert all(re.fullmatch(rf"scene_graph/{DICOM_ID}_SceneGraph\.json", name) for name in archive.namelist())
        return [json.loads(archive.read(name)) for name in archive.namelist()]


def test_imagenome_holds_mimic_and_a_graph_for_each_of_its_images(root: Root, graphs: list[dict]) -> None:
    ours, mimic = names(root("chest-imagenome")), names(root("mimic-cxr-jpg"))
    assert mimic < ours and all(
        (root("chest-imagenome") / n).read_bytes() == (root("mimic-cxr-jpg") / n).read_bytes() for n in mimic
    )
    assert {g["image_id"] for g in graphs} == {Path(n).stem for n in ours if n.endswith(".jpg")}
    keys = (
        "image_id viewpoint patient_id study_id gender age_decile reason_for_exam StudyOrder StudyDateTime objects "
        "attributes relationships"
    )
    assert all(list(g) == keys.split() for g in graphs)


def test_scene_graph_boxes_are_regions_of_the_picture(graphs: list[dict]) -> None:
    assert len(REGIONS) == 36 and len(GOLD) == 26
    seen = [o for g in graphs for o in g["objects"]]
    assert {o["bbox_name"] for o in seen} == set(REGIONS)
    assert 0.97 < len(seen) / (36 * len(graphs)) <= 1
    for o in seen:
        assert o["original_x2"] - o["original_x1"] == o["original_width"] > 0
        assert o["original_y2"] - o["original_y1"] == o["original_height"] > 0
        assert o["x1"] == pytest.approx(o["original_x1"] * 224 / SIZE, abs=1) and o["object_id"].endswith(
            o["bbox_name"]
        )
    for g in graphs:
        x = {o["bbox_name"]: (o["original_x1"] + o["original_x2"]) / 2 for o in g["objects"]}
        y = {o["bbox_name"]: (o["original_y1"] + o["original_y2"]) / 2 for o in g["objects"]}
        for name in ("lung", "lower lung zone", "hilar structures", "costophrenic angle"):
            if f"right {name}" in x and f"left {name}" in x:
                assert x[f"right {name}"] < x[f"left {name}"]  # the patient's right is at the viewer's left
        for side in ("right", "left"):
            zones = [
                y[n] for n in (f"{side} apical zone", f"{side} mid lung zone", f"{side} lower lung zone") if n in y
            ]
            assert zones == sorted(zones)


def test_scene_graph_attributes_are_what_the_words_state(root: Root, graphs: list[dict], native: pl.DataFrame) -> None:
    with zipfile.ZipFile(root("chest-imagenome") / CXR / "mimic-cxr-reports.zip") as archive:
        text_of_study = {Path(n).stem[1:]: archive.read(n).decode() for n in archive.namelist()}
    stated = {row[0]: json.loads(row[1]) for row in native.select("text", "triples").iter_rows()}
    labels = {
        "Pneumothorax": "anatomicalfinding|{}|pneumothorax",
        "Cardiomegaly": "anatomicalfinding|{}|enlarged cardiac silhouette",
    }
    for g in graphs:
        text = text_of_study[str(g["study_id"])]
        triplets = {t for a in g["attributes"] for phrase in a["attributes"] for t in phrase}
        for name, form in labels.items():
            said = {t["polarity"] for t in stated[text] if t["finding"] == name}
            assert (form.format("yes") in triplets) == bool(said & {"positive", "uncertain"})
            assert (form.format("no") in triplets) == ("negative" in said)
        words = " ".join(text.split())
        for a in g["attributes"]:
            assert next(iter(a)) == a["bbox_name"] and a[a["bbox_name"]] is True
            assert (
                len(
                    {
                        len(a[k])
                        for k in ("attributes", "attributes_ids", "phrases", "phrase_IDs", "sections", "severity_cues")
                    }
                )
                == 1
            )
            assert all(p in words for p in a["phrases"]) and all(
                i.startswith(f"{g['study_id']}|") for i in a["phrase_IDs"]
            )


def test_gold_is_of_test_patients_with_two_studies_and_to_be_avoided(root: Root, graphs: list[dict]) -> None:
    folder = root("chest-imagenome") / IMAGENOME
    avoid = {r["dicom_id"] for r in table(folder / "silver_dataset" / "splits" / "images_to_avoid.csv")}
    test = {r["dicom_id"] for r in table(folder / "silver_dataset" / "splits" / "test.csv")}
    boxes = table(folder / "gold_dataset" / "gold_bbox_coordinate_annotations_1000images.csv")
    gold = {r["image_id"].removesuffix(".dcm") for r in boxes}
    assert gold and gold == avoid <= test
    assert len(boxes) == pytest.approx(26 * len(gold), abs=len(gold)) and {r["bbox_name"] for r in boxes} == set(GOLD)
    for r in boxes:
        a, c, b, d = (int(r[f"original_{k}"]) for k in ("x1", "x2", "y1", "y2"))
        assert 0 <= a < c <= SIZE and 0 <= b < d <= SIZE and json.loads(r["coord_original"]) == [a, b, c, d]
    order = {g["image_id"]: g["StudyOrder"] for g in graphs}
    placed = table(folder / "gold_dataset" / "gold_object_attribute_with_coordinates.txt", "\t")
    assert placed and all(order[r["image_id"].removesuffix(".dcm")] == 1 for r in placed)
    assert {r["relation"] for r in placed} == {"1"} and {r["context"] for r in placed} <= {"yes", "no"}
    compared = table(folder / "gold_dataset" / "gold_comparison_relations_500pts_500studies2nd.txt", "\t")
    assert all(order[r["current_image_id"]] == 2 and order[r["previous_image_id"]] == 1 for r in compared)
    assert {r["comparison"] for r in compared} <= {"no change", "improved", "worsened"}


@pytest.mark.parametrize("kind", ["rotated", "clipped"])
def test_regions_follow_a_spoilt_picture(kind: str) -> None:
    chest = position(patient_thorax(0, 1), "PA", np.random.default_rng(0))
    plain = anatomy_boxes(chest, "PA", 128)
    moved = anatomy_boxes(chest, "PA", 128, Quality(kind, 0.8, 1, True))
    assert moved and moved != plain and set(moved) <= set(plain)
    assert all(0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 128 for x1, y1, x2, y2 in moved.values())
    same = anatomy_boxes(chest, "PA", 128, Quality("motion", 0.8))
    assert same == plain


def test_an_attribute_of_a_device_has_the_sentence_that_names_it(graphs: list[dict]) -> None:
    named = {label: re.compile(words) for words, _, label in DEVICES}
    seen = set()
    for g in graphs:
        for a in g["attributes"]:
            for triplets, phrase in zip(a["attributes"], a["phrases"], strict=True):
                assert not phrase.startswith("FINAL REPORT")
                for category, there, label in (t.split("|") for t in triplets):
                    if category in ("device", "tubesandlines") and there == "yes":
                        seen.add(label)
                        assert named[label].search(phrase.lower()), (label, phrase)
    assert len(seen) > 3


def record(text: str, *triples: tuple[str, str, tuple[str, ...], str]) -> Record:
    case = Case(0, 0, "train", 0, Settings(64, 0, "A", (1, 0, 0), NO_TRAPS))
    told = tuple(Triple(*triple).as_dict() for triple in triples)
    return Record(case, "i", "p", "s", "AP", {}, {}, (), text, told, {})


def test_sentences_leave_titles_and_numbers_out_and_keep_the_reason_whole() -> None:
    text = (
        " WET READ: ___ ___\n No pneumothorax.\n ______________\n        FINAL REPORT\n CHEST RADIOGRAPH\n \n"
        " INDICATION:  ___F with cough  // ? effusion\n \n COMPARISON:  None.\n \n IMPRESSION: \n \n"
        " 1.  ET tube 4.4 cm above the carina.\n 2.  No effusion, per Dr. ___.\n"
    )
    assert sentences(record(text)) == [
        Sentence(0, "prelimread", "No pneumothorax."),
        Sentence(1, "history", "___F with cough // ? effusion"),
        Sentence(2, "finalreport", "ET tube 4.4 cm above the carina."),
        Sentence(3, "finalreport", "No effusion, per Dr. ___."),
    ]
    bare = record("  FINAL REPORT\n HISTORY:  ___M with pain.\n \n The lungs are clear.\n")
    assert reason(bare) == "___M with pain." and sentences(bare)[-1].text == "The lungs are clear."


def test_a_device_is_told_by_its_own_words_not_by_others_in_the_report() -> None:
    text = " FINDINGS:  A left pacemaker is seen. Left chest tube. Support equipment includes a right PICC.\n"
    devices = [
        ("Support Devices", "", (name, side), "positive")
        for name, side in (("PICC", "right"), ("chest tube", "left"), ("pacemaker", "left"))
    ]
    assert [(s.label, s.sentence.text) for s in statements(record(text, *devices))] == [
        ("cardiac pacer and wires", "A left pacemaker is seen."),
        ("chest tube", "Left chest tube."),
        ("picc", "Support equipment includes a right PICC."),
    ]
