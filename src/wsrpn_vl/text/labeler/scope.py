"""Whether a sentence affirms, denies or doubts what it mentions (NegEx and NegBio's idea, with word windows for trees).

Order of the CheXpert labeler: doubts with a "no" in them, denials, other doubts, else affirmed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from wsrpn_vl.text.labeler.tables import Table, load

_TABLES = load("cues")
CUES = Table(_TABLES["stems"], _TABLES["cues"])
_WALL = re.compile(rf";|\b(?:{'|'.join(_TABLES['walls'])})\b|\( ?\d? ?\)")
_BREAK = re.compile(
    r"(?:,|\band|(?<!consistent )(?<!compatible )(?<!associated )(?<!keeping )\bwith)(?: and| with| also)* "
    rf"(?:(?P<own>{'|'.join(_TABLES['own_statement'])})|(?P<soft>{'|'.join(_TABLES['own_if_no_or'])}))(?!\w)"
)
_LIST_GOES_ON = re.compile(r"(?:(?!\b(?:no|without|is|are|was|were|with|there)\b).)*?\b(?:or|nor)\b")
_MODAL = ("may", "might", "could", "would", "can")
_NOT_JOINED = re.compile(
    r"\b(?:is|are|was|were|has|have|may|might|could|represent\w*|suggest\w*|with|in|of|from|due|secondary|consistent"
    r"|compatible|reflect\w*|at|on|show\w*|there|also)\b"
)
_JOINT = re.compile(r",|\b(?:and|or|nor|versus|vs)\b")
_GONE = re.compile(
    r"remov|resol|differential"
)  # reach over lists with "and": "removal of the right line and left drain"
_OR = re.compile(r"\bor\b")
_AFTERWARDS = re.compile(r"\b(?:status post|after|following)\b")  # "no pneumothorax after tube placement"
_NO = ("no ", "not ", "without ")
_FEW_WORDS = re.compile(r"(?: ?\w+){0,2} ?")


@dataclass(slots=True)
class Mention:
    """Words of a sentence that speak of an observation, or of other disease (finding "").

    kind: of ``findings.yaml``, or the state of a part; part: where the part's words are, if another than the span.
    """

    finding: str
    kind: str
    start: int
    end: int
    part: tuple[int, int] | None = None
    polarity: str = ""


class Scopes:
    """Cues and walls of one sentence."""

    def __init__(self, sentence: str, *, any_cue: bool) -> None:
        self.sentence = sentence
        found = CUES.find(sentence) if any_cue else []
        self._cues = [cue for cue in found if cue[0] != "none"]
        self._no_change = [end for kind, start, end in found if kind == "none" and sentence.startswith(_NO, start)]
        self._walls = [m.start() for m in _WALL.finditer(sentence)]
        breaks = [(m.start("own" if m["own"] else "soft"), bool(m["own"])) for m in _BREAK.finditer(sentence)]
        self.breaks = [at for at, own in breaks if own or not _LIST_GOES_ON.match(sentence, at)]
        self.hard_breaks = [at for at, own in breaks if own]

    def wall_between(self, begin: int, end: int) -> bool:
        """Whether a clause ends there."""
        return _any_in(self._walls, begin, end)

    def judge(self, mentions: Sequence[Mention]) -> None:
        """Set the polarity of each of ``mentions`` (in order of their start); "" for what is not said to be there."""
        if not self._cues:
            for mention in mentions:
                mention.polarity = "positive"
        else:
            reach = [self._reach(cue, mentions) for cue in self._cues]
            for number, mention in enumerate(mentions):
                mention.polarity = self._polarity({kind for kind, reached in reach if number in reached})
        self._alternatives(mentions)

    @staticmethod
    def _polarity(kinds: set[str]) -> str:
        if kinds & {"drop", "dropped"}:
            return ""
        if "doubt first" in kinds or "doubted first" in kinds:
            return "uncertain"
        if "deny" in kinds or "denied" in kinds:
            return "negative"
        return "uncertain" if kinds else "positive"

    def _reach(self, cue: tuple[str, int, int], mentions: Sequence[Mention]) -> tuple[str, set[int]]:
        kind, start, end = cue
        backward = kind in ("denied", "doubted", "doubted first", "dropped")
        before, after = self._before(start, mentions), self._after(kind, start, end, mentions)
        if backward:
            return kind, before or after
        if kind == "doubt both":  # "opacity, atelectasis versus pneumonia": no doubt of the sign before the comma
            return kind, after | {i for i in before if "," not in self.sentence[mentions[i].end : start]}
        if kind == "doubt first":  # "cannot rule out pneumonia", "pneumonia: cannot exclude"
            return kind, after or before
        if kind == "doubt" and not after and before:  # "pneumonia possible"
            last = max(before)
            close = _FEW_WORDS.fullmatch(self.sentence, mentions[last].end, start)
            return kind, before if close and self.sentence[start:end].split()[0] not in _MODAL else set()
        return kind, after

    def _after(self, kind: str, start: int, end: int, mentions: Sequence[Mention]) -> set[int]:
        """Mentions after a cue that nothing parts from it."""
        stops = self.hard_breaks if _GONE.search(self.sentence, start, end) else self.breaks
        limit = next((at for at in stops if at >= end), len(self.sentence) + 1)
        limit = min(limit, next((at for at in self._walls if at >= end), limit))
        if kind == "deny":
            modal = (
                s for k, s, e in self._cues if s >= end and k == "doubt" and self.sentence[s:e].split()[0] in _MODAL
            )
            limit = min(limit, next(modal, limit))
            if aside := _AFTERWARDS.search(self.sentence, end):
                limit = min(limit, aside.start())
        return {i for i, m in enumerate(mentions) if end <= m.start < limit}

    def _before(self, start: int, mentions: Sequence[Mention]) -> set[int]:
        """The last mention before ``start`` in its clause, and those joined to it."""
        out: set[int] = set()
        for number in range(len(mentions) - 1, -1, -1):
            mention = mentions[number]
            if mention.start >= start:
                continue
            if out and not self.joined(mention, mentions[min(out)]):
                break
            if (
                mention.end > start + 1
                or _any_in(self._walls, mention.end, start)
                or _any_in(self.breaks, mention.end, start)
            ):
                break
            out.add(number)
        return out

    def joined(self, first: Mention, second: Mention) -> bool:
        """Whether two mentions are members of one list."""
        between = self.sentence[first.end : second.start]
        overlap = first.end > second.start
        return overlap or (len(between) < 50 and bool(_JOINT.search(between)) and not _NOT_JOINED.search(between))

    def _alternatives(self, mentions: Sequence[Mention]) -> None:
        """Of "atelectasis or pneumonia", neither is certain; of "no change in atelectasis or effusion", both are."""
        for first, second in pairwise(mentions):
            if any(at <= first.start and not self.wall_between(at, first.start) for at in self._no_change):
                continue
            if first.finding != second.finding and "positive" in (first.polarity, second.polarity):
                between = self.sentence[min(first.end, second.start) : max(first.end, second.start)]
                sure = {"", "Support Devices"} & {first.finding, second.finding}
                if len(between) < 40 and not sure and _OR.search(between) and self.joined(first, second):
                    first.polarity = "uncertain" if first.polarity == "positive" else first.polarity
                    second.polarity = "uncertain" if second.polarity == "positive" else second.polarity


def _any_in(positions: Sequence[int], begin: int, end: int) -> bool:
    at = bisect_left(positions, begin)
    return at < len(positions) and positions[at] < end
