"""Figures of a run and of its predictions: plain values in, a matplotlib Figure out, no global state.

Blind reference rows are grey and hatched or dashed throughout. Many classes are drawn as small panels, so that none
needs a colour of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from wsrpn_vl.evaluate.classify import auroc, calibration_error
from wsrpn_vl.evaluate.detect import top_boxes
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.evaluate.truth import Truth
from wsrpn_vl.plotting import BANDS, BLUE, GREY, ORANGE, WIDTH, styled


@styled
def loss_curves(records: Sequence[Mapping[str, Any]], phases: Sequence[str] = ()) -> Figure:
    """One panel per loss term over optimiser steps: training (raw and smoothed), validation at each epoch's end.

    records: lines of ``metrics.jsonl``; phases: name of each curriculum phase, whose steps are shaded.
    Raises: ValueError if no record has a loss.
    """
    steps = [r for r in records if r.get("kind") == "step"]
    epochs = [r for r in records if r.get("kind") == "epoch"]
    names = ["loss", *dict.fromkeys(k for r in steps for k in r["terms"])]
    if not steps:
        raise ValueError("no step is recorded")
    figure, panels = _grid(len(names), 3, 0.66)
    at = np.array([r["step"] for r in steps])
    for name, axes in zip(names, panels, strict=True):
        values = np.array([_number(r["loss"] if name == "loss" else r["terms"].get(name)) for r in steps])
        _shade(axes, steps, len(phases))
        axes.plot(at, values, color=BLUE, alpha=0.3, linewidth=0.8)
        axes.plot(
            at, _smooth(values, max(1, len(values) // 40)), color=BLUE, linewidth=1.6, label="training (smoothed)"
        )
        ends = [(e["step"], _number(e.get("val", {}).get(name))) for e in epochs]
        if any(math.isfinite(v) for _, v in ends):
            axes.plot(*zip(*ends, strict=True), "o", color=ORANGE, markersize=4, label="validation")
        axes.set(title="weighted total" if name == "loss" else name, xlabel="optimiser step", ylabel="loss")
    handles, labels = panels[0].get_legend_handles_labels()
    handles += [Patch(color=BANDS[i % len(BANDS)]) for i in range(len(phases))]
    figure.legend(handles, [*labels, *phases], loc="outside lower center", ncols=2)
    return figure


@styled
def progress_curves(records: Sequence[Mapping[str, Any]], phases: Sequence[str] = ()) -> Figure:
    """Validation AUROC over epochs (the chosen checkpoint marked), and the learning rate over steps.

    Raises: ValueError if the records are empty.
    """
    steps = [r for r in records if r.get("kind") == "step"]
    epochs = [r for r in records if r.get("kind") == "epoch"]
    if not steps and not epochs:
        raise ValueError("nothing is recorded")
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    values = [_number(e.get("val", {}).get("auroc")) for e in epochs]
    left.axhline(0.5, color=GREY, linestyle="--", linewidth=1, label="chance")
    left.plot([e["epoch"] for e in epochs], values, "o-", color=BLUE, markersize=4, label="validation")
    best = [(e["epoch"], v) for e, v in zip(epochs, values, strict=True) if e.get("best")]
    if best:
        left.plot(*best[-1], "*", color=ORANGE, markersize=14, label=f"chosen: epoch {best[-1][0]}, {best[-1][1]:.3f}")
    left.set(title="Validation AUROC, mean over classes", xlabel="epoch", ylabel="AUROC")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend()
    _shade(right, steps, len(phases))
    right.plot([r["step"] for r in steps], [_number(r.get("lr")) for r in steps], color=BLUE)
    right.set(title="Learning rate", xlabel="optimiser step", ylabel="rate", ylim=(0, None))
    right.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=False)
    return figure


@styled
def roc_curves(probs: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """ROC curve of each class that has both labels. probs (n, c), labels (n, c) 1, 0, else left out.

    Raises: ValueError if no class has both.
    """
    areas = auroc(probs, labels)
    chosen = np.flatnonzero(~np.isnan(areas)).tolist()
    if not chosen:
        raise ValueError("no class has positive and negative images")
    figure, panels = _grid(len(chosen), 5, 1.0)
    for k, axes in zip(chosen, panels, strict=True):
        known = np.isin(labels[:, k], (0, 1))
        false, true = _roc(probs[known, k], labels[known, k] == 1)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        axes.plot(false, true, color=BLUE, linewidth=1.6)
        axes.fill_between(false, true, color=BLUE, alpha=0.12)
        n = int((labels[:, k] == 1).sum())
        axes.text(0.97, 0.06, f"AUROC {areas[k]:.3f}\n{n} of {known.sum()} positive", ha="right", fontsize=8)
        axes.set(title=classes[k], xlim=(0, 1), ylim=(0, 1.01), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set_title(classes[k], fontsize=9)
    figure.supxlabel("1 − specificity", fontsize=10)
    figure.supylabel("sensitivity", fontsize=10)
    return figure


@styled
def ap_bars(
    ap: Mapping[str, Mapping[str, float | None]],
    blind: Mapping[str, Mapping[str, float | None]] | None = None,
    ious: Sequence[str] = ("0.1", "0.3", "0.5"),
) -> Figure:
    """AP of each class, one panel per IoU threshold; below each bar that of the blind row.

    ap, blind: class -> IoU threshold -> AP or None; classes without AP are left out.
    Raises: ValueError if no class has AP.
    """
    names = [c for c in ap if any(ap[c].get(i) is not None for i in ious)]
    if not names:
        raise ValueError("no class has reference boxes")
    figure = Figure(figsize=(WIDTH, 1.3 + 0.42 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(ious), sharey=True, sharex=True)
    rows = np.arange(len(names))
    thick = 0.4 if blind else 0.7
    for iou, axes in zip(ious, np.ravel(panels), strict=True):
        shift = thick / 2 if blind else 0
        found = axes.barh(rows - shift, [_number(ap[c].get(iou)) for c in names], thick, color=BLUE, label="this model")
        axes.bar_label(found, fmt=lambda v: f"{v:.2f}", padding=2, fontsize=8)
        if blind:
            other = [_number(blind.get(c, {}).get(iou)) for c in names]
            style = {"facecolor": "#d9d9d9", "edgecolor": GREY, "hatch": "////", "linewidth": 0.6}
            axes.barh(rows + shift, other, thick, label="blind: the same box on every image", **style)
        axes.set(title=f"IoU ≥ {iou}", xlabel="average precision")
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.15)
    first = np.ravel(panels)[0]
    first.set_yticks(rows, names)
    for text in first.get_yticklabels():
        text.set_parse_math(False)  # tick labels are made outside the style
    first.invert_yaxis()
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def ap_by_iou(
    mean: Mapping[str, float | None],
    ci: Mapping[str, Sequence[float | None]] | None = None,
    blind: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Figure:
    """Mean AP over the IoU threshold, its 95 % interval as a band, and the blind rows (name -> threshold -> mAP)."""
    figure = Figure(figsize=(WIDTH * 0.62, 3.2), layout="constrained")
    axes = figure.subplots()
    at = [float(i) for i in mean]
    if ci:
        low, high = np.array([[_number(v) for v in ci[i]] for i in mean]).T
        axes.fill_between(at, low, high, color=BLUE, alpha=0.2, label="95 % interval")
    axes.plot(at, [_number(v) for v in mean.values()], "o-", color=BLUE, linewidth=2, label="this model")
    for (name, row), style in zip((blind or {}).items(), ("--", ":", "-."), strict=False):
        axes.plot(
            at, [_number(row.get(i)) for i in mean], style, color="#444444", linewidth=1.6, label=f"blind: {name}"
        )
    axes.set(xlabel="IoU threshold", ylabel="mean average precision", ylim=(0, None), xticks=at)
    axes.legend()
    return figure


@styled
def reliability(probs: np.ndarray, labels: np.ndarray, calibrated: np.ndarray | None = None, bins: int = 10) -> Figure:
    """Observed frequency against predicted probability, all classes pooled, bins of equal count; histogram below.

    probs, calibrated: (n, c); labels: (n, c) 1, 0, else left out. Bars are 95 % Wilson intervals of the frequency.
    Raises: ValueError if no label is known.
    """
    known = np.isin(labels, (0, 1)) & ~np.isnan(probs)
    if not known.any():
        raise ValueError("no label is known")
    figure = Figure(figsize=(WIDTH * 0.5, 4.6), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect calibration")
    rows = [("as predicted", probs, BLUE, "o")]
    if calibrated is not None:
        rows.append(("calibrated", calibrated, ORANGE, "s"))
    for name, values, shade, marker in rows:
        with_value = known & ~np.isnan(values)
        centre, share, low, high = _bins(values[with_value], labels[with_value] == 1, bins)
        error = np.nanmean(calibration_error(values, labels))
        spread = np.maximum(np.stack([share - low, high - share]), 0)  # rounding can put a limit past the share
        axes.errorbar(centre, share, spread, fmt=f"{marker}-", color=shade, capsize=2, markersize=5,
                      label=f"{name}: mean calibration error {error:.3f}")  # fmt: skip
        below.hist(values[with_value], bins=np.linspace(0, 1, 41), histtype="step", color=shade, linewidth=1.4)
    axes.set(ylabel="share that is positive", xlim=(0, 1), ylim=(0, 1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center")
    below.set(xlabel="predicted probability", ylabel="pairs", yscale="log")
    return figure


@styled
def box_centres(predictions: PredictionSet, truth: Truth) -> Figure:
    """Where each class's top box lies on every image (dots) and where the annotated boxes lie (circles).

    Centres as fractions of the image. Dots in one heap mean that the model does not look at the image.
    Raises: ValueError if no class has reference boxes.
    """
    chosen = np.flatnonzero(truth.box_counts.sum(0)).tolist()
    if not chosen:
        raise ValueError("no class has reference boxes")
    figure, panels = _grid(len(chosen), 5, 1.0)
    for k, axes in zip(chosen, panels, strict=True):
        tops = _centres(top_boxes(predictions, k))
        sized = [(row[k] / np.tile(size, 2)) for row, size in zip(truth.boxes, truth.sizes, strict=True)]
        real = _centres(np.concatenate(sized))
        axes.scatter(*real.T, s=26, facecolors="none", edgecolors=ORANGE, linewidths=1.1, label="annotated box")
        axes.scatter(*tops.T, s=9, color=BLUE, alpha=0.55, linewidths=0, label="top predicted box")
        axes.set(xlim=(0, 1), ylim=(1, 0), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
        axes.set_title(truth.classes[k], fontsize=9)
        axes.spines[["top", "right"]].set_visible(True)
    figure.supxlabel("centre x, fraction of the width", fontsize=10)
    figure.supylabel("centre y, fraction of the height", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def _grid(count: int, most: int, ratio: float) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels in even rows of at most ``most``; ratio: height of a panel over its width."""
    rows = math.ceil(count / most)
    columns = math.ceil(count / rows)
    width = WIDTH / max(columns, 3)  # few panels stay small
    figure = Figure(figsize=(width * columns, rows * width * ratio + 0.6), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _shade(axes: Axes, steps: Sequence[Mapping[str, Any]], phases: int) -> None:
    """A band behind the steps of each phase, and a line where the phase changes."""
    for phase in range(phases):
        at = [r["step"] for r in steps if r.get("phase") == phase]
        if at:
            axes.axvspan(min(at), max(at) + 1, color=BANDS[phase % len(BANDS)], linewidth=0, zorder=0)
            if phase:
                axes.axvline(min(at), color=GREY, linewidth=0.8, linestyle=":")


def _smooth(values: np.ndarray, half: int) -> np.ndarray:
    """Mean of the known values within ``half`` steps on either side; unknown where the value itself is."""
    known = np.isfinite(values)
    kernel = np.ones(2 * half + 1)
    pad = [np.pad(np.where(known, v, 0.0), half) for v in (values, np.ones(len(values)))]
    total, weight = (np.convolve(p, kernel, mode="valid") for p in pad)
    return np.where(known, total / np.maximum(weight, 1), np.nan)


def _roc(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at each distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    rates = [np.concatenate([[0], np.cumsum(v[order])[ends] / v.sum()]) for v in (~positive, positive)]
    return rates[0], rates[1]


def _bins(values: np.ndarray, positive: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, positive share and its Wilson limits in up to ``bins`` bins of about equal count."""
    parts = [p for p in np.array_split(np.argsort(values, kind="stable"), bins) if len(p)]
    n = np.array([len(p) for p in parts])
    centre, share = (np.array([v[p].mean() for p in parts]) for v in (values, positive))
    z = 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return centre, share, middle - half, middle + half


def _centres(xyxy: np.ndarray) -> np.ndarray:
    known = xyxy[~np.isnan(xyxy).any(1)]
    return (known[:, :2] + known[:, 2:]) / 2


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
