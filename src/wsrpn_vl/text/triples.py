"""Triples: what a report states, as finding > location > modifiers with a polarity, and the captions made from them.

The one home of the form: the index keeps a JSON list of ``{finding, location, modifiers, polarity}`` per image.
Captions at three levels of detail are the hierarchy of §9.1.3; empty levels of a triple are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS, phrase

POLARITIES = ("positive", "negative", "uncertain")
NORMAL = "No acute cardiopulmonary abnormality."
LEVELS = ("finding", "location", "modifiers")


_PREPOSITIONS = {  # before a place that ends in one of these words; "in" before every other
    "at": ("base", "apex", "apices", "angle", "junction", "sternum"),
    "along": ("wall", "fissure", "hemidiaphragm"),
    "of": ("rib", "clavicle", "mediastinum"),
}
_ADJECTIVE_OF = {"base": "basilar", "bases": "basilar"}  # of a place's last word
_OWN_PLACE = {  # places that say no more than the finding
    "Cardiomegaly": ("heart", "cardiac silhouette"),
    "Enlarged Cardiomediastinum": ("mediastinum", "cardiomediastinal silhouette", "cardiomediastinal contour"),
}
_COUNTED = (  # in the singular when they stood before a noun
    *("lobe", "zone", "rib", "clavicle", "hemithorax"),
    *("angle", "hemidiaphragm", "wall", "shoulder", "arm", "breast"),
)


@dataclass(frozen=True)
class Triple:
    """One statement. finding: class name; location: where, "" if not said; modifiers: how, in the text's words.

    Raises: DataError for an empty finding, a polarity that is none of :data:`POLARITIES`, or a field of another type.
    """

    finding: str
    location: str = ""
    modifiers: tuple[str, ...] = ()
    polarity: str = "positive"

    def __post_init__(self) -> None:
        if not isinstance(self.modifiers, str):
            object.__setattr__(self, "modifiers", tuple(self.modifiers))
        words = (self.finding, self.location, self.polarity, *self.modifiers)
        if isinstance(self.modifiers, str) or not all(isinstance(word, str) for word in words) or not self.finding:
            raise DataError(
                f"triple {self.finding!r}: finding and location are words, modifiers a list of words, finding not empty"
            )
        lookup("polarity", self.polarity, dict.fromkeys(POLARITIES), DataError)

    def as_dict(self) -> dict:
        """The JSON form."""
        return {name: getattr(self, name) for name in KEYS} | {"modifiers": list(self.modifiers)}

    @classmethod
    def from_dict(cls, form: dict) -> Triple:
        """The triple of a JSON object with exactly :data:`KEYS`. Raises: DataError."""
        modifiers = form.get("modifiers") if isinstance(form, dict) else None
        if not isinstance(form, dict) or set(form) != set(KEYS) or not isinstance(modifiers, (list, tuple)):
            raise DataError(f"triple {form!r}: not an object with exactly {', '.join(KEYS)} (modifiers: a list)")
        return cls(**form)


KEYS = tuple(field.name for field in fields(Triple))


def to_json(triples: Iterable[Triple]) -> str:
    """JSON list for the index's ``triples`` column."""
    return json.dumps([triple.as_dict() for triple in triples])


def from_json(text: str) -> tuple[Triple, ...]:
    """Triples of one cell of the index. Raises: DataError unless a JSON list of valid triples."""
    try:
        items = json.loads(text)
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise DataError(f"triples {text[:40]!r}: not a JSON list")
    return tuple(Triple.from_dict(item) for item in items)


def from_labels(labels: Mapping[str, int | None]) -> tuple[Triple, ...]:
    """What image labels amount to: 1 positive, 0 negative, -1 uncertain; what is not mentioned says nothing."""
    said = {1: "positive", 0: "negative", -1: "uncertain"}
    return tuple(Triple(name, polarity=said[value]) for name, value in labels.items() if value is not None)


