"""Sections written in MIMIC-CXR's look come back through the rules that read it."""

from __future__ import annotations

from wsrpn_vl.text.layout import mimic_look
from wsrpn_vl.text.sections import describing_text, split_sections

SECTIONS = (
    ("Indication", "Cough.\n  Pneumonia?"),
    ("COMPARISON", ""),
    ("FINDINGS", "Heart: large. No effusion."),
    ("IMPRESSION", "1. Large heart."),
)


def test_sections_come_back() -> None:
    text = mimic_look(SECTIONS)
    assert describing_text(text) == "Heart: large. No effusion. 1. Large heart."
    told = split_sections(text)
    assert told["indication"] == "Cough. Pneumonia?" and "comparison" not in told
    assert all(line.startswith(" ") for line in text.splitlines())


def test_one_section_and_none() -> None:
    assert describing_text(mimic_look([("FINDINGS", "Clear lungs.")])) == "Clear lungs."
    assert mimic_look([("FINDINGS", " \n"), ("IMPRESSION", "")]) == ""
