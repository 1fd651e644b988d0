"""Operating points per class, chosen on validation predictions and image-level labels alone: no boxes, no test data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.layout import PredictionSet, image_key


@dataclass(frozen=True)
class Thresholds:
    """Call positive what is >= the threshold.

    image: (c,) on image-level probabilities; box: (c,) on box scores; NaN where validation cannot tell (no positive
    image, or no box of the class). source: where they come from.
    """

    classes: tuple[str, ...]
    image: np.ndarray
    box: np.ndarray
    source: str


def choose_thresholds(validation: PredictionSet, labels: np.ndarray, source: str) -> Thresholds:
    """Thresholds of highest image-level F1 on the validation split.

    labels: (n, c) 1, 0, else left out, in the order of ``validation``. The box threshold judges an image by its top
    box of the class against the image's label.
    """
    if labels.shape != (len(validation), len(validation.classes)):
        raise ValueError(f"labels {labels.shape}, expected {(len(validation), len(validation.classes))}")
    columns = range(len(validation.classes))
    probs, tops = validation.probs, top_scores(validation)
    return Thresholds(
        validation.classes,
        np.array([best_f1_threshold(probs[:, k], labels[:, k]) for k in columns]),
        np.array([best_f1_threshold(tops[:, k], labels[:, k]) for k in columns]),
        source,
    )


def top_scores(predictions: PredictionSet) -> np.ndarray:
    """(n, c) highest box score per image and class, -inf without a box."""
    out = np.full((len(predictions), len(predictions.classes)), -np.inf)
    for i, one in enumerate(predictions.predictions):
        np.maximum.at(out[i], one.detections.class_ids, one.detections.scores)
    return out


def best_f1_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The score t for which calling ``scores >= t`` positive has the highest F1; of equal F1 the highest t.

    scores: (n,), -inf can never be called; labels: (n,) 1, 0, else left out. NaN without a positive or a finite score.
    """
    known = np.isin(labels, (0, 1))
    scores, positive = scores[known], labels[known] == 1
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    total = positive.sum()
    called = np.arange(1, len(scores) + 1)
    last = np.append(scores[:-1] != scores[1:], True)[: len(scores)]  # equal scores are called together
    f1 = np.where(last & np.isfinite(scores), 2 * np.cumsum(positive) / (called + total), -1.0)
    if total == 0 or not len(f1) or f1.max() < 0:
        return float("nan")
    return float(scores[int(np.argmax(f1))])


def refuse_overlap(validation: PredictionSet, test: PredictionSet, place: str) -> None:
    """Raises: PredictionsError if an image is in both: thresholds would be chosen on the images they are judged on."""
    shared = {image_key(i) for i in validation.image_ids} & {image_key(i) for i in test.image_ids}
    if shared:
        raise PredictionsError(
            f"{place}: {len(shared)} images are also in the evaluated predictions, the first is {min(shared)!r}; "
            "thresholds are chosen on the validation split only"
        )
