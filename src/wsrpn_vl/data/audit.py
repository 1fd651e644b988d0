"""Counts of an index beside those published of its data set, and overlap with other data sets.

Published counts lie in ``published/<dataset>.json``: ``images``, ``studies``, ``patients``, ``frontal``,
``no_finding``, ``views``, ``positives``, ``negatives``, ``uncertain`` and, by split, the same again under ``splits``;
with ``labels_per: study`` a label counts once a study. Boxes are not counted here: only evaluation opens them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from wsrpn_vl.data.fingerprints import fingerprints, near_pairs
from wsrpn_vl.data.index import LEARNT, SPLITS, Index, read_index
from wsrpn_vl.data.leaks import members_of, overlap
from wsrpn_vl.labels import label_column

SIGNS = {"positives": 1, "negatives": 0, "uncertain": -1}
SAME_PICTURES = {"nih": "NIH", "rsna": "NIH", "siim": "NIH", "chestx_det": "NIH"}  # data sets of renamed pictures


@dataclass(frozen=True)
class Count:
    """One count, here and published. scope: the split, or empty for all."""

    scope: str
    what: str
    here: int
    published: int


@dataclass(frozen=True)
class Overlap:
    """What an index and another share. leaking: images learnt from here and judged on there, or the other way."""

    other: str
    how: str
    images: int
    leaking: int
    examples: tuple[str, ...]


def published(dataset: str) -> dict[str, Any] | None:
    """Published counts of a data set; None where none are known."""
    path = resources.files("wsrpn_vl.data") / "published" / f"{dataset}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def counts(index: Index) -> list[Count]:
    """The index's counts beside the published ones, in their order; empty where none are published."""
    known = published(index.dataset)
    if known is None:
        return []
    per_study = known.get("labels_per") == "study"
    rows = list(_counts(index.frame, known, "", per_study))
    for split, node in known.get("splits", {}).items():
        rows += _counts(index.frame.filter(pl.col("split") == split), node, split, per_study)
    return rows


def _counts(frame: pl.DataFrame, known: Mapping[str, Any], scope: str, per_study: bool) -> Iterator[Count]:
    if "view_from" in frame.columns:  # published counts know nothing of views taken from other columns
        stated = pl.col("view_from") == "ViewPosition"
        frame = frame.with_columns(pl.when(stated).then("view").otherwise(pl.lit("UNK")).alias("view"))
    whole: dict[str, Callable[[], int]] = {
        "images": lambda: frame.height,
        "studies": lambda: frame["study_id"].drop_nulls().n_unique(),
        "patients": lambda: frame["patient_id"].drop_nulls().n_unique(),
        "frontal": lambda: frame.filter(pl.col("view").is_in(["AP", "PA"])).height,
        "no_finding": lambda: _rows(frame, pl.col("no_finding"), per_study) if "no_finding" in frame.columns else 0,
    }
    for what, count in whole.items():
        if what in known:
            yield Count(scope, what.replace("_", " "), count(), int(known[what]))
    for view, number in known.get("views", {}).items():
        yield Count(scope, f"view {view}", frame.filter(pl.col("view") == view).height, int(number))
    for kind, sign in SIGNS.items():
        for name, number in known.get(kind, {}).items():
            column = label_column(name)
            if column in frame.columns:
                here = _rows(frame, pl.col(column) == sign, per_study)
                yield Count(scope, f"{name} {kind}", here, int(number))


def _rows(frame: pl.DataFrame, chosen: pl.Expr, per_study: bool) -> int:
    rows = frame.filter(chosen.fill_null(False))
    return rows["study_id"].n_unique() if per_study else rows.height


def label_counts(index: Index) -> tuple[list[str], dict[str, list[tuple[int, ...]]]]:
    """The index's splits in order, and of each class the present, absent, uncertain and blank labels of each split."""
    parts = {s: index.frame.filter(pl.col("split") == s) for s in SPLITS if s in set(index.frame["split"])}
    found: dict[str, list[tuple[int, ...]]] = {}
    for name in index.classes:
        columns = [part[label_column(name)] for part in parts.values()]
        found[name] = [(*(int((c == sign).sum()) for sign in SIGNS.values()), c.null_count()) for c in columns]
    return list(parts), found


