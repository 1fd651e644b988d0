"""Regions told in one breath: which go together, how they fill a phrase's slots, and what a sentence says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wsrpn_vl.data.phantom.frames import UNSUITED
from wsrpn_vl.data.phantom.phrases import KIND_IS_SAID, KINDS
from wsrpn_vl.data.phantom.report_form import one
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.labels import phrase
from wsrpn_vl.text.triples import Triple, place

_ADVERBS = {"mild": "mildly", "moderate": "moderately", "severe": "severely", "marked": "markedly"}
_PLURALS = {"apex": "apices", "hilum": "hila", "hemithorax": "hemithoraces"}
_ATTRIBUTIVE = ("lobe", "zone", "rib", "clavicle", "lung", "hemithorax")
_CENTRAL = {  # words for where a finding without a side is
    "Cardiomegaly": ("cardiac silhouette", "heart"),
    "Enlarged Cardiomediastinum": ("cardiomediastinal silhouette", "cardiomediastinal contour", "mediastinum"),
}
_SIZES = (*_ADVERBS, "small", "large", "trace")
_BOTH = "both lungs"
_PLACE_SLOTS = ("{where}", "{in}", "{at}", "{angle}")
_PHRASE = re.compile(r"\b(with|without|under|above|below|over|into|towards?|in|at|near|along)\b")
_LEAD = re.compile(r"^(?:\{in\}|within [^,]*), ")  # a place before the sentence's head
_SIDE_CLAUSE = re.compile(r",| from | with ")
_MEASURE = re.compile(r"\d")
_PLEURA = re.compile(r"\w+ pleural spaces?")  # on a side, and no closer
_ARTICLE = re.compile(r"\b(a) (?=[aeio]|u(?!ni)|8|11\b|NG\b)", re.IGNORECASE)


@dataclass
class Group:
    """Regions of one finding with equal words. places: where, as written; many: whether nouns are in the plural;
    parent: an opacity whose causes are named besides; hedged: told as a possibility.
    """

    finding: str
    regions: Sequence[Region]
    places: Sequence[str]
    many_places: bool = False
    attribute: str = ""
    parent: bool = False
    hedged: bool = False
    locations: list[str] = field(default_factory=list)
    modifiers: list[str] = field(default_factory=list)
    noun: str = ""
    _rank: int = 0

    def __post_init__(self) -> None:
        first = self.regions[0]
        sides = {r.side for r in self.regions}
        self.many = len(self.regions) > 1 or first.side == "bilateral"
        self.kind, self.side = first.kind, "bilateral" if sides >= {"right", "left"} else first.side
        whole = any(p == "bilateral lungs" for p in self.places)  # nothing is to be added to both lungs
        self.places = [_BOTH] if whole else self.places
        self.where = listed(self.places)
        self.how = () if self.parent else first.modifiers
        self.tails = [m for m in self.how if _PHRASE.search(m)]
        self.adjectives = sorted((m for m in self.how if m not in self.tails), key=lambda m: not _MEASURE.match(m))
        self.size = next((m for m in self.adjectives if m in _SIZES), "")
        known = KINDS.get(self.kind)
        self.nouns, self.countable = known or ((self.kind or phrase(self.finding),), not self.kind.endswith("ing"))
        self.plural_kind = self.kind.endswith("s") and not self.kind.endswith(("ss", "sis"))

    def fits(self, template: str) -> bool:
        """Whether every slot of ``template`` has a value here."""
        return not (
            ("{at}" in template and not self.attribute)
            or (not self.where and any(slot in template for slot in _PLACE_SLOTS))
            or ("{angle}" in template and "angle" not in self.where)
            or ("{side}" in template and not self.side)
            or ("{size}" in template and not self.size)
            or ("{type}" in template and "{size}" not in template and not self.adjectives)
            or any(words in template and how in self.how for words, how in UNSUITED)
            or any(slot in template and self._doubles(slot) for slot in _PLACE_SLOTS)
            or (("{one}" in template or "{on}" in template) and self.side not in ("right", "left"))
        )

    def _doubles(self, slot: str) -> bool:
        """Whether the place would be said again after the noun, or says no more than the noun."""
        vague = slot != "{at}" and self.finding == "Pleural Effusion" and _PLEURA.fullmatch(self.where)
        return bool(vague) or any(self.where in words for words in self.tails)

    def fill(self, template: str, rng: np.random.Generator) -> tuple[str, bool]:
        """(text, whether its head is plural) of a template without frame slots."""
        plural = template.startswith("+")
        template = template.removeprefix("+")
        noun_plural = self.plural_kind or (self.many and self.countable)
        head = _SIDE_CLAUSE.split(_LEAD.sub("", template), maxsplit=1)[0]
        noun = one(rng, self._nouns(template))
        plural |= noun_plural if "{noun}" in head else self.many and any(x in head for x in ("{s}", "{y}", "{x}"))
        text = template.format_map(
            {
                "a": "" if self.many else "a ",
                "an": "a " if self.countable and not noun_plural else "",
                "adj": self._adjectives(template),
                "size": self.size,
                "type": " ".join(m for m in self.adjectives if m != self.size),
                "adv": next((_ADVERBS[m] for m in self.adjectives if m in _ADVERBS), ""),
                "noun": plural_of(noun) if self.many and self.countable and not self.plural_kind else noun,
                "s": "s" if self.many else "",
                "y": "ies" if self.many else "y",
                "x": "ces" if self.many else "x",
                "where": self.where,
                "in": f"in the {self.where}" if len(self.places) > 1 else place(self.where),
                "at": self.attribute,
                "angle": self.where,
                "side": self.side,
                "one": self.side,
                "on": f"on the {self.side}",
                "ws": "" if self.many_places else "s",
                "wis": "are" if self.many_places else "is",
                "is": "are" if plural else "is",
                "vs": "" if plural else "s",
                "es": "" if plural else "es",
                "tail": self._tail(rng) if "{tail}" in template else "",
            }
        )
        if "{noun}" in template and not self.noun:
            self.noun = noun
        return text, plural

    def _nouns(self, template: str) -> Sequence[str]:
        """Those that do not say the place ("thickening at the apex") and that are words of their plural."""
        placed = any(slot in template for slot in _PLACE_SLOTS) and re.search(r"\bap(ex|ices)\b", self.where)
        odd = [n for n in self.nouns if (placed and "apical" in n) or (self.many and n.endswith("y"))]
        return [n for n in self.nouns if n not in odd] or self.nouns

    def _adjectives(self, template: str) -> str:
        """Those the place does not say already; a device's side where its place is not told."""
        placed = any(slot in template for slot in _PLACE_SLOTS)
        words = [m for m in self.adjectives if not (placed and m in self.where)]
        if (
            self.finding == "Support Devices"
            and self.side
            and not placed
            and not any(self.side in m for m in self.adjectives)
        ):
            words.insert(0, self.where if self.where.endswith("chest wall") else self.side)
        return " ".join(words)

    def _tail(self, rng: np.random.Generator) -> str:
        if not self.tails:
            return ""
        first = self.tails[0]
        if "wires" in self.kind:  # clips and valves are beside them, not part of them
            return f", {', '.join(self.tails)}"
        prepositional = first.startswith(("with", "in ", "at ", "along ", "over ", "under "))
        head = f" {first}" if prepositional else one(rng, (f", {first}", f" with {first}"))
        return ", ".join((head, *self.tails[1:]))

    def note(self, sentence: str) -> None:
        """Take over what ``sentence`` says: its modifiers, and its place unless a closer one was told."""
        self.modifiers += [m for m in self.how if m in sentence and m not in self.modifiers]
        rest = sentence
        for words in self.how:
            rest = rest.replace(words, "")
        at = [self.attribute] if self.attribute and self.attribute in sentence else []
        central = [words for words in _CENTRAL.get(self.finding, ()) if words in sentence][:1]
        side = [self.side] if self.side and re.search(rf"\b{self.side}\b", rest) else []
        options = ([p for p in self.places if p in sentence] or at, central, side)
        rank, found = next(((3 - i, found) for i, found in enumerate(options) if found), (0, []))
        if rank > self._rank:
            self._rank, self.locations = rank, found

    def triples(self) -> list[Triple]:
        """What has been said so far, one triple per place named."""
        polarity = "uncertain" if self.hedged else "positive"
        kind = (self.noun,) if self.noun and self.finding in KIND_IS_SAID else ()
        how = kind + tuple(m for m in self.how if m in self.modifiers)
        return [Triple(self.finding, where, how, polarity) for where in self.locations or ("",)]


