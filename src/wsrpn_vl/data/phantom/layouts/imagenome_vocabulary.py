"""Chest ImaGenome's ``semantics`` folder: its attribute vocabulary, regions and which attribute a region may have."""

from __future__ import annotations

import json
from pathlib import Path

from wsrpn_vl.data.phantom.layouts.base import write_lines
from wsrpn_vl.data.phantom.layouts.regions import REGIONS
from wsrpn_vl.files import write_text

VOCABULARY: dict[str, str] = {  # category -> its labels, joined by ";"
    "anatomicalfinding": (
        "atelectasis;linear/patchy atelectasis;lobar/segmental collapse;lung opacity;airspace opacity;infiltration;"
        "consolidation;pulmonary edema/hazy opacity;vascular congestion;vascular redistribution;vascular calcification;"
        "pleural effusion;costophrenic angle blunting;pleural/parenchymal scarring;pneumothorax;hydropneumothorax;"
        "enlarged cardiac silhouette;mediastinal widening;mediastinal displacement;"
        "superior mediastinal mass/enlargement;enlarged hilum;tortuous aorta;lung lesion;"
        "mass/nodule (not otherwise specified);multiple masses/nodules;calcified nodule;cyst/bullae;bronchiectasis;"
        "hyperaeration;increased reticular markings/ild pattern;elevated hemidiaphragm;"
        "diaphragmatic eventration (benign);hernia;sub-diaphragmatic air;subcutaneous air;pneumomediastinum;"
        "rib fracture;clavicle fracture;spinal fracture;spinal degenerative changes;scoliosis;bone lesion;"
        "shoulder osteoarthritis"
    ),
    "disease": (
        "pneumonia;pericardial effusion;copd/emphysema;fluid overload/heart failure;granulomatous disease;goiter;"
        "aspiration;lung cancer;alveolar hemorrhage;interstitial lung disease"
    ),
    "tubesandlines": (
        "chest tube;mediastinal drain;pigtail catheter;endotracheal tube;tracheostomy tube;picc;ij line;chest port;"
        "subclavian line;swan-ganz catheter;intra-aortic balloon pump;enteric tube"
    ),
    "device": "sternotomy wires;cabg grafts;aortic graft/repair;prosthetic valve;cardiac pacer and wires",
    "technicalassessment": "low lung volumes;rotated;artifact;breast/nipple shadows;skin fold",
    "texture": "opacity;alveolar;interstitial;calcified;lucency",
    "severity": "mild;moderate;severe",
    "nlp": "normal;abnormal",
}
REPORT_ONLY = (
    "neck", "left chest wall", "right chest wall", "left shoulder", "right shoulder", "left arm", "right arm",
    "left breast", "right breast", "unknown",
)  # fmt: skip
_CHILDREN = {"lung opacity": ["consolidation", "atelectasis", "pulmonary edema/hazy opacity", "lung lesion"]}
_CARDIAC = ("enlarged cardiac silhouette", "pericardial effusion", "prosthetic valve", "cardiac pacer and wires")
_MEDIASTINAL = ("mediastinal", "pneumomediastinum", "tortuous aorta", "superior mediastinal", "goiter")
_BONY = ("fracture", "bone lesion", "scoliosis", "spinal", "osteoarthritis")


def write_semantics(folder: Path) -> None:
    """The text files and the label mapping, its codes left out."""
    labels = [(category, label) for category, names in VOCABULARY.items() for label in names.split(";")]
    write_lines(folder / "attribute_relations_v1.txt", (f"{c}|yes|{label}," for c, label in labels))
    changes = ("improved", "worsened", "no change")
    write_lines(folder / "comparison_relations_v1.txt", (f"comparison|yes|{word}," for word in changes))
    write_lines(folder / "objects_detectable_by_bbox_pipeline_v1.txt", REGIONS)
    write_lines(folder / "objects_extracted_from_reports_v1.txt", (*REGIONS, *REPORT_ONLY))
    mapping = {
        "all_children": _CHILDREN,
        "possible_attribute_of": {label: _regions_of(label) for _, label in labels},
    }
    write_text(folder / "label_to_UMLS_mapping.json", json.dumps(mapping, indent=1))


def _regions_of(label: str) -> list[str]:
    if label in _CARDIAC:
        return [r for r in REGIONS if "cardiac" in r or r == "mediastinum"]
    if label.startswith(_MEDIASTINAL):
        return [r for r in REGIONS if "mediastinum" in r or r in ("aortic arch", "trachea")]
    if any(word in label for word in _BONY):
        return [r for r in (*REGIONS, *REPORT_ONLY) if any(w in r for w in ("chest wall", "clavicle", "spine"))]
    return list(REGIONS)
