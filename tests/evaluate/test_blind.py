"""Blind rows: the class-median box, scored by the same code as any detector."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.scored import truth_of
from oracles import ap as oracle
from wsrpn_vl.evaluate.blind import ORDERS, class_median_boxes, class_median_predictions, reordered
from wsrpn_vl.evaluate.detect import IOUS, average_precision, localisation_accuracy, match

CLASSES = ("Mass", "Nodule")


def test_median_box_in_fractions_of_images_of_different_size() -> None:
    """Boxes as fractions: (.1,.2,.5,.6), (.3,.2,.5,.8), (.2,.2,.9,.7): medians .2, .2, .5, .7; Nodule has none."""
    truth = truth_of([[[(10, 20, 50, 60)], []], [[(30, 20, 50, 80)], []], [[(40, 40, 180, 140)], []]], classes=CLASSES)
    truth.sizes[2] = 200  # the third image is twice as large
    boxes = class_median_boxes(truth)
    assert boxes[0] == pytest.approx([0.2, 0.2, 0.5, 0.7]) and np.isnan(boxes[1]).all()
    found = class_median_predictions(truth).predictions[2].detections
    assert found.xyxy == pytest.approx(np.array([[40, 40, 100, 140]])) and found.class_ids.tolist() == [0]


def test_blind_box_with_the_answers_scores_high_without_looking() -> None:
    """Same box in every image: with the labels as scores AP is 1, with a constant score about the prevalence."""
    rng = np.random.default_rng(0)
    has = rng.uniform(size=200) < 0.25
    truth = truth_of([[[(10, 10, 40, 40)]] if h else [[]] for h in has])
    own = match(class_median_predictions(truth, truth.labels), truth)[0]
    assert average_precision(own) == pytest.approx(np.ones(len(IOUS)))
    assert localisation_accuracy(own) == pytest.approx(np.ones(len(IOUS)))
    tables = match(class_median_predictions(truth), truth)
    values = [average_precision(reordered(tables, seed)[0])[0] for seed in range(ORDERS)]
    assert np.mean(values) == pytest.approx(has.mean(), abs=0.06)


def test_constant_scores_do_not_depend_on_the_order_of_the_file() -> None:
    """Positives listed first would score 1 in file order; in random order they do not."""
    has = np.arange(100) < 20
    truth = truth_of([[[(10, 10, 40, 40)]] if h else [[]] for h in has])
    tables = match(class_median_predictions(truth), truth)
    assert average_precision(tables[0])[0] == pytest.approx(1)
    values = [average_precision(reordered(tables, seed)[0])[0] for seed in range(ORDERS)]
    assert 0.15 < np.mean(values) < 0.35 and np.std(values) > 0


def test_reordering_is_a_permutation_of_images() -> None:
    truth = truth_of([[[(10, 10, 40, 40)]], [[]], [[(0, 0, 5, 5)]]])
    table = match(class_median_predictions(truth), truth)
    again = reordered(table, 3)[0]
    assert sorted(again.image) == [0, 1, 2]
    for row, i in enumerate(again.image):
        assert again.matched[row].tolist() == table[0].matched[i].tolist()


def test_images_of_unknown_size_get_no_blind_box() -> None:
    truth = truth_of([[[(10, 10, 40, 40)]], [[(10, 10, 40, 40)]]])
    truth.sizes[1] = np.nan
    counts = [len(p.detections) for p in class_median_predictions(truth).predictions]
    assert counts == [1, 0]


def test_real_blind_rows_against_plain_arithmetic(real_data, tmp_path) -> None:
    """NIH test boxes: median and AP recomputed in plain Python from the loaded truth, labels as scores."""
    from statistics import median

    from wsrpn_vl.data.sources import build_index
    from wsrpn_vl.evaluate.truth import load_truth
    from wsrpn_vl.labels import NIH8

    truth = load_truth(build_index("nih", real_data / "nih-subset", tmp_path), "test", NIH8)
    scores = np.nan_to_num(truth.labels)
    tables = match(class_median_predictions(truth, scores), truth)
    for k in range(len(NIH8)):
        rows = [i for i in range(len(truth)) if not truth.ignore[i, k]]
        boxes = [[tuple(b) for b in truth.boxes[i][k]] for i in rows]
        flat = [
            [v / e for v, e in zip(b, (*truth.sizes[i],) * 2, strict=True)]
            for i, r in zip(rows, boxes, strict=True)
            for b in r
        ]
        box = [median(column) for column in zip(*flat, strict=True)]
        found = [[(scores[i, k], tuple(v * e for v, e in zip(box, (*truth.sizes[i],) * 2, strict=True)))] for i in rows]
        for j, threshold in enumerate(IOUS):
            assert average_precision(tables[k])[j] == pytest.approx(oracle.average_precision(found, boxes, threshold))
