"""What a report says, in Chest ImaGenome's terms: sentences, and for each the regions and attributes it speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wsrpn_vl.data.phantom.layouts.mimic import study_id
from wsrpn_vl.data.phantom.layouts.regions import REGIONS
from wsrpn_vl.data.phantom.records import Record
from wsrpn_vl.text.sections import describing_text, split_sections, wet_read
from wsrpn_vl.text.sentences import split_sentences

BOTH_LUNGS = ("right lung", "left lung")
# observation -> (category, label, where it is when no place is said, how a sentence names it)
ATTRIBUTES: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "Enlarged Cardiomediastinum": ("anatomicalfinding", "mediastinal widening", ("mediastinum",), "mediastin"),
    "Cardiomegaly": (
        "anatomicalfinding", "enlarged cardiac silhouette", ("cardiac silhouette",), "cardiomegal|heart|cardiac|cardio",
    ),
    "Lung Opacity": ("anatomicalfinding", "lung opacity", BOTH_LUNGS, "opaci|infiltrat|lungs|density|densities"),
    "Lung Lesion": (
        "anatomicalfinding", "mass/nodule (not otherwise specified)", BOTH_LUNGS, "nodul|mass|lesion|neoplas",
    ),
    "Edema": ("anatomicalfinding", "pulmonary edema/hazy opacity", BOTH_LUNGS, "edema|congest|overload|vascular"),
    "Consolidation": ("anatomicalfinding", "consolidation", BOTH_LUNGS, "consolid"),
    "Pneumonia": ("disease", "pneumonia", BOTH_LUNGS, "pneumonia|infect"),
    "Atelectasis": ("anatomicalfinding", "atelectasis", BOTH_LUNGS, "atelecta|collapse|volume loss"),
    "Pneumothorax": ("anatomicalfinding", "pneumothorax", BOTH_LUNGS, "pneumothora"),
    "Pleural Effusion": (
        "anatomicalfinding", "pleural effusion", ("right costophrenic angle", "left costophrenic angle"),
        "effusion|costophrenic|pleural fluid",
    ),
    "Pleural Other": (
        "anatomicalfinding", "pleural/parenchymal scarring", BOTH_LUNGS,
        "thicken|plaque|scar|cap\\b|pleural surfaces",
    ),
    "Fracture": (
        "anatomicalfinding", "rib fracture", ("right chest wall", "left chest wall"), "fracture|osseous|bony|bone",
    ),
    "Support Devices": (
        "device", "cardiac pacer and wires", ("mediastinum",),
        r"tube|\blines?\b|catheter|picc|\bpac(?:er|ing|emaker)|defibrillat|\bicd\b|device|\bport\b|wires|\bleads?\b|valve|drain",
    ),
}  # fmt: skip
_HISTORY = ("indication", "history")
DEVICES = (  # how the words name it -> category, label
    (r"\bpac(?:er|ing|emaker)|defibrillat|\bicd\b", "device", "cardiac pacer and wires"),
    ("endotracheal|et tube", "tubesandlines", "endotracheal tube"),
    ("tracheostomy", "tubesandlines", "tracheostomy tube"),
    ("enteric|nasogastric|ng tube|feeding|orogastric", "tubesandlines", "enteric tube"),
    ("pigtail", "tubesandlines", "pigtail catheter"),
    ("chest tube|pleural drain|thoracostomy", "tubesandlines", "chest tube"),
    ("picc|peripherally inserted", "tubesandlines", "picc"),
    (r"\bport\b", "tubesandlines", "chest port"),
    ("swan|pulmonary artery catheter", "tubesandlines", "swan-ganz catheter"),
    ("subclavian", "tubesandlines", "subclavian line"),
    ("jugular|venous catheter|central line|central venous", "tubesandlines", "ij line"),
    ("sternotomy|wires", "device", "sternotomy wires"),
    ("valve", "device", "prosthetic valve"),
)
_PLACES = (  # words of a location -> region without its side
    ("costophrenic|sulcus", "costophrenic angle"),
    ("cardiophrenic", "cardiophrenic angle"),
    ("diaphragm", "hemidiaphragm"),
    ("clavic", "clavicle"),
    ("rib|chest wall", "chest wall"),
    ("apex|apical|apices", "apical zone"),
    ("hil|pulmonary artery", "hilar structures"),
    ("upper", "upper lung zone"),
    (r"\bmid\b|middle|lingul", "mid lung zone"),
    ("lower|bas|retrocardiac", "lower lung zone"),
)
_CENTRAL = (
    ("aort", "aortic arch"),
    ("upper mediastin|superior mediastin", "upper mediastinum"),
    ("mediastin|stern|esophag", "mediastinum"),
    ("heart|cardiac", "cardiac silhouette"),
    ("carina|trachea", "trachea"),
    ("cava|svc", "svc"),
    ("atrium|atrial|cavoatrial", "cavoatrial junction"),
    ("stomach|abdom|gastric", "left upper abdomen"),
)


@dataclass(frozen=True)
class Sentence:
    """number: 0-based in the report; section: prelimread, history or finalreport."""

    number: int
    section: str
    text: str


@dataclass(frozen=True)
class Statement:
    """One attribute of one region in one sentence; ``there``: affirmed (hedged ones too) or denied."""

    region: str
    sentence: Sentence
    category: str
    label: str
    there: bool
    severity: str


def sentences(record: Record) -> list[Sentence]:
    """Preliminary reading, history and what describes the image, without titles, headers and list numbers."""
    early = wet_read(record.text)
    parts = ("prelimread", early), ("history", reason(record)), ("finalreport", describing_text(record.text))
    found = [(section, sentence) for section, text in parts for sentence in split_sentences(text)]
    return [Sentence(number, section, text) for number, (section, text) in enumerate(found)]


def reason(record: Record) -> str:
    """Why the examination was asked for, in the report's words."""
    told = (text for name, text in split_sections(record.text).items() if name in _HISTORY)
    # in a report without further headers the description follows in the same section
    return next(told, "").removesuffix(describing_text(record.text)).strip()


