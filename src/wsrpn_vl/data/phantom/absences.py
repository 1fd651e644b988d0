"""What a report says of absent findings: normal statements, negations, doubts; none contradicts what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wsrpn_vl.data.phantom import frames
from wsrpn_vl.data.phantom.report_form import one
from wsrpn_vl.data.phantom.report_groups import finish, listed
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.text.triples import Triple

_DENIAL_SHARE = {
    "Consolidation": 0.55,
    "Pleural Effusion": 0.75,
    "Pneumothorax": 0.75,
    "Edema": 0.35,
    "Pneumonia": 0.15,
    "Lung Lesion": 0.08,
    "Atelectasis": 0.05,
    "Fracture": 0.05,
}
_RESOLVING = ("Pleural Effusion", "Pneumothorax", "Consolidation", "Edema", "Pneumonia")
_NORMAL_SHARE = {"Support Devices": 0.12, "Pleural Effusion": 0.15}
_IN_THE_WAY = ("Pneumothorax", "Pleural Effusion", "Atelectasis")  # of a lung's expansion
_CLOUDED = ("Lung Opacity", "Edema", "Consolidation", "Atelectasis")  # what a pneumonia may hide in
_FOLLOWS = {"Consolidation": ("Pneumonia",)}  # not to be denied while its sign is left open
_SHIFTING = {"under tension", "with volume loss"}


@dataclass
class Words:
    """The chance, what limits the words (repeat visit, states of :data:`frames.UNFIT`), and statements of no region."""

    rng: np.random.Generator
    repeat: bool
    states: frozenset[str] = frozenset()
    triples: list[Triple] = field(default_factory=list)

    def state(self, finding: str, polarity: str) -> None:
        """Note a statement on an absent finding."""
        self.triples.append(Triple(finding, polarity=polarity))

    def fitting(self, options: Sequence[str]) -> list[str]:
        """Those that do not contradict the state of the study."""
        barred = [words for state in self.states for words in frames.UNFIT[state]]
        return [text for text in options if not any(words.lower() in text.lower() for words in barred)]


def states_of(present: Mapping[str, Sequence[Region]], *, supine: bool) -> frozenset[str]:
    """The states of :data:`frames.UNFIT` that hold."""
    shifted = any(_SHIFTING & set(region.modifiers) for found in present.values() for region in found)
    holds = {
        "devices": "Support Devices" in present,
        "lung displaced": any(name in present for name in _IN_THE_WAY),
        "mediastinum shifted": shifted,
        "supine": supine,
        "lungs bare": not any(name in present for name in _CLOUDED),
    }
    return frozenset(state for state, true in holds.items() if true)


def doubts(present: Mapping[str, Sequence[Region]], words: Words, share: float) -> tuple[list[str], set[str]]:
    """(sentence, findings it forbids to deny): with chance ``share`` an absent finding is left open."""
    rng = words.rng
    options = [name for name in frames.DOUBTED if name not in present]
    if not options or rng.random() >= share:
        return [], set()
    name = one(rng, options)
    words.state(name, "uncertain")
    noun = one(rng, words.fitting(frames.DOUBTED[name]))
    return [finish(one(rng, frames.DOUBT_FRAMES).format(x=noun))], {name, *_FOLLOWS.get(name, ())}


def denials(absent: Sequence[str], words: Words, *, other: bool, needed: bool) -> list[str]:
    """Normal statements, negations and, at a repeat visit, what has gone.

    other: something is wrong about the lungs, which are clear only otherwise; needed: at least one is to be made.
    """
    rng, out, told = words.rng, [], set()
    for names, denies, wordings in frames.NORMAL:
        free = all(name in absent and name not in told for name in names) and (fitting := words.fitting(wordings))
        if free and (rng.random() < _NORMAL_SHARE.get(names[0], 0.6) or (needed and "Lung Opacity" in names)):
            out.append(finish(one(rng, fitting).format(other="otherwise " if other else "")))
            told |= set(denies)
            for name in denies:
                words.state(name, "negative")
    if words.repeat and (gone := [n for n in _RESOLVING if n in absent and n not in told]) and rng.random() < 0.1:
        name = one(rng, gone)
        out.append(finish(one(rng, frames.RESOLVED).format(x=frames.DENIED[name][0])))
        told.add(name)
        words.state(name, "negative")
    denied = [n for n, share in _DENIAL_SHARE.items() if n in absent and n not in told and rng.random() < share]
    rng.shuffle(denied)
    cut = 1 if len(denied) > 1 and rng.random() < 0.3 else len(denied)
    for part in filter(None, (denied[:cut], denied[cut:])):
        out.append(_denial(part, rng))
        for name in part:
            words.state(name, "negative")
    return out


def _denial(names: Sequence[str], rng: np.random.Generator) -> str:
    nouns = [one(rng, frames.DENIED[name]) for name in names]
    options = frames.DENIAL_FRAMES if len(nouns) == 2 else frames.DENIAL_FRAMES[:-1]
    return finish(one(rng, options).format(list=listed(nouns, "or"), nor=listed(nouns, "nor")))


def fillers(words: Words, share: float) -> list[str]:
    """With chance ``share`` a sentence that says nothing of the observations."""
    return [one(words.rng, words.fitting(frames.FILLER))] if words.rng.random() < share else []


def normal(words: Words) -> str:
    """An impression without disease."""
    return one(words.rng, words.fitting(frames.IMPRESSION_NORMAL))
