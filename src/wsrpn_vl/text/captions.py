"""Where an image's words come from: its report, the triples of its report, or sentences made from its labels (§9.1.3).

A caption made from labels carries no knowledge beyond the labels; every result says which kind was used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import polars as pl

from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import label_column, phrase
from wsrpn_vl.text.comparisons import finding_sentences
from wsrpn_vl.text.sections import describing_parts, without_titles
from wsrpn_vl.text.sentences import clean
from wsrpn_vl.text.triples import from_json, hierarchical_captions, is_comparison

POSITIVE = (
    "There is {finding}.",
    "The radiograph shows {finding}.",
    "Findings are consistent with {finding}.",
    "{Finding} is present.",
)
_OTHER = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "right": "left", "Right": "Left", "RIGHT": "LEFT"}
_SIDE = re.compile(rf"\b(?:{'|'.join(_OTHER)})")
NORMAL = (
    "No acute cardiopulmonary abnormality.",
    "The lungs are clear. No acute findings.",
    "Normal chest radiograph.",
)


def caption_from_labels(labels: Mapping[str, int | None], key: str) -> str:
    """One sentence per positive class in a wording chosen by ``key`` (an image id), equal inputs give equal words."""
    positive = [name for name, value in labels.items() if value == 1]
    if not positive:
        return _choose(NORMAL, key)
    sentences = []
    for name in positive:
        words = phrase(name)
        template = _choose(POSITIVE, f"{key}/{name}")
        sentences.append(template.format(finding=words, Finding=words[0].upper() + words[1:]))
    return " ".join(sentences)


def report_caption(report: str) -> str:
    """What of a report describes the image, tidied by :func:`~wsrpn_vl.text.sentences.clean`; "" if nothing does."""
    return clean("\n\n".join(without_titles(part) for part in describing_parts(report)))


def mirror(text: str) -> str:
    """``text`` with left and right exchanged, for an image that is flipped; applied twice it gives ``text`` back."""
    return _SIDE.sub(lambda found: _OTHER[found.group()], text)


def _choose(options: Sequence[str], key: str) -> str:
    return options[int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % len(options)]


def _from_reports(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    return [(report_caption(text) or None) if text else None for text in frame["text"].to_list()]


def _from_findings(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    return [(finding_sentences(words) or None) if words else None for words in _from_reports(frame, classes)]


def _from_labels(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    columns = [label_column(c) for c in classes]
    if absent := [c for c in classes if label_column(c) not in frame.columns]:
        have = ", ".join(c.removeprefix("y_") for c in frame.columns if c.startswith("y_"))
        raise DataError(f"the index has no label column for class {absent[0]!r}; it has {have}; set data.classes")
    return [
        caption_from_labels(dict(zip(classes, row[1:], strict=True)), str(row[0]))
        for row in frame.select("image_id", *columns).iter_rows()
    ]


def _from_triples(level: int, frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    """Captions at a level of detail 0..2; None where the report states nothing or there is no report."""
    told = [from_json(cell) if cell else () for cell in frame["triples"].to_list()]
    said = [any(not is_comparison(triple) for triple in triples) for triples in told]
    return [hierarchical_captions(triples)[level] if some else None for triples, some in zip(told, said, strict=True)]


def _nothing(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    return [None] * frame.height


CAPTIONS: dict[str, Callable[[pl.DataFrame, Sequence[str]], list[str | None]]] = {
    "report": _from_reports,
    "findings": _from_findings,
    "triples": partial(_from_triples, 2),
    "triples_location": partial(_from_triples, 1),
    "triples_finding": partial(_from_triples, 0),
    "labels": _from_labels,
    "none": _nothing,
}


def has_words(frame: pl.DataFrame, column: str) -> bool:
    """Whether any row has something in ``column`` (``text`` or ``triples``)."""
    return column in frame.columns and frame[column].drop_nulls().len() > 0


def captions(frame: pl.DataFrame, classes: Sequence[str], source: str = "auto") -> tuple[list[str | None], str]:
    """(caption or None per row, source used). ``auto``: reports when at least one row has text, else labels.

    Raises: DataError when ``report`` or ``findings`` is asked for and no row has text, ``triples*`` and no row has
    triples, or ``labels`` and a class has no column.
    """
    has_text, has_triples = has_words(frame, "text"), has_words(frame, "triples")
    if source == "auto":
        source = "report" if has_text else "labels"
    if source in ("report", "findings") and not has_text:
        raise DataError(f"data.text={source}, but the index has no text; use data.text=labels or none")
    if source.startswith("triples") and source in CAPTIONS and not has_triples:
        mend = "make them with `wsrpn-vl label`, or use data.text=auto, labels or none"
        raise DataError(f"data.text={source}, but the index has no triples; {mend}")
    return lookup("caption source", source, CAPTIONS)(frame, classes), source
