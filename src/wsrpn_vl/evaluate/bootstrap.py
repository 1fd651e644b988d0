"""Percentile bootstrap over images, or over patients where they are known.

A resample is a vector of counts, one per image; metrics take a (r, n) array of them and return (r, ...) values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def resample_counts(n: int, resamples: int, seed: int, groups: Sequence[str | None] | None = None) -> np.ndarray:
    """(r, n) int32: how often each of n images is drawn in each resample.

    groups: patient of each image; all images of a patient are drawn together, an image of unknown patient (None) is
    its own. The number of drawn patients equals their number.
    """
    keys = list(range(n)) if groups is None else [i if g is None else g for i, g in enumerate(groups)]
    unit: dict[str | int, int] = {}
    member = np.array([unit.setdefault(key, len(unit)) for key in keys], dtype=int)
    draws = np.random.default_rng(seed).multinomial(len(unit), np.full(len(unit), 1 / len(unit)), size=resamples)
    return draws.astype(np.int32)[:, member]


def interval(samples: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Percentile interval over the first axis: (r, ...) -> (2, ...) low, high. NaN samples are left out."""
    samples = np.asarray(samples, dtype=float)
    tail = (1 - level) / 2
    known = ~np.isnan(samples).all(0)
    # A column of NaN alone gives NaN; zeros stand in so that nanquantile does not warn.
    low_high = np.nanquantile(np.where(known, samples, 0.0), [tail, 1 - tail], axis=0)
    return np.where(known, low_high, np.nan)


def paired_difference(a: float, b: float, samples_a: np.ndarray, samples_b: np.ndarray) -> dict[str, float | list]:
    """``a - b`` with its interval and two-sided p, from samples (r,) of both on the same resamples.

    p is twice the smaller share of resampled differences on either side of 0, counting the observed sample once.
    """
    d = np.asarray(samples_a, dtype=float) - np.asarray(samples_b, dtype=float)
    d = d[~np.isnan(d)]
    if not len(d):
        return {"difference": float(a - b), "ci": [float("nan")] * 2, "p": float("nan")}
    side = min((d <= 0).sum(), (d >= 0).sum())
    return {
        "difference": float(a - b),
        "ci": interval(d).tolist(),
        "p": float(min(1.0, 2 * (side + 1) / (len(d) + 1))),
    }
