"""Sentences of a report in the form the tables are written for, and tables that look only where a word calls for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

LONGEST = 1200  # characters read as one sentence; a longer run without a full stop is cut between words
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_NUMBER = re.compile(r"(?:^|(?<=\s))\(?\d{1,2}[.)](?=\s+\D)\s*")  # of a list
_END = re.compile(
    r"(?<![a-z]\.[a-z])(?<!\bdr)(?<!\bmr)(?<!\bmrs)(?<!\bms)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bapprox)"
    r"[.?!]+(?=\s|$|[a-z_(])|[.?!]*\s*(?:\n|$)"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"_{2,}|\bx{3,}\b|\*+", " xxxx "),  # what was struck out stays a word, so that it glues nothing together
        (r"\band/or\b|\bor/and\b", "or"),
        (r"\bw/o\b", "without"),
        (r"\bs/p\b", "status post"),
        (r"\bh/o\b", "history of"),
        (r"(?<=[a-z])/(?=[a-z])", " or "),
        (r"(?<=[a-z])-(?=[a-z])", " "),
        (r"['’]", ""),
        (r"\bcardio mediast", "cardiomediast"),
        (r"\bair space", "airspace"),
        (r"\bbi (?=basi|basa|apic)", "bi"),
        (r"([,;:()])", r" \1 "),
        (r"[^a-z0-9.,;:()?%+ ]", " "),
        (r"\s+", " "),
    )
)


def sentences(text: str) -> list[str]:
    """Sentences without numbers of lists and full stops: lower case, one space between words, marks set apart.

    A full stop ends a sentence, and so does a blank line; the end of a line does not. Takes time linear in ``text``.
    """
    out = []
    for paragraph in _PARAGRAPH.split(text):
        line = _NUMBER.sub("\n", " ".join(paragraph.split()).lower())
        for part in _END.split(line):
            for piece in _pieces(plain(part)):
                if piece:
                    out.append(piece)
    return out


def plain(text: str) -> str:
    """``text``, in lower case, in the spelling of the tables."""
    for pattern, new in _RULES:
        text = pattern.sub(new, text)
    return text.strip(" .,:?")


def _pieces(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST:
        cut = sentence.rfind(" ", 0, LONGEST)
        cut = cut if cut > 0 else LONGEST
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    yield sentence


class Table:
    """A regular expression of named alternatives, tried only on sentences with a word that begins like one of ``stems``.

    ``rows``: group -> phrases; a phrase begins and ends at a word's boundary. Earlier rows win.
    """

    def __init__(self, stems: str, rows: Mapping[str, Sequence[str]] | Sequence[str]) -> None:
        self.stems = tuple(stems.split())
        named = rows if isinstance(rows, Mapping) else {"hit": rows}
        self._keys = {f"g{i}": key for i, key in enumerate(named)}
        groups = (f"(?P<{g}>{'|'.join(named[key])})" for g, key in self._keys.items())
        self._pattern = re.compile(rf"\b(?:{'|'.join(groups)})(?!\w)")

    def find(self, sentence: str) -> list[tuple[str, int, int]]:
        """(row, start, end) of every phrase, from left to right."""
        keys = self._keys
        return [(keys[str(m.lastgroup)], m.start(), m.end()) for m in self._pattern.finditer(sentence)]


class Anchors:
    """Which of several tables have something to look for in a sentence, by a memo of words."""

    _KEPT = 200_000  # words; more are nothing a report would hold

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = tuple(tables)
        self._known: dict[str, int] = {}

    def of(self, sentence: str) -> int:
        """Bit i is set where the sentence has a word of table i."""
        known, found = self._known, 0
        for word in sentence.split(" "):
            bits = known.get(word)
            found |= self._learn(word) if bits is None else bits
        return found

    def _learn(self, word: str) -> int:
        bits = sum(1 << i for i, table in enumerate(self._tables) if word.startswith(table.stems))
        if len(self._known) < self._KEPT:
            self._known[word] = bits
        return bits
