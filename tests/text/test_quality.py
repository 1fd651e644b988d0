"""Confidence of texts: wrong ones are found, their share is estimated, and a clean set is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from wsrpn_vl.text.quality import FEWEST, _falling, text_quality

C = 13


def pairs(n: int, share: float, seed: int = 0, miss: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of n images, what their reports say (some findings unmentioned), and which reports are another's."""
    rng = np.random.default_rng(seed)
    rates = np.linspace(0.05, 0.5, C)
    labels = (rng.random((n, C)) < rates).astype(float)
    read = labels.copy()
    read[rng.random((n, C)) < miss] = np.nan
    wrong = rng.random(n) < share
    read[wrong] = read[rng.permutation(n)][wrong]
    return labels, read, wrong


def quality(labels: np.ndarray, read: np.ndarray, **more):
    said = (~np.isnan(read)).sum(1)
    return text_quality(read, labels, said, np.zeros(len(read), dtype=int), **more)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_wrong_reports_are_found_and_counted(share: float) -> None:
    labels, read, wrong = pairs(3000, share)
    found = quality(labels, read)
    assert roc_auc_score(wrong, -found.confidence) > 0.97
    assert found.wrong_share == pytest.approx(share, abs=0.05)
    assert found.belongs[~wrong].mean() > 0.95 and found.belongs[wrong].mean() < 0.45


def test_the_probability_means_what_it_says() -> None:
    """Of the texts given a chance of 20-80 % to be wrong, about as many are."""
    labels, read, wrong = pairs(20000, 0.2, miss=0.75)
    found = quality(labels, read)
    unsure = (found.belongs > 0.2) & (found.belongs < 0.8)
    assert unsure.sum() > 500
    assert (1 - found.belongs[unsure]).mean() == pytest.approx(wrong[unsure].mean(), abs=0.12)


def test_a_clean_set_is_trusted() -> None:
    labels, read, _ = pairs(3000, 0.0)
    found = quality(labels, read)
    assert found.wrong_share < 0.01 and found.belongs.min() > 0.9


def test_words_that_never_agree_with_the_labels_belong_to_nobody() -> None:
    labels, read, _ = pairs(3000, 1.0)
    assert quality(labels, read).wrong_share > 0.8


def test_without_labels_nothing_is_held_against_a_text() -> None:
    _, read, _ = pairs(1000, 0.2)
    found = quality(np.full((1000, C), np.nan), read)
    assert np.allclose(found.score, 0, atol=1e-9)
    assert np.ptp(found.belongs) < 1e-9


def test_few_texts_are_trusted() -> None:
    labels, read, _ = pairs(FEWEST - 1, 0.5)
    assert (quality(labels, read).belongs == 1).all()


def test_the_order_of_texts_does_not_matter_beyond_the_shuffles() -> None:
    labels, read, _ = pairs(3000, 0.2)
    order = np.random.default_rng(1).permutation(3000)
    plain, turned = quality(labels, read), quality(labels[order], read[order])
    assert np.corrcoef(plain.belongs[order], turned.belongs)[0, 1] > 0.99
    assert abs(plain.wrong_share - turned.wrong_share) < 0.02


def test_saying_more_definite_things_is_trusted_more() -> None:
    """Nothing 0; one hedge least; then rising with the number of definite statements, below 1."""
    statements = np.array([0, 1, 1, 2, 3, 10])
    hedged = np.array([0, 1, 0, 0, 0, 0])
    nothing = np.full((6, C), np.nan)
    says = text_quality(nothing, nothing, statements, hedged).says
    assert says[0] == 0 and (np.diff(says) > 0).all() and says[-1] < 1
    assert says[2] == pytest.approx(0.75) and says[3] == pytest.approx(0.875)


def test_pooling_equals_isotonic_regression() -> None:
    """Against scikit-learn's, on the quotients with the denominators as weights."""
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 40):
        above, below = rng.random(n), rng.random(n) + 0.1
        wanted = IsotonicRegression(increasing=False).fit_transform(np.arange(n), above / below, sample_weight=below)
        assert np.allclose(_falling(above, below), wanted)