def statements(record: Record) -> list[Statement]:
    """What the report's triples say, region by region, each with the sentence that says it."""
    told = sentences(record)
    out = []
    for triple in record.triples:
        category, label, _, _ = ATTRIBUTES[triple["finding"]]
        sentence = _sentence_of(triple, told)
        if sentence is None:
            continue
        if triple["finding"] == "Support Devices":
            words = " ".join(triple["modifiers"] or [sentence.text]).lower()
            category, label = next(((c, n) for w, c, n in DEVICES if re.search(w, words)), (category, label))
        if triple["finding"] == "Fracture" and "clavic" in triple["location"]:
            label = "clavicle fracture"
        severity = next((m for m in triple["modifiers"] if m in ("mild", "moderate", "severe")), "")
        there = triple["polarity"] != "negative"
        out += [Statement(r, sentence, category, label, there, severity) for r in places(triple)]
    return sorted(set(out), key=lambda s: (s.sentence.number, s.region, s.label))


def places(triple: dict) -> tuple[str, ...]:
    """Regions a triple speaks of; some have no box (``right chest wall``)."""
    where = triple["location"].lower()
    central = next((region for words, region in _CENTRAL if re.search(words, where)), "")
    if central:
        return (central,)
    sides = [side for side in ("right", "left") if side in where] or ["right", "left"]
    part = next((region for words, region in _PLACES if re.search(words, where)), "")
    if part and not ("lingul" in where and part == "mid lung zone"):
        return tuple(f"{side} {part}" for side in sides)
    if part:
        return ("left mid lung zone",)
    tube = triple["finding"] == "Support Devices" and "pleural" in where
    usual = BOTH_LUNGS if tube else ATTRIBUTES[triple["finding"]][2]
    return tuple(r for r in usual if not r.startswith(("right", "left")) or r.startswith(tuple(sides)))


def _sentence_of(triple: dict, told: list[Sentence]) -> Sentence | None:
    """Of the describing sentences that name the finding, the first with most of its place and modifiers."""
    final = [s for s in told if s.section == "finalreport"]
    naming = [s for s in final if re.search(ATTRIBUTES[triple["finding"]][3], s.text.lower())]
    words = [word.lower() for word in (triple["location"], *triple["modifiers"]) if word]
    return max(naming or final, key=lambda s: sum(w in s.text.lower() for w in words), default=None)


def comparisons(record: Record, before: Record, said: list[Statement]) -> list[tuple[Statement, str]]:
    """(statement now, improved / worsened / no change) for every attribute that both reports speak of."""
    earlier = {(s.region, s.label): s.there for s in statements(before)}
    words = {(True, True): "no change", (False, True): "worsened", (True, False): "improved"}
    out: dict[tuple[str, str], tuple[Statement, str]] = {}
    for s in said:
        key = s.region, s.label
        word = words.get((earlier[key], s.there)) if key in earlier else None
        if word:
            out.setdefault(key, (s, word))
    return list(out.values())


def triplets(said: list[Statement]) -> list[str]:
    """``category|yes|label`` strings of one region in one sentence."""
    out = [f"{s.category}|{'yes' if s.there else 'no'}|{s.label}" for s in said]
    out += [f"severity|yes|{s.severity}" for s in said if s.severity]
    return [*dict.fromkeys(out), f"nlp|yes|{'abnormal' if any(s.there for s in said) else 'normal'}"]


def by_region(said: list[Statement]) -> Iterator[tuple[str, list[list[Statement]]]]:
    """(region, its statements grouped by sentence), regions in their order of :data:`REGIONS`, others after."""
    known = {name: i for i, name in enumerate(REGIONS)}
    for region in sorted({s.region for s in said}, key=lambda name: (known.get(name, len(known)), name)):
        mine = [s for s in said if s.region == region]
        numbers = sorted({s.sentence.number for s in mine})
        yield region, [[s for s in mine if s.sentence.number == n] for n in numbers]


def row_id(record: Record, sentence: Sentence) -> str:
    """``<study>|<sentence number>``."""
    return f"{study_id(record.case)}|{sentence.number}"
