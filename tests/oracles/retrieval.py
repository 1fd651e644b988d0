"""Retrieval@k by drawing lots for ties: plain loops, without the package."""

from __future__ import annotations

import random


def recall_at_k(
    similarity: list[list[float]], texts: list[str], k: int, *, strict: bool, draws: int, seed: int
) -> float:
    """Mean over queries (rows) of hits among the k best columns; a right column has the row's text, or its number."""
    lots = random.Random(seed)
    total = 0
    for _ in range(draws):
        for i, row in enumerate(similarity):
            order = sorted(range(len(row)), key=lambda j: (-row[j], lots.random()))[:k]
            total += any(j == i if strict else texts[j] == texts[i] for j in order)
    return total / (draws * len(similarity))
