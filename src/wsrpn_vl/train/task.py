"""Model + objectives -> named, unweighted loss terms. The curriculum weighs them; switching one off rescales none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsrpn_vl.config import Config, ObjectiveConfig
from wsrpn_vl.model.base import Detector
from wsrpn_vl.objectives.agree import CONSISTENCY, roi_class_maps
from wsrpn_vl.objectives.classify import anchor_divergence, box_overflow, detection_loss, masked_bce
from wsrpn_vl.objectives.contrast import Gather, contrastive_loss, contrastive_targets, identity
from wsrpn_vl.types import Outputs


class Task(nn.Module):
    """A detector with the objectives it is trained by.

    positive_weight: (c,) weights of positives in the BCE, or None. A term of weight 0 is not computed, and the text
    branch is not even run when the contrastive weight is 0.
    """

    def __init__(self, model: Detector, config: Config, positive_weight: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        self.objective: ObjectiveConfig = config.objective
        self.positive_weight: Tensor | None
        self.register_buffer("positive_weight", positive_weight, persistent=False)

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        text_features: Tensor | None,
        text_ids: Tensor | None,
        weights: dict[str, float],
        gather: Gather = identity,
        text_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The fields of a :class:`~wsrpn_vl.types.Batch` -> (Σ weight · term, terms)."""
        align = weights["contrastive"] > 0 and text_features is not None
        outputs: Outputs = self.model(images, text_features if align else None, embed_images=align)
        terms = self.terms(outputs, labels, text_ids, weights, gather, text_weights)
        return weighted_total(terms, weights), terms

    def terms(
        self,
        outputs: Outputs,
        labels: Tensor,
        text_ids: Tensor | None,
        weights: dict[str, float],
        gather: Gather = identity,
        text_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``detection`` and its parts ``patch``, ``roi``, ``box``, ``anchor``; the other two where weighted."""
        terms = self._detection(outputs, labels)
        if weights["contrastive"] > 0 and outputs.text_embeddings is not None:
            terms["contrastive"] = self._contrastive(outputs, labels, _filled(text_ids), gather, text_weights)
        if weights["consistency"] > 0 and outputs.roi_logits is not None:
            terms["consistency"] = self._consistency(outputs, labels)
        return terms

    def _detection(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        terms = {"patch": masked_bce(_filled(outputs.patch_image_logits), labels, self.positive_weight)}
        roi = None
        if outputs.roi_image_logits is not None:
            terms["roi"] = masked_bce(outputs.roi_image_logits, labels, self.positive_weight)
            terms["box"] = box_overflow(_filled(outputs.roi_boxes))
            roi = terms["roi"] + self.objective.box_weight * terms["box"]
            if self.objective.anchor_weight and outputs.roi_anchors is not None:
                terms["anchor"] = anchor_divergence(_filled(outputs.roi_boxes), outputs.roi_anchors.detach())
                roi = roi + self.objective.anchor_weight * terms["anchor"]
        terms["detection"] = detection_loss(terms["patch"], roi)
        return terms

    def _contrastive(
        self, outputs: Outputs, labels: Tensor, text_ids: Tensor, gather: Gather, text_weights: Tensor | None
    ) -> Tensor:
        image, text = gather(_filled(outputs.image_embeddings)), gather(_filled(outputs.text_embeddings))
        ids, labels = gather(text_ids), gather(labels)
        weight = gather(torch.ones_like(text_ids, dtype=image.dtype) if text_weights is None else text_weights)
        kept = (ids >= 0) & (weight > 0)  # images without words, or with words not trusted, take no part
        if kept.sum() < 2:
            return (image.sum() + text.sum()) * 0
        targets = contrastive_targets(self.objective.contrastive_targets, ids[kept], labels[kept])
        return contrastive_loss(image[kept], text[kept], _filled(outputs.logit_scale), targets, weight[kept])

    def _consistency(self, outputs: Outputs, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        kind = self.objective.consistency
        if kind == "per_patch":
            maps = roi_class_maps(_filled(outputs.roi_logits), _filled(outputs.pooling_weights))
            return CONSISTENCY[kind](maps, _filled(outputs.patch_logits), known)
        return CONSISTENCY[kind](_filled(outputs.roi_image_logits), _filled(outputs.patch_image_logits), known)


def weighted_total(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """Σ weight · term over the terms that are weighted."""
    return torch.stack([w * terms[name] for name, w in weights.items() if w and name in terms]).sum()


def positive_weights(targets: Tensor, kind: str, cap: float) -> Tensor | None:
    """(c,) weight of positives from training targets (n, c), NaN = unknown: negatives/positives, its root, or None."""
    if kind == "none":
        return None
    known = ~targets.isnan()
    positive = torch.where(known, targets, torch.zeros_like(targets)).sum(0)
    ratio = (known.sum(0) - positive) / positive.clamp_min(1)
    return (ratio if kind == "balanced" else ratio.sqrt()).clamp(1.0, cap)


def class_prior(targets: Tensor) -> Tensor:
    """(c,) frequency of positives among known training targets (n, c)."""
    known = ~targets.isnan()
    return torch.where(known, targets, torch.zeros_like(targets)).sum(0) / known.sum(0).clamp_min(1)


def _filled(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("the detector left out an output that the objective needs")
    return value
