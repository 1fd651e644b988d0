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


@pytest.mark.parametrize("flipped", [0.0, 0.1])
def test_of_a_thousand_texts_as_many_are_wrong_as_it_says(flipped: float) -> None:
    """Over several small sets, also where a tenth of the positive labels is lost and as many negatives turned."""
    told, true, own, wrongs = [], [], [], []
    for seed in range(6):
        labels, read, wrong = pairs(1000, 0.1, seed)
        found = quality(noisy(labels, flipped, seed), read)
        told.append((1 - found.belongs).mean())
        true.append(wrong.mean())
        own.append(found.belongs[~wrong].mean())
        wrongs.append(found.belongs[wrong].mean())
    assert np.mean(told) == pytest.approx(np.mean(true), rel=0.25)
    assert np.mean(own) > 0.94 and np.mean(wrongs) < 0.5


def noisy(labels: np.ndarray, flipped: float, seed: int) -> np.ndarray:
    """A share of the positive labels lost, as many negative ones turned."""
    rng = np.random.default_rng(seed)
    out = labels.copy()
    for k in range(labels.shape[1]):
        for value in (1, 0):
            rows = np.flatnonzero(labels[:, k] == value)
            out[rng.choice(rows, int(flipped * (labels[:, k] == 1).sum()), replace=False), k] = 1 - value
    return out


@pytest.mark.parametrize("flipped", [0.0, 0.1, 0.2])
def test_a_clean_set_is_trusted(flipped: float) -> None:
    """Wrong labels do not make the reports wrong."""
    labels, read, _ = pairs(3000, 0.0)
    found = quality(noisy(labels, flipped, 0), read)
    assert found.wrong_share < 0.03 and found.belongs.mean() > 0.97


def test_many_equal_reports_of_normal_images_are_trusted() -> None:
    labels, read, wrong = pairs(3000, 0.1)
    normal = (labels == 0).all(1) | (np.random.default_rng(1).random(3000) < 0.5)
    labels[normal] = 0
    read[normal & ~wrong] = np.where(np.arange(C) < 4, 0, np.nan)
    found = quality(labels, read)
    assert found.belongs[normal & ~wrong].mean() > 0.9
    assert found.belongs[wrong].mean() < found.belongs[~wrong].mean() - 0.2


@pytest.mark.parametrize("kept", [[12], [3, 7, 11]])
def test_labels_of_few_classes_still_tell(kept: list[int]) -> None:
    """The index of a data set with one class, or with three of the thirteen."""
    labels, read, wrong = pairs(3000, 0.2)
    known = np.full_like(labels, np.nan)
    known[:, kept] = labels[:, kept]
    found = quality(known, read)
    assert found.wrong_share == pytest.approx(0.2, abs=0.06)
    assert roc_auc_score(wrong, -found.belongs) > 0.65 and found.belongs[~wrong].mean() > 0.8


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
