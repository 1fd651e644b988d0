"""The calibration as one figure: published against measured."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsrpn_vl.data.phantom.calibration import (
    AREA_FACTOR,
    AXES,
    BOXED,
    MEDIAN_SHIFT,
    Calibration,
    Row,
    free_pairs,
    published_conditional,
)
from wsrpn_vl.data.phantom.prior import published_priors
from wsrpn_vl.plotting import BLUE, GREY, ORANGE, WIDTH, styled

_TITLES = {"cx": "centre x", "cy": "centre y", "w": "width", "h": "height", "area": "area"}


@styled
def calibration_figure(found: Calibration) -> Figure:
    """Quartiles of the boxes per class and axis, prevalences, positives per image, P(column | row)."""
    figure = Figure(figsize=(WIDTH * 1.25, 8.2), layout="constrained")
    above, below = np.ravel(figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.05)))
    for axis, axes in zip(AXES, above.subplots(1, len(AXES), sharey=True), strict=True):
        _boxes(axes, axis, found)
    above.suptitle("Boxes: median and quartiles, fractions of the side; band: tolerance of the median", fontsize=10)
    left, middle, right = below.subplots(1, 3)
    _bars(left, [row for row in found.rows if row.group == "prevalence"], "Prevalence")
    _bars(middle, [row for row in found.rows if row.group == "positives per image"], "Positives per image")
    middle.set_ylabel("observations on one image")
    _pairs(right, found)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _boxes(axes: Axes, axis: str, found: Calibration) -> None:
    names = list(BOXED)
    for i, name in enumerate(names):
        low, middle, high = published_priors()["boxes"][name][axis][1:4]
        if axis == "area":
            band = middle / AREA_FACTOR, middle * AREA_FACTOR
        else:
            band = middle - MEDIAN_SHIFT, middle + MEDIAN_SHIFT
        axes.barh(i, band[1] - band[0], left=band[0], height=0.8, color=GREY, alpha=0.22, linewidth=0)
        axes.plot([low, high], [i - 0.16] * 2, color=GREY, linewidth=2)
        axes.plot(middle, i - 0.16, "s", color=GREY, markersize=5)
        low, middle, high = found.quartiles[name][axis]
        axes.plot([low, high], [i + 0.16] * 2, color=BLUE, linewidth=2)
        axes.plot(middle, i + 0.16, "o", color=BLUE, markersize=5)
    axes.set(title=_TITLES[axis], yticks=range(len(names)), yticklabels=names)
    if axis == "area":
        axes.set_xscale("log")
        axes.set_xlim(1e-3, 0.5)
    else:
        axes.set_xlim(0, 1)
    if not axes.yaxis_inverted():  # the panels share this axis
        axes.invert_yaxis()


def _bars(axes: Axes, rows: list[Row], title: str) -> None:
    at = np.arange(len(rows))
    axes.barh(at - 0.2, [row.published for row in rows], 0.38, color=GREY, label="published")
    values = np.array([row.measured for row in rows])
    error = np.array([[v - row.interval[0], row.interval[1] - v] for v, row in zip(values, rows, strict=True)]).T
    axes.barh(at + 0.2, values, 0.38, color=BLUE, xerr=error, error_kw={"linewidth": 1}, label="measured, 95 %")
    axes.set(title=title, yticks=at, yticklabels=[row.name for row in rows], xlabel="share of studies")
    axes.tick_params("y", labelsize=8)
    axes.invert_yaxis()


def _pairs(axes: Axes, found: Calibration) -> None:
    wanted, free = published_conditional(), free_pairs()
    other = ~free & ~np.eye(len(free), dtype=bool)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axes.plot(wanted[other], found.conditional[other], "x", color=ORANGE, markersize=4, label="set by the hierarchy")
    axes.plot(wanted[free], found.conditional[free], "o", color=BLUE, markersize=3, alpha=0.6, label="free")
    axes.set(title="P(column | row)", xlabel="published", ylabel="measured", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left")
