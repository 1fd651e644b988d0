"""WSRPN-VL: shared backbone, patch branch, ROI branch, alignment branch (the figure of §3.2).

The model knows no loss. It fills :class:`wsrpn_vl.types.Outputs`; the text branch runs only when it is given text.
"""

from __future__ import annotations

from torch import Tensor

from wsrpn_vl.config import ModelConfig
from wsrpn_vl.model.align import AlignBranch
from wsrpn_vl.model.backbone import Backbone
from wsrpn_vl.model.base import Detector
from wsrpn_vl.model.patch import PatchBranch, set_prior
from wsrpn_vl.model.register import Registration
from wsrpn_vl.model.roi import RoiBranch
from wsrpn_vl.types import Outputs


class WSRPNVL(Detector):
    """The detector of the specification.

    classes: names of the c classes; text_dim: width of the frozen text features; pretrained: load backbone weights.
    """

    def __init__(
        self,
        config: ModelConfig,
        classes: tuple[str, ...],
        text_dim: int = 384,
        in_channels: int = 3,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(config.backbone, in_channels, pretrained)
        d = self.backbone.channels
        self.patch = PatchBranch(config.patch, d, len(classes))
        self.roi = RoiBranch(config.roi, d, classes) if config.roi.enabled else None
        self.registration = Registration() if config.roi.enabled and config.roi.register else None
        self.align = AlignBranch(config.align, d, text_dim)

    def set_class_prior(self, prior: Tensor) -> None:
        """Start both classifiers at the class frequencies (c,)."""
        set_prior(self.patch.classifier.bias, prior)
        if self.roi is not None:
            self.roi.set_prior(prior)

    def fit_registration(self, images: Tensor) -> None:
        """Make the template that carries ROI anchors into each image; nothing when registration is off."""
        if self.registration is not None:
            self.registration.fit(images)

    def embed_text(self, text_features: Tensor) -> Tensor:
        """(b, d_text) -> (b, e) unit vectors."""
        return self.align.embed_text(text_features)

    def forward(self, images: Tensor, text_features: Tensor | None = None, embed_images: bool = True) -> Outputs:
        """images (b, ch, H, W) in [0, 1]; text_features (b, d_text) or None -> Outputs."""
        features = self.backbone(images)
        grid = (features.shape[2], features.shape[3])
        patches = features.flatten(2).transpose(1, 2)  # b n d
        patch_logits, patch_image_logits = self.patch(patches)
        filled: dict[str, Tensor] = {"patch_logits": patch_logits, "patch_image_logits": patch_image_logits}
        if self.roi is not None:
            frames = None if self.registration is None else self.registration(images)
            filled |= self.roi(patches, grid, frames)
        if text_features is not None:
            filled["text_embeddings"] = self.align.embed_text(text_features)
        if embed_images or text_features is not None:
            filled["image_embeddings"] = self.align.embed_image(patches)
            filled["logit_scale"] = self.align.logit_scale
        return Outputs(grid=grid, **filled)
