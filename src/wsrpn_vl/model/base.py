"""What every detector offers to training and prediction, whatever it is made of."""

from __future__ import annotations

from torch import Tensor, nn

from wsrpn_vl.types import Outputs


class Detector(nn.Module):
    """Base of all detectors: ``backbone`` is the shared image encoder; ``forward`` fills :class:`Outputs`."""

    backbone: nn.Module

    def forward(self, images: Tensor, text_features: Tensor | None = None, embed_images: bool = True) -> Outputs:
        """images (b, ch, H, W) in [0, 1]; text_features (b, d_text) or None."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def set_class_prior(self, prior: Tensor) -> None:
        """Start the classifiers at the class frequencies (c,). Nothing by default."""

    def fit_registration(self, images: Tensor) -> None:
        """Learn where the thorax lies from training images (n, h, w) in [0, 1], without labels. Nothing by default."""

    def embed_text(self, text_features: Tensor) -> Tensor | None:
        """Frozen text features (b, d_text) -> unit vectors (b, e); None without an alignment branch."""
        return None
