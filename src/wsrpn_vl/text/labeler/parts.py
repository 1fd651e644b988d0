"""Parts of the body and the states a sentence gives them: "the heart is normal in size and the lungs are clear"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from wsrpn_vl.text.labeler.scope import Mention, Scopes
from wsrpn_vl.text.labeler.tables import Table, load

_TABLES = load("parts")
PARTS = Table(_TABLES["part_stems"], _TABLES["parts"])
STATES = Table(_TABLES["state_stems"], _TABLES["states"])
WRONG = tuple(_TABLES["wrong"])  # states that say what is wrong, and can be denied
_MEANING: dict[str, dict[str, dict[str, str]]] = _TABLES["meaning"]  # part -> state -> observation -> polarity
_WEIGHT: list[str] = _TABLES["weight"]
_FAR = 100  # characters between a part and a state that can still belong to it
_VERB = re.compile(r"\b(?:is|are|was|were|appears?|remains?|looks?|seems?|shows?|demonstrates?|has|have)\b")
_OF_NOUN = re.compile(r"(?: (?!is|are|and|or|in|at|with|by|for|from|since|the|compared)\w+){0,3} ?")
_FEW = re.compile(r"(?: (?!and|or|with|is|are|was|were|by)\w+){0,3} ?")
_JOINED = re.compile(r" ?,?(?: (?:and|or|the|with))*(?: (?!is|are|was|were|no|not|without)\w+){0,2} ?")
_BESIDE = re.compile(r" ?,?(?: (?:and|or|to|in|but|of|with|for|at|size|contour|is|are|appears?|remains?|\w+ly|the))* ?")
_THEN = re.compile(
    r"(?: (?!is|are|was|were|with|by|from)\w+){0,4} (?:and|but) ?"
)  # "similar to the prior study and normal"
_AND_NOUN = re.compile(r"(?: \w+){0,2} and(?: \w+){1,2} ?")  # "enlarged and tortuous calcified (aorta)"
_LIST = re.compile(r" ?,?(?: (?:and|or|the|with|as|well))*(?: (?!is|are|was|were|by|in)\w+){0,2} ?")


@dataclass(slots=True)
class _Part:
    name: str
    start: int
    end: int
    told: list[tuple[str, int, int]] = field(default_factory=list)  # predicates: "the heart is normal"
    lent: list[tuple[str, int, int]] = field(default_factory=list)  # attributes: "normal heart"


def part_mentions(sentence: str, scopes: Scopes, mentions: Sequence[Mention]) -> list[Mention]:
    """What the states of the parts in ``sentence`` say of the observations.

    mentions: findings of the sentence; a state that belongs to one of them ("stable effusion") is no part's.
    """
    found = PARTS.find(sentence)
    if not found:
        return []
    heads = [m for m in mentions if m.kind != "normal"]
    parts = [
        _Part(name, start, end)
        for name, start, end in found
        if not any(m.start <= start and end <= m.end for m in heads)
    ]
    told = [s for s in STATES.find(sentence) if not _of_finding(sentence, s, heads, parts)]
    _bind(sentence, parts, told, scopes)
    return [mention for part in parts for mention in _meanings(part)]


def _of_finding(sentence: str, state: tuple[str, int, int], heads: Sequence[Mention], parts: Sequence[_Part]) -> bool:
    """Whether a finding follows as the noun of ``state``, or the state is inside one."""
    name, start, end = state
    for head in heads:
        if head.start <= start and end <= head.end:
            return True
        if end <= head.start:
            parted = any(end <= p.start < head.start for p in parts)
            return (
                name in ("enlarged", "stable", "congested")
                and not parted
                and bool(_OF_NOUN.fullmatch(sentence, end, head.start))
            )
    return False


def _bind(sentence: str, parts: Sequence[_Part], told: Sequence[tuple[str, int, int]], scopes: Scopes) -> None:
    events = sorted([(p.start, p) for p in parts] + [(s[1], s) for s in told], key=lambda e: e[0])
    waiting: list[_Part] = []  # named, without a predicate as yet
    last: list[_Part] = []  # those that took the last state
    lending: list[tuple[str, int, int]] = []  # attributes of the parts to come
    end = 0  # of the event before
    for number, (start, event) in enumerate(events):
        if scopes.wall_between(end, start):
            waiting, last, lending = [], [], []
        if isinstance(event, _Part):
            if lending and not (_FEW if not last else _JOINED).fullmatch(sentence, end, event.start):
                lending = []
            event.lent += lending
            listed = not waiting or _LIST.fullmatch(sentence, waiting[-1].end, event.start)
            waiting = [*waiting, event] if listed and not lending else [event]
            last = [event] if lending else last
            end = event.end
            continue
        following = events[number + 1][1] if number + 1 < len(events) else None
        waiting = [p for p in waiting if start - p.end < _FAR]
        noun_next = isinstance(following, _Part) and _is_noun_of(sentence, event, following)
        attribute = noun_next and not (waiting and _VERB.search(sentence, waiting[-1].end, start))
        if waiting and not attribute:
            for part in waiting:
                part.told.append(event)
            waiting, last, lending = [], waiting, []
        elif (
            last
            and not noun_next
            and not lending
            and (_BESIDE.fullmatch(sentence, end, start) or _THEN.fullmatch(sentence, end, start))
        ):
            for part in last:
                part.told.append(event)
        else:
            close = bool(lending) and _BESIDE.fullmatch(sentence, end, start)
            waiting, last, lending = [], [], [*(lending if close else []), event]
        end = event[2]


def _is_noun_of(sentence: str, state: tuple[str, int, int], part: _Part) -> bool:
    near = _FEW.fullmatch(sentence, state[2], part.start)
    return bool(near or (part.name == "none" and _AND_NOUN.fullmatch(sentence, state[2], part.start)))


def _meanings(part: _Part) -> list[Mention]:
    """The weightiest state of a part, what it is said to be before what stands before it."""
    for given in (part.told, part.lent):
        known = _MEANING.get(part.name, {})
        ranked = sorted((s for s in given if s[0] in known), key=lambda s: _WEIGHT.index(s[0]))
        if ranked:
            if {"enlarged", "normal"} <= {name for name, _, _ in ranked}:  # "normal to mildly enlarged"
                ranked = [("borderline", *ranked[0][1:])]
            name, start, end = ranked[0]
            span = (part.start, part.end)
            return [
                Mention(finding, f"{name}/{polarity}", start, end, span) for finding, polarity in known[name].items()
            ]
    return []
