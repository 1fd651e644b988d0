"""Resampling: reproducible, by patient, with intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from wsrpn_vl.evaluate.bootstrap import interval, paired_difference, resample_counts


def test_a_resample_draws_as_many_as_there_are() -> None:
    counts = resample_counts(50, 200, seed=1)
    assert counts.shape == (200, 50) and (counts.sum(1) == 50).all() and (counts.std(0) > 0).all()
    assert np.array_equal(counts, resample_counts(50, 200, seed=1))
    assert not np.array_equal(counts, resample_counts(50, 200, seed=2))


def test_images_of_a_patient_are_drawn_together() -> None:
    """Patients p (images 0, 2), q (1) and two images of unknown patient: 4 units, each resample draws 4 units."""
    counts = resample_counts(5, 300, 0, ["p", "q", "p", None, None])
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert (counts[:, [0, 1, 3, 4]].sum(1) == 4).all()
    assert not np.array_equal(counts[:, 3], counts[:, 4])


def test_interval_of_a_mean_covers() -> None:
    """Of 200 samples of 60 normal values, the 95 % interval of the mean covers 0 in about 93-95 %."""
    rng = np.random.default_rng(0)
    counts = resample_counts(60, 400, 0)
    hits = 0
    for _ in range(200):
        x = rng.normal(size=60)
        low, high = interval(counts @ x / 60)
        assert low < x.mean() < high
        hits += low < 0 < high
    assert 0.88 <= hits / 200 <= 0.99


def test_undefined_samples_are_left_out() -> None:
    samples = np.array([[1.0, np.nan], [2, np.nan], [np.nan, np.nan], [3, np.nan]])
    low, high = interval(samples)
    assert 1 <= low[0] < high[0] <= 3 and np.isnan([low[1], high[1]]).all()


def test_paired_difference_sees_what_single_intervals_do_not() -> None:
    """b is a plus 0.1 with little noise: each interval is 0.5 wide, the difference is certain."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=80)
    b = a + 0.1 + rng.normal(size=80) * 0.05
    counts = resample_counts(80, 999, 0)
    a_samples, b_samples = counts @ a / 80, counts @ b / 80
    assert np.ptp(interval(a_samples)) > 0.3
    got = paired_difference(b.mean(), a.mean(), b_samples, a_samples)
    assert got["difference"] == pytest.approx(0.1, abs=0.02)
    assert 0 < got["ci"][0] < got["difference"] < got["ci"][1] and got["p"] == pytest.approx(2 / 1000)
    turned = paired_difference(a.mean(), b.mean(), a_samples, b_samples)
    assert turned["ci"] == pytest.approx([-v for v in got["ci"][::-1]])
    same = paired_difference(1.0, 1.0, a_samples, a_samples)
    assert same["difference"] == 0 and same["p"] == 1
