"""What Chest ImaGenome states of an image, as triples and labels (Wu et al., NeurIPS Datasets 2021).

Its scene graphs, its study-level RDF and its tables all become :class:`Phrase` objects: a sentence, a region it speaks
of, and ``category|relation|label`` attributes. :func:`words_of` turns the phrases of an image into :class:`Words` by
these rules.

- A finding is the observation its label belongs to (``mappings/imagenome.csv``); other findings are counted, and kept
  only with ``others``. ``yes`` is positive and ``no`` is negative; the authors decided on hedged findings.
- Sentences of the history (why the image was asked for) say nothing of the image and are left out. What the preliminary
  reading says of a finding counts only where the final report does not speak of it.
- yes and no of one finding: yes wins within a region and for the image's label. A denial of a region that contains an
  affirmed one is left out.
- Nested regions: an affirmed finding is told for the smallest regions, a denied one for the largest; right and left
  become one place. ``unknown`` is no place.
- Severity, texture and time belong to a finding only if its sentence affirms no other; the last severity counts.
  Comparisons with earlier images are left out: they cannot be seen in this one.
- No Finding is 1 where something is called normal and nothing abnormal is affirmed, 0 where something is, else null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from wsrpn_vl.data import mapping
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.graph_phrases import HISTORY, PRELIMINARY, Phrase
from wsrpn_vl.text.regions import UNKNOWN, contains, largest, paired, smallest
from wsrpn_vl.text.triples import Triple

DATASET = "imagenome"
DEVICES = ("tubesandlines", "device")
FINDINGS = ("anatomicalfinding", "disease")
_CUES = ("severity", "texture", "temporal")
_PARENT = ("Lung Opacity",)  # the data set states it beside its kinds (consolidation, atelectasis, edema, lesion)
_NO_MODIFIER = ("hedge", "opacity", "lucency")  # says nothing of the finding, or names it again
_SAID = {  # label -> what it says beyond the observation's name
    "linear/patchy atelectasis": "linear or patchy",
    "lobar/segmental collapse": "lobar or segmental collapse",
    "multiple masses/nodules": "multiple masses or nodules",
    "mass/nodule (not otherwise specified)": "mass or nodule",
    "lung cancer": "lung cancer",
    "superior mediastinal mass/enlargement": "superior mediastinal mass or enlargement",
    "airspace opacity": "airspace opacity",
    "infiltration": "infiltration",
    "vascular congestion": "vascular congestion",
    "fluid overload/heart failure": "fluid overload or heart failure",
    "aspiration": "aspiration",
    "hydropneumothorax": "hydropneumothorax",
    "costophrenic angle blunting": "blunting of the angle",
    "pleural/parenchymal scarring": "scarring",
    "rib fracture": "rib",
    "clavicle fracture": "clavicle",
    "spinal fracture": "spine",
}
_SPELT = {
    "picc": "PICC",
    "ij line": "IJ line",
    "swan-ganz catheter": "Swan-Ganz catheter",
    "cabg grafts": "CABG grafts",
}


@dataclass(frozen=True)
class Words:
    """What an image's phrases state.

    labels: observation -> 1 or 0, those not mentioned are absent; affirmed: observation -> regions where it is
    affirmed, nested ones too, devices apart; hidden: something abnormal is affirmed, but no triple says so;
    left_out: attributes by the reason they were left out.
    """

    triples: tuple[Triple, ...]
    labels: dict[str, int]
    no_finding: int | None
    affirmed: dict[str, tuple[str, ...]]
    hidden: bool
    left_out: Counter[str] = field(default_factory=Counter)


class Vocabulary:
    """Label of an attribute -> findings it states.

    approximate: also labels that only nearly belong to an observation; others: a label that belongs to none is a
    finding by its own name; unknown: ``error`` or ``count`` labels the data set should not have.
    """

    def __init__(self, *, approximate: bool = False, others: bool = False, unknown: str = "error") -> None:
        lookup("choice of unknown:", unknown, {"error": 0, "count": 0}, DataError)
        self.approximate, self.others, self.unknown = approximate, others, unknown
        self._known: dict[str, tuple[str, ...] | None] = {}

    def findings(self, label: str, place: str) -> tuple[str, ...] | None:
        """Findings of a label, empty for those of no observation; None if it is unknown and only counted.

        place: file for the message. Raises: DataError for an unknown label.
        """
        if label not in self._known:
            try:
                found = mapping.classes_of(DATASET, label, place, approximate=self.approximate)
            except DataError as error:
                if self.unknown == "error":
                    raise DataError(f"{error} Pass unknown=count to leave such attributes out") from None
                self._known[label] = None
            else:
                self._known[label] = found or ((label,) if self.others else ())
        return self._known[label]


class _Said(NamedTuple):
    finding: str
    device: str
    region: str
    there: bool
    severity: str
    others: tuple[str, ...]
    section: str


def words_of(phrases: Sequence[Phrase], vocabulary: Vocabulary, place: str) -> Words:
    """Triples and labels of one image by the rules at the head of this file; place: file for messages.

    Raises: DataError for a label that the vocabulary does not know.
    """
    left_out: Counter[str] = Counter()
    told = [phrase for phrase in phrases if phrase.section != HISTORY]
    left_out["history"] = sum(_states(p) for p in phrases if p.section == HISTORY)
    said = _statements(told, vocabulary, place, left_out)
    final = {s.finding for s in said if s.section != PRELIMINARY}
    kept = [s for s in said if s.section != PRELIMINARY or s.finding not in final]
    left_out["preliminary"] = len(said) - len(kept)
    labels = {s.finding: 0 for s in kept} | {s.finding: 1 for s in kept if s.there}
    affirmed: dict[str, dict[str, None]] = {}
    for s in kept:
        if s.there and not s.device:
            affirmed.setdefault(s.finding, {})[s.region] = None
    triples: list[Triple] = []
    for _, group in groupby(sorted(kept, key=_order), key=lambda s: (s.finding, s.device)):
        triples += _merged(list(group), left_out)
    abnormal, normal = _verdict([p for p in told if p.section != PRELIMINARY] or told)
    abnormal = abnormal or bool(affirmed)
    return Words(
        triples=tuple(triples),
        labels={name: labels[name] for name in OBSERVATIONS if name in labels},
        no_finding=0 if abnormal else 1 if normal else None,
        affirmed={name: tuple(r for r in regions if r) for name, regions in affirmed.items()},
        hidden=abnormal and not any(t.polarity == "positive" for t in triples),
        left_out=left_out,
    )


def _states(phrase: Phrase) -> int:
    return sum(category in (*FINDINGS, *DEVICES) for category, _, _ in phrase.attributes)


def _statements(phrases: Sequence[Phrase], vocabulary: Vocabulary, place: str, left_out: Counter[str]) -> list[_Said]:
    """Attributes of a finding or device, each with its own modifiers."""
    stated: list[tuple[Phrase, str, str, bool, str, bool]] = []
    affirmed: dict[str, set[tuple[str, ...]]] = {}  # sentence -> findings of each label it affirms
    for number, phrase in enumerate(phrases):
        sentence = phrase.number or f"#{number}"
        for category, there, label in phrase.attributes:
            if category not in FINDINGS and category not in DEVICES:
                continue
            findings = vocabulary.findings(label, place)
            if not findings:
                left_out["unknown" if findings is None else "beyond"] += 1
            if there and category in FINDINGS:
                affirmed.setdefault(sentence, set()).add(findings or (label,))
            stated += [(phrase, sentence, label, there, f, category in DEVICES) for f in findings or ()]
    out: list[_Said] = []
    for phrase, sentence, label, there, finding, device in stated:
        region = "" if phrase.region == UNKNOWN else phrase.region
        severity, others = "", ()
        if there and not device:
            if len(affirmed[sentence] - {_PARENT}) <= 1:
                severity, others = _modifiers(phrase)
            others = (*others, _SAID[label]) if label in _SAID else others
        out.append(_Said(finding, _spelt(label) if device else "", region, there, severity, others, phrase.section))
    return out


def _spelt(device: str) -> str:
    return _SPELT.get(device, device.replace("/", " or "))


def _modifiers(phrase: Phrase) -> tuple[str, tuple[str, ...]]:
    """(severity, texture and time) that a phrase's cues state; several severities are none."""
    cues = [(c, label) for c, there, label in phrase.attributes if there and c in _CUES and label not in _NO_MODIFIER]
    severities = {label for category, label in cues if category == "severity"}
    others = tuple(label for wanted in _CUES[1:] for category, label in cues if category == wanted)
    return severities.pop() if len(severities) == 1 else "", others


