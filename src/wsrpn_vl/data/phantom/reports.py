"""The radiologist's words: a report in MIMIC-CXR's look, and the triples it states.

A triple is ``{finding, location, modifiers, polarity}``: what, where, how, and whether it is said to be there
(positive), not there (negative) or possible (uncertain). Its location and modifiers are words of the text. Of the
absent findings some are negated, some covered by a normal statement, some left open, some not spoken of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsrpn_vl.data.phantom import absences, frames
from wsrpn_vl.data.phantom.absences import Words
from wsrpn_vl.data.phantom.phrases import CLAUSES, DEVICE_CLAUSES, NOUNS, PARENT, PARENT_CLAUSES
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN
from wsrpn_vl.data.phantom.report_form import Person, lay_out, one, plain_form
from wsrpn_vl.data.phantom.report_groups import Group, Pair, finish, groups_of
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS, phrase
from wsrpn_vl.text.triples import Triple

Regions = Mapping[str, Sequence[Region]]
UNMENTIONED, HEDGED, IMPLIED = 0.03, 0.06, 0.35
_MINOR = ("Lung Opacity", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pleural Effusion")  # may be mild
_IMPORTANCE = (
    "Pneumothorax",
    "Lung Lesion",
    "Pneumonia",
    "Consolidation",
    "Edema",
    "Pleural Effusion",
    "Atelectasis",
    "Lung Opacity",
    "Fracture",
    "Cardiomegaly",
    "Enlarged Cardiomediastinum",
    "Pleural Other",
)
_URGENT = {"Pneumothorax", "Lung Lesion"}
_CLAUSE = (",", " with ", " from ", "compatible", "consistent", " in place", " in situ")  # no verb may follow these
_LUNGS = ("Pneumothorax", "Pleural Effusion", "Pleural Other")  # with these they are clear only otherwise


@dataclass(frozen=True)
class Report:
    """text: the report with its sections; triples: what it states, each once, present findings first."""

    text: str
    triples: tuple[dict, ...]


def write_report(
    regions: Regions,
    patient: Person,
    view: str,
    rng: np.random.Generator,
    *,
    repeat: bool = False,
    kind: str = "own",
    unmentioned: float = UNMENTIONED,
    hedged: float = HEDGED,
) -> Report:
    """Words for the regions of each present finding.

    repeat: the patient has an earlier study; kind: ``own`` words, ``vague`` ones that name no finding (no triples), or
    the ``template``: one stock text per set of (finding, side), whatever the patient and the chance.
    unmentioned: chance that a mild finding beside others is not spoken of; hedged: that one is called only possible,
    and that an absent one is left open.
    Raises: DataError for an unknown kind.
    """
    present = {name: tuple(found) for name, found in regions.items() if found}
    writers = {
        "own": lambda: _own(present, patient, view, rng, repeat, unmentioned, hedged),
        "vague": lambda: _vague(patient, view, rng, repeat),
        "template": lambda: _template(present),
    }
    return lookup("report kind", kind, writers, DataError)()


def _own(
    present: Regions,
    patient: Person,
    view: str,
    rng: np.random.Generator,
    repeat: bool,
    unmentioned: float,
    hedged: float,
) -> Report:
    words = Words(rng, repeat, absences.states_of(present, supine=patient.supine))
    groups = _told_groups(present, rng, unmentioned, hedged)
    body = [_sentence(group, words) for group in groups]
    doubts, quiet = absences.doubts(present, words, hedged)
    absent = [name for name in OBSERVATIONS if name not in present and name not in quiet]
    ill = any(group.finding != "Support Devices" for group in groups)
    denials = absences.denials(absent, words, other=any(name in present for name in _LUNGS), needed=not ill)
    form = rng.random()
    if form < 0.29:
        rest = " ".join((*denials, *absences.fillers(words, 0.15)))
        lines = [*body, *doubts, rest] if body or doubts else [absences.normal(words), rest]
        findings, impression = [], [line for line in lines if line]
    else:
        findings = _woven([*body, *doubts], [*denials, *absences.fillers(words, 0.35)], rng)
        impression = [] if form < 0.45 else _impression(groups, doubts, words)
    urgent = any(group.finding in _URGENT for group in groups)
    text = lay_out(findings, impression, patient, view, rng, repeat=repeat, urgent=urgent)
    said = [triple for group in groups for triple in group.triples()] + words.triples
    return Report(text, tuple(triple.as_dict() for triple in dict.fromkeys(said)))


def _vague(patient: Person, view: str, rng: np.random.Generator, repeat: bool) -> Report:
    form = rng.random()
    findings = [one(rng, frames.VAGUE_FINDINGS)] if form < 0.7 else []
    impression = [one(rng, frames.VAGUE_IMPRESSION)] if form > 0.2 else []
    return Report(lay_out(findings, impression, patient, view, rng, repeat=repeat), ())


def _template(present: Regions) -> Report:
    sentences, triples = [], []
    for name in (name for name in OBSERVATIONS if name in present):
        sides = {region.side for region in present[name]} - {""}
        side = "bilateral" if len(sides) > 1 else next(iter(sides), "")
        place = {"": "", "bilateral": "bilaterally"}.get(side, f"on the {side}")
        sentences.append(finish(frames.STOCK[name].format(place=place)))
        triples.append(Triple(name, side))
    if not set(present) - {"Support Devices"}:
        sentences.append(frames.STOCK_NORMAL)
        triples += [Triple(name, polarity="negative") for name in frames.STOCK_DENIED]
        impression = frames.IMPRESSION_NORMAL[0]
    else:
        impression = "Findings as above."
    return Report(plain_form(" ".join(sentences), impression), tuple(triple.as_dict() for triple in triples))


def _told_groups(present: Regions, rng: np.random.Generator, unmentioned: float, hedged: float) -> list[Group]:
    """What is spoken of, devices first. The one finding that remains is always told, and told as certain."""
    has_child = any(name in present for name in OPACITY_CHILDREN)
    real = [n for n in present if n != "Support Devices" and not (n == "Lung Opacity" and has_child)]
    told, certain = list(present), len(real)
    airspace = any(name in present for name in OPACITY_CHILDREN if name != "Lung Lesion")
    if (rng.random() < IMPLIED or not airspace) and has_child:  # a nodule is not called an opacity besides
        told = [name for name in told if name != "Lung Opacity"]
    possible = set()
    for name in real:
        mild = name in _MINOR and all(r.severity in ("", "mild") for r in present[name])
        if mild and certain > 1 and rng.random() < unmentioned:
            told.remove(name)
            certain -= 1
        elif mild and certain > 1 and rng.random() < hedged:
            possible.add(name)
            certain -= 1
    rng.shuffle(told)
    told.sort(key=lambda name: name != "Support Devices")
    groups = []
    for name in told:
        found = groups_of(name, present[name], rng, parent=has_child and name == "Lung Opacity")
        for group in found:
            group.hedged = name in possible
        groups += found
    return groups


def _noun_phrase(group: Group, rng: np.random.Generator, *, simple: bool = False) -> tuple[str, bool]:
    """(phrase with article, whether plural); ``simple``: without a clause that would assert the finding."""
    if isinstance(group, Pair):
        return group.phrase(), True
    options = [t for t in (PARENT if group.parent else NOUNS[group.finding]) if group.fits(t)]
    if simple:
        options = [t.replace("{tail}", "") for t in options if not any(word in t for word in _CLAUSE)]
    return group.fill(one(rng, options or [f"{{adj}} {phrase(group.finding)}"]), rng)


def _clauses(group: Group) -> list[str]:
    """Whole sentences that fit; a device's own count twice."""
    options = PARENT_CLAUSES if group.parent else CLAUSES[group.finding]
    if group.finding == "Support Devices":
        options += next((own for key, own in DEVICE_CLAUSES.items() if key in group.kind), ()) * 2
    return [template for template in options if group.fits(template)]


