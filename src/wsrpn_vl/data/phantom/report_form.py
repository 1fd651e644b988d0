"""A report's outward form: MIMIC-CXR's title line, headers, one-space margin, hard-wrapped lines and ``___``.

Shares of section headers follow the corpus (findings two thirds, impression five sixths, a few with neither header).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

T = TypeVar("T")
WIDTH = 79
TITLE = " " * 33 + "FINAL REPORT"
_RULE = " " + "_" * (WIDTH - 1)
_SYMPTOMS = (
    "dyspnea",
    "chest pain",
    "cough",
    "fever",
    "hypoxia",
    "weakness",
    "fall",
    "shortness of breath",
    "altered mental status",
    "leukocytosis",
    "tachycardia",
    "sepsis",
    "recent surgery",
)
_QUESTIONS = (
    "pneumonia",
    "acute process",
    "infiltrate",
    "interval change",
    "edema",
    "effusion",
    "ptx",
    "line placement",
)
_NOTIFY = (
    "Findings were discussed with Dr. ___ by telephone at ___ on ___.",
    "The above findings were communicated via telephone by Dr. ___ to Dr. ___ at ___ on ___.",
    "These findings were discussed with Dr. ___ by telephone at ___, ___ minutes after discovery.",
    "Dr. ___ was notified by telephone at ___ on ___.",
    "Findings were conveyed by Dr. ___ to Dr. ___ in person at ___.",
)


class Person(Protocol):
    """What a report says of the patient; the age is struck out like every date."""

    @property
    def male(self) -> bool:
        """Whether the patient is male."""
        ...

    @property
    def supine(self) -> bool:
        """Whether the patient lies."""
        ...


def one(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of ``options``, evenly; many times faster than the generator's ``choice``."""
    return options[int(rng.random() * len(options))]


def lay_out(
    findings: Sequence[str],
    impression: Sequence[str],
    patient: Person,
    view: str,
    rng: np.random.Generator,
    *,
    repeat: bool = False,
    urgent: bool = False,
) -> str:
    """The report of these sentences. Either list may be empty, not both; a line has at most :data:`WIDTH` characters.

    repeat: there is an earlier study to compare with; urgent: someone is likely to have been called.
    ``text.sections.describing_text`` gives back findings and impression (and, at times, who was told of them).
    """
    blocks = _history(patient, view, rng, repeat)
    told = one(rng, _NOTIFY) if rng.random() < (0.3 if urgent else 0.03) else ""
    gap = "  " if rng.random() < 0.6 else " "
    if findings and impression:
        names = ("FINDINGS", "CONCLUSION" if rng.random() < 0.02 else "IMPRESSION")
        blocks += [_block(rng, names[0], gap.join(findings)), _block(rng, names[1], *_numbered(impression, rng))]
    else:
        kind, form = ("FINDINGS" if findings else "IMPRESSION"), rng.random()
        if findings and form < 0.2:  # neither header: the text is the paragraph after the last one
            blocks.append(_wrap(gap.join(findings)))
        elif findings and form < 0.35:
            blocks.append(_block(rng, one(rng, ("FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION")), gap.join(findings)))
        else:
            blocks.append(_block(rng, kind, *_numbered(impression, rng) if impression else (gap.join(findings),)))
    if told:
        closing = impression and rng.random() < 0.4
        blocks.append(_block(rng, "NOTIFICATION", told) if closing else _wrap(told))
    above = ""
    if rng.random() < 0.015:
        above = f"{' ' * 33}FINAL ADDENDUM\n{_wrap('ADDENDUM:  ' + one(rng, _NOTIFY))}\n{_RULE}\n"
    elif view == "AP" and rng.random() < 0.03:
        above = f"{_wrap('WET READ: ___ ___ ___ ___')}\n{_wrap((impression or findings)[0])}\n{_RULE}\n"
    return above + TITLE + "\n" + "\n \n".join(blocks) + "\n"