@dataclass(frozen=True)
class Rate:
    """Share of positives of a class among images (or studies): here, and published where known."""

    name: str
    here: float
    published: float | None


def rates(index: Index) -> list[Rate]:
    """Label rates of an index, and the published ones, over all images or all studies.

    Published rates are worked out of published counts, or stated as ``rates`` (per cent of 1, 0 and -1).
    """
    known = published(index.dataset) or {}
    node = known if "positives" in known else known.get("splits", {}).get("train", {})
    per_study = known.get("labels_per") == "study"
    total = node.get("studies" if per_study else "images", 0)
    here = index.frame["study_id"].n_unique() if per_study else index.frame.height
    rows = []
    for name in index.classes:
        count = _rows(index.frame, pl.col(label_column(name)) == 1, per_study)
        stated = node.get("positives", {}).get(name)
        share = stated / total if stated is not None and total else None
        if share is None and name in known.get("rates", {}):
            share = known["rates"][name][0] / 100
        rows.append(Rate(name, count / here, share))
    return rows


def overlap_with(index: Index, other: Path | str, progress: Callable[[int, int], None] | None = None) -> Overlap:
    """Patients and images that ``other`` (an index or a table of ids) has too, by id, or by the pictures themselves.

    Pictures are compared when both are data sets known to hold NIH's, renamed (:data:`SAME_PICTURES`), and no id fits.
    Raises: DataError if ``other`` cannot be read.
    """
    other = Path(other)
    there = read_index(other) if other.suffix == ".parquet" else None
    named = overlap(index.frame, members_of(other))
    if there is None:
        hit = index.frame.filter(named)
        learnt = hit.filter(pl.col("split").is_in(LEARNT))
        return Overlap(other.name, "by id", hit.height, learnt.height, _some(hit))
    if not named.any() and SAME_PICTURES.get(index.dataset, "a") == SAME_PICTURES.get(there.dataset, "b"):
        return _by_pictures(index, there, progress)
    hit = index.frame.filter(named)
    reverse = there.frame.filter(overlap(there.frame, members_of(index.path)))
    return Overlap(there.dataset, "by id", hit.height, _leaking(hit, reverse), _some(hit))


def _leaking(here: pl.DataFrame, there: pl.DataFrame) -> int:
    """Shared images learnt from on one side while shared ones are judged on at the other."""
    learnt, judged = here.filter(pl.col("split").is_in(LEARNT)).height, (there["split"] == "test").sum()
    back, forth = there.filter(pl.col("split").is_in(LEARNT)).height, (here["split"] == "test").sum()
    return (learnt if judged else 0) + (back if forth else 0)


def _by_pictures(index: Index, there: Index, progress: Callable[[int, int], None] | None) -> Overlap:
    frames = [index.frame, there.frame]
    paths = [[i.root / p for p in f["path"].to_list()] for i, f in zip((index, there), frames, strict=True)]
    total = sum(map(len, paths))
    a, read_a = fingerprints(paths[0], progress and (lambda done, _: progress(done, total)))
    b, read_b = fingerprints(paths[1], progress and (lambda done, _: progress(done + len(paths[0]), total)))
    pairs = near_pairs(a, b)
    pairs = pairs[read_a[pairs[:, 0]] & read_b[pairs[:, 1]]]
    splits = [f["split"].to_numpy() for f in frames]
    learnt = [[s in LEARNT for s in side] for side in splits]
    leaking = {
        i
        for i, j, _ in pairs.tolist()
        if (learnt[0][i] and splits[1][j] == "test") or (learnt[1][j] and splits[0][i] == "test")
    }
    names = [f["image_id"].to_list() for f in frames]
    some = tuple(f"{names[0][i]} = {names[1][j]}" for i, j, _ in pairs[:3].tolist())
    return Overlap(there.dataset, "by the pictures", len(set(pairs[:, 0].tolist())), len(leaking), some)


def _some(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(frame["image_id"].head(3).to_list())


def differing(rows: Sequence[Count]) -> list[Count]:
    """Counts that are not the published ones."""
    return [row for row in rows if row.here != row.published]