def _sentence(group: Group, words: Words, *, bare: bool = False) -> str:
    """One sentence on a group; ``bare``: in the telegraphic style of an impression."""
    rng = words.rng
    if group.hedged:
        text, plural = _noun_phrase(group, rng, simple=True)
        frame = one(rng, frames.HEDGE_FRAMES)
    elif not bare and rng.random() < 0.45 and (clauses := _clauses(group)):
        text, plural = group.fill(one(rng, clauses), rng)
        frame = "{np}"
    else:
        text, plural = _noun_phrase(group, rng)
        frame = "{bare}." if bare else one(rng, _frames(group, text, words))
    stripped = text.strip().removeprefix("a ")
    text = frame.format(np=text, bare=stripped, **{"is": "are" if plural else "is", "has": "have" if plural else "has"})
    text = " ".join(text.split())
    group.note(text)
    return finish(text)


def _frames(group: Group, text: str, words: Words) -> Sequence[str]:
    clause = any(word in text for word in _CLAUSE)
    if words.repeat and not clause and not group.parent and words.rng.random() < 0.5:
        if group.finding == "Support Devices":
            return frames.DEVICE_REPEAT_FRAMES
        changing = group.finding in frames.CHANGING and words.rng.random() < 0.5
        return frames.CHANGE_FRAMES if changing else frames.REPEAT_FRAMES
    return frames.PLAIN_FRAMES if clause or words.rng.random() < 0.4 else frames.FRAMES


def _woven(body: list[str], rest: list[str], rng: np.random.Generator) -> list[str]:
    """Denials mostly last, some between the findings."""
    out = list(body)
    for sentence in rest:
        out.insert(len(out) if rng.random() < 0.75 else int(rng.random() * (len(out) + 1)), sentence)
    return out


def _impression(groups: Sequence[Group], doubts: Sequence[str], words: Words) -> list[str]:
    main = [group for group in groups if group.finding != "Support Devices" and not group.parent]
    if not main:
        devices = [_sentence(group, words, bare=True) for group in groups if group.finding == "Support Devices"]
        if doubts:
            return [*doubts, "No other acute cardiopulmonary abnormality.", *devices]
        return [absences.normal(words), *devices]
    main.sort(key=lambda group: _IMPORTANCE.index(group.finding))
    return [_sentence(group, words, bare=True) for group in main[: 1 + int(words.rng.random() * 4)]] + list(doubts[:1])
