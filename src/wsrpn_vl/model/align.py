"""Alignment branch: image and text meet as unit vectors of a shared space (§4.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from wsrpn_vl.config import AlignConfig


class AlignBranch(nn.Module):
    """Mean of the patches -> (b, e); frozen, mask-mean-pooled text features -> (b, e); both unit length."""

    def __init__(self, config: AlignConfig, channels: int, text_dim: int) -> None:
        super().__init__()
        self.image_projection = nn.Linear(channels, config.dim)
        self.text_projection = nn.Linear(text_dim, config.dim)
        log_scale = torch.tensor(math.log(1 / config.temperature))
        if config.learn_temperature:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def embed_image(self, patches: Tensor) -> Tensor:
        """(b, n, d) -> (b, e) unit vectors."""
        return normalize(self.image_projection(patches.mean(1)).float(), dim=-1)

    def embed_text(self, text_features: Tensor) -> Tensor:
        """(b, d_text) -> (b, e) unit vectors."""
        return normalize(self.text_projection(text_features).float(), dim=-1)

    @property
    def logit_scale(self) -> Tensor:
        """1/τ, kept below 100 (CLIP's bound)."""
        return self.log_scale.clamp(max=math.log(100.0)).exp()
