"""The values that travel through the package: frozen and shape-checked.

Dimension letters: ``b`` image, ``n`` patch (= grid h * grid w), ``k`` ROI, ``c`` class, ``d`` feature,
``e`` shared embedding. There is no box in :class:`Sample` or :class:`Batch`: training cannot see one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsrpn_vl.boxes import Letterbox


def _expect(name: str, value: Any, shape: tuple[int | None, ...]) -> None:
    actual = tuple(value.shape)
    if len(actual) != len(shape) or any(s is not None and s != a for s, a in zip(shape, actual, strict=True)):
        wanted = "(" + ", ".join("?" if s is None else str(s) for s in shape) + ")"
        raise ValueError(f"{name} has shape {actual}, expected {wanted}")


@dataclass(frozen=True)
class Sample:
    """One image ready for the network.

    image: (channels, size, size) float in [0, 1]; labels: (c,) 1/0, a soft target in between, or NaN where unknown;
    text_row: row of the text table, -1 without text; text_weight: how much the words count.
    """

    image_id: str
    image: Tensor
    labels: Tensor
    letterbox: Letterbox
    text_row: int = -1
    text_weight: float = 1.0


@dataclass(frozen=True)
class Batch:
    """Collated samples.

    images: (b, channels, h, w) float in [0, 1]; labels: (b, c), NaN = unknown;
    text_features: (b, d_text) frozen encoder output, or None when no text is used;
    text_ids: (b,) int64, equal id = equal text, -1 = no text; text_weights: (b,) how much the words count, 0 to 1;
    mirrored: (text_features, text_ids) with left and right exchanged, for images that get flipped.
    """

    image_ids: tuple[str, ...]
    images: Tensor
    labels: Tensor
    letterboxes: tuple[Letterbox, ...]
    text_features: Tensor | None = None
    text_ids: Tensor | None = None
    text_weights: Tensor | None = None
    mirrored: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        b = len(self.image_ids)
        _expect("Batch.images", self.images, (b, None, None, None))
        _expect("Batch.labels", self.labels, (b, None))
        if self.text_features is not None:
            _expect("Batch.text_features", self.text_features, (b, None))
        if self.text_ids is not None:
            _expect("Batch.text_ids", self.text_ids, (b,))
        if self.text_weights is not None:
            _expect("Batch.text_weights", self.text_weights, (b,))

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""

        def move(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.to(device, non_blocking=True)

        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            text_features=move(self.text_features),
            text_ids=move(self.text_ids),
            text_weights=move(self.text_weights),
            mirrored=None if self.mirrored is None else tuple(t.to(device, non_blocking=True) for t in self.mirrored),
        )

    def flipped(self, flip: Tensor) -> Batch:
        """The words that belong to the images once those where ``flip`` (b,) is true are mirrored left to right."""
        if self.mirrored is None or self.text_features is None or self.text_ids is None:
            return self
        flip = flip.to(self.text_ids.device)
        features, ids = self.mirrored
        return replace(
            self,
            text_features=torch.where(flip[:, None], features, self.text_features),
            text_ids=torch.where(flip, ids, self.text_ids),
        )


@dataclass(frozen=True)
class Outputs:
    """What a detector says of a batch. A baseline fills what it has; the rest stays None.

    grid: (h, w) of the patches, n = h * w, row-major.
    patch_logits (b, n, c); patch_image_logits (b, c): after LSE pooling;
    roi_attention (b, k, n): sums to 1 over n; roi_boxes (b, k, 4): ``cxcywh`` in [0, 1] of the network square;
    roi_anchors (b, k, 4): where the boxes start in this image, the same frame;
    pooling_weights (b, k, n): Gaussian weights, sum to 1 over n; roi_logits (b, k, c);
    roi_image_logits (b, c): log-odds of the noisy-OR; image_embeddings, text_embeddings (b, e): unit vectors;
    logit_scale (): 1/temperature of the alignment.
    """

    grid: tuple[int, int]
    patch_logits: Tensor | None = None
    patch_image_logits: Tensor | None = None
    roi_attention: Tensor | None = None
    roi_boxes: Tensor | None = None
    roi_anchors: Tensor | None = None
    pooling_weights: Tensor | None = None
    roi_logits: Tensor | None = None
    roi_image_logits: Tensor | None = None
    image_embeddings: Tensor | None = None
    text_embeddings: Tensor | None = None
    logit_scale: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.grid[0] * self.grid[1]
        if self.patch_logits is not None:
            _expect("Outputs.patch_logits", self.patch_logits, (None, n, None))
        if self.roi_boxes is not None:
            _expect("Outputs.roi_boxes", self.roi_boxes, (None, None, 4))
        for name in ("roi_attention", "pooling_weights"):
            if getattr(self, name) is not None:
                _expect(f"Outputs.{name}", getattr(self, name), (None, None, n))

    def tensors(self) -> dict[str, Tensor]:
        """The filled fields by name."""
        return {k: v for k, v in self.__dict__.items() if isinstance(v, Tensor)}


@dataclass(frozen=True)
class Detections:
    """Boxes of one image, best first.

    xyxy: (m, 4) float pixels of the original image; scores: (m,) in [0, 1]; class_ids: (m,) int into ``classes``.
    Indexing with a boolean or integer array returns the chosen detections.
    """

    classes: tuple[str, ...]
    xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyxy", np.asarray(self.xyxy, dtype=np.float64).reshape(-1, 4))
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float64).reshape(-1))
        object.__setattr__(self, "class_ids", np.asarray(self.class_ids, dtype=np.int64).reshape(-1))
        m = len(self.xyxy)
        _expect("Detections.scores", self.scores, (m,))
        _expect("Detections.class_ids", self.class_ids, (m,))
        if m and (self.class_ids.min() < 0 or self.class_ids.max() >= len(self.classes)):
            raise ValueError(f"Detections.class_ids outside 0..{len(self.classes) - 1}")

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> Detections:
        """No boxes."""
        return cls(classes, np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: Any) -> Detections:
        return Detections(self.classes, self.xyxy[rows], self.scores[rows], self.class_ids[rows])

    def sorted(self) -> Detections:
        """Highest score first; ties keep their order."""
        return self[np.argsort(-self.scores, kind="stable")]


@dataclass(frozen=True)
class Prediction:
    """All that is said of one image.

    probs: (c,) image-level probability per class; detections: boxes in original pixels;
    heatmaps: name -> (c, gh, gw) float arrays over the network square (``patch``, ``roi``), optional;
    embedding: (e,) unit image vector, text_embedding: (e,) unit vector of the image's own text, both optional.
    """

    image_id: str
    width: int
    height: int
    classes: tuple[str, ...]
    probs: np.ndarray
    detections: Detections
    heatmaps: dict[str, np.ndarray] = field(default_factory=dict)
    embedding: np.ndarray | None = None
    text_embedding: np.ndarray | None = None
    text_id: str | None = None

    def __post_init__(self) -> None:
        _expect("Prediction.probs", np.asarray(self.probs), (len(self.classes),))

    def without_heatmaps(self) -> Prediction:
        """The same prediction, lighter."""
        return replace(self, heatmaps={})
