"""What each data set calls a finding: the one table between native names, index classes and CheXpert observations.

One CSV file per data set in ``mappings/``, columns ``native,class,observation,fit``. ``native``: spelling in the data
set's files; ``class``: index class it labels (blank: known, but no class of ours); ``observation``: the CheXpert
observation that class belongs to (blank: none); ``fit``: ``exact``, ``near`` (approximate, used) or ``off``
(approximate, used only when asked for). A native name that says two things has two rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import polars as pl

from wsrpn_vl.errors import DataError, nearest
from wsrpn_vl.labels import OBSERVATIONS, label_column

FITS = ("exact", "near", "off")


@dataclass(frozen=True)
class Name:
    """One row of the table."""

    native: str
    cls: str
    observation: str
    fit: str


def datasets() -> tuple[str, ...]:
    """Data sets with a table, sorted."""
    return tuple(sorted(f.name.removesuffix(".csv") for f in _folder().iterdir() if f.name.endswith(".csv")))


@cache
def table(dataset: str) -> tuple[Name, ...]:
    """Rows of a data set in file order.

    Raises: DataError for an unknown data set, or a row whose observation or fit is none.
    """
    if dataset not in datasets():
        raise DataError(f"no mapping table for data set {dataset!r}{nearest(dataset, datasets())}")
    path = _folder() / f"{dataset}.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    names = tuple(Name(r["native"], r["class"], r["observation"], r["fit"]) for r in rows)
    for line, name in enumerate(names, start=2):
        unknown = name.observation and name.observation not in OBSERVATIONS
        if unknown or name.fit not in FITS or (name.observation and not name.cls):
            raise DataError(f"{path.name}: line {line}: {name} has an unknown observation or fit, or lacks its class")
    return names


def classes_of(
    dataset: str, native: str, place: str, *, approximate: bool = False, quoted: bool = True
) -> tuple[str, ...]:
    """Index classes that a native name labels; spelling may differ in case, spaces, underscores.

    place: file and line for the message; approximate: take rows with fit ``off`` too; quoted: name the finding in the
    message; false for tables that hold words of reports, where a shifted row has them in any column.
    Raises: DataError for a name that the data set's table does not know.
    """
    known = _by_key(dataset)
    rows = known.get(_key(native))
    if rows is None:
        names = [name.native for name in table(dataset)]
        said = repr(native) if quoted else "of a row"
        raise DataError(f"{place}: finding {said} is unknown{nearest(native, names)}")
    return tuple(dict.fromkeys(n.cls for n in rows if n.cls and (approximate or n.fit != "off")))


def doubtful(dataset: str, natives: Iterable[str], place: str, *, approximate: bool = False) -> set[str]:
    """Index classes that native names suggest and do not say, by rows with fit ``off`` alone; neither 1 nor 0 is right.

    With ``approximate`` those rows are taken at their word, and none is left. place, Raises: as :func:`classes_of`.
    """
    if approximate:
        return set()
    natives = list(natives)
    said, suggested = (
        {c for native in natives for c in classes_of(dataset, native, place, approximate=rough)}
        for rough in (False, True)
    )
    return suggested - said


def index_classes(dataset: str, *, approximate: bool = False) -> tuple[str, ...]:
    """All classes of a data set's index: its own in table order, then the observations they belong to."""
    rows = [n for n in table(dataset) if n.cls and (approximate or n.fit != "off")]
    own = dict.fromkeys(n.cls for n in rows)
    held = {n.observation for n in rows}
    return (*own, *(o for o in OBSERVATIONS if o in held and o not in own))


def observations(dataset: str) -> dict[str, str]:
    """Index class -> observation, of one data set's own classes; classes that belong to none are left out."""
    return {n.cls: n.observation for n in table(dataset) if n.cls and n.observation and n.fit != "off"}


def natives_of(observation: str) -> tuple[str, ...]:
    """Index classes of other names that belong to an observation, over all data sets."""
    return tuple(cls for cls, held in _observation_of().items() if held == observation and cls != observation)


def with_observations(frame: pl.DataFrame, classes: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with a label column for each observation that its ``classes`` belong to, and all classes then.

    An observation is 1 where one of its classes is, else -1 where one is uncertain, else null where one is not
    mentioned, else 0. An observation that is among ``classes`` itself keeps its own labels.
    """
    added = []
    for observation in OBSERVATIONS:
        parts = [c for c in natives_of(observation) if c in classes]
        if parts and observation not in classes:
            frame = frame.with_columns(combine([label_column(c) for c in parts]).alias(label_column(observation)))
            added.append(observation)
    return frame, (*classes, *added)


def combine(columns: Iterable[str]) -> pl.Expr:
    """Label of "one of these": 1 if any is 1, else -1 if any is -1, else null if any is null, else 0."""
    parts = [pl.col(c) for c in columns]
    return (
        pl.when(pl.any_horizontal((p == 1).fill_null(False) for p in parts))
        .then(1)
        .when(pl.any_horizontal((p == -1).fill_null(False) for p in parts))
        .then(-1)
        .when(pl.any_horizontal(p.is_null() for p in parts))
        .then(None)
        .otherwise(0)
        .cast(pl.Int8)
    )


@cache
def _observation_of() -> dict[str, str]:
    """Index class -> observation, over all data sets.

    Raises: DataError when two tables disagree.
    """
    out: dict[str, str] = {}
    for dataset in datasets():
        for name in table(dataset):
            if name.cls and name.observation and out.setdefault(name.cls, name.observation) != name.observation:
                raise DataError(f"mappings/{dataset}.csv: {name.cls!r} belongs to {out[name.cls]!r} elsewhere")
    return out


@cache
def _by_key(dataset: str) -> dict[str, list[Name]]:
    out: dict[str, list[Name]] = {}
    for name in table(dataset):
        out.setdefault(_key(name.native), []).append(name)
    return out


def _key(native: str) -> str:
    return " ".join(native.replace("_", " ").casefold().split())


def _folder():
    return resources.files("wsrpn_vl.data") / "mappings"
