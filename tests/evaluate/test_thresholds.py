"""Operating points: best F1 by exhaustive search, from validation alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from fixtures.scored import prediction_set
from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.thresholds import best_f1_threshold, choose_thresholds, refuse_overlap


def test_on_paper() -> None:
    """At 0.9: 2*1/(1+2) = 0.667; at 0.8: 2/(2+2) = 0.5; at 0.7: 4/(3+2) = 0.8, the best; at 0.1: 4/6."""
    assert best_f1_threshold(np.array([0.1, 0.9, 0.7, 0.8]), np.array([0, 1, 1, 0])) == 0.7


def test_of_equal_f1_the_highest() -> None:
    """At 0.9 F1 = 2/(1+2); at 0.6 F1 = 4/(4+2): both 0.667."""
    assert best_f1_threshold(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 0, 1])) == 0.9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([1.0, 0.0, -1.0, np.nan])), min_size=1, max_size=25))
def test_no_other_threshold_is_better(pairs: list) -> None:
    scores, labels = np.array([p[0] / 6 for p in pairs]), np.array([p[1] for p in pairs])
    known = np.isin(labels, (0, 1))
    best = best_f1_threshold(scores, labels)
    if not (labels == 1).any():
        assert np.isnan(best)
        return
    values = {t: f1_score(labels[known], scores[known] >= t) for t in set(scores[known])}
    assert values[best] == pytest.approx(max(values.values()))
    assert all(t <= best for t, v in values.items() if v > values[best] - 1e-12)


def test_box_threshold_judges_images_by_their_top_box() -> None:
    """Top boxes 0.9 (positive), 0.3 (negative), none (positive): 0.9 calls one of two, F1 2/(1+2); 0.3: 2/(2+2)."""
    box = (0, 0, 1, 1)
    found = [[(0, box, 0.9), (0, box, 0.1)], [(0, box, 0.3)], []]
    predictions = prediction_set(found, np.array([[0.2], [0.6], [0.5]]))
    chosen = choose_thresholds(predictions, np.array([[1.0], [0.0], [1.0]]), "validation: v")
    assert chosen.box.tolist() == [0.9] and chosen.image.tolist() == [0.2]
    assert chosen.source == "validation: v" and chosen.classes == ("Mass",)


def test_nothing_to_choose_from() -> None:
    none = choose_thresholds(prediction_set([[], []]), np.array([[1.0], [0.0]]), "v")
    assert np.isnan(none.box).all() and none.image.tolist() == [0.0]
    assert np.isnan(best_f1_threshold(np.array([]), np.array([])))
    with pytest.raises(ValueError, match="labels"):
        choose_thresholds(prediction_set([[]]), np.zeros((2, 1)), "v")


def test_shared_images_are_refused() -> None:
    a, b = prediction_set([[], []]), prediction_set([[]])
    with pytest.raises(PredictionsError, match=r"val\.json: 1 images .* 'i0'"):
        refuse_overlap(a, b, "val.json")
