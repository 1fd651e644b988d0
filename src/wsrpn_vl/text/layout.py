"""Sections written in the look of a MIMIC-CXR report, so that one set of rules reads the reports of every data set."""

from __future__ import annotations

from collections.abc import Iterable

TITLE = " " * 33 + "FINAL REPORT"


def mimic_look(sections: Iterable[tuple[str, str]]) -> str:
    """Report of (header, text) pairs: title line, one-space margin, paragraphs a blank line apart, empty ones left out.

    ``text.sections.split_sections`` gives the sections back, each on one line. "" when every text is empty.
    """
    told = [(header.upper(), " ".join(text.split())) for header, text in sections]
    blocks = [f" {header}:  {text}" for header, text in told if text]
    return "\n".join((TITLE, "\n \n".join(blocks), "")) if blocks else ""
