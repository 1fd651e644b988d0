"""Sections of a radiology report: the words that describe the image, without history, technique or comparison.

MIMIC-CXR's look (every line one space in, ``"\\n \\n"`` between paragraphs) is read by the rules of the corpus's own
parser (data format reference §1.9), so that labels come from the same words as the published ones. Other looks
(Open-I, CheXpert Plus with its literal ``\\n``, a clinic's export on one line) are read by the same rules, with headers
that may stand on the first line, in other letters, or after a full stop. Indications name diseases that were asked for,
not seen, so they must not reach an encoder or a labeler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wsrpn_vl.text.section_names import ANY_NAMES, CONTAINED, NAMES, ODD_SECTION, SPANS, UNUSABLE, VIEWS

PRIORITY = ("impression", "findings", "last_paragraph", "comparison")  # where MIMIC-CXR's labels come from
_DESCRIBING = ("findings", "impression")
# what stands in for them, if there is neither; every other section speaks of why or how the image was made
_NOT_DESCRIBING = frozenset(
    ("preamble", "indication", "history", "comparison", "examination", "technique", "notification", "date")
) | {"recommendations", "summary", "wet read", "end of impression"}
_ASKED = re.compile(r"reason|indication|clinical|history|question|request|technique|comparison|procedure|diagnosis")
_BODY = re.compile(  # parts of the findings: "LUNGS AND PLEURA:", "TUBES/LINES:"
    r"\b(?:lungs?|heart|cardiac|cardio\w+|mediastin\w+|pleura\w*|bones?|bony|osseous|skelet\w+|soft tissues?|tubes?"
    r"|lines?|devices?|airways?|diaphragms?|abdomen|vascul\w+|hila\w*|hardware)\b"
)
_MIMIC_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_MIMIC_LINE = re.compile(r"\n(?! |\n|$)")  # a line that does not begin with a space
_WORDS = "|".join(sorted((re.escape(n) for n in ANY_NAMES), key=len, reverse=True))
_OTHER_HEADER = re.compile(
    rf"^[ \t]*(?P<caps>[A-Z][A-Z /(),&-]{{2,60}}):[ \t]*"
    rf"|^[ \t]*(?P<line>(?i:{_WORDS})):[ \t]*"
    rf"|(?<=\s)(?P<inside>{_WORDS.upper()}):\s"
    rf"|(?<=[.?!]\s)(?P<after>(?i:{_WORDS})):\s",
    re.MULTILINE,
)
_BLANK = re.compile(r"\n[ \t]*\n")
_RULE = re.compile(r"_{10,}")
_TITLE = re.compile(r"^[ \t]*(?:FINAL REPORT|FINAL ADDENDUM|WET READ)\b[^\n]*$", re.MULTILINE)
_WET_READ = re.compile(r"^[ \t]*WET ?READ\b[^\n]*\n", re.MULTILINE)
_WET_END = re.compile(r"_{10,}|FINAL REPORT")


def split_sections(report: str) -> dict[str, str]:
    """Section -> its text on one line, in order. The last of several sections of one name counts.

    Names are lower case, synonyms and misspellings brought together; ``preamble``: before the first header;
    ``full report``: there is no header; ``last_paragraph``: what follows the first blank line of the last section,
    where there is neither findings nor impression.
    """
    return {name: _one_line(text) for name, text in raw_sections(report).items()}


def raw_sections(report: str) -> dict[str, str]:
    """As :func:`split_sections`, with the text's own lines."""
    report = _real_lines(report)
    mimic = _is_mimic(report)
    parts = _mimic_parts(report) if mimic else _other_parts(report)
    parts = [(name, text) for name, text in parts if name not in _DESCRIBING or text.strip()]
    if parts and not any(name in _DESCRIBING for name, _ in parts):
        name, last = parts.pop()
        head, *tail = last.split("\n \n", 1) if mimic else _BLANK.split(last, maxsplit=1)
        parts += [(name, head), *(("last_paragraph", text) for text in tail)]
    return dict(parts)