def _order(said: _Said) -> tuple[int, str, str]:
    known = OBSERVATIONS.index(said.finding) if said.finding in OBSERVATIONS else len(OBSERVATIONS)
    return known, said.finding, said.device


def _merged(said: list[_Said], left_out: Counter[str]) -> list[Triple]:
    """Triples of one finding (or one device): affirmed regions with like modifiers together, then the denied ones."""
    finding = said[0].finding
    severity: dict[str, str] = {}
    others: dict[str, dict[str, None]] = {}
    denied: dict[str, dict[str, None]] = {}
    for s in said:
        if s.there:
            severity[s.region] = s.severity or severity.get(s.region, "")
        (others if s.there else denied).setdefault(s.region, {}).update(dict.fromkeys(s.others))
    device = tuple(filter(None, (said[0].device,)))
    alike: dict[tuple[str, ...], list[str]] = {}
    for region in smallest(r for r in others if r or len(others) == 1):
        modifiers = (*filter(None, (severity[region],)), *others[region], *device)
        alike.setdefault(modifiers, []).append(region)
    positive = [(place, words) for words, regions in alike.items() for place in paired(regions)]
    apart = [r for r in denied if r not in others and not any(contains(r, a) for a in others) and (r or not others)]
    left_out["contradicted"] += len(denied) - len(apart)
    negative = paired(largest(r for r in apart if r or len(apart) == 1))
    return [
        *(Triple(finding, place, words) for place, words in sorted(positive)),
        *(Triple(finding, place, device, "negative") for place in sorted(negative)),
    ]


def _verdict(phrases: Sequence[Phrase]) -> tuple[bool, bool]:
    """(something abnormal is affirmed, something is called normal). Devices are not abnormal."""
    abnormal = normal = False
    for phrase in phrases:
        device = False
        called = False
        for category, there, label in phrase.attributes:
            abnormal = abnormal or (there and category in FINDINGS)
            device = device or (there and category in DEVICES)
            normal = normal or (there and category == "nlp" and label == "normal")
            called = called or (there and category == "nlp" and label == "abnormal")
        abnormal = abnormal or (called and not device)
    return abnormal, normal
