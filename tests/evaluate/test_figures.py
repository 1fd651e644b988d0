"""Figures: the values that are drawn, read back from the axes."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fixtures.scored import prediction_set, truth_of
from wsrpn_vl import plotting
from wsrpn_vl.evaluate import figures
from wsrpn_vl.evaluate.classify import auroc


def step(i: int, phase: int, **terms: float) -> dict:
    return {"kind": "step", "step": i, "epoch": i // 4, "phase": phase, "lr": 0.1 * i, "loss": 2.0, "terms": terms}


def epoch(number: int, value: float | None, best: bool) -> dict:
    return {"kind": "epoch", "step": 4 * number + 4, "epoch": number, "val": {"auroc": value, "a": 0.5}, "best": best}


RECORDS = [
    *(step(i, 0, a=float(i)) for i in range(4)), epoch(0, 0.6, True),
    *(step(i, 1, a=float(i), b=3.0) for i in range(4, 8)), epoch(1, 0.7, True),
    *(step(i, 1, a=float(i), b=3.0) for i in range(8, 12)), epoch(2, 0.65, False),
]  # fmt: skip


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in figure.axes}


def line(axes: Axes, label: str) -> np.ndarray:
    """(n, 2) points of the line whose label begins with ``label``."""
    (found,) = (one for one in axes.lines if str(one.get_label()).startswith(label))
    return np.asarray(found.get_xydata())


def words(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_loss_panels_hold_each_term_its_validation_and_the_phases():
    figure = figures.loss_curves(RECORDS, ["phase 1: detection", "phase 2: all"])
    assert set(panels(figure)) == {"weighted total", "a", "b"}
    assert np.array_equal(line(panels(figure)["a"], "validation"), [[4, 0.5], [8, 0.5], [12, 0.5]])
    smooth = line(panels(figure)["b"], "training")
    assert np.isnan(smooth[:4, 1]).all()
    assert (smooth[4:, 1] == 3.0).all()
    bands = [
        patch.get_extents().transformed(panels(figure)["a"].transData.inverted())
        for patch in panels(figure)["a"].patches
    ]
    assert [(round(b.x0, 6), round(b.x1, 6)) for b in bands] == [(0, 4), (4, 12)]
    assert {"phase 1: detection", "phase 2: all"} <= set(words(figure))
    with pytest.raises(ValueError, match="no step"):
        figures.loss_curves([epoch(0, 0.5, True)])


def test_progress_marks_the_last_best_epoch():
    left, right = figures.progress_curves(RECORDS).axes
    assert np.array_equal(line(left, "validation"), [[0, 0.6], [1, 0.7], [2, 0.65]])
    assert np.array_equal(line(left, "chosen: epoch 1, 0.700"), [[1, 0.7]])
    assert np.allclose(np.asarray(right.lines[0].get_xydata())[:, 1], [0.1 * i for i in range(12)])
    assert left.get_xlabel() == "epoch"
    assert right.get_xlabel() == "optimiser step"


def test_roc_curve_of_three_images():
    """Scores .9+ .5- .2+ : at .9 TPR 1/2 FPR 0; at .5 FPR 1; at .2 TPR 1. Area 1/2. The class of one label has none."""
    probs, labels = np.array([[0.9, 0.1], [0.5, 0.2], [0.2, 0.3]]), np.array([[1, 1], [0, 1], [1, np.nan]])
    (axes,) = figures.roc_curves(probs, labels, ("Mass", "Nodule")).axes
    assert axes.get_title() == "Mass"
    assert np.array_equal(np.asarray(axes.lines[1].get_xydata()), [[0, 0], [0, 0.5], [1, 0.5], [1, 1]])
    assert "AUROC 0.500\n2 of 3 positive" in [text.get_text() for text in axes.texts]
    with pytest.raises(ValueError, match="no class"):
        figures.roc_curves(probs[:, 1:], labels[:, 1:], ("Nodule",))


def test_area_under_the_drawn_curve_is_the_auroc():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (200, 3)).astype(float)
    probs = rng.integers(0, 12, (200, 3)) / 12  # many ties
    figure = figures.roc_curves(probs, labels, ("a", "b", "c"))
    drawn = [np.trapezoid(*np.asarray(axes.lines[1].get_xydata()).T[::-1]) for axes in figure.axes]
    assert drawn == pytest.approx(auroc(probs, labels).tolist())


def test_ap_bars_stand_beside_the_blind_row_and_leave_undefined_classes_out():
    ap = {"Mass": {"0.1": 0.4, "0.3": 0.2}, "Nodule": {"0.1": 0.1, "0.3": None}, "Hernia": {"0.1": None, "0.3": None}}
    blind = {"Mass": {"0.1": 0.3, "0.3": 0.25}, "Nodule": {"0.1": 0.0, "0.3": 0.0}}
    figure = figures.ap_bars(ap, blind, ("0.1", "0.3"))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["Mass", "Nodule"]
    widths = [[round(p.get_width(), 6) for p in axes.patches] for axes in figure.axes]
    assert widths[0] == [0.4, 0.1, 0.3, 0.0]
    assert widths[1][0] == 0.2
    assert np.isnan(widths[1][1])
    rows = [p.get_y() for p in figure.axes[0].patches]
    assert rows[0] < rows[2]  # of one class the model's bar is above: the axis runs down
    assert figure.axes[0].yaxis_inverted()
    with pytest.raises(ValueError, match="no class"):
        figures.ap_bars({"Hernia": ap["Hernia"]}, None, ("0.1",))


def test_ap_over_iou_has_its_band_and_blind_lines():
    mean, ci = {"0.1": 0.5, "0.3": 0.3}, {"0.1": [0.4, 0.6], "0.3": [0.2, 0.35]}
    (axes,) = figures.ap_by_iou(mean, ci, {"own": {"0.1": 0.2, "0.3": 0.1}}).axes
    assert np.allclose(line(axes, "this model"), [[0.1, 0.5], [0.3, 0.3]])
    assert np.allclose(line(axes, "blind: own"), [[0.1, 0.2], [0.3, 0.1]])
    corners = {tuple(np.round(p, 6)) for p in axes.collections[0].get_paths()[0].vertices}
    assert {(0.1, 0.4), (0.1, 0.6), (0.3, 0.2), (0.3, 0.35)} <= corners


def test_reliability_of_two_groups():
    """Two bins: probabilities .1 .1 .1 with one positive, .8 .8 with two: points (.1, 1/3) and (.8, 1).

    A sixth image of unknown label changes nothing.
    """
    probs = np.array([[0.1], [0.1], [0.1], [0.8], [0.8], [0.8]])
    labels = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [np.nan]])
    figure = figures.reliability(probs[:5], labels[:5], bins=2)
    points = np.asarray(figure.axes[0].containers[0].lines[0].get_xydata())
    assert np.allclose(points, [[0.1, 1 / 3], [0.8, 1.0]])
    unknown = figures.reliability(probs, labels, bins=2)
    assert np.allclose(np.asarray(unknown.axes[0].containers[0].lines[0].get_xydata()), points)
    assert any(text.startswith("as predicted: mean calibration error") for text in words(figure))
    with pytest.raises(ValueError, match="no label"):
        figures.reliability(probs, np.full_like(labels, np.nan))


def test_centres_are_fractions_of_the_image():
    """Of images 200 x 100: top box (20, 10, 60, 30) -> (0.2, 0.2); annotated (100, 50, 140, 90) -> (0.6, 0.7)."""
    predictions = prediction_set([[(0, (20, 10, 60, 30), 0.9), (0, (0, 0, 9, 9), 0.5)], []], size=(200, 100))
    truth = truth_of([[[(100, 50, 140, 90)]], [[]]], size=(200, 100))
    (axes,) = figures.box_centres(predictions, truth).axes
    real, tops = (np.asarray(c.get_offsets()) for c in axes.collections)
    assert np.allclose(real, [[0.6, 0.7]])
    assert np.allclose(tops, [[0.2, 0.2]])
    assert axes.yaxis_inverted()
    with pytest.raises(ValueError, match="no class"):
        figures.box_centres(predictions, truth_of([[[]], [[]]]))


def test_every_axis_says_what_it_shows():
    probs, labels = np.array([[0.9], [0.2]]), np.array([[1.0], [0.0]])
    ap = {"Mass": {"0.1": 0.4, "0.3": 0.3, "0.5": 0.1}}
    for figure in (figures.progress_curves(RECORDS), figures.loss_curves(RECORDS), figures.ap_by_iou(ap["Mass"])):
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    assert all(axes.get_xlabel() == "average precision" for axes in figures.ap_bars(ap).axes)
    roc = figures.roc_curves(probs, labels, ("Mass",))
    assert (roc.get_supxlabel(), roc.get_supylabel()) == ("1 − specificity", "sensitivity")


def test_the_callers_settings_neither_change_nor_matter():
    with matplotlib.rc_context({"font.size": 31, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        figure = figures.ap_by_iou({"0.1": 0.5})
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].xaxis.label.get_size() == 10


@pytest.mark.parametrize(("kind", "name"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_encoded_figure_is_a_picture_of_the_asked_size(kind, name):
    """Class names are plain words, so dollar signs are no formulas: an odd number of them draws as well."""
    figure = figures.ap_bars({"a$b^": {"0.1": 0.5}, "$x$": {"0.1": 0.2}}, None, ("0.1",))
    with Image.open(io.BytesIO(plotting.encode(figure, kind, dpi=50))) as picture:
        assert picture.format == name
        assert picture.width == round(plotting.WIDTH * 50)
