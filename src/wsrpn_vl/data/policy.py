"""Label policies: what uncertain and unmentioned labels become, and what a label says of its parents and children.

The index keeps what the data set says (1, 0, -1 uncertain, null not mentioned); a run decides what to make of it. The
names follow CheXpert (Irvin et al., AAAI 2019): U-Ignore, U-Ones, U-Zeros; smoothing by Pham et al., arXiv:1911.06475;
the mixed policy is that of GLoRIA and MGCA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wsrpn_vl.data.draws import share_of
from wsrpn_vl.labels import BY_NAME

SMOOTH = {"smooth_ones": (0.55, 0.85), "smooth_zeros": (0.0, 0.3)}  # uniform ranges
MIXED = {"Atelectasis": 1.0, "Cardiomegaly": 0.0, "Consolidation": 0.0, "Edema": 1.0, "Pleural Effusion": 1.0}
BLANK = {"negative": 0.0, "ignore": np.nan}


def _constant(value: float) -> Callable[..., np.ndarray]:
    return lambda keys, classes: np.full((len(keys), len(classes)), value)


def _smooth(kind: str, keys: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """A number of the range for each key and class, by their hash: the same in every run, epoch and process."""
    low, high = SMOOTH[kind]
    shares = [[share_of(name, key) for name in classes] for key in keys]
    return low + (high - low) * np.array(shares).reshape(len(keys), len(classes))


def _mixed(keys: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    return np.tile([MIXED.get(name, np.nan) for name in classes], (len(keys), 1))


UNCERTAIN: dict[str, Callable[[Sequence[str], Sequence[str]], np.ndarray]] = {
    "ignore": _constant(np.nan),
    "ones": _constant(1.0),
    "zeros": _constant(0.0),
    "smooth_ones": lambda keys, classes: _smooth("smooth_ones", keys, classes),
    "smooth_zeros": lambda keys, classes: _smooth("smooth_zeros", keys, classes),
    "mixed": _mixed,
}


def apply_policy(
    values: np.ndarray, classes: Sequence[str], keys: Sequence[str], *, uncertain: str, blank: str, hierarchy: str
) -> np.ndarray:
    """(n, c) labels 1, 0, -1, NaN -> float32 targets in [0, 1], NaN = unknown.

    keys: what a smoothed label is drawn by, one per row (the study, so that its images agree); uncertain, blank,
    hierarchy: as in :class:`~wsrpn_vl.config.DataConfig`.
    """
    values = propagate(values, classes, hierarchy)
    rows, columns = np.nonzero(values == -1)
    blanks = np.isnan(values)
    out = values.astype(np.float32)
    if len(rows):
        some = np.unique(rows)
        drawn = UNCERTAIN[uncertain]([keys[int(i)] for i in some], classes)
        out[rows, columns] = drawn[np.searchsorted(some, rows), columns]
    out[blanks] = BLANK[blank]
    return out


def propagate(values: np.ndarray, classes: Sequence[str], hierarchy: str) -> np.ndarray:
    """Labels (n, c) with CheXpert's hierarchy filled in; a copy.

    ``up``: a positive class makes its ancestors positive, an uncertain one makes blank or negative ancestors uncertain;
    ``both``: then also a negative ancestor makes blank descendants negative. ``none`` changes nothing.
    """
    values = np.array(values, dtype=np.float64)
    if hierarchy == "none":
        return values
    column = {name: i for i, name in enumerate(classes)}
    pairs = [(column[name], column[a]) for name in classes for a in ancestors(name) if a in column]
    stated = values.copy()
    for child, parent in pairs:
        unsure = (stated[:, child] == -1) & (values[:, parent] != 1)
        values[:, parent] = np.where(stated[:, child] == 1, 1.0, np.where(unsure, -1.0, values[:, parent]))
    if hierarchy == "both":
        for child, parent in pairs:
            values[:, child] = np.where(np.isnan(values[:, child]) & (values[:, parent] == 0), 0.0, values[:, child])
    return values


def ancestors(name: str) -> tuple[str, ...]:
    """Parent, its parent and so on (Irvin et al., figure 1)."""
    out: list[str] = []
    while name in BY_NAME and (parent := BY_NAME[name].parent):
        out.append(parent)
        name = parent
    return tuple(out)