def plain_form(findings: str, impression: str) -> str:
    """One fixed form without history."""
    return f"{TITLE}\n{_wrap('FINDINGS:  ' + findings)}\n \n{_wrap('IMPRESSION:  ' + impression)}\n"


def _wrap(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=" ",
        subsequent_indent=" ",
        break_long_words=False,
        break_on_hyphens=False,
        fix_sentence_endings=False,
    )


def _block(rng: np.random.Generator, header: str, *paragraphs: str) -> str:
    """The header with its text on the same line or, as often in later years, below it."""
    if rng.random() < 0.45:
        return "\n".join(_wrap(p) for p in (f"{header}:  {paragraphs[0]}", *paragraphs[1:]))
    return "\n".join((f" {header}: \n ", *(_wrap(p) for p in paragraphs)))


def _numbered(impression: Sequence[str], rng: np.random.Generator) -> Sequence[str]:
    if len(impression) > 1 and rng.random() < 0.6:
        return [f"{i}.  {line}" for i, line in enumerate(impression, 1)]
    return ("  ".join(impression),)


def _history(patient: Person, view: str, rng: np.random.Generator, repeat: bool) -> list[str]:
    """What stands above the findings: examination, indication, technique, comparison under one of several habits."""
    portable = view == "AP" and rng.random() < 0.8
    reason = _reason(patient, rng)
    compared = one(
        rng, ("Chest radiograph from ___.", "Radiograph dated ___.", "___.", "Multiple prior studies, most recent ___.")
    )
    comparison = compared if repeat else one(rng, ("None.", "None available.", "No prior radiographs."))
    views = "portable AP" if portable else "AP" if view == "AP" else "PA"
    technique = one(
        rng,
        (f"Single {views} view of the chest.", f"{views[0].upper() + views[1:]} chest radiograph.", "Frontal view."),
    )
    exam = f"CHEST ({views.upper()})"
    habit = rng.random()
    if habit < 0.42:
        sections = [("EXAMINATION", exam), ("INDICATION", reason)]
        sections += [("TECHNIQUE", technique)] * (rng.random() < 0.6)
        sections += [("COMPARISON", comparison)] * (rng.random() < 0.85)
    elif habit < 0.66:
        sections = [
            ("", one(rng, ("CHEST RADIOGRAPH PERFORMED ON ___", f"{views.upper()} CHEST, ___", "CHEST RADIOGRAPH")))
        ]
        sections += [(one(rng, ("HISTORY", "INDICATION", "CLINICAL HISTORY")), reason)]
        sections += [("COMPARISON", comparison)] * (rng.random() < 0.8)
    elif habit < 0.86:
        sections = [("COMPARISON", comparison)] * (rng.random() < 0.6)
        sections += [(one(rng, ("HISTORY", "CLINICAL INFORMATION", "CLINICAL INDICATION")), reason)]
        sections += [("TECHNIQUE", technique)] * (rng.random() < 0.3)
    else:
        sections = [("", technique)] * (rng.random() < 0.3)
        sections += [(one(rng, ("REASON FOR EXAMINATION", "REASON FOR EXAM")), reason)]
    return [_wrap(f"{name}:  {text}" if name else text) for name, text in sections]


def _reason(patient: Person, rng: np.random.Generator) -> str:
    sex, person, short = ("male", "man", "M") if patient.male else ("female", "woman", "F")
    who = one(
        rng, (f"___ year old {person}", f"___-year-old {sex}", f"___{short}", f"___ {short}", f"___-year-old {person}")
    )
    text = f"{who} with {one(rng, _SYMPTOMS)}"
    if rng.random() < 0.35:
        question = one(rng, _QUESTIONS)
        return text + one(
            rng,
            (
                f"  // ? {question}",
                f".  Question {question}.",
                f" // eval for {question}",
                f", evaluate for {question}.",
            ),
        )
    return text + "."
