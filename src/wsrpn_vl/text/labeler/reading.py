"""Reports read sentence by sentence: statements, labels, and whether anything was said at all."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from wsrpn_vl.text.labeler import details
from wsrpn_vl.text.labeler.aggregate import aggregate
from wsrpn_vl.text.labeler.parts import PARTS, WRONG, part_mentions
from wsrpn_vl.text.labeler.scope import CUES, Mention, Scopes
from wsrpn_vl.text.labeler.tables import Anchors, Table, load
from wsrpn_vl.text.sections import describing_parts, without_titles
from wsrpn_vl.text.sentences import sentences
from wsrpn_vl.text.triples import Triple

_FINDINGS = tuple((name, Table(rows.pop("stems"), rows)) for name, rows in load("findings").items())
_BESIDE = load("background")
_OTHER = Table(_BESIDE["other_stems"], _BESIDE["other"])
_NORMAL = Table(_BESIDE["normal_stems"], _BESIDE["normal"])
_TABLES = (*(table for _, table in _FINDINGS), _OTHER, _NORMAL, PARTS, CUES, details.PLACES)
_ANCHORS = Anchors(_TABLES)
_BIT = {id(table): 1 << i for i, table in enumerate(_TABLES)}
_HEART_FAILURE = ("failure", "chf", "decompensation")
_BLOCK = 256  # reports handed to a process at a time


@dataclass(frozen=True, slots=True)
class Reading:
    """What a report says.

    triples: its statements, each once; labels: 13 observations and ``No Finding`` (1, 0, -1 uncertain, None);
    other_abnormal: it tells of disease beside the 13; vague: it says nothing of any finding, nor that the chest is
    normal; sentences: how many were read.
    """

    triples: tuple[Triple, ...]
    labels: dict[str, int | None]
    other_abnormal: bool
    vague: bool
    sentences: int


@dataclass(frozen=True, slots=True)
class _Said:
    triples: tuple[Triple, ...] = ()
    other: bool = False
    normal: bool = False


def read_statements(text: str) -> tuple[Triple, ...]:
    """The statements of a report or of a plain passage, in its order, each once.

    Sections that do not describe the image (indication, history, comparison, technique) are not read. Locations and
    modifiers are in the words of the text, spelt as the triples of the data sets are. Never raises; takes time linear
    in the length of ``text``.
    """
    return read_report(text).triples


def read_report(text: str) -> Reading:
    """Statements and labels of a report or of a plain passage; see :func:`read_statements`."""
    told = [s for part in describing_parts(text) for s in sentences(without_titles(part))]
    said = [read_sentence(sentence) for sentence in told]
    triples = tuple(dict.fromkeys(chain.from_iterable(s.triples for s in said)))
    other, normal = any(s.other for s in said), any(s.normal for s in said)
    labels = aggregate(triples, other_abnormal=other, normal=normal)
    return Reading(triples, labels, other, not (triples or other or normal), len(told))


def label_reports(texts: Sequence[str], workers: int = 0) -> list[Reading]:
    """:func:`read_report` of each text, in order. workers: processes; 0 or 1 reads in this one."""
    if workers < 2 or len(texts) <= _BLOCK:
        return [read_report(text) for text in texts]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return list(pool.imap(read_report, texts, chunksize=_BLOCK))


@lru_cache(maxsize=65_536)
def read_sentence(sentence: str) -> _Said:
    """Statements of one sentence in the spelling of ``sentences.plain``; reports repeat many, so that a memo pays."""
    bits = _ANCHORS.of(sentence)
    found = [m for name, table in _FINDINGS if bits & _BIT[id(table)] for m in _mentions(name, table, sentence)]
    has_parts, has_other = bits & _BIT[id(PARTS)], bits & _BIT[id(_OTHER)]
    if not found and not has_parts and not has_other and not bits & _BIT[id(_NORMAL)]:
        return _Said()
    scopes = Scopes(sentence, any_cue=bool(bits & _BIT[id(CUES)]))
    found = _whole(_sorted(found))
    if has_parts:
        found = _sorted([*found, *part_mentions(sentence, scopes, found)])
    other = [Mention("", "other", a, b) for _, a, b in _OTHER.find(sentence)] if has_other else []
    scopes.judge(both := _sorted([*found, *other]))
    normal = bool(bits & _BIT[id(_NORMAL)] and _NORMAL.find(sentence))
    triples = _triples(found, scopes, sentence, bool(bits & _BIT[id(details.PLACES)]))
    return _Said(triples, any(m.polarity in ("positive", "uncertain") for m in both if not m.finding), normal)


def _mentions(name: str, table: Table, sentence: str) -> Iterable[Mention]:
    return (Mention(name, kind, a, b) for kind, a, b in table.find(sentence) if kind != "cancel")


def _whole(found: list[Mention]) -> list[Mention]:
    """Without parts of devices that the sentence names."""
    named = any(m.kind == "plain" and m.finding == "Support Devices" for m in found)
    return [m for m in found if m.kind != "part"] if named else found


def _sorted(found: Iterable[Mention]) -> list[Mention]:
    return sorted(found, key=lambda m: (m.start, m.end))


def _triples(found: Sequence[Mention], scopes: Scopes, sentence: str, has_places: bool) -> tuple[Triple, ...]:
    out: list[Triple] = []
    near = details.Neighbours(scopes, found, details.find_places(sentence) if has_places and found else [])
    for mention in found:
        polarity = _final(mention)
        if not polarity:
            continue
        if polarity == "negative":
            out.append(Triple(mention.finding, "", (), polarity))
            continue
        out += [Triple(mention.finding, place, how, polarity) for place, how in near.told(mention)]
        if mention.finding == "Edema" and any(word in sentence[mention.start : mention.end] for word in _HEART_FAILURE):
            out.append(Triple("Cardiomegaly", polarity="uncertain"))
    return tuple(dict.fromkeys(out))


def _final(mention: Mention) -> str:
    """The polarity of a judged mention by its kind; "" for one that states nothing."""
    kind, _, usual = mention.kind.partition("/")
    if kind == "normal" and not usual:
        return "negative" if mention.polarity == "negative" else ""
    if usual:
        return _of_state(kind, usual, mention.polarity)
    return "uncertain" if kind == "hint" and mention.polarity == "positive" else mention.polarity


def _of_state(state: str, usual: str, polarity: str) -> str:
    """States that say what is wrong can be denied and doubted; the others only doubted or dropped."""
    if state in WRONG:
        return usual if polarity == "positive" else polarity
    told = polarity == "positive" or (polarity == "uncertain" and state != "clear")
    return usual if told else ""