class Pair(Group):
    """A right and a left region that differ in degree alone, told as "small right and moderate left effusions"."""

    def fits(self, template: str) -> bool:
        """Only its own phrase."""
        return False

    def phrase(self) -> str:
        """The noun phrase."""
        first, second = self.regions
        return f"{first.modifiers[0]} {first.side} and {second.modifiers[0]} {second.side} pleural effusions"

    def note(self, sentence: str) -> None:
        """Nothing to take over: the phrase says all there is."""

    def triples(self) -> list[Triple]:
        """One per side."""
        polarity = "uncertain" if self.hedged else "positive"
        return [Triple(self.finding, r.side, r.modifiers[:1], polarity) for r in self.regions]


def groups_of(
    finding: str, regions: Sequence[Region], rng: np.random.Generator, *, parent: bool = False
) -> list[Group]:
    """The regions of a finding, those that share a sentence together."""
    if parent:
        places = _merged([(r.side, r.location) for r in regions])
        many = len(places) > 1 or places[0].startswith("bilateral")
        return [Group(finding, regions, places, many_places=many, parent=True)]
    if finding == "Support Devices":
        return [Group(finding, [r], [r.location], many_places=r.location.endswith("s")) for r in regions]
    if finding == "Pleural Effusion" and _is_pair(regions) and rng.random() < 0.5:
        return [Pair(finding, regions, [r.location for r in regions])]
    alike: dict[tuple, list[Region]] = {}
    for region in regions:
        alike.setdefault((region.kind, region.modifiers), []).append(region)
    out = []
    for same in alike.values():
        by_side = {side: [r for r in same if r.side == side] for side in dict.fromkeys(r.side for r in same)}
        joined = {side: _joined([r.location for r in found]) for side, found in by_side.items()}
        if set(joined) == {"right", "left"} and all(joined.values()):
            out.append(_bilateral(finding, same, joined))
            continue
        for side, found in by_side.items():
            parts = [(found, joined[side])] if joined[side] else [([r], r.location) for r in found]
            out += [_one_sided(finding, some, where or "") for some, where in parts]
    return out


