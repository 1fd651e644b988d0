"""The radiologist's words: a report in sections, and the triples it states.

A triple is ``{finding, location, modifiers, polarity}``: what, where, how, and whether it is said to be there
(positive), not there (negative) or possible (uncertain). Every positive finding is mentioned; of the absent ones some
are negated, some covered by a normal statement, some not spoken of.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.data.phantom.thorax import Thorax

# {where}: location, {how}: modifiers, {side}, {kind}. The first word is capitalised afterwards.
POSITIVE: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        "there is {how} widening of the {where}.",
        "the mediastinum is widened.",
        "{how} enlargement of the cardiomediastinal contour.",
        "the cardiomediastinal silhouette is enlarged with a widened {where}.",
    ),
    "Cardiomegaly": (
        "there is {how} cardiomegaly.",
        "{how} enlargement of the cardiac silhouette.",
        "the heart is enlarged, {how} in degree.",
        "cardiomegaly is {how}.",
    ),
    "Lung Opacity": (
        "{how} opacity in the {where}.",
        "there is {how} opacity projecting over the {where}.",
        "an area of {how} opacity is seen in the {where}.",
        "increased {how} opacification of the {where}.",
    ),
    "Lung Lesion": (
        "there is a {how} {kind} in the {where}.",
        "{how} {kind} projecting over the {where}.",
        "a {kind} measuring {how} is identified in the {where}.",
    ),
    "Edema": (
        "{how} pulmonary edema in the {where}.",
        "there is {how} pulmonary vascular congestion and edema, {where}.",
        "{how} edema with haziness of the {where}.",
    ),
    "Consolidation": (
        "{how} consolidation in the {where}.",
        "there is consolidation of the {where}, {how}.",
        "the {where} is consolidated, {how}; this is a lobar consolidation.",
    ),
    "Pneumonia": (
        "{how} airspace disease in the {where}, consistent with pneumonia.",
        "{how} infiltrate in the {where} compatible with pneumonia.",
        "findings in the {where} represent pneumonia, {how} in distribution.",
    ),
    "Atelectasis": (
        "{how} atelectasis at the {where}.",
        "there is {how} atelectasis, {where}.",
        "{how} atelectatic change involving the {where}.",
    ),
    "Pneumothorax": (
        "there is a {how} {side} pneumothorax.",
        "{how} pneumothorax in the {where}.",
        "{how} {side} pneumothorax with a visible visceral pleural line.",
    ),
    "Pleural Effusion": (
        "{how} {side} pleural effusion.",
        "there is a {how} {side} pleural effusion.",
        "blunting of the {where}, in keeping with a {how} pleural effusion.",
        "{how} pleural effusion on the {side}.",
    ),
    "Pleural Other": (
        "{how} {kind} along the {where}.",
        "there is {how} {kind}, {where}.",
    ),
    "Fracture": (
        "{how} fracture of the {where}.",
        "there is a {how} fracture involving the {where}.",
    ),
    "Support Devices": (
        "{kind} in place, {how}.",
        "{kind} noted, {how}.",
        "{kind} projecting over the {where}, {how}.",
    ),
}
_KIND_WORDS = {
    "pleural thickening": "pleural thickening",
    "apical cap": "apical pleural thickening",
    "pleural plaque": "pleural plaque",
}
PARENT = (  # Lung Opacity, when its children are described by name
    "parenchymal opacities are present in the {where}.",
    "there are opacities involving the {where}.",
    "abnormal opacity of the {where}.",
)
NEGATABLE = {
    "Consolidation": "focal consolidation",
    "Pleural Effusion": "pleural effusion",
    "Pneumothorax": "pneumothorax",
    "Edema": "pulmonary edema",
}
NORMAL: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (  # (absent findings it speaks of, wordings)
    (
        ("Cardiomegaly", "Enlarged Cardiomediastinum"),
        (
            "The cardiomediastinal silhouette is within normal limits.",
            "Cardiomediastinal contours are normal.",
            "Heart size is normal. Mediastinal contours are unremarkable.",
        ),
    ),
    (("Cardiomegaly",), ("Heart size is normal.", "The heart is not enlarged.")),
    (("Enlarged Cardiomediastinum",), ("Mediastinal contours are unremarkable.", "The mediastinum is not widened.")),
    (
        ("Lung Opacity", *OPACITY_CHILDREN),
        ("The lungs are clear.", "Both lungs are clear.", "Lungs are well expanded and clear."),
    ),
    (
        ("Fracture",),
        ("Osseous structures are intact.", "No acute osseous abnormality.", "No displaced fracture is seen."),
    ),
)
_IMPRESSION_NORMAL = (
    "No acute cardiopulmonary process.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "No evidence of acute disease.",
)
_INDICATION = ("dyspnea", "chest pain", "cough", "fever", "hypoxia", "weakness", "preoperative evaluation", "fall")


@dataclass(frozen=True)
class Report:
    """text: EXAMINATION, INDICATION, COMPARISON, FINDINGS, IMPRESSION; triples: what the text states, in its order."""

    text: str
    triples: tuple[dict, ...]


def write_report(
    regions: Mapping[str, Sequence[Region]], thorax: Thorax, view: str, rng: np.random.Generator, repeat: bool = False
) -> Report:
    """Words for the regions of each present finding. ``repeat``: the patient has an earlier study."""
    present = {name: list(found) for name, found in regions.items() if found}
    sentences: list[str] = []
    triples: list[dict] = []
    children = any(name in present for name in OPACITY_CHILDREN)
    order = list(present)
    rng.shuffle(order)
    if "Support Devices" in order:  # devices are dictated first
        order.sort(key=lambda name: name != "Support Devices")
    for name in order:
        for group in _group(present[name]):
            templates = PARENT if name == "Lung Opacity" and children else POSITIVE[name]
            sentences.append(_sentence(pick(rng, templates), group, name))
        triples += [_triple(name, r.location, r.modifiers, "positive") for r in present[name]]
    for sentence, absent in _absent(set(present), rng):
        at = len(sentences) if rng.random() < 0.7 else int(rng.integers(len(sentences) + 1))
        sentences.insert(at, sentence)
        triples += [_triple(name, "", (), "negative") for name in absent]
    impression = _impression(present, children, rng)
    text = _layout(thorax, view, " ".join(sentences), impression, rng, repeat)
    return Report(text, tuple(triples))


def _triple(name: str, location: str, modifiers: Sequence[str], polarity: str) -> dict:
    return {"finding": name, "location": location, "modifiers": list(modifiers), "polarity": polarity}


def _group(regions: list[Region]) -> list[list[Region]]:
    """A right and a left region of equal words are told in one sentence."""
    groups: list[list[Region]] = []
    for region in regions:
        for group in groups:
            first = group[0]
            same = (first.kind, first.modifiers) == (region.kind, region.modifiers)
            if same and {first.side, region.side} == {"right", "left"} and len(group) == 1:
                group.append(region)
                break
        else:
            groups.append([region])
    return groups


def _sentence(template: str, group: list[Region], name: str) -> str:
    first = group[0]
    side, where = first.side, first.location
    if len(group) == 2:
        side = "bilateral"
        ends = [r.location.removeprefix(r.side + " ") for r in group]
        where = (
            f"bilateral {_plural(ends[0])}" if ends[0] == ends[1] else f"{group[0].location} and {group[1].location}"
        )
    if name == "Pleural Effusion" and len(group) == 2:
        template = (
            template.replace("a {how}", "{how}").replace("effusion", "effusions").replace("there is", "there are")
        )
        template = template.replace("on the {side}", "on both sides")
    how = ", ".join(first.modifiers) if first.modifiers else ""
    text = template.format(where=where, how=how, side=side, kind=_KIND_WORDS.get(first.kind, first.kind))
    text = " ".join(text.split()).replace(" ,", ",").replace(", .", ".").replace(",.", ".")
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return text[0].upper() + text[1:]


def _plural(words: str) -> str:
    return words + ("s" if not words.endswith("s") else "es")


def _absent(present: set[str], rng: np.random.Generator) -> list[tuple[str, tuple[str, ...]]]:
    """(sentence, findings it denies) of normal statements and negations that the present findings allow."""
    out: list[tuple[str, tuple[str, ...]]] = []
    told: set[str] = set()
    for names, wordings in NORMAL:
        if not present & set(names) and not told & set(names) and rng.random() < 0.75:
            out.append((pick(rng, wordings), names[:2] if "Lung Opacity" not in names else ("Lung Opacity",)))
            told |= set(names)
    denied = [name for name in NEGATABLE if name not in present and rng.random() < 0.75]
    if denied:
        words = [NEGATABLE[name] for name in denied]
        listed = (
            words[0] if len(words) == 1 else ", ".join(words[:-1]) + (", or " if len(words) > 2 else " or ") + words[-1]
        )
        opening = pick(rng, ("No ", "There is no ", "No evidence of "))
        out.append((f"{opening}{listed}.", tuple(denied)))
    return out


def _impression(present: dict[str, list[Region]], children: bool, rng: np.random.Generator) -> str:
    main = [name for name in present if name != "Support Devices" and not (name == "Lung Opacity" and children)]
    if not main:
        return pick(rng, _IMPRESSION_NORMAL)
    lines = [_sentence(pick(rng, POSITIVE[name]), _group(present[name])[0], name) for name in main]
    return lines[0] if len(lines) == 1 else " ".join(f"{i}. {line}" for i, line in enumerate(lines, 1))


def _layout(thorax: Thorax, view: str, findings: str, impression: str, rng: np.random.Generator, repeat: bool) -> str:
    exam = "CHEST (PA)" if view == "PA" else pick(rng, ("CHEST (PORTABLE AP)", "CHEST (AP)"))
    person = "man" if thorax.male else "woman"
    sections = (
        ("EXAMINATION", exam),
        ("INDICATION", f"___ year old {person} with {pick(rng, _INDICATION)}."),
        ("COMPARISON", pick(rng, ("Chest radiograph from ___.", "Radiograph dated ___.")) if repeat else "None."),
        ("FINDINGS", findings),
        ("IMPRESSION", impression),
    )
    return "\n\n".join(textwrap.fill(f"{title}: {body}", 80) for title, body in sections)
