"""Reads the reports of an index: triples, labels where there are none, and how far each text can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from wsrpn_vl.data.index import Index, read_index, rewrite_index
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.progress import progress
from wsrpn_vl.text.labeler import Reading, label_reports
from wsrpn_vl.text.quality import TextQuality, text_quality
from wsrpn_vl.text.triples import from_labels, to_json

CHUNK = 4096  # texts between two steps of the progress bar


@dataclass(frozen=True)
class WordsSummary:
    """What was read. reports: distinct texts; images: rows with text; silent: texts that state nothing;
    wrong_share: estimated share of texts that are another image's; positives: observation -> rows read as positive."""

    reports: int
    images: int
    silent: int
    wrong_share: float
    mean_confidence: float
    positives: dict[str, int]


def label_index(path: Path | str, *, labels: str = "fill", triples: str = "fill", workers: int = 0) -> WordsSummary:
    """Read the reports of the index at ``path`` and write what they say into it.

    labels: ``fill`` adds the 13 observations that the index has no labels of, ``replace`` overwrites all of them,
    ``keep`` adds none; triples: ``fill`` (rows without), ``replace`` or ``keep``; workers: processes, 0: as many as
    cores. The column ``text_confidence`` compares what a text says with the labels that did not come from it
    (:mod:`wsrpn_vl.text.quality`).
    Raises: DataError if the index has no texts, or cannot be read or written.
    """
    for name, value in (("labels", labels), ("triples", triples)):
        if value not in ("fill", "replace", "keep"):
            raise DataError(f"{name}={value!r}; use fill, replace or keep")
    index = read_index(path)
    texts = index.frame["text"].drop_nulls().unique(maintain_order=True).to_list()
    if not texts:
        raise DataError(f"{index.path}: no image has text; index the data set with its reports first")
    readings = dict(zip(texts, _read(texts, workers), strict=True))
    rows = [readings.get(text) for text in index.frame["text"].to_list()]
    read = _label_matrix(rows)
    given = _given(index) if labels != "replace" else np.full(read.shape, np.nan)
    has = np.array([row is not None for row in rows])
    quality = _quality([row for row in rows if row is not None], read[has], given[has])
    frame, added = _with_labels(index, read, labels)
    frame = _with_triples(frame, rows, triples)
    confidence = np.full(len(rows), np.nan)
    confidence[has] = quality.confidence
    frame = frame.with_columns(pl.Series("text_confidence", confidence, dtype=pl.Float64).fill_nan(None))
    note = f"words read by the labeler: {len(texts):,} texts, {quality.wrong_share:.1%} estimated to be another image's"
    rewrite_index(index, frame, classes=added, notes=(note,))
    return WordsSummary(
        reports=len(texts),
        images=int(has.sum()),
        silent=sum(row is not None and not row.triples for row in rows),
        wrong_share=quality.wrong_share,
        mean_confidence=float(confidence[has].mean()),
        positives={name: int((read[:, k] == 1).sum()) for k, name in enumerate(OBSERVATIONS)},
    )


def triples_of_labels(path: Path | str) -> int:
    """Give each image of an index that has no triples those that its labels amount to; returns how many.

    For data sets without reports: the same form, without places. Only the 13 observations speak, or, of an index
    without any, its own classes. Raises: DataError if the index has no labels, or cannot be read or written.
    """
    index = read_index(path)
    classes = [c for c in index.classes if c in OBSERVATIONS] or list(index.classes)
    if not classes:
        raise DataError(f"{index.path}: no labels to make triples of; index the data set with its labels")
    rows = index.frame.select(label_column(c) for c in classes).iter_rows()
    told = [to_json(from_labels(dict(zip(classes, row, strict=True)))) for row in rows]
    empty = index.frame["triples"].null_count()
    frame = index.frame.with_columns(pl.coalesce("triples", pl.Series("told", told)).alias("triples"))
    rewrite_index(index, frame, notes=(f"{empty:,} x triples made from labels",))
    return empty


def _read(texts: list[str], workers: int) -> list[Reading]:
    out: list[Reading] = []
    with progress("reading reports", "reports") as report:
        for begin in range(0, len(texts), CHUNK):
            out += label_reports(texts[begin : begin + CHUNK], workers)
            report(len(out), len(texts))
    return out


def _label_matrix(rows: list[Reading | None]) -> np.ndarray:
    """(n, 13) what each text says; NaN where nothing or no text."""
    nothing = dict.fromkeys(OBSERVATIONS)
    said = [nothing if row is None else row.labels for row in rows]
    return np.array([[np.nan if s[name] is None else s[name] for name in OBSERVATIONS] for s in said], dtype=np.float64)


def _given(index: Index) -> np.ndarray:
    """(n, 13) labels of the index that did not come out of its texts; NaN where it has none."""
    columns = []
    for name in OBSERVATIONS:
        column = label_column(name)
        known = name in index.classes and name not in index.text_labels
        values = index.frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy() if known else np.nan
        columns.append(np.broadcast_to(values, index.frame.height))
    return np.stack(columns, axis=1)


def _quality(rows: list[Reading], read: np.ndarray, given: np.ndarray) -> TextQuality:
    """Quality of texts, of which ``read`` is what they say and ``given`` what their images are labelled."""
    statements = np.array([len(row.triples) for row in rows])
    hedged = np.array([sum(t.polarity == "uncertain" for t in row.triples) for row in rows])
    return text_quality(read, given, statements, hedged)


def _with_labels(index: Index, read: np.ndarray, how: str) -> tuple[pl.DataFrame, list[str]]:
    """The frame with label columns by policy, and the classes added."""
    chosen = [c for c in OBSERVATIONS if how == "replace" or (how == "fill" and c not in index.classes)]
    series = [
        pl.Series(label_column(name), read[:, OBSERVATIONS.index(name)]).fill_nan(None).cast(pl.Int8) for name in chosen
    ]
    return index.frame.with_columns(series), chosen


def _with_triples(frame: pl.DataFrame, rows: list[Reading | None], how: str) -> pl.DataFrame:
    if how == "keep":
        return frame
    told = pl.Series("triples", [None if row is None else to_json(row.triples) for row in rows], dtype=pl.String)
    return frame.with_columns(told if how == "replace" else pl.coalesce("triples", told).alias("triples"))
