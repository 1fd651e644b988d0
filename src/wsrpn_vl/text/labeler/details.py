"""Where a finding is and how it looks, in the vocabulary of the triples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from wsrpn_vl.text.labeler import places
from wsrpn_vl.text.labeler.mentions import KIND_IS_SAID
from wsrpn_vl.text.labeler.scope import Mention, Scopes
from wsrpn_vl.text.labeler.words import Table

_SIDE = r"(?:right|left|bilateral|both)"
_ROWS = {
    kind: tuple(rf"(?:{_SIDE}(?: sided)? )?(?:{zone})" for zone in zones) for kind, zones in places.ZONES.items() if kind != "side"
}
PLACES = Table(
    places.PLACES_STEMS,
    {"whole": tuple(places.WHOLE), **_ROWS, "side": (rf"{_SIDE}(?: sided| lateral)?", r"bilaterally")},
)
_SPELLING = tuple((re.compile(pattern), new) for pattern, new in places.SPELLING)
_ADJECTIVE = re.compile(rf"\b(?:{'|'.join(sorted(places.MODIFIERS, key=len, reverse=True))}|\d+(?:\.\d+)? [cm]m)(?!\w)")
_BEHIND = re.compile(rf"\b(?:{'|'.join(places.BEHIND)})(?!\w)")
_DEVICE_SIDE = re.compile(rf"\b(?:{places.DEVICE_SIDES})(?!\w)")
_HEAD_ENDS = re.compile(  # the noun phrase of a finding begins after the last of these
    r"[,;:]|\b(?:is|are|was|were|has|have|may|might|could|in|at|on|over|within|with|from|to|due|for|suggest\w*|represent\w*"
    r"|(?<!amount )(?<!area )(?<!areas )(?<!component )of|reflect\w*|there|which|that|show\w*|contain\w*|seen|noted|no|without|by|into|compatible|consistent)\b"
)
_LEADS = re.compile(r"\b(?:in|at|of|on|over|overlying|within|along|involv\w+|near|throughout|through|into|to|around|obscur\w+|project\w+|blunts?|terminat\w+|enters?|cours\w+|pass\w+|ends?|overl\w+)\b")
_AND = re.compile(r" ?,?(?: (?:and|or|the|in|at|also))* ?")
_LINK = re.compile(r"\b(?:consistent|compatible|represent\w*|suggest\w*|due|reflect\w*|from|keeping|likely|which|concern\w*|those)\b")


@dataclass(frozen=True, slots=True)
class Place:
    """Words of a place: its kind, where they are, how the triples spell it."""

    kind: str
    start: int
    end: int
    words: str


def find_places(sentence: str) -> list[Place]:
    """All places named, from left to right."""
    return [Place(*_known(kind, sentence[a:b])[:1], a, b, _known(kind, sentence[a:b])[1]) for kind, a, b in PLACES.find(sentence)]


@lru_cache(maxsize=4096)
def _known(kind: str, words: str) -> tuple[str, str]:
    if kind == "whole":
        return places.WHOLE[words]
    if words in places.WHOLE:
        return places.WHOLE[words]
    side, _, zone = words.partition(" ")
    if side not in ("right", "left", "bilateral", "both"):
        side, zone = "", words
    zone = zone.removeprefix("sided").removeprefix("lateral").strip() if kind == "side" else zone.removeprefix("sided ")
    if kind == "device":
        return kind, _spelt(words)
    zone = _spelt(zone)
    if not zone:
        return "side", "bilateral" if side == "both" else side
    if side in ("both", "bilateral"):
        return kind, "both lungs" if zone == "lung" else f"bilateral {_plural(zone)}"
    return kind, f"{side} {zone}".strip() if zone != "lingula" else zone


def _spelt(zone: str) -> str:
    for pattern, new in _SPELLING:
        zone = pattern.sub(new, zone)
    return zone


def _plural(zone: str) -> str:
    head, _, last = zone.rpartition(" ")
    return f"{head} {places.PLURALS.get(last, last if last.endswith('s') else f'{last}s')}".strip()


def locations(mention: Mention, mentions: Sequence[Mention], found: Sequence[Place], scopes: Scopes) -> list[str]:
    """Where a finding is said to be: before its noun, behind it, else where the clause began; [""] if nowhere."""
    if mention.part is not None or mention.finding in ("Cardiomegaly", "Enlarged Cardiomediastinum"):
        return [""]
    kinds = places.FITTING[mention.finding]
    fitting = [p for p in found if p.kind in kinds and not (p.words == "lung" or p.words in ("right", "left") and _in_name(p, mention))]
    if not fitting:
        return [""]
    sentence = scopes.sentence
    before = max((m.end for m in mentions if m.end <= mention.start), default=0)
    after = min((m.start for m in mentions if m.start >= mention.end), default=len(sentence))
    head = head_start(sentence, before, mention)
    own = [p for p in fitting if p.start >= head and p.end <= mention.end]
    if not own or (mention.finding == "Support Devices" and all(p.kind == "side" for p in own)):
        behind = [p for p in fitting if p.start >= mention.end and p.end <= after and not scopes.wall_between(mention.end, p.start)]
        behind = [p for p in behind if not any(mention.end < b <= p.start for b in scopes.hard_breaks)]
        if behind and (_LEADS.search(sentence, mention.end, behind[0].end) or behind[0].words == "bilateral"):
            own = behind[:1]  # where a device ends says more than the side it comes from
            for place in behind[1:]:
                if not _AND.fullmatch(sentence, own[-1].end, place.start):
                    break
                own.append(place)
    if not own:
        earlier = [p for p in fitting if p.end <= mention.start and not scopes.wall_between(p.start, mention.start)]
        near = [p for p in earlier if p.start >= before]
        if near:
            own = near[-1:]
        elif earlier and before and _LINK.search(sentence, before, mention.start):
            own = earlier[-1:]
    return _closest([p.words for p in own]) or [""]


def _in_name(place: Place, mention: Mention) -> bool:
    return mention.finding == "Support Devices" and mention.start <= place.start < mention.end


def _closest(words: Sequence[str]) -> list[str]:
    """Without sides that a place beside them says already."""
    fine = [w for w in words if w not in ("right", "left", "bilateral")]
    return list(dict.fromkeys(fine or words))


def head_start(sentence: str, before: int, mention: Mention) -> int:
    """Where the noun phrase of ``mention`` begins."""
    begin = max(before, mention.start - 80)
    for found in _HEAD_ENDS.finditer(sentence, begin, mention.start):
        begin = found.end()
    return begin


def modifiers(mention: Mention, mentions: Sequence[Mention], sentence: str) -> tuple[str, ...]:
    """Adjectives before the noun or the state, the thing itself for classes of several things, and phrases behind."""
    before = max((m.end for m in mentions if m.end <= mention.start), default=0)
    after = min((m.start for m in mentions if m.start >= mention.end), default=len(sentence))
    out = []
    if mention.finding in KIND_IS_SAID and mention.kind == "plain":
        out.append(_written(sentence[mention.start : mention.end]))
    begin = head_start(sentence, before, mention)
    if mention.finding == "Support Devices":
        out += [_written(m[0]) for m in _DEVICE_SIDE.finditer(sentence, begin, mention.start)]
    else:
        for found in _ADJECTIVE.finditer(sentence, begin, mention.end):
            out.append(places.MODIFIERS.get(found[0], found[0]))
    if mention.kind.startswith(("stable", "borderline")):
        out.append(mention.kind.partition("/")[0])
    out += [m[0] for m in _BEHIND.finditer(sentence, mention.end, after)]
    return tuple(dict.fromkeys(out))


def _written(words: str) -> str:
    for plain, written in places.NAMES.items():
        words = words.replace(plain, written)
    return " ".join(places.CAPITALS.get(word, word) for word in words.split())
