"""Where a finding is and how it looks, in the vocabulary of the triples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from wsrpn_vl.text.labeler.scope import Mention, Scopes
from wsrpn_vl.text.labeler.tables import Table, load

_TABLES = load("places")
_WHOLE: dict[str, tuple[str, str]] = {words: tuple(place) for words, place in _TABLES["whole"].items()}
_FITTING: dict[str, list[str]] = _TABLES["fitting"]
_MODIFIERS: dict[str, str] = {w: w for w in _TABLES["adjectives"].split()} | _TABLES["spelt_adjectives"]
_KIND_IS_SAID = (
    "Lung Lesion",
    "Pleural Other",
    "Support Devices",
)  # classes of several things: the thing is a modifier
_SIDE = r"(?:right|left|bilateral|both)"
PLACES = Table(
    _TABLES["stems"],
    {
        "whole": tuple(_WHOLE),
        **{
            kind: [rf"(?:{_SIDE}(?: sided)? )?(?:{zone})" for zone in zones] for kind, zones in _TABLES["zones"].items()
        },
        "side": (rf"{_SIDE}(?: sided| lateral)?", "bilaterally"),
    },
)
_SPELLING = tuple((re.compile(pattern), new) for pattern, new in _TABLES["spelling"])
_ADJECTIVE = re.compile(rf"\b(?:{'|'.join(sorted(_MODIFIERS, key=len, reverse=True))}|\d+(?:\.\d+)? [cm]m)(?!\w)")
_BEHIND = re.compile(rf"\b(?:{'|'.join(_TABLES['behind'])})(?!\w)")
_DEVICE_SIDE = re.compile(rf"\b(?:{'|'.join(_TABLES['device_ways'])})(?!\w)")
_HEAD_BEGINS = re.compile(  # the noun phrase of a finding begins after the last of these
    r"[,;:]|\b(?:is|are|was|were|has|have|may|might|could|in|at|on|over|within|with|from|to|due|for|suggest\w*"
    r"|represent\w*|reflect\w*|there|which|that|show\w*|contain\w*|seen|noted|no|without|by|into|compatible|consistent"
    r"|(?<!amount )(?<!area )(?<!areas )(?<!component )of)\b"
)
_LEADS = re.compile(  # to a place behind the finding
    r"\b(?:in|at|of|on|over|overl\w+|within|along|involv\w+|near|throughout|through|into|to|around|obscur\w+|project\w+"
    r"|blunts?|terminat\w+|enters?|cours\w+|pass\w+|ends?)\b"
)
_AND = re.compile(r" ?,?(?: (?:and|or|the|in|at|also))* ?")
_LINK = re.compile(  # "opacity in the left base consistent with pneumonia": the place holds for both
    r"\b(?:consistent|compatible|represent\w*|suggest\w*|due|reflect\w*|from|keeping|likely|which|concern\w*|those)\b"
)
_NOUN_NEXT = re.compile(r"(?: (?!(?:and|or|with|which|that|is|are|may|due|from|consistent|compatible)\b)\w+){0,2} ?")
_NEXT = re.compile(r",|\b(?:and|with|plus)\b")  # another finding follows
_LONGEST_PHRASE = 80  # characters of a noun phrase before its noun


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a sentence. kind: of ``zones``; words: as the triples spell it."""

    kind: str
    start: int
    end: int
    words: str


def find_places(sentence: str) -> list[Place]:
    """All places named, from left to right."""
    found = PLACES.find(sentence)
    return [Place(kind, a, b, words) for row, a, b in found for kind, words in (_spelt(row, sentence[a:b]),)]