def labelling_text(report: str, study_id: str | int | None = None) -> str:
    """The one section that MIMIC-CXR's labels come from, on one line: impression, else findings, else others.

    study_id: of MIMIC-CXR (``50000001`` or ``s50000001``), for the 54 studies that its parser treats by hand;
    "" where nothing is usable, as in 8 of these.
    """
    number = int(digits) if (digits := str(study_id).lstrip("sS")[:9]).isdecimal() else 0
    if number in UNUSABLE:
        return ""
    if number in SPANS:
        begin, end = SPANS[number]
        return _one_line(report[begin:end])
    sections = split_sections(report)
    order = (ODD_SECTION[number],) if number in ODD_SECTION else PRIORITY
    whole = sections.get("full report", "") if "last_paragraph" not in sections else ""
    return next((sections[name] for name in order if name in sections), whole)


def describing_text(report: str) -> str:
    """Findings and impression on one line; without these the last paragraph, else all of a report without headers.

    "" where the report has sections, and none of them describes the image.
    """
    return _one_line(" ".join(describing_parts(report)))


def describing_parts(report: str) -> list[str]:
    """The texts that :func:`describing_text` joins, with their own lines."""
    sections = raw_sections(report)
    for names in (_DESCRIBING, ("last_paragraph",)):
        if kept := [sections[name] for name in names if name in sections and sections[name].strip()]:
            parts = [text for name, text in sections.items() if _is_part(name) and text.strip()]
            return [*parts, *kept] if "full report" not in sections else [report]
    return [
        text
        for name, text in sections.items()
        if name not in _NOT_DESCRIBING and not _ASKED.search(name) and text.strip()
    ]


def wet_read(report: str) -> str:
    """The preliminary reading above the final report, without its time stamp; "" if there is none."""
    report = _real_lines(report)
    _, begin, end = _wet_read_span(report)
    return _one_line(report[begin:end])


def without_titles(report: str) -> str:
    """``report`` without title lines, rules and the block of a preliminary reading."""
    report = _real_lines(report)
    first, _, end = _wet_read_span(report)
    return _RULE.sub(" ", _TITLE.sub("", report[:first] + report[end:]))


def _wet_read_span(report: str) -> tuple[int, int, int]:
    """Where a preliminary reading and its text begin, and where they end: at a rule, a title or a blank line."""
    found = _WET_READ.search(report)
    if not found:
        return 0, 0, 0
    end = _WET_END.search(report, found.end()) or _BLANK.search(report, found.end())
    return found.start(), found.end(), end.start() if end else len(report)


def _real_lines(report: str) -> str:
    if "\\n" in report:  # CheXpert Plus writes line ends as two characters
        report = report.replace("\\r", "").replace("\\n", "\n")
    return report.replace("\r\n", "\n").replace("\r", "\n") if "\r" in report else report


def _is_mimic(report: str) -> bool:
    return _MIMIC_HEADER.search(report) is not None and _MIMIC_LINE.search(report) is None


def _mimic_parts(report: str) -> list[tuple[str, str]]:
    """(section, text) in order. The search goes on after the line of a header: ``FINDINGS:  AP:`` is one header."""
    found = _MIMIC_HEADER.search(report)
    parts = [("preamble", report[: found.start(1)] if found else "")]
    while found:
        name, begin = found[1], found.end()
        line_end = max(report.find("\n", begin), begin)
        found = _MIMIC_HEADER.search(report, line_end)
        parts.append((_section(name, NAMES), report[begin : found.start() if found else None]))
    return parts


def _other_parts(report: str) -> list[tuple[str, str]]:
    marks = list(_OTHER_HEADER.finditer(report))
    if not marks:
        return [("full report", report)]
    ends = [*(mark.start() for mark in marks[1:]), len(report)]
    parts = [
        (_section(_one_line(mark[mark.lastgroup or "caps"]), ANY_NAMES), report[mark.end() : end])
        for mark, end in zip(marks, ends, strict=True)
    ]
    before = report[: marks[0].start()]
    return [("preamble", before), *parts] if before.strip() else parts


def _section(header: str, names: Mapping[str, str]) -> str:
    """The section a header stands for; itself, in lower case, if for none that is known."""
    name = header.lower().strip()
    if known := names.get(name):
        return known
    if held := next((main for main in CONTAINED if main in name), None):
        return held
    return "findings" if any(view in name for view in VIEWS) else name


def _is_part(name: str) -> bool:
    return name not in (*PRIORITY, *_NOT_DESCRIBING) and _BODY.search(name) is not None and not _ASKED.search(name)


def _one_line(text: str) -> str:
    return " ".join(text.split())