def listed(words: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def plural_of(words: str) -> str:
    """The plural of a noun phrase by its last word."""
    head, _, last = words.rpartition(" ")
    if last.endswith("ity"):
        last = f"{last[:-1]}ies"
    else:
        last = _PLURALS.get(last, last if last.endswith("s") else f"{last}es" if last.endswith("x") else f"{last}s")
    return f"{head} {last}".strip()


def finish(text: str) -> str:
    """A sentence with single spaces, right articles and a capital."""
    text = " ".join(text.split()).replace(" ,", ",").replace(" .", ".")
    text = re.sub(r"\b[Tt]he both\b", "both", text)
    text = _ARTICLE.sub(r"\1n ", text)
    return text[0].upper() + text[1:]


def _is_pair(regions: Sequence[Region]) -> bool:
    return (
        {r.side for r in regions} == {"right", "left"}
        and len(regions) == 2
        and all(r.modifiers and not _PHRASE.search(r.modifiers[0]) for r in regions)
        and regions[0].modifiers[0] != regions[1].modifiers[0]
    )


def _joined(locations: Sequence[str]) -> str | None:
    """One phrase for places that are equal or differ in one word: "right fifth and sixth posterior ribs"."""
    distinct = list(dict.fromkeys(locations))
    if len(distinct) == 1:
        return distinct[0]
    rows = [location.split() for location in distinct]
    if len({len(row) for row in rows}) > 1:
        return None
    columns = [list(dict.fromkeys(column)) for column in zip(*rows, strict=True)]
    varying = [column for column in columns if len(column) > 1]
    if len(varying) != 1 or varying[0] is columns[-1]:
        return None
    return plural_of(" ".join(listed(column) for column in columns))


def _rest(side: str, location: str) -> str:
    return location.removeprefix(f"{side} ")


def _merged(places: Sequence[tuple[str, str]]) -> list[str]:
    """(side, location) of many regions, right and left twins as one."""
    out: dict[str, str] = {}
    for side, location in places:
        rest = _rest(side, location)
        twin = rest in out and not out[rest].startswith((side, "bilateral")) and rest != location
        out[rest] = f"bilateral {plural_of(rest)}" if twin else out.get(rest, location)
    return list(out.values())


def _one_sided(finding: str, regions: list[Region], where: str) -> Group:
    attribute = where if where.endswith(_ATTRIBUTIVE) else where[:-1] if where[:-1].endswith(_ATTRIBUTIVE) else ""
    attribute = "bilateral" if attribute == "bilateral lung" else attribute
    plural = where.endswith("s") and (" and " in where or where.startswith("bilateral "))
    return Group(finding, regions, [where], many_places=plural, attribute=attribute)


def _bilateral(finding: str, regions: list[Region], joined: dict[str, str | None]) -> Group:
    right, left = (str(joined[side]) for side in ("right", "left"))
    rest = _rest("right", right)
    if rest != _rest("left", left):
        return Group(finding, regions, [right, left], many_places=True)
    attribute = f"bilateral {rest}" if rest.endswith(_ATTRIBUTIVE) else ""
    return Group(finding, regions, [f"bilateral {plural_of(rest)}"], many_places=True, attribute=attribute)
