"""ROI branch: learnable queries look for regions, box them, pool them softly and classify them (§2.2, §4.1).

Queries attend over projected patches with 2-D sine-cosine position codes (explicit softmax, because the weights are
an output). The box head starts at an anchor per query, by default spread over the anatomy of a frontal radiograph, so
that queries do not collapse onto one region before the labels have taught them anything. Image-level: noisy-OR.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wsrpn_vl.config import RoiConfig
from wsrpn_vl.model.anatomy import REGIONS, location_affinity
from wsrpn_vl.model.gaussian import gaussian_log_weights, gaussian_pool, gaussian_weights, patch_centres
from wsrpn_vl.model.pooling import noisy_or_logits
from wsrpn_vl.model.register import boxes_to_image


class RoiBranch(nn.Module):
    """(b, n, d) patch features -> the ROI fields of :class:`~wsrpn_vl.types.Outputs`, by name."""

    location_bias: Tensor

    def __init__(self, config: RoiConfig, channels: int, classes: tuple[str, ...], prior: float = 0.1) -> None:
        super().__init__()
        self.config = config
        k, hidden = config.queries, config.hidden
        self.queries = nn.Parameter(torch.randn(k, hidden) / math.sqrt(hidden))
        anchors = initial_boxes(config.init, k)
        self.anchor_logits = nn.Parameter(torch.logit(anchors))
        self.project = nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.to_query, self.to_key, self.to_value, self.to_out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.box_head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 4))
        for parameter in self.box_head[-1].parameters():
            nn.init.zeros_(parameter)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(channels, len(classes))
        nn.init.normal_(self.classifier.weight, std=0.01)
        affinity = location_affinity(classes, k).log() * config.location_prior
        self.register_buffer("location_bias", affinity, persistent=False)
        self.set_prior(torch.full((len(classes),), prior))

    @torch.no_grad()
    def set_prior(self, prior: Tensor) -> None:
        """Biases such that the noisy-OR of featureless ROIs equals ``prior`` (c,); solved by bisection."""
        target = torch.logit(prior.clamp(1e-3, 1 - 1e-3).double())
        offset = self.location_bias.double()
        low, high = torch.full_like(target, -30.0), torch.full_like(target, 30.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = noisy_or_logits(offset + middle, dim=0) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        self.classifier.bias.copy_(middle)

    def forward(self, patches: Tensor, grid: tuple[int, int], frames: Tensor | None = None) -> dict[str, Tensor]:
        """frames (b, 4) of :class:`Registration` carry the anchors into each image; None leaves them as they are."""
        if self.config.detach_features:
            patches = patches.detach()
        anchors = self.anchor_logits.float().sigmoid()
        anchors = (
            anchors[None].expand(len(patches), -1, -1) if frames is None else boxes_to_image(anchors, frames.float())
        )
        tokens, attention = self._attend(patches, grid, anchors)
        boxes = self._boxes(tokens, attention, anchors, grid)
        weights = gaussian_weights(boxes, grid, self.config.gaussian_beta)
        logits = self.classifier(self.dropout(gaussian_pool(patches, weights))) + self.location_bias
        return {
            "roi_attention": attention,
            "roi_anchors": anchors,
            "roi_boxes": boxes,
            "pooling_weights": weights,
            "roi_logits": logits,
            "roi_image_logits": noisy_or_logits(logits, dim=1),
        }

    def _attend(self, patches: Tensor, grid: tuple[int, int], anchors: Tensor) -> tuple[Tensor, Tensor]:
        heads = self.config.heads
        position = sincos_2d(grid, self.config.hidden, patches.device, patches.dtype)
        content = self.norm(self.project(patches))
        q = self.to_query(self.queries).unflatten(-1, (heads, -1)).transpose(0, 1)  # heads k e
        key = self.to_key(content + position).unflatten(-1, (heads, -1)).transpose(1, 2)  # b heads n e
        value = self.to_value(content).unflatten(-1, (heads, -1)).transpose(1, 2)
        scores = (q @ key.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
        if self.config.attention_prior:
            scores = scores + self.config.attention_prior * gaussian_log_weights(anchors, grid)[:, None]
        attention = scores.softmax(-1)  # b heads k n
        mixed = (attention.to(value.dtype) @ value).transpose(1, 2).flatten(-2)  # b k hidden
        return self.to_out(mixed) + self.queries, attention.mean(1)

    def _boxes(self, tokens: Tensor, attention: Tensor, anchors: Tensor, grid: tuple[int, int]) -> Tensor:
        delta = self.box_head(tokens).float()
        if self.config.centre == "anchor":
            bounded = torch.tanh(delta)
            centre = anchors[..., :2] + self.config.max_offset * bounded[..., :2]
            return torch.cat([centre, anchors[..., 2:] * (self.config.max_zoom * bounded[..., 2:]).exp()], dim=-1)
        start = torch.logit(anchors.clamp(0.01, 0.99))  # a registered anchor may lie beyond the image
        size = torch.sigmoid(start[..., 2:] + delta[..., 2:])
        if self.config.centre == "absolute":
            centre = torch.sigmoid(start[..., :2] + delta[..., :2])
        else:
            centres = patch_centres(grid, attention.device, attention.dtype)
            reference = (attention[..., None] * centres).sum(-2)  # no matmul: autocast would round positions
            centre = (reference + self.config.max_offset * torch.tanh(delta[..., :2])).clamp(0, 1)
        return torch.cat([centre, size], dim=-1)


def initial_boxes(init: str, k: int) -> Tensor:
    """Anchors (k, 4), ``cxcywh`` in [0, 1]: ``anatomy`` (cycled with shrinking size), ``grid`` or ``zero``."""
    if init == "zero":
        return torch.tensor([[0.5, 0.5, 0.5, 0.5]]).repeat(k, 1)
    if init == "grid":
        rows = max(1, math.ceil(math.sqrt(k)))
        cells = [((i % rows + 0.5) / rows, (i // rows + 0.5) / math.ceil(k / rows)) for i in range(k)]
        return torch.tensor([[0.1 + 0.8 * x, 0.1 + 0.75 * y, 0.3, 0.3] for x, y in cells])
    regions = torch.tensor(list(REGIONS.values()))
    rounds = [regions * torch.tensor([1, 1, 0.6**i, 0.6**i]) for i in range(math.ceil(k / len(regions)))]
    return torch.cat(rounds)[:k]


def sincos_2d(grid: tuple[int, int], dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(n, dim) sine-cosine codes of patch centres; dim divisible by 4. Independent of the input size."""
    centres = patch_centres(grid, device)
    frequency = torch.exp(torch.linspace(0, math.log(32.0), dim // 4, device=device)) * math.pi
    angles = centres[:, :, None] * frequency  # n 2 dim/4
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1).to(dtype)
