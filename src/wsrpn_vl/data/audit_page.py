"""The audit of a data set on one self-contained HTML page: checks, counts, label rates, figures, sample pictures.

The boxes are not opened.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from wsrpn_vl.data import audit
from wsrpn_vl.data.doctor import Check
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import write_text
from wsrpn_vl.page import picture, template, thumbnail
from wsrpn_vl.plotting import BLUE, GREY, ORANGE, WIDTH, styled

SHOWN = 12  # sample pictures


def write_audit(
    index_path: Path | str, checks: Sequence[Check], out: Path | str, *, root: Path | str | None = None
) -> Path:
    """Write the page and return its path.

    checks: what :func:`wsrpn_vl.data.doctor.diagnose` found; root: folder of the images, where not the recorded one.
    Raises: DataError if the index cannot be read.
    """
    index = read_index(index_path)
    folder = Path(root) if root else index.root
    known = audit.published(index.dataset) or {}
    page = template("wsrpn_vl.data", "audit.html.jinja").render(
        index=index,
        checks=checks,
        failed=sum(not check.ok for check in checks),
        counts=audit.counts(index),
        source=known.get("source", ""),
        note=known.get("note", ""),
        figures=_figures(index),
        labels=_label_rows(index),
        pictures=_pictures(index, folder),
    )
    return write_text(Path(out), page)


def _figures(index: Index) -> list[dict[str, Any]]:
    out = []
    if index.classes:
        out.append(picture(rate_bars(audit.rates(index)), "Share of images with each finding, here and as published"))
    out.append(picture(spread(index.frame), "Views, image sizes, ages and lengths of texts"))
    return out


def _label_rows(index: Index) -> list[tuple[str, list[str]]]:
    """Class, and present/absent/uncertain/blank of each split."""
    splits, found = audit.label_counts(index)
    rows = [(name, [" / ".join(f"{n:,}" for n in counts) for counts in parts]) for name, parts in found.items()]
    return [("class", [split or "no split" for split in splits]), *rows]


def _pictures(index: Index, folder: Path) -> list[dict[str, str]]:
    """A sample of the images that can be read, drawn by the index's content alone."""
    frame = index.frame.select("path", "image_id", "view")
    rows = frame.rows(named=True)
    random.Random(index.content_hash).shuffle(rows)
    out = []
    for row in rows[: 4 * SHOWN]:
        if len(out) == SHOWN:
            break
        try:
            out.append({"uri": thumbnail(read_image(folder / row["path"]), 220), "view": row["view"]})
        except DataError:
            continue  # told among the checks
    return out


@styled
def rate_bars(rates: Sequence[audit.Rate]) -> Figure:
    """Share of positives of each class: bars here, marks as published."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.27 * len(rates)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(rates))
    axes.barh(place, [100 * r.here for r in rates], color=BLUE, height=0.6, label="this index")
    known = [(i, 100 * r.published) for i, r in enumerate(rates) if r.published is not None]
    if known:
        at, value = zip(*known, strict=True)
        axes.scatter(value, at, marker="D", s=26, color=ORANGE, zorder=3, label="published")
    axes.set_yticks(place, [r.name for r in rates])
    axes.invert_yaxis()
    axes.set_xlabel("images with the finding, %")
    axes.legend(loc="lower right")
    return figure


@styled
def spread(frame: pl.DataFrame) -> Figure:
    """Views, sizes, ages and text lengths, as far as they are known."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    views, sizes, ages, words = figure.subplots(1, 4)
    counts = dict(frame["view"].value_counts(sort=True).iter_rows())
    views.bar(list(counts), list(counts.values()), color=BLUE)
    views.set_title("views")
    shapes = frame.select("width", "height").drop_nulls()
    _scatter(sizes, shapes["width"].to_numpy(), shapes["height"].to_numpy(), "image sizes, pixels")
    age = frame["age"].drop_nulls().to_numpy() if "age" in frame.columns else np.zeros(0)
    _histogram(ages, age, "age, years")
    _histogram(words, frame["text"].drop_nulls().str.split(" ").list.len().to_numpy(), "words of a text")
    return figure


def _scatter(axes: Any, x: np.ndarray, y: np.ndarray, title: str) -> None:
    axes.set_title(title)
    if len(x):
        axes.scatter(x, y, s=6, alpha=0.3, color=BLUE, linewidths=0)
    else:
        axes.text(0.5, 0.5, "unknown", ha="center", va="center", color=GREY, transform=axes.transAxes)


def _histogram(axes: Any, values: np.ndarray, title: str) -> None:
    axes.set_title(title)
    if len(values):
        axes.hist(values, bins=30, color=BLUE)
    else:
        axes.text(0.5, 0.5, "none", ha="center", va="center", color=GREY, transform=axes.transAxes)
