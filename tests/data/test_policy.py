"""What uncertain and blank labels become, and the hierarchy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from wsrpn_vl.data.policy import SMOOTH, UNCERTAIN, ancestors, apply_policy, propagate

CLASSES = ("Atelectasis", "Cardiomegaly", "Edema", "Fracture")
NAN = np.nan


def policy(values: list[float], uncertain: str = "ignore", blank: str = "ignore", hierarchy: str = "none") -> list:
    row = np.array([values])
    out = apply_policy(row, CLASSES, ["s1"], uncertain=uncertain, blank=blank, hierarchy=hierarchy)
    assert np.array_equal(row, [values], equal_nan=True), "the labels themselves are not changed"
    return out[0].tolist()


@pytest.mark.parametrize(
    ("uncertain", "expected"),
    [("ignore", [NAN] * 4), ("ones", [1.0] * 4), ("zeros", [0.0] * 4), ("mixed", [1.0, 0.0, 1.0, NAN])],
)
def test_uncertain_labels(uncertain: str, expected: list[float]) -> None:
    assert np.array_equal(policy([-1, -1, -1, -1], uncertain), expected, equal_nan=True)


def test_blank_is_not_negative_unless_asked_for() -> None:
    assert np.array_equal(policy([NAN, 0, 1, NAN]), [NAN, 0, 1, NAN], equal_nan=True)
    assert policy([NAN, 0, 1, NAN], blank="negative") == [0, 0, 1, 0]


@pytest.mark.parametrize("uncertain", sorted(UNCERTAIN))
def test_certain_labels_are_never_touched(uncertain: str) -> None:
    assert policy([1, 0, 1, 0], uncertain) == [1, 0, 1, 0]


@pytest.mark.parametrize("uncertain", sorted(SMOOTH))
def test_smoothed_labels_lie_in_their_range_and_spread_over_it(uncertain: str) -> None:
    low, high = SMOOTH[uncertain]
    keys = [f"s{i}" for i in range(500)]
    values = np.full((500, 4), -1.0)
    out = apply_policy(values, CLASSES, keys, uncertain=uncertain, blank="ignore", hierarchy="none")
    assert low <= out.min() < low + 0.02 and high - 0.02 < out.max() <= high
    assert abs(out.mean() - (low + high) / 2) < 0.01


def test_smoothed_labels_depend_on_study_and_class_alone() -> None:
    """Rows in another order, among others, give each study the same numbers."""
    keys = ["s1", "s2", "s3"]
    values = np.full((3, 4), -1.0)
    options = {"uncertain": "smooth_ones", "blank": "ignore", "hierarchy": "none"}
    whole = apply_policy(values, CLASSES, keys, **options)
    turned = apply_policy(values[::-1], CLASSES, keys[::-1], **options)
    assert np.array_equal(whole, turned[::-1])
    assert len(np.unique(whole)) == whole.size


def test_smoothed_labels_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "import numpy as np; from wsrpn_vl.data.policy import apply_policy; "
        "print(apply_policy(np.array([[-1.0]]), ['Edema'], ['s'], uncertain='smooth_ones', blank='ignore', "
        "hierarchy='none')[0, 0])"
    )
    seen = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": s}, capture_output=True, check=True).stdout
        for s in ("1", "2")
    }
    assert len(seen) == 1


HIERARCHY = ("Lung Opacity", "Consolidation", "Pneumonia", "Edema")


@pytest.mark.parametrize(
    ("labels", "how", "expected"),
    [
        ([NAN, NAN, 1, NAN], "none", [NAN, NAN, 1, NAN]),
        ([NAN, NAN, 1, NAN], "up", [1, 1, 1, NAN]),  # pneumonia is a consolidation is an opacity
        ([0, NAN, 1, NAN], "up", [1, 1, 1, NAN]),  # a child's presence contradicts the parent's absence, and wins
        ([0, NAN, -1, NAN], "up", [-1, -1, -1, NAN]),
        ([1, NAN, -1, NAN], "up", [1, -1, -1, NAN]),
        ([0, NAN, NAN, NAN], "up", [0, NAN, NAN, NAN]),
        ([0, NAN, NAN, NAN], "both", [0, 0, 0, 0]),
        ([NAN, 0, NAN, NAN], "both", [NAN, 0, 0, NAN]),
        ([0, NAN, 1, NAN], "both", [1, 1, 1, NAN]),
    ],
)
def test_hierarchy(labels: list[float], how: str, expected: list[float]) -> None:
    assert np.array_equal(propagate(np.array([labels]), HIERARCHY, how), [expected], equal_nan=True)


def test_filling_in_twice_changes_nothing_more() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([1, 0, -1, NAN], size=(300, 4))
    for how in ("up", "both"):
        once = propagate(values, HIERARCHY, how)
        assert np.array_equal(propagate(once, HIERARCHY, how), once, equal_nan=True)
        assert (once[values == 1] == 1).all()


def test_ancestors() -> None:
    assert ancestors("Pneumonia") == ("Consolidation", "Lung Opacity")
    assert ancestors("Lung Opacity") == () == ancestors("no such class")
