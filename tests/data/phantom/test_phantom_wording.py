"""Wordings that no radiologist would use, each found in reports once, and contradictions to the rest of the study."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from wsrpn_vl.data.phantom.reports import write_report
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.text.sections import describing_text

MASK = np.ones((2, 2), bool)


@dataclass(frozen=True)
class Patient:
    male: bool = True
    supine: bool = False


def region(location: str, *modifiers: str, kind: str = "", side: str | None = None) -> Region:
    own = next((s for s in ("right", "left", "bilateral") if location.startswith(s)), "") if side is None else side
    severity = "mild" if {"mild", "small"} & set(modifiers) else "moderate"
    return Region(MASK, location, modifiers, own, severity, kind)


def both(place: str, *modifiers: str, kind: str = "") -> list[Region]:
    return [region(f"{side} {place}", *modifiers, kind=kind) for side in ("right", "left")]


EFFUSIONS = {
    "layering": [region("left hemithorax", "moderate", "layering")],
    "layering on both sides": both("hemithorax", "moderate", "layering"),
    "loculated": [region("right lateral pleural space", "small", "loculated")],
    "free": [region("left pleural space", "large")],
    "free on both sides": both("pleural space", "moderate"),
    "at the angles": both("costophrenic angle", "small", "with blunting of the angle"),
}
FLUID = {name: {"Pleural Effusion": found} for name, found in EFFUSIONS.items()}
WIRES = region("midline sternum", "well aligned", "with surgical clips", kind="sternotomy wires")
PICC = region("superior vena cava", "left upper extremity", kind="PICC line", side="left")
TENSION = region("left apicolateral pleural space", "large", "under tension", kind="pneumothorax")
DEEP = region("left basilar pleural space", "small", "with deep sulcus sign", kind="pneumothorax")
CAP = region("right apex", "smooth", kind="apical cap")
PATCHES = region("bilateral lungs", "patchy", "multifocal", kind="pneumonia")
DIFFUSE = region("bilateral lungs", "severe", "diffuse", kind="opacity")
COLLAPSE = region("left upper lobe", "lobar", "with volume loss", kind="lobar collapse")
CONSOLIDATION = region("left upper lobe", "patchy", "with air bronchograms", kind="consolidation")
HEALING = region("left third posterior rib", "healing", "with callus", kind="rib fracture")
ACUTE = region("left third posterior rib", "acute", "displaced", kind="rib fracture")
NODULES = [region(f"left {zone} lung zone", "2.0 cm", "round", kind="nodule") for zone in ("mid", "lower")]


def told(regions: dict[str, list[Region]], n: int = 80, *, supine: bool = False, hedged: float = 0.0) -> list[str]:
    """Describing texts of ``n`` reports, first and repeat visits by turns."""
    out = []
    for seed in range(n):
        rng = np.random.default_rng([seed, 3])
        report = write_report(regions, Patient(supine=supine), "AP", rng, repeat=seed % 2 == 1, hedged=hedged)
        for triple in report.triples:
            words = describing_text(report.text).lower()
            assert all(w.lower() in words for w in (triple["location"], *triple["modifiers"])), report
        out.append(describing_text(report.text))
    return out


ODD = {
    "adjectives of an amount": (FLUID, r"(?:layering|loculated) amount"),
    "number after a place": (FLUID, r"[Ii]n the [^.,]*, there is [^.,]*effusions"),
    "plural of hemithorax": (FLUID, r"hemithoraxes"),
    "place that the noun says": (FLUID, r"effusions? in the (?:right|left|bilateral) pleural spaces?\b"),
    "angle said twice": (FLUID, r"angles? with blunting"),
    "one meniscus of two angles": (FLUID, r"\bA meniscus at the bilateral"),
    "diaphragm hidden by a lens on the wall": ({"": FLUID["loculated"]}, r"hemidiaphragm is partly"),
    "number of what is within": ({"": {"Lung Lesion": NODULES}}, r"Within the [^.,]*, [^.]*(?:nodules|opacities) is\b"),
    "PICC": ({"": {"Support Devices": [PICC]}}, r"PICC catheter"),
    "persistent device": ({"": {"Support Devices": [PICC]}}, r"[Pp]ersistent|significant change in the (?:left|PICC)"),
    "wires": (
        {"": {"Support Devices": [WIRES]}},
        r"aligned [\w ]*wires are intact|intact with|place with surg|monitoring and support equipment",
    ),
    "both lungs": ({"a": {"Pneumonia": [PATCHES]}, "b": {"Lung Opacity": [DIFFUSE]}}, r"(?:bilateral|the both) lungs?"),
    "degree of an increase": ({"": {"Lung Opacity": [DIFFUSE]}}, r"[Ii]ncreased (?:severe|mild|moderate|opacity)"),
    "apical apex": ({"": {"Pleural Other": [CAP]}}, r"apical [\w ]*\bapex"),
    "scattered lobe": ({"": {"Atelectasis": [COLLAPSE]}}, r"areas of lobar|lobar atelectatic"),
    "whole and patchy": (
        {"": {"Consolidation": [CONSOLIDATION]}},
        r"patchy focal|patchy consolidati\w+ (?:occupies|change throughout)|lobe is consolidated",
    ),
    "fresh break of old bone": ({"": {"Fracture": [HEALING]}}, r"healing cortical disruption|step-off"),
    "old form of a fresh break": ({"": {"Fracture": [ACUTE]}}, r"acute displaced fracture deformity"),
    "line of air that lies in front": ({"": {"Pneumothorax": [DEEP]}}, r"pleural line|separated from the chest wall"),
    "alveolar vessels": (
        {"": {"Edema": both("perihilar region", "severe", "alveolar")}},
        r"alveolar (?:pulmonary )?vascular",
    ),
    "nodule as airspace disease": (
        {"": {"Lung Lesion": NODULES[:1], "Lung Opacity": [region("left mid lung zone")]}},
        r"[Aa]irspace|[Aa]eration|[Oo]pacities",
    ),
    "fragment": ({"": {}}, r"Without evidence"),
}


@pytest.mark.parametrize("name", ODD)
def test_no_odd_wording(name: str) -> None:
    cases, pattern = ODD[name]
    for regions in cases.values():
        for text in told(regions, 150):
            assert not re.search(pattern, text), text


@pytest.mark.parametrize("name", FLUID)
def test_the_kind_of_fluid_and_its_amount_are_told(name: str) -> None:
    texts = told(FLUID[name])
    for size, kind in product(("small", "moderate", "large"), ("layering", "loculated")):
        here = {m for r in EFFUSIONS[name] for m in r.modifiers}
        assert sum(f"{size} amount of" in text for text in texts) == 0 or size in here
        assert all(kind in text for text in texts) == (kind in here)
    assert len(set(texts)) > 40


def test_what_lies_on_both_sides_is_told_of_both_lungs() -> None:
    for regions in ({"Pneumonia": [PATCHES]}, {"Lung Opacity": [DIFFUSE], "Pneumonia": [PATCHES]}):
        texts = told(regions)
        assert sum("both lungs" in text for text in texts) > 20
        for text in texts:
            assert not re.search(r"(?:^|[.\d] +)Both lungs (?:is|shows|contains)\b", text), text


NOTHING = r"No (?:radiographic )?(?:evidence of )?acute (?:cardiopulm|intrathor|disease)"
CONTRADICTIONS = {
    "expanded": (
        [{"Pneumothorax": [TENSION]}, {"Pleural Effusion": EFFUSIONS["free"]}, {"Atelectasis": [COLLAPSE]}],
        r"well expanded",
    ),
    "shifted": ([{"Pneumothorax": [TENSION]}], r"(?:mediastin\w+ )(?:silhouettes?|contours?|is not)"),
    "devices": ([{"Support Devices": [PICC, WIRES]}], r"(?:Normal|Unremarkable) chest|otherwise clear"),
    "nothing there": ([{}, {"Cardiomegaly": [region("cardiac silhouette", "mild")]}], r"superimposed|otherwise"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_normal_statements_do_not_contradict_what_is_there(name: str) -> None:
    cases, pattern = CONTRADICTIONS[name]
    for regions in cases:
        for hedged in (0.0, 1.0):
            for text in told(regions, 120, hedged=hedged):
                assert not re.search(pattern, text), text


def test_normal_statements_are_made_where_they_fit() -> None:
    edema = {"Edema": both("perihilar region", "mild", "interstitial")}
    assert any("superimposed pneumonia" in text for text in told(edema, 150, hedged=1.0))
    texts = told({}, 150)
    for words in ("well expanded", "Normal chest radiograph", "ostophrenic angles are", "No free air"):
        assert any(words in text for text in texts), words
    for text in told({}, 150, supine=True):  # fluid layers behind the lung and free air lies in front
        assert "ostophrenic angles are" not in text and "free air" not in text, text


def test_an_impression_without_disease_names_the_devices() -> None:
    texts = [t for t in told({"Support Devices": [PICC]}, 150) if re.search(NOTHING, t)]
    assert len(texts) > 20
    for text in texts:
        assert "PICC" in re.split(NOTHING, text)[1], text


def test_pneumonia_is_not_denied_while_consolidation_is_left_open() -> None:
    for text in told({}, 200, hedged=1.0):
        if re.search(r"(?:early|subtle focal) consolidation", text, re.I):
            assert "pneumonia" not in text, text


def test_what_causes_name_besides_has_no_course_of_its_own() -> None:
    """An opacity that has decreased beside its own cause that is stable would be told in two ways."""
    regions = {
        "Edema": both("perihilar region", "mild", "interstitial"),
        "Lung Opacity": both("perihilar region"),
    }
    for text in told(regions, 200):
        for sentence in re.split(r"\.\s", text):
            if re.search("opacit", sentence, re.I) and "edema" not in sentence:
                assert not re.search(r"creased|improve|worsen|stable|unchanged|___", sentence, re.I), sentence
