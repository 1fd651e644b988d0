"""Where an image's words come from: its report, or sentences made from its labels (§9.1.3, §9.5 of the data notes).

A caption made from labels carries no knowledge beyond the labels; every result says which kind was used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import label_column, phrase
from wsrpn_vl.text.sections import describing_text

POSITIVE = (
    "There is {finding}.",
    "The radiograph shows {finding}.",
    "Findings are consistent with {finding}.",
    "{Finding} is present.",
)
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


def _choose(options: Sequence[str], key: str) -> str:
    return options[int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % len(options)]


def _from_reports(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    return [describing_text(text) if text and text.strip() else None for text in frame["text"].to_list()]


def _from_labels(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    columns = [label_column(c) for c in classes]
    if absent := [c for c in classes if label_column(c) not in frame.columns]:
        have = ", ".join(c.removeprefix("y_") for c in frame.columns if c.startswith("y_"))
        raise DataError(f"the index has no label column for class {absent[0]!r}; it has {have}; set data.classes")
    return [
        caption_from_labels(dict(zip(classes, row[1:], strict=True)), str(row[0]))
        for row in frame.select("image_id", *columns).iter_rows()
    ]


def _nothing(frame: pl.DataFrame, classes: Sequence[str]) -> list[str | None]:
    return [None] * frame.height


CAPTIONS: dict[str, Callable[[pl.DataFrame, Sequence[str]], list[str | None]]] = {
    "report": _from_reports,
    "labels": _from_labels,
    "none": _nothing,
}


def captions(frame: pl.DataFrame, classes: Sequence[str], source: str = "auto") -> tuple[list[str | None], str]:
    """(caption or None per row, source used). ``auto``: reports when at least one row has text, else labels.

    Raises: DataError when ``report`` is asked for and no row has text, or ``labels`` and a class has no column.
    """
    has_text = "text" in frame.columns and frame["text"].drop_nulls().len() > 0
    if source == "auto":
        source = "report" if has_text else "labels"
    if source == "report" and not has_text:
        raise DataError("data.text=report, but the index has no text; use data.text=labels or none")
    return lookup("caption source", source, CAPTIONS)(frame, classes), source