def place(location: str) -> str:
    """``location`` with its preposition: "at the left base", "on the right", "in both lungs", "" for nowhere."""
    if location in ("", "right", "left", "bilateral"):
        return {"": "", "bilateral": "on both sides"}.get(location, f"on the {location}")
    if location in ("both lungs", "bilateral lungs", "bilateral lung"):
        return "in both lungs"
    if (location.startswith("bilateral ") or " and " in location) and location.endswith(_COUNTED):
        location = location.replace("hemithorax", "hemithoraces") if location.endswith("x") else f"{location}s"
    last = location.rsplit(" ", 1)[-1]
    before = next((word for word, ends in _PREPOSITIONS.items() if last.rstrip("s") in ends or last in ends), "in")
    return f"{before} the {location}"


def hierarchical_captions(triples: Iterable[Triple]) -> tuple[str, str, str]:
    """(finding level, finding + location level, finding + location + modifiers level) of one image.

    One sentence per finding in the order of :data:`OBSERVATIONS`, whatever the order of ``triples``; "possible" before
    a finding that is only uncertain; of a finding told twice in one place, the fuller statement; negative statements
    are left out, and a heart that is merely as it was; :data:`NORMAL` when nothing remains.
    """
    told = [triple for triple in triples if triple.polarity != "negative" and not is_comparison(triple)]
    certain = {triple.finding for triple in told if triple.polarity == "positive"}
    told = [triple for triple in told if triple.polarity == "positive" or triple.finding not in certain]
    names = sorted({triple.finding for triple in told}, key=_rank)
    levels: list[list[str]] = [[], [], []]
    for name in names:
        head = phrase(name) if name in certain else f"possible {phrase(name)}"
        own = _fullest(sorted((t for t in told if t.finding == name), key=lambda t: (t.location, t.modifiers)))
        where = _distinct(_where(t) for t in own)
        how = _distinct(", ".join(filter(None, (_where(t), *_beside(t)))) for t in own)
        levels[0].append(_sentence(head, ()))
        levels[1].append(_sentence(head, where))
        levels[2].append(_sentence(head, how))
    finding, location, modifiers = (" ".join(level) if level else NORMAL for level in levels)
    return finding, location, modifiers


def flat_caption(triples: Iterable[Triple]) -> str:
    """The most detailed of :func:`hierarchical_captions`."""
    return hierarchical_captions(triples)[-1]


def _rank(name: str) -> tuple[int, str]:
    return (OBSERVATIONS.index(name) if name in OBSERVATIONS else len(OBSERVATIONS), name)


def _where(triple: Triple) -> str:
    return "" if triple.location in _OWN_PLACE.get(triple.finding, ()) else place(triple.location)


def is_comparison(triple: Triple) -> bool:
    """Whether all it says is a comparison ("the cardiac silhouette is stable"), in doubt of how the thing is."""
    return triple.polarity == "uncertain" and triple.modifiers == ("stable",)


def _fullest(own: Sequence[Triple]) -> list[Triple]:
    """Statements on one finding without those that another one, of the same place or a named one, includes."""

    def included(one: Triple, other: Triple) -> bool:
        return one.location in ("", other.location) and set(_beside(one)) <= set(_beside(other))

    return [
        t
        for i, t in enumerate(own)
        if not any(included(t, o) and (not included(o, t) or k < i) for k, o in enumerate(own) if k != i)
    ]


def _beside(triple: Triple) -> list[str]:
    """Modifiers that neither the place nor the finding's name says already."""
    named = (triple.location, _ADJECTIVE_OF.get(triple.location.rpartition(" ")[2], ""))
    return [w for w in triple.modifiers if not any(w in place for place in named) and w != phrase(triple.finding)]


def _distinct(parts: Iterable[str]) -> list[str]:
    return [part for part in dict.fromkeys(parts) if part]


def _sentence(head: str, parts: Sequence[str]) -> str:
    """``head part; part.``; a part that names no place follows a comma."""
    placed = parts and parts[0].startswith(("in ", "at ", "on ", "along ", "of "))
    text = head + (("" if placed else ",") + " " + "; ".join(parts) if parts else "")
    return text[0].upper() + text[1:] + "."