class Neighbours:
    """The mentions of a sentence and the places between them: what is said of each mention."""

    def __init__(self, scopes: Scopes, mentions: Sequence[Mention], found: Sequence[Place]) -> None:
        self._scopes, self._sentence = scopes, scopes.sentence
        self._mentions, self._places = mentions, found

    def told(self, mention: Mention) -> list[tuple[str, tuple[str, ...]]]:
        """(location, modifiers) of a mention, one for each place it is said to be in; location "" for none."""
        before = max((m.end for m in self._mentions if m.end <= mention.start), default=0)
        after = min((m.start for m in self._mentions if m.start >= mention.end), default=len(self._sentence))
        free = self._claimed(before, mention) or before
        head = self._head(free, mention)
        own = self._where(mention, free, after, head)
        behind = [m[0] for m in _BEHIND.finditer(self._sentence, mention.end, after)]
        kind = self._kind(mention)
        inside = [p for p in own if head <= p.start < mention.start]
        if len(inside) > 1 and mention.finding != "Support Devices":  # "small right and moderate left effusions"
            marks = [head, *(p.end for p in inside)]
            shared = self._adjectives(marks[-1], mention.end)
            return [
                (p.words, _once(kind, self._adjectives(begin, p.start), shared, behind))
                for begin, p in zip(marks, inside, strict=False)
            ]
        how = _once(kind, self._looks(head, mention), behind)
        return [(words, how) for words in _closest([p.words for p in own])]

    def _claimed(self, before: int, mention: Mention) -> int:
        """Where the places end that belong to the mention before: "opacity in the left base and a nodule"; else 0."""
        if not before or _LINK.search(self._sentence, before, mention.start):
            return 0
        between = (p for p in self._places if before <= p.start and p.end <= mention.start)
        claimed = (
            p.end
            for p in between
            if _LEADS.search(self._sentence, before, p.start) and _NEXT.search(self._sentence, p.end, mention.start)
        )
        return max(claimed, default=0)

    def _head(self, before: int, mention: Mention) -> int:
        """Where the noun phrase of ``mention`` begins."""
        begin = max(before, mention.start - _LONGEST_PHRASE)
        for found in _HEAD_BEGINS.finditer(self._sentence, begin, mention.start):
            begin = found.end()
        return begin

    def _where(self, mention: Mention, before: int, after: int, head: int) -> list[Place]:
        """Places before the noun, else behind it, else where the clause began."""
        if mention.part is not None or mention.finding not in _FITTING:
            return []
        fitting = [p for p in self._places if self._fits(p, mention)]
        own = [p for p in fitting if p.start >= head and p.end <= mention.end]
        if not own or (mention.finding == "Support Devices" and all(p.kind == "side" for p in own)):
            own = self._behind(mention, after, fitting) or own  # where a device ends says more than its side
        if own:
            return own
        earlier = [
            p for p in fitting if p.end <= mention.start and not self._scopes.wall_between(p.start, mention.start)
        ]
        near = [p for p in earlier if p.start >= before]
        linked = before and _LINK.search(self._sentence, before, mention.start)
        return near[-1:] or (earlier[-1:] if linked else [])

    def _behind(self, mention: Mention, after: int, fitting: Sequence[Place]) -> list[Place]:
        """The first place behind a mention, if words lead to it, and those joined to that."""
        far = [p for p in fitting if mention.end <= p.start and p.end <= after]
        stops = [at for at in self._scopes.hard_breaks if at > mention.end]
        far = [
            p
            for p in far
            if not self._scopes.wall_between(mention.end, p.start) and not (stops and p.start >= stops[0])
        ]
        if not far or not (
            self._sentence.startswith("bilaterally", far[0].start)
            or _LEADS.search(self._sentence, mention.end, far[0].end)
        ):
            return []
        own = far[:1]
        for place in far[1:]:
            joined = _AND.fullmatch(self._sentence, own[-1].end, place.start)
            of_next = after < len(self._sentence) and _NOUN_NEXT.fullmatch(self._sentence, place.end, after)
            if not joined or of_next:
                break
            own.append(place)
        return own

    @staticmethod
    def _fits(place: Place, mention: Mention) -> bool:
        in_name = mention.finding == "Support Devices" and mention.start <= place.start < mention.end
        return place.kind in _FITTING[mention.finding] and place.words != "lung" and not in_name

    def _kind(self, mention: Mention) -> list[str]:
        """The thing itself for classes of several things, the state for those that say little."""
        if mention.finding in _KIND_IS_SAID and mention.part is None:
            return [_written(self._sentence[mention.start : mention.end])]
        state = mention.kind.partition("/")[0]
        return [state] if state in ("stable", "borderline") else []

    def _looks(self, head: int, mention: Mention) -> list[str]:
        if mention.finding == "Support Devices":
            return [_written(m[0]) for m in _DEVICE_SIDE.finditer(self._sentence, head, mention.start)]
        return self._adjectives(head, mention.end)

    def _adjectives(self, begin: int, end: int) -> list[str]:
        return [_MODIFIERS.get(m[0], m[0]) for m in _ADJECTIVE.finditer(self._sentence, begin, end)]


def _once(*parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for part in parts for word in part))


def _closest(words: Sequence[str]) -> list[str]:
    """Without sides that a closer place says already; [""] for none."""
    fine = [w for w in words if w not in ("right", "left", "bilateral")]
    return list(dict.fromkeys(fine or words)) or [""]


@lru_cache(maxsize=4096)
def _spelt(row: str, words: str) -> tuple[str, str]:
    """Kind and spelling of a place's words."""
    if words in _WHOLE:
        return _WHOLE[words]
    if row == "device":
        return row, _zone(words)
    side, _, zone = words.partition(" ")
    if side not in ("right", "left", "bilateral", "both"):
        side, zone = "", words
    zone = "" if row == "side" else _zone(zone.removeprefix("sided "))
    both = side in ("both", "bilateral")
    if not zone:
        return "side", "bilateral" if both else side
    if both:
        return row, "both lungs" if zone == "lung" else f"bilateral {_plural(zone)}"
    return row, zone if zone == "lingula" else f"{side} {zone}".strip()


def _zone(words: str) -> str:
    for pattern, new in _SPELLING:
        words = pattern.sub(new, words)
    return words


def _plural(zone: str) -> str:
    head, _, last = zone.rpartition(" ")
    many = _TABLES["plurals"].get(last, last if last.endswith("s") else f"{last}s")
    return f"{head} {many}".strip()


def _written(words: str) -> str:
    for plain, written in _TABLES["names"].items():
        words = words.replace(plain, written)
    return " ".join(_TABLES["capitals"].get(word, word) for word in words.split())
