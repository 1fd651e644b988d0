"""InfoNCE by the book: plain loops over Python floats, no matrix, no library softmax (§2.3, §4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def normalise(rows: Rows) -> list[list[float]]:
    """Rows scaled to unit length."""
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]


def similarity(image: Rows, text: Rows, tau: float) -> list[list[float]]:
    """S_ij / τ with S_ij = v_i · t_j."""
    return [[sum(a * b for a, b in zip(v, t, strict=True)) / tau for t in text] for v in image]


def negative_log_softmax(row: Sequence[float], chosen: int) -> float:
    """-log(exp(row[chosen]) / Σ_j exp(row[j])), shifted by the maximum."""
    top = max(row)
    return math.log(sum(math.exp(x - top) for x in row)) - (row[chosen] - top)


def infonce(image: Rows, text: Rows, tau: float, targets: Rows) -> tuple[float, float]:
    """(mean L_i2t, mean L_t2i); ``targets[i][j]`` is the share of pair (i, j), the same in both directions."""
    scores = similarity(image, text, tau)
    b = len(scores)
    columns = [[scores[i][j] for i in range(b)] for j in range(b)]
    i2t = [sum(targets[i][j] * negative_log_softmax(scores[i], j) for j in range(b)) for i in range(b)]
    t2i = [sum(targets[i][j] * negative_log_softmax(columns[i], j) for j in range(b)) for i in range(b)]
    return sum(i2t) / b, sum(t2i) / b


def same_text_targets(ids: Sequence[int]) -> list[list[float]]:
    """Equal ids share a row's mass evenly."""
    return [[(1 / ids.count(a)) if a == b else 0.0 for b in ids] for a in ids]


def jaccard_targets(positives: Sequence[set[int]]) -> list[list[float]]:
    """Rows of |A ∩ B| / |A ∪ B|, scaled to sum 1; two empty sets are alike, and each item is like itself."""
    rows = []
    for i, a in enumerate(positives):
        mass = [1.0 if i == j or not (a | b) else len(a & b) / len(a | b) for j, b in enumerate(positives)]
        rows.append([m / sum(mass) for m in mass])
    return rows
