"""Image-level metrics: on paper, against scikit-learn, and by relations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from wsrpn_vl.evaluate.bootstrap import resample_counts
from wsrpn_vl.evaluate.classify import auroc, average_precision, brier, calibration_error, confusion


def random_case(seed: int, n: int = 40, c: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct probabilities (ties) and labels of every kind."""
    rng = np.random.default_rng(seed)
    probs = rng.integers(0, 9, (n, c)) / 8
    labels = rng.choice([1.0, 0.0, -1.0, np.nan], (n, c), p=[0.35, 0.45, 0.1, 0.1])
    return probs, labels


def test_auroc_on_paper() -> None:
    """Positives 0.9, 0.4; negatives 0.4, 0.1: pairs won 1, 1, tie 1/2, 1 of 4 = 0.875; others do not count."""
    probs = np.array([[0.9], [0.4], [0.4], [0.1], [0.0], [1.0]])
    labels = np.array([[1], [1], [0], [0], [-1], [np.nan]])
    assert auroc(probs, labels).tolist() == [0.875]


def test_average_precision_on_paper() -> None:
    """Order: positive 0.9; then positive and negative tied at 0.4: 1/2 * 1 + 1/2 * 2/3 = 0.833333."""
    assert average_precision(np.array([[0.9], [0.4], [0.4]]), np.array([[1], [1], [0]])) == pytest.approx([5 / 6])


def test_one_sided_classes_are_undefined() -> None:
    probs, labels = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), np.array([[1, 0, np.nan], [1, 0, np.nan]])
    assert np.isnan(auroc(probs, labels)).all()
    assert average_precision(probs, labels)[0] == 1 and np.isnan(average_precision(probs, labels)[1:]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_agrees_with_scikit_learn(seed: int) -> None:
    probs, labels = random_case(seed)
    thresholds = np.array([0.25, 0.5, 0.6])
    table = confusion(probs, labels, thresholds)
    for k in range(3):
        known = np.isin(labels[:, k], (0, 1))
        y, p = labels[known, k], probs[known, k]
        assert auroc(probs, labels)[k] == pytest.approx(roc_auc_score(y, p))
        assert average_precision(probs, labels)[k] == pytest.approx(average_precision_score(y, p))
        assert brier(probs, labels)[k] == pytest.approx(brier_score_loss(y, p))
        called = p >= thresholds[k]
        assert table["f1"][k] == pytest.approx(f1_score(y, called))
        assert table["sensitivity"][k] == pytest.approx(recall_score(y, called))
        assert table["specificity"][k] == pytest.approx(recall_score(y, called, pos_label=0))
        assert table["precision"][k] == pytest.approx(precision_score(y, called, zero_division=np.nan), nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_relations(seed: int) -> None:
    """A monotone transform changes nothing; reversing scores or labels turns AUROC over."""
    probs, labels = random_case(seed)
    before = auroc(probs, labels)
    assert auroc(np.log(probs + 1) - 5, labels) == pytest.approx(before, nan_ok=True)
    assert average_precision(probs**3, labels) == pytest.approx(average_precision(probs, labels), nan_ok=True)
    assert auroc(-probs, labels) == pytest.approx(1 - before, nan_ok=True)
    swapped = np.where(np.isin(labels, (0, 1)), 1 - labels, labels)
    assert auroc(probs, swapped) == pytest.approx(1 - before, nan_ok=True)


def test_counts_are_images_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, labels = random_case(5)
    counts = resample_counts(len(probs), 20, 3)
    for metric in (auroc, average_precision):
        many = metric(probs, labels, counts)
        assert many.shape == (20, 3)
        for row in range(20):
            drawn = np.repeat(np.arange(len(probs)), counts[row])
            assert many[row] == pytest.approx(metric(probs[drawn], labels[drawn]), nan_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr("wsrpn_vl.evaluate.classify._CHUNK", 3 * len(probs))
            assert metric(probs, labels, counts) == pytest.approx(many, nan_ok=True)


def test_a_class_without_threshold_has_no_operating_point() -> None:
    table = confusion(np.array([[0.5]]), np.array([[1.0]]), np.array([np.nan]))
    assert all(np.isnan(value).all() for value in table.values())


def test_calibration_error_on_paper() -> None:
    """Two bins. Below 0.5: probabilities 0.2, 0.4, labels 0, 1: |0.5 - 0.3| = 0.2 of 2. Above: 0.9, label 1: 0.1.

    (2 * 0.2 + 1 * 0.1) / 3 = 0.166667. A probability of 0 or 1 lies in the outer bins.
    """
    probs, labels = np.array([[0.2], [0.4], [0.9]]), np.array([[0.0], [1.0], [1.0]])
    assert calibration_error(probs, labels, bins=2) == pytest.approx([0.5 / 3])
    assert calibration_error(np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])).tolist() == [0]
    assert np.isnan(calibration_error(probs, np.full((3, 1), np.nan))).all()


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="must both be"):
        auroc(np.zeros(3), np.zeros(3))
