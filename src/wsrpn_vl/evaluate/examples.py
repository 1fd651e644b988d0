"""Which images a report shows, chosen by rule so that failures stand beside successes, and how it shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wsrpn_vl.boxes import Letterbox, iou_matrix
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.evaluate.truth import Truth
from wsrpn_vl.labels import colour
from wsrpn_vl.overlay import draw_overlay, heatmap_overlay, score_text
from wsrpn_vl.plotting import styled
from wsrpn_vl.types import Detections

GROUPS = ("best", "median", "worst")
MAPS = {"patch": "patch", "roi": "ROI"}  # heat maps and what they are called


@dataclass(frozen=True)
class Example:
    """An image and the class it is judged by.

    image, label: positions in the truth; group: best, median or worst; value: IoU of the class's top box with the
    nearest reference box, or, where there are no reference boxes, the class's probability; score: of that box, None
    without a box.
    """

    image: int
    label: int
    group: str
    value: float
    score: float | None


@dataclass(frozen=True)
class Retrieved:
    """A text as an image's query finds it: cosine similarity, and whether it is the image's own or an equal text."""

    text_of: int
    similarity: float
    hit: bool


@dataclass(frozen=True)
class RetrievalExample:
    """An image with its best texts. image: its position; rank: of its own text among the ``distinct`` ones."""

    image: int
    rank: int
    distinct: int
    found: tuple[Retrieved, ...]


def choose_examples(predictions: PredictionSet, truth: Truth, count: int) -> list[Example]:
    """Up to ``count`` examples, in equal parts the best, the median and the worst, each of another image.

    Every (image, class) with a reference box is ranked by the IoU of the class's top box with the nearest of them;
    of equal IoUs the surer box is the better hit and the worse miss. Without reference boxes, the pairs whose label is
    1 are ranked by probability. Within a group classes are varied where possible.
    """
    ranked = _judged_by_box(predictions, truth) or _judged_by_label(predictions, truth)
    middle = (len(ranked) - 1) / 2
    orders = {
        "median": sorted(range(len(ranked)), key=lambda i: (abs(i - middle), i)),
        "worst": range(len(ranked) - 1, -1, -1),
        "best": range(len(ranked)),
    }
    used: set[int] = set()
    chosen: dict[str, list[Example]] = {}
    for place, (group, order) in enumerate(orders.items()):
        picked = _varied([ranked[i] for i in order], used, (count + 2 - place) // 3)
        chosen[group] = [Example(p.image, p.label, group, p.value, p.score) for p in picked]
    return [example for group in GROUPS for example in chosen[group]]


def choose_retrieval(predictions: PredictionSet, count: int = 3, top: int = 3) -> list[RetrievalExample]:
    """Up to ``count`` images spread evenly from the best to the worst rank of their own text, with their ``top`` texts.

    Equal texts (equal ``text_id``) are one. Empty if fewer than two images have both embeddings.
    """
    used = [
        i for i, p in enumerate(predictions.predictions) if p.embedding is not None and p.text_embedding is not None
    ]
    if len(used) < 2:
        return []
    ids = [predictions.predictions[i].text_id or f"own text of {i}" for i in used]
    first = list({text: j for j, text in reversed(list(enumerate(ids)))}.values())[::-1]  # one place per distinct text
    column = {ids[j]: c for c, j in enumerate(first)}
    images, texts = (
        _unit([getattr(predictions.predictions[used[j]], name) for j in places])
        for name, places in (("embedding", range(len(used))), ("text_embedding", first))
    )
    similarity = images @ texts.T
    own = np.array([column[text] for text in ids])
    ranks = 1 + (similarity > similarity[np.arange(len(used)), own][:, None]).sum(1)
    order = np.argsort(ranks, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))
    out = []
    for j in order[places]:
        best = np.argsort(-similarity[j], kind="stable")[:top]
        found = tuple(Retrieved(used[first[c]], float(similarity[j, c]), bool(c == own[j])) for c in best)
        out.append(RetrievalExample(used[j], int(ranks[j]), len(first), found))
    return out


@styled
def example_panel(
    image: np.ndarray,
    predicted: Detections,
    truth: Sequence[tuple[str, np.ndarray]],
    heatmaps: Mapping[str, np.ndarray],
    letterbox: Letterbox,
    name: str,
) -> Figure:
    """Image with true and predicted boxes, then class ``name``'s patch and ROI heat maps with its boxes.

    image (h, w) float or uint8; boxes in its pixels; heatmaps: ``patch``, ``roi`` -> (gh, gw), either may be missing.
    """
    side = 480
    height, width = image.shape
    scale = side / max(height, width)
    # axes of exactly the pictures' size, so that no caption is resampled
    picture = draw_overlay(image, predicted, truth, scale_to=side)
    gap, title = 12, 34
    shown = [("boxes", np.asarray(picture))]
    for key, what in MAPS.items():
        if key in heatmaps:
            text = f"{name}: {what} branch, peak probability {score_text(float(heatmaps[key].max()))}"
            shown.append((text, np.asarray(heatmap_overlay(image, heatmaps[key], letterbox, scale_to=side))))
    total = (len(shown) * (picture.width + gap) - gap, picture.height + title)
    figure = Figure(figsize=(total[0] / 100, total[1] / 100), dpi=100)
    for i, (text, pixels) in enumerate(shown):
        left, rows = i * (picture.width + gap), pixels.shape[0]
        area = (left / total[0], 1 - (title + rows) / total[1], picture.width / total[0], rows / total[1])
        axes = figure.add_axes(area)
        axes.set_axis_off()
        figure.text((left + 2) / total[0], 1 - title / 2 / total[1], text, va="center", fontsize=12)
        axes.imshow(pixels, interpolation="none", aspect="auto")
        if i:
            _outline(axes, predicted, truth, name, scale)
    return figure


def _varied(candidates: Sequence[Example], used: set[int], count: int) -> list[Example]:
    """The first ``count`` of unused images, first of distinct classes, then of any; adds them to ``used``."""
    out: list[Example] = []
    for any_class in (False, True):
        for one in candidates:
            if len(out) < count and one.image not in used and (any_class or one.label not in {o.label for o in out}):
                out.append(one)
                used.add(one.image)
    return out


def _judged_by_box(predictions: PredictionSet, truth: Truth) -> list[Example]:
    """Every (image, class) with a reference box, best first."""
    out = []
    for i, k in zip(*np.nonzero(truth.box_counts), strict=True):
        mine = predictions.predictions[i].detections
        mine = mine[mine.class_ids == k].sorted()[:1]
        iou = float(iou_matrix(mine.xyxy, truth.boxes[i][k]).max()) if len(mine) else 0.0
        out.append(Example(int(i), int(k), "", iou, float(mine.scores[0]) if len(mine) else None))

    def order(e: Example) -> tuple[float, float, int, int]:
        score = e.score or 0.0
        return -e.value, -score if e.value > 0 else score, e.image, e.label

    return sorted(out, key=order)


def _judged_by_label(predictions: PredictionSet, truth: Truth) -> list[Example]:
    probs = predictions.probs
    out = []
    for i, k in zip(*np.nonzero(truth.labels == 1), strict=True):
        scores = predictions.predictions[i].detections
        scores = scores.scores[scores.class_ids == k]
        out.append(Example(int(i), int(k), "", float(probs[i, k]), float(scores.max()) if len(scores) else None))
    return sorted(out, key=lambda e: (-e.value, e.image, e.label))


def _unit(vectors: list) -> np.ndarray:
    stacked = np.array(vectors, dtype=float)
    return stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-12)


def _outline(
    axes: Axes, predicted: Detections, truth: Sequence[tuple[str, np.ndarray]], name: str, scale: float
) -> None:
    """Annotated boxes of the class (dashed) and its best predicted box (solid) over a picture scaled by ``scale``."""
    mine = predicted[[predicted.classes[k] == name for k in predicted.class_ids]].sorted()[:1]
    for box, edge, style in [(b, "white", "--") for label, b in truth if label == name] + [
        (b, colour(name), "-") for b in mine.xyxy
    ]:
        x1, y1, x2, y2 = np.asarray(box, dtype=float) * scale - 0.5  # pixel centres lie at whole numbers
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linestyle=style, linewidth=1.4)
        )
