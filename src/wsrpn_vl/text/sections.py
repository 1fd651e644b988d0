"""Sections of a radiology report: the words that describe the image, without history, technique or comparison.

MIMIC-CXR's look: upper-case headers with a colon at the start of a line, text on the same line or below, lines
wrapped mid-sentence. Indications name diseases that were asked for, not seen, so they must not reach the text encoder.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"^[ \t]*([A-Z][A-Z /(),&-]{2,60}?):[ \t]*", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n")
_DESCRIBING = ("FINDING", "IMPRESSION", "CONCLUSION", "SUMMARY", "CHEST", "INTERPRETATION")


def split_sections(report: str) -> dict[str, str]:
    """Header (upper case) -> text, in order; ``""`` holds what stands before the first; repeated headers are joined."""
    out: dict[str, str] = {}
    marks = list(_HEADER.finditer(report))
    starts = [("", 0, 0), *((m.group(1).strip(), m.start(), m.end()) for m in marks)]
    for i, (name, _, begin) in enumerate(starts):
        end = starts[i + 1][1] if i + 1 < len(starts) else len(report)
        text = " ".join(report[begin:end].split())
        if text:
            out[name] = f"{out[name]} {text}" if name in out else text
    return out


def describing_text(report: str) -> str:
    """Findings and impression on one line; without such a section the last paragraph after a header, else all.

    The fallback is MIMIC-CXR's own: what follows the first blank line of the last section.
    """
    sections = split_sections(report)
    kept = [text for name, text in sections.items() if name.startswith(_DESCRIBING)]
    if not kept and (marks := list(_HEADER.finditer(report))):
        kept = [" ".join(tail.split()) for tail in _BLANK.split(report[marks[-1].end() :], maxsplit=1)[1:]]
    return " ".join(filter(None, kept)) or " ".join(report.split())
