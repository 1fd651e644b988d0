r"""Retrieval@k between images and their texts, by cosine of the shared embedding.

Chest reports repeat, so any item with an equal text counts as a hit; ``strict`` counts the item itself alone.
Ties are not decided by the order of the file: a hit is the probability that a random order of the tied items brings
one of the g right ones into the s places left, :math:`1 - \binom{u}{s} / \binom{g + u}{s}` for u wrong ones tied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wsrpn_vl.evaluate.bootstrap import interval
from wsrpn_vl.evaluate.layout import PredictionSet

KS = (1, 5)
HIT_RULE = "an item with an equal text is a hit; strict: only the item itself; ties count by their expected share"
_CHUNK = 512  # queries at a time


def retrieval(
    predictions: PredictionSet, ks: Sequence[int] = KS, counts: np.ndarray | None = None
) -> dict[str, Any] | None:
    """Retrieval@k both ways over the images with an image and a text embedding; None if fewer than two have both.

    counts: (r, n) resamples over all of ``predictions``, for intervals over queries (the candidates stay the same).
    Returns images, distinct_texts, hit_rule, and per direction and k: value, ci, chance, strict, strict_chance.
    """
    used = [
        i for i, p in enumerate(predictions.predictions) if p.embedding is not None and p.text_embedding is not None
    ]
    if len(used) < 2:
        return None
    chosen = [predictions.predictions[i] for i in used]
    images = _unit(np.array([p.embedding for p in chosen], dtype=float))
    texts, of = _distinct([p.text_id for p in chosen], np.array([p.text_embedding for p in chosen], dtype=float))
    texts = _unit(texts)
    weights = None if counts is None else counts[:, used].astype(float)
    out: dict[str, Any] = {"images": len(chosen), "distinct_texts": len(texts), "hit_rule": HIT_RULE}
    # Equal texts share one row, so that their similarities tie exactly.
    for name, similarity in (
        ("image_to_text", lambda rows: (images[rows] @ texts.T)[:, of]),
        ("text_to_image", lambda rows: (texts @ images.T)[of[rows]]),
    ):
        equal, strict = _hits(similarity, of, ks)
        out[name] = {
            str(k): {
                "value": float(equal[:, j].mean()),
                "ci": None if weights is None else _interval(equal[:, j], weights),
                "chance": float(_chance(np.bincount(of)[of], len(of), k).mean()),
                "strict": float(strict[:, j].mean()),
                "strict_chance": min(1.0, k / len(of)),
            }
            for j, k in enumerate(ks)
        }
    return out


def _hits(similarity, of: np.ndarray, ks: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, len(ks)) probability of a hit by an equal text, and by the item itself; ``of`` (n,) text of each item."""
    equal, strict = np.zeros((len(of), len(ks))), np.zeros((len(of), len(ks)))
    for start in range(0, len(of), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(of)))
        sims = similarity(rows)
        same = of[rows][:, None] == of[None, :]
        for right, out in ((same, equal), (np.arange(len(of)) == rows[:, None], strict)):
            best = np.where(right, sims, -np.inf).max(1, keepdims=True)
            above = ((sims > best) & ~right).sum(1)
            tied = sims == best
            good, bad = (tied & right).sum(1), (tied & ~right).sum(1)
            for j, k in enumerate(ks):
                out[rows, j] = _drawn(good, bad, np.maximum(k - above, 0))
    return equal, strict


def _drawn(good: np.ndarray, bad: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Probability that ``places`` draws without return from ``good + bad`` items hold a good one."""
    none = np.ones(len(good))
    for j in range(int(places.max(initial=0))):
        left = np.maximum(bad - j, 0) / np.maximum(good + bad - j, 1)
        none = np.where(j < places, none * left, none)
    return 1 - none


def _chance(good: np.ndarray, n: int, k: int) -> np.ndarray:
    return _drawn(good, n - good, np.full(len(good), min(k, n)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _distinct(text_ids: Sequence[str | None], embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embedding of each distinct text (first seen), and (n,) which text an item has; without an id, one of its own."""
    known: dict[str | int, int] = {}
    first: list[int] = []
    of = []
    for i, text_id in enumerate(text_ids):
        key = i if text_id is None else text_id
        if key not in known:
            known[key] = len(first)
            first.append(i)
        of.append(known[key])
    return embeddings[first], np.array(of)


def _interval(hits: np.ndarray, weights: np.ndarray) -> list[float]:
    with np.errstate(invalid="ignore"):
        return interval(weights @ hits / weights.sum(1)).tolist()
