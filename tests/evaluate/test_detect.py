"""Detection metrics: arithmetic on paper, two independent implementations, and relations that must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.detection import MeanAveragePrecision

from fixtures.scored import prediction_set, truth_of
from oracles import ap as oracle
from wsrpn_vl.evaluate.bootstrap import resample_counts
from wsrpn_vl.evaluate.detect import (
    IOUS,
    RECALLS,
    average_precision,
    box_spread,
    detection_f1,
    localisation_accuracy,
    match,
    mean_ap,
    mean_localisation_accuracy,
)

BOX = (10.0, 10.0, 30.0, 30.0)
FAR = (60.0, 60.0, 80.0, 80.0)


def aps(found, boxes, **truth) -> np.ndarray:
    return average_precision(match(prediction_set(found), truth_of(boxes, **truth))[0])


def random_case(seed: int, images: int = 12, classes: tuple[str, ...] = ("Mass", "Nodule")):
    """Found [n][(class, box, score)] and boxes [n][c][m]: whole pixels and few scores, so that everything ties."""
    rng = np.random.default_rng(seed)

    def box() -> tuple[float, ...]:
        x, y = rng.integers(0, 12, 2) * 5
        w, h = rng.integers(1, 7, 2) * 5
        return tuple(float(v) for v in (x, y, x + w, y + h))

    boxes = [[[box() for _ in range(rng.integers(0, 4))] for _ in classes] for _ in range(images)]
    found = []
    for row in boxes:
        mine = []
        for k, references in enumerate(row):
            near = [(k, tuple(np.array(r) + rng.integers(-1, 2, 4)), rng.integers(1, 9) / 8) for r in references]
            far = [(k, box(), rng.integers(1, 9) / 8) for _ in range(rng.integers(0, 4))]
            mine += [b for b in near + far if rng.uniform() < 0.8]
        found.append([mine[j] for j in rng.permutation(len(mine))])
    return found, boxes


def of_class(found, boxes, k: int):
    return [[(s, b) for c, b, s in row if c == k] for row in found], [row[k] for row in boxes]


def test_three_boxes_on_paper() -> None:
    """2 references; boxes by score: hit, miss, hit. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.

    Envelope: 1 up to recall 0.5 (51 levels), 2/3 up to 1 (50 levels): (51 + 50 * 2/3) / 101 = 0.834983.
    """
    got = aps([[(0, BOX, 0.9)], [(0, FAR, 0.8)], [(0, BOX, 0.7)]], [[[BOX]], [[]], [[BOX]]])
    assert got == pytest.approx([(51 + 50 * 2 / 3) / 101] * len(IOUS))


def test_a_reference_is_found_once() -> None:
    """2 references, one found twice: precision 1, 1/2 at recall 1/2; recall 1 is never reached: 51 / 101."""
    assert aps([[(0, BOX, 0.9), (0, BOX, 0.8)]], [[[BOX, FAR]]]) == pytest.approx([51 / 101] * len(IOUS))


def test_threshold_is_inclusive_and_per_iou() -> None:
    """20x20 box shifted by 10: overlap 200 of 600 = 1/3: a hit at 0.1, 0.2, 0.3, none from 0.4. Half a box: 0.5."""
    shifted = (20.0, 10.0, 40.0, 30.0)
    assert aps([[(0, shifted, 0.9)]], [[[BOX]]]).tolist() == [1, 1, 1, 0, 0, 0, 0]
    half = (10.0, 10.0, 20.0, 30.0)
    assert aps([[(0, half, 0.9)]], [[[BOX]]]).tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_the_best_free_reference_is_taken() -> None:
    """The first box overlaps both references; taking the better one leaves the other for the second box."""
    near, other = (10.0, 10.0, 31.0, 30.0), (20.0, 10.0, 40.0, 30.0)
    got = aps([[(0, BOX, 0.9), (0, other, 0.8)]], [[[near, other]]])
    assert got == pytest.approx(np.ones(len(IOUS)))


def test_class_without_reference_is_left_out_of_the_mean() -> None:
    found = [[(0, BOX, 0.9), (1, BOX, 0.9)]]
    predictions = prediction_set(found, classes=("Mass", "Nodule"))
    tables = match(predictions, truth_of([[[BOX], []]], classes=("Mass", "Nodule")))
    assert np.isnan(average_precision(tables[1])).all()
    assert mean_ap(tables) == pytest.approx(np.ones(len(IOUS)))
    assert np.isnan(mean_ap(tables[1:])).all()


def test_no_box_at_all_is_zero_not_undefined() -> None:
    assert aps([[]], [[[BOX]]]).tolist() == [0.0] * len(IOUS)


def test_ignored_pairs_count_neither_for_nor_against() -> None:
    """The confident box lies where nothing is known; without the mask it halves the precision: (1/2 everywhere)."""
    found, boxes = [[(0, BOX, 0.9)], [(0, BOX, 0.5)]], [[[]], [[BOX]]]
    assert aps(found, boxes) == pytest.approx([0.5] * len(IOUS))
    assert aps(found, boxes, ignore=np.array([[True], [False]])) == pytest.approx([1.0] * len(IOUS))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_agrees_with_the_definition(seed: int) -> None:
    found, boxes = random_case(seed)
    classes = ("Mass", "Nodule")
    tables = match(prediction_set(found, classes=classes), truth_of(boxes, classes=classes))
    for k, table in enumerate(tables):
        theirs = of_class(found, boxes, k)
        for j, threshold in enumerate(IOUS):
            wanted = oracle.average_precision(*theirs, threshold)
            assert average_precision(table)[j] == pytest.approx(np.nan if wanted is None else wanted, nan_ok=True)
            wanted = oracle.f1(*theirs, threshold, 0.5)
            assert detection_f1(table, 0.5)["f1"][j] == pytest.approx(np.nan if wanted is None else wanted, nan_ok=True)
            wanted = oracle.localisation(*theirs, threshold)
            # of tied top boxes both take the first
            assert localisation_accuracy(table)[j] == pytest.approx(np.nan if wanted is None else wanted, nan_ok=True)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_coco(seed: int) -> None:
    """torchmetrics with the faster COCO code, which computes from the same boxes on its own."""
    classes = ("Mass", "Nodule")
    found, boxes = random_case(seed, images=30)
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        iou_thresholds=list(IOUS),
        rec_thresholds=RECALLS.tolist(),  # torchmetrics' own are float32 and miss recalls that equal a level
        extended_summary=True,
        max_detection_thresholds=[1, 10, 100],
    )
    for row, references in zip(found, boxes, strict=True):
        metric.update(
            [
                {
                    "boxes": torch.tensor([b for _, b, _ in row], dtype=torch.float64).reshape(-1, 4),
                    "scores": torch.tensor([s for _, _, s in row], dtype=torch.float64),
                    "labels": torch.tensor([k for k, _, _ in row], dtype=torch.int64),
                }
            ],
            [
                {
                    "boxes": torch.tensor([b for r in references for b in r], dtype=torch.float64).reshape(-1, 4),
                    "labels": torch.tensor([k for k, r in enumerate(references) for _ in r], dtype=torch.int64),
                }
            ],
        )
    precision = metric.compute()["precision"][:, :, :, 0, -1]  # (iou, recall, class), all areas, 100 boxes
    tables = match(prediction_set(found, classes=classes), truth_of(boxes, classes=classes))
    for k, table in enumerate(tables):
        assert average_precision(table) == pytest.approx(precision[:, :, k].mean(1).numpy(), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_further_false_box_at_the_end_changes_nothing(seed: int) -> None:
    """A box scored below all others, away from every reference, never raises AP."""
    found, boxes = random_case(seed)
    truth = truth_of([[row[0]] for row in boxes])
    mine = [[b for b in row if b[0] == 0] for row in found]
    before = average_precision(match(prediction_set(mine), truth)[0])
    after = average_precision(match(prediction_set([[*mine[0], (0, (90, 90, 99, 99), 0.01)], *mine[1:]]), truth)[0])
    assert after == pytest.approx(before, nan_ok=True)
    first = average_precision(match(prediction_set([[*mine[0], (0, (90, 90, 99, 99), 1.0)], *mine[1:]]), truth)[0])
    assert not (first > before + 1e-12).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.25, 2.0, 8.0]))
def test_scaled_images_and_monotone_scores_leave_ap(seed: int, scale: float) -> None:
    found, boxes = random_case(seed)
    classes = ("Mass", "Nodule")
    before = mean_ap(match(prediction_set(found, classes=classes), truth_of(boxes, classes=classes)))
    larger = [[(k, np.array(b) * scale, s) for k, b, s in row] for row in found]
    references = [[[np.array(b) * scale for b in r] for r in row] for row in boxes]
    size = (int(100 * scale), int(100 * scale))
    scaled = match(prediction_set(larger, classes=classes, size=size), truth_of(references, classes=classes, size=size))
    assert mean_ap(scaled) == pytest.approx(before, nan_ok=True)
    squared = [[(k, b, s**3 / 2) for k, b, s in row] for row in found]
    tables = match(prediction_set(squared, classes=classes), truth_of(boxes, classes=classes))
    assert mean_ap(tables) == pytest.approx(before, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_images_repeated(seed: int) -> None:
    """A resample scored through counts equals the same images written out as often, scored by the definition.

    Repeats stand side by side, so that ties keep their order.
    """
    found, boxes = random_case(seed)
    classes = ("Mass", "Nodule")
    tables = match(prediction_set(found, classes=classes), truth_of(boxes, classes=classes))
    counts = resample_counts(len(found), 5, seed)
    for row in range(5):
        drawn = np.repeat(np.arange(len(found)), counts[row])
        for k, table in enumerate(tables):
            mine = average_precision(table, counts)[row]
            place = localisation_accuracy(table, counts)[row]
            found_k, boxes_k = of_class([found[i] for i in drawn], [boxes[i] for i in drawn], k)
            # as in the table, a box and its copies are neighbours only if no other box of their image ties
            found_k = [
                [(s - 1e-6 * i - 1e-9 * j, b) for j, (s, b) in enumerate(r)]
                for i, r in zip(drawn, found_k, strict=True)
            ]
            for j, threshold in enumerate(IOUS):
                wanted = oracle.average_precision(found_k, boxes_k, threshold)
                assert mine[j] == pytest.approx(np.nan if wanted is None else wanted, nan_ok=True)
                wanted = oracle.localisation(found_k, boxes_k, threshold)
                assert place[j] == pytest.approx(np.nan if wanted is None else wanted, nan_ok=True)


def test_blocks_of_resamples_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    found, boxes = random_case(3)
    classes = ("Mass", "Nodule")
    tables = match(prediction_set(found, classes=classes), truth_of(boxes, classes=classes))
    counts = resample_counts(len(found), 50, 1)
    whole = mean_ap(tables, counts)
    monkeypatch.setattr("wsrpn_vl.evaluate.detect._CHUNK", 7 * len(tables[0].scores))
    assert mean_ap(tables, counts) == pytest.approx(whole, nan_ok=True)
    assert whole.shape == (50, len(IOUS)) and mean_localisation_accuracy(tables, counts).shape == (50, len(IOUS))


def test_f1_on_paper() -> None:
    """Kept at 0.5: one hit, one miss; 2 references. Precision 1/2, recall 1/2, F1 = 2*1/(2+2) = 0.5."""
    found = [[(0, BOX, 0.9), (0, FAR, 0.6)], [(0, BOX, 0.4)]]
    table = match(prediction_set(found), truth_of([[[BOX]], [[BOX]]]))[0]
    scores = detection_f1(table, 0.5)
    assert [scores[name][2] for name in ("f1", "precision", "recall")] == [0.5, 0.5, 0.5]
    assert detection_f1(table, 0.4)["recall"][0] == 1.0
    assert np.isnan(detection_f1(table, float("nan"))["f1"]).all()
    assert detection_f1(table, 0.95)["f1"][0] == 0.0 and np.isnan(detection_f1(table, 0.95)["precision"][0])


def test_localisation_asks_for_the_best_scored_box_alone() -> None:
    """Image 0: the right box is second best, a miss. Image 1: right. Image 2: no box, a miss. Image 3: no reference."""
    found = [[(0, FAR, 0.9), (0, BOX, 0.8)], [(0, BOX, 0.1)], [], [(0, BOX, 0.9)]]
    table = match(prediction_set(found), truth_of([[[BOX]], [[BOX]], [[BOX]], [[]]]))[0]
    assert localisation_accuracy(table) == pytest.approx([1 / 3] * len(IOUS))


def test_the_same_box_everywhere_is_exposed() -> None:
    """The same box in images of two sizes (as fractions) has no spread; boxes at two places have.

    Two 0.2-wide boxes at x 0.1 and 0.3: centres 0.2 and 0.4, sd 0.1; median box 0.2..0.4, IoU with each 1/3.
    """
    still = prediction_set([[(0, BOX, 0.9), (0, FAR, 0.1)], [(0, BOX, 0.2)], []])
    spread = box_spread(still)["Mass"]
    assert spread == pytest.approx(
        {"images": 2, "sd_cx": 0, "sd_cy": 0, "sd_w": 0, "sd_h": 0, "mean_iou": 1, "same": 1}
    )
    moving = prediction_set([[(0, (10, 10, 30, 30), 0.9)], [(0, (30, 10, 50, 30), 0.9)]])
    spread = box_spread(moving)["Mass"]
    assert spread["sd_cx"] == pytest.approx(0.1) and spread["sd_cy"] == pytest.approx(0)
    assert spread["mean_iou"] == pytest.approx(1 / 3) and spread["same"] == 0
    none = box_spread(prediction_set([[]]))["Mass"]
    assert none["images"] == 0 and np.isnan(none["same"])


def test_unaligned_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="align"):
        match(prediction_set([[], []]), truth_of([[[]]]))
