"""Findings of like visibility: how they are parted, and what a part leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.scored import make_index, prediction_set, truth_of
from wsrpn_vl.data.index import boxes_path
from wsrpn_vl.evaluate.case import Case
from wsrpn_vl.evaluate.layout import Alignment
from wsrpn_vl.evaluate.score import evaluate_predictions
from wsrpn_vl.evaluate.strata import by_visibility, pair_visibility, split_by_visibility
from wsrpn_vl.evaluate.truth import Truth, load_truth

BOX = (10, 10, 30, 30)
NOWHERE = (70, 70, 90, 90)


def eight() -> Truth:
    """Eight images with one box each, of rising visibility, and four without."""
    truth = truth_of([[[BOX]]] * 8 + [[[]]] * 4)
    return replace(truth, visibility=[[np.array([float(i)])] for i in range(8)] + [[np.zeros(0)]] * 4)


def case_of(truth: Truth, found: list) -> Case:
    predictions = prediction_set(found)
    return Case(Path("p"), truth, Alignment(predictions, 0, 0, 0), ())


def test_parts_hold_every_finding_once_and_every_negative_always() -> None:
    split = split_by_visibility(eight(), 4)
    assert split is not None
    cuts, truths = split
    assert cuts.tolist() == [[0, 1.75, 3.5, 5.25, 7]]
    judged = np.stack([~t.ignore[:, 0] for t in truths])
    assert judged[:, :8].sum(0).tolist() == [1] * 8 and judged[:, :8].sum(1).tolist() == [2] * 4
    assert judged[:, 8:].all()
    for truth, use in zip(truths, judged, strict=True):
        assert np.array_equal(np.isnan(truth.labels[:, 0]), ~use)
    assert [np.flatnonzero(use[:8]).tolist() for use in judged] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_equal_visibility_does_not_make_parts_unequal() -> None:
    truth = replace(eight(), visibility=[[np.array([1.0])]] * 8 + [[np.zeros(0)]] * 4)
    split = split_by_visibility(truth, 4)
    assert split is not None
    assert [int((~t.ignore[:8]).sum()) for t in split[1]] == [2] * 4


def test_a_pair_is_as_visible_as_its_most_visible_box_and_unknown_pairs_are_in_no_part() -> None:
    truth = truth_of([[[BOX, NOWHERE]], [[BOX]], [[BOX]], [[]]])
    truth = replace(truth, visibility=[[np.array([0.5, 3.0])], [np.array([np.nan])], [np.array([1.0])], [np.zeros(0)]])
    values = pair_visibility(truth)
    assert values is not None and np.array_equal(values[:, 0], [3, np.nan, 1, np.nan], equal_nan=True)
    split = split_by_visibility(truth, 2)
    assert split is not None
    assert [t.ignore[:, 0].tolist() for t in split[1]] == [[True, True, False, False], [False, True, True, False]]


def test_a_labelled_finding_without_a_box_is_in_no_part() -> None:
    truth = eight()
    labels = truth.labels.copy()
    labels[9] = 1
    split = split_by_visibility(replace(truth, labels=labels), 4)
    assert split is not None
    assert all(t.ignore[9, 0] and np.isnan(t.labels[9, 0]) and not t.ignore[8, 0] for t in split[1])


def test_what_was_ignored_before_stays_ignored() -> None:
    truth = eight()
    before = truth.ignore.copy()
    before[9] = True
    split = split_by_visibility(replace(truth, ignore=before), 4)
    assert split is not None and all(t.ignore[9, 0] for t in split[1])


def test_a_detector_that_finds_the_visible_half_scores_there_alone() -> None:
    """Scores fall with invisibility, below the false alarms on negatives; boxes of the invisible half lie elsewhere."""
    found = [[(0, NOWHERE, 0.1)]] * 4 + [[(0, BOX, 0.9)]] * 4 + [[(0, NOWHERE, 0.5)]] * 4
    parts = by_visibility(case_of(eight(), found), np.ones((3, 12), int), parts=2)
    assert parts is not None
    low, high = parts["parts"]
    assert low["references"] == high["references"] == {"Mass": 4}
    assert (low["recall"]["0.3"], high["recall"]["0.3"]) == (0, 1)
    assert (low["map"]["0.5"], high["map"]["0.5"]) == (0, 1)
    assert (low["mean_auroc"], high["mean_auroc"]) == (0, 1)
    assert high["ci"]["map"]["0.5"].tolist() == [1, 1] and high["classes"]["Mass"]["auroc"] == 1


def test_without_visibility_there_are_no_parts() -> None:
    assert split_by_visibility(truth_of([[[BOX]], [[]]])) is None
    unknown = replace(truth_of([[[BOX]]]), visibility=[[np.array([np.nan])]])
    assert split_by_visibility(unknown) is None
    assert by_visibility(case_of(truth_of([[[BOX]]]), [[(0, BOX, 0.5)]]), np.ones((1, 1), int)) is None


@pytest.mark.parametrize("kept", [True, False])
def test_visibility_comes_from_the_boxes_table_where_it_has_some(tmp_path: Path, kept: bool) -> None:
    rows = [{"image_id": f"i{i}", "split": "test", "labels": {"Mass": int(i < 4)}} for i in range(6)]
    boxes = [(f"i{i}", "Mass", *BOX) for i in (3, 2, 1, 0)] + [("i0", "Mass", *NOWHERE)]
    index = make_index(tmp_path / "index.parquet", rows, boxes, ("Mass",), complete=("Mass",))
    if kept:
        table = pl.read_parquet(boxes_path(index))
        seen = pl.Series("visibility", [3.0, 2.0, None, 0.5, 4.0])
        table.with_columns(seen).write_parquet(boxes_path(index))
    truth = load_truth(index, "test")
    assert truth.box_counts[:, 0].tolist() == [2, 1, 1, 1, 0, 0]
    if not kept:
        assert truth.visibility is None
        return
    assert truth.visibility is not None
    assert [v[0].tolist() for v in truth.visibility[:1]] == [[0.5, 4.0]]
    assert np.isnan(truth.visibility[1][0]).all() and len(truth.visibility[5][0]) == 0


def test_results_have_the_parts(tmp_path: Path) -> None:
    from wsrpn_vl.evaluate.predictions import write_predictions

    rows = [{"image_id": f"i{i}", "split": "test", "labels": {"Mass": int(i < 8)}} for i in range(12)]
    index = make_index(
        tmp_path / "index.parquet", rows, [(f"i{i}", "Mass", *BOX) for i in range(8)], ("Mass",), complete=("Mass",)
    )
    found = prediction_set([[(0, BOX, 0.9)]] * 12)
    path = write_predictions(tmp_path / "p", found.predictions, ("Mass",), {})
    assert evaluate_predictions(path, index, "test", resamples=3)["visibility"] is None
    table = pl.read_parquet(boxes_path(index)).with_columns(pl.Series("visibility", np.arange(8.0)))
    table.write_parquet(boxes_path(index))
    results = evaluate_predictions(path, index, "test", resamples=3)["visibility"]
    assert len(results["parts"]) == 4 and results["cuts"]["Mass"][0] == 0
    assert [part["references"]["Mass"] for part in results["parts"]] == [2] * 4
