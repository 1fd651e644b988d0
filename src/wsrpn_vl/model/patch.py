"""Patch branch: one linear classifier per class on every patch, pooled by LogSumExp (§4.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wsrpn_vl.config import PatchConfig
from wsrpn_vl.model.pooling import lse_pool


class PatchBranch(nn.Module):
    """(b, n, d) patch features -> patch logits (b, n, c) and image logits (b, c)."""

    def __init__(self, config: PatchConfig, channels: int, classes: int, prior: float = 0.1) -> None:
        super().__init__()
        self.lse_r = config.lse_r
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.constant_(self.classifier.bias, math.log(prior / (1 - prior)))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(b, n, d) -> (b, n, c) and (b, c)."""
        logits = self.classifier(self.dropout(patches))
        return logits, lse_pool(logits, self.lse_r, dim=1)


@torch.no_grad()
def set_prior(bias: Tensor, prior: Tensor) -> None:
    """Start a classifier at the classes' frequencies (c,), so that the first steps do not relearn them."""
    bias.copy_(torch.logit(prior.clamp(1e-3, 1 - 1e-3)))
