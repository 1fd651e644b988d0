"""Sentences of reports: where they end, how they are spelt for the labeler, and how they are tidied for captions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

LONGEST = 1200  # characters taken as one sentence; a longer run without a full stop is cut between words
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_NUMBER = re.compile(r"(?:^|(?<=\s))\(?\d{1,2}[.)](?:(?=\s+\D)\s*|(?=[A-Za-z]))")  # of a list
_END = re.compile(
    r"(?<![a-z]\.[a-z])(?<!\bdr)(?<!\bmr)(?<!\bmrs)(?<!\bms)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bapprox)"
    r"(?:(?:(?<=[\w)])\?|[.!])[.?!]*(?=\s|$)|(?<=[a-z]{2})[.?!]+(?:(?=(?-i:[A-Z_(]))"
    r"|(?=[a-z]+(?:[\s,;:)-]|[.?!](?:\s|$)|$))))",  # "with cough // ? effusion" goes on, and so does "x.org/y"
    re.IGNORECASE,
)
_NO_WORD = re.compile(r"[\W\d_]*")
_SPELLING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"_{2,}|\bx{3,}\b|\*+", " xxxx "),  # what was struck out stays a word, so that it glues nothing together
        (r"\band/or\b|\bor/and\b", "or"),
        (r"\bw/o\b", "without"),
        (r"\bs/p\b", "status post"),
        (r"\bh/o\b", "history of"),
        (r"\br/o\b", "rule out"),
        (r"\boe(?=dema|soph)", "e"),  # British spelling
        (r"\b(pneumo)?haem(?=o|at)", r"\1hem"),
        (r"(?:^|(?<=[\s(]))\?+ ?(?=[a-z])", "questionable "),
        (r"(?<=[a-z])\s?\?+$", " questioned"),
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
_STRUCK_OUT = re.compile(
    r"(?:\b(?:as|compared|comparison|since|from|of|on|dated|at|by|to|in|with|the|dr|and)[.,]?\s+){0,4}(?:_{2,}|\bX{3,}\b)(?:[\s,/-]+(?:_{2,}|\bX{3,}\b))*",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^\s*[A-Z][A-Z0-9 ,()/&-]{2,60}:(?:\s+|$)")
_FILM_HEADING = re.compile(  # "AP chest compared to ___ through ___:"
    r"^\s*(?:(?:portable|single|one|two|frontal|lateral|upright|supine|semi-?\w+|ap|pa|chest|radiographs?|bedside|views?)\b"
    r"(?! (?:tube|wall|drain|port)))[^:.;]{0,90}:\s*",
    re.IGNORECASE,
)
_TOLD_TO = re.compile(  # who was told, and when
    r"(?P<comma>,\s*)?(?:\b(?:which|these|this|findings?|results?|impression|was|were|is|are|as|and)\s+)*"
    r"\b(?:paged|telephoned|phoned|dictated|(?:electronically )?signed|(?:discussed|communicated|conveyed|relayed"
    r"|reported|called|notified|informed|reviewed|entered)\b[^.;]{0,60}?\b(?:dr|drs|md|np|team|physicians?|residents?|nurse"
    r"|phone|telephone|pager|dashboard))\b",
    re.IGNORECASE,
)
_NO_SUBJECT = re.compile(r"\s*(?:is|are|was|were|has|have|had|may|appears?|remains?)\b", re.IGNORECASE)
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[,.;:)])|(?<=\()\s+")
_EMPTY_MARKS = re.compile(r"\(\s*\)|(?<=[,;])\s*[,;]+|\s*,(?=\s*[.;])")


def split_sentences(text: str) -> list[str]:
    """Sentences as written, each on one line, with their full stops and without numbers of lists.

    A full stop ends a sentence, and so does a blank line; the end of a line does not. Takes time linear in ``text``.
    """
    out = []
    for paragraph in _PARAGRAPH.split(text):
        for line in _NUMBER.sub("\n", " ".join(paragraph.split())).split("\n"):
            begin = 0
            for end in (*(m.end() for m in _END.finditer(line)), len(line)):
                out += _pieces(line[begin:end].strip())
                begin = end
    return [sentence for sentence in out if not _NO_WORD.fullmatch(sentence)]


def sentences(text: str) -> list[str]:
    """:func:`split_sentences` in the spelling of :func:`plain`."""
    return [spelt for sentence in split_sentences(text) if (spelt := plain(sentence))]


@lru_cache(maxsize=65_536)
def plain(sentence: str) -> str:
    """``sentence`` as the labeler's tables have it: lower case, one space between words, marks set apart, no hyphens.

    ``a/b`` is "a or b"; what was struck out (``___``, ``XXXX``) is the word "xxxx".
    """
    sentence = sentence.lower()
    for pattern, new in _SPELLING:
        sentence = pattern.sub(new, sentence)
    return sentence.strip(" .,:?")


def clean(text: str) -> str:
    """``text`` for a caption: no headings, list numbers, struck-out words (``___``, ``XXXX``), repeated sentences.

    Nor sentences whose subject was struck out, and those on who was told when.
    """
    kept: dict[str, str] = {}
    for sentence in split_sentences(text):
        sentence = _FILM_HEADING.sub("", _HEADING.sub("", sentence))
        if told := _TOLD_TO.search(sentence):
            sentence = f"{sentence[: told.start()]}." if told["comma"] else ""
        if (bare := _STRUCK_OUT.sub("", sentence)) != sentence:
            sentence = "" if _NO_SUBJECT.match(bare) else bare
        sentence = _SPACE_BEFORE_MARK.sub("", _EMPTY_MARKS.sub("", " ".join(sentence.split()))).lstrip(" ,;:.)-")
        if not _NO_WORD.fullmatch(sentence):
            kept.setdefault(plain(sentence), sentence[0].upper() + sentence[1:])
    return " ".join(kept.values())


def _pieces(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST:
        cut = sentence.rfind(" ", 0, LONGEST)
        cut = cut if cut > 0 else LONGEST
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    yield sentence
