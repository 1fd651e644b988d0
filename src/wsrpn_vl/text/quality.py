"""How far a text can be trusted to describe its image (§7.1 type 3, §7.2 limitation 2), as a number from 0 to 1.

Two questions, multiplied. *Is it this image's report?* What the labeler reads is compared with the labels given:
each class gives a log-likelihood ratio of "read this, given that label" against "read this, whatever the label"; their
sum is a score, and shuffling the reports over the images shows how the score is spread for reports that are certainly
another's. The posterior then is a local false discovery rate (Efron, JASA 2004): 1 - π f0/f, with the share π of wrong
reports estimated where the shuffled ones are densest against the real ones. *Does it say anything?* Words without a
single definite statement count little.

Where the labels were mined from the very same text, the first question is answered by construction, and only the
second tells texts apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STATES = 4  # positive, negative, uncertain, not mentioned
BINS = 40
TAILS = (0.1, 0.2, 0.3, 0.5)  # shares of the shuffled scores that the share of wrong texts is read at
SHUFFLES = 20
FEWEST = 200  # pairs below which no share of wrong reports can be estimated
SMOOTH = 1.0  # pseudo-count of the tables
BIN_SMOOTH = 0.25  # of the bins: more would draw the chance of a small set's wrong texts down to their share
ROUNDS = 3


@dataclass(frozen=True)
class TextQuality:
    """Of n texts. belongs: (n,) probability that a text is its image's; says: (n,) how much it says, 0 to 1;
    confidence: (n,) their product; score: (n,) log-likelihood ratio for "its own"; wrong_share: estimated π."""

    belongs: np.ndarray
    says: np.ndarray
    score: np.ndarray
    wrong_share: float

    @property
    def confidence(self) -> np.ndarray:
        """(n,) in [0, 1]."""
        return self.belongs * self.says


def text_quality(
    read: np.ndarray, labels: np.ndarray, statements: np.ndarray, hedged: np.ndarray, *, seed: int = 0
) -> TextQuality:
    """Quality of n texts over c classes.

    read, labels: (n, c) 1, 0, -1 (uncertain), NaN (not mentioned; unknown): what the labeler reads in the text, and
    what the image is labelled; statements: (n,) number of statements read; hedged: (n,) how many of them are vague.
    """
    belongs, score, share = _belongs(_states(read), _states(labels), np.random.default_rng(seed))
    definite = np.maximum(statements - hedged, 0)
    says = np.where(statements > 0, (definite + 0.5 * np.minimum(hedged, statements)) / np.maximum(statements, 1), 0.0)
    says = says * (1 - 0.5 ** (definite + 0.5 * np.minimum(hedged, statements) + 1))  # one statement .75, two .875
    return TextQuality(belongs, np.clip(says, 0, 1), score, share)


def _states(values: np.ndarray) -> np.ndarray:
    """(n, c) labels as 0 positive, 1 negative, 2 uncertain, 3 not mentioned."""
    return np.select([values == 1, values == 0, values == -1], [0, 1, 2], 3).astype(np.int64)


def _belongs(read: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """(n,) probability of being the image's own text, (n,) score, share of wrong texts."""
    n = len(read)
    weight = np.ones(n)
    score = np.zeros(n)
    if n < FEWEST:
        return weight, score, 0.0
    share = 0.0
    for _ in range(ROUNDS):  # the first tables are blurred by the wrong texts, the later ones by fewer
        ratio = _log_ratios(read, labels, weight)
        score = _score(ratio, read, labels)
        shuffled = np.concatenate([_score(ratio, read[rng.permutation(n)], labels) for _ in range(SHUFFLES)])
        weight, share = _posterior(score, shuffled)
    return weight, score, share


def _log_ratios(read: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(c, label state, read state) log P(read | label, own) - log P(read)."""
    c = read.shape[1]
    out = np.zeros((c, STATES, STATES))
    for k in range(c):
        table = np.zeros((STATES, STATES))
        np.add.at(table, (labels[:, k], read[:, k]), weight)
        marginal = np.bincount(read[:, k], minlength=STATES) + SMOOTH
        marginal = marginal / marginal.sum()
        given = (table + STATES * SMOOTH * marginal) / (table.sum(1, keepdims=True) + STATES * SMOOTH)
        out[k] = np.log(given) - np.log(marginal)
    return out


def _score(ratio: np.ndarray, read: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return ratio[np.arange(read.shape[1]), labels, read].sum(1)


def _posterior(score: np.ndarray, shuffled: np.ndarray) -> tuple[np.ndarray, float]:
    """1 - local false discovery rate of each score, rising with it, and the share π of wrong texts.

    Bins hold about equal shares of the shuffled scores. Below any score, the real texts' share is at least π times the
    shuffled ones'; the least such quotient over the tails estimates π, each taken one standard error (of a
    Poisson count) high, because the least of several noisy ones is too low.
    """
    counts = [((score <= at).sum(), max((shuffled <= at).mean(), 1e-9)) for at in np.quantile(shuffled, TAILS)]
    share = float(min(*((k + np.sqrt(k)) / (len(score) * null) for k, null in counts), 1.0))
    edges = np.unique(np.quantile(shuffled, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, shuffled, side="right")
    real = np.bincount(np.searchsorted(edges, score, side="right"), minlength=len(edges) + 1)
    null = np.bincount(place, minlength=len(edges) + 1) * (len(score) / len(shuffled))
    filled = np.flatnonzero(null)
    wrong = _falling(share * (null[filled] + BIN_SMOOTH), real[filled] + BIN_SMOOTH)
    middle = [np.median(shuffled[place == i]) for i in filled]
    return 1 - np.interp(score, middle, np.clip(wrong, 0, 1)), share


def _falling(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotients ``above / below`` of neighbouring bins, pooled so that they never rise (isotonic regression, min-max
    formula)."""
    tops, bottoms = np.concatenate([[0], above.cumsum()]), np.concatenate([[0], below.cumsum()])
    n = len(above)
    start, end = np.arange(n)[:, None], np.arange(1, n + 1)[None, :]
    valid = end > start
    pooled = (tops[end] - tops[start]) / np.where(valid, bottoms[end] - bottoms[start], 1)
    largest = [np.where(valid, pooled, -np.inf)[:, i:].max(1) for i in range(n)]  # over ends from i on, by start
    return np.array([largest[i][: i + 1].min() for i in range(n)])
