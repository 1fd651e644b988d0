"""Random changes of a batch of training images, on the device, from one seed per step.

No flip by default: it moves the heart to the other side; words follow a flip. Boxes play no part: training has none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from wsrpn_vl.config import AugmentConfig


def augment(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(b, ch, h, w) floats in [0, 1] -> the same, and (b,) bool: which are flipped. ``generator`` lives on the CPU."""
    b = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(b, generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(config.rotate))
    zoom = 1 + uniform(config.scale)
    flip = torch.where(torch.rand(b, generator=generator) < config.flip, -1.0, 1.0)
    shift = torch.stack([uniform(2 * config.translate), uniform(2 * config.translate)], dim=1)  # frame is [-1, 1]
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    aspect = images.shape[-1] / images.shape[-2]
    theta = torch.stack(
        [
            torch.stack([cos * flip, -sin / aspect, shift[:, 0]], 1),
            torch.stack([sin * aspect * flip, cos, shift[:, 1]], 1),
        ],
        dim=1,
    )
    gain = 1 + uniform(config.contrast)
    offset = uniform(config.brightness) / 2
    if config.rotate or config.scale or config.translate or config.flip:
        grid = affine_grid(theta.to(images), list(images.shape), align_corners=False)
        images = grid_sample(images, grid, align_corners=False, padding_mode="zeros")
    if config.contrast or config.brightness:
        mean = images.mean((1, 2, 3), keepdim=True)
        shape = (-1, 1, 1, 1)
        images = (images - mean) * gain.to(images).view(shape) + mean + offset.to(images).view(shape)
    if config.noise:
        images = images + config.noise * torch.randn(images.shape, generator=generator).to(images)
    if config.erase:
        images = _erase(images, config.erase, generator)
    return images.clamp(0, 1), flip < 0


def _erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Grey rectangles of 10-30 % of the side."""
    images = images.clone()
    h, w = images.shape[-2:]
    for image in images:
        chance, a, b, x, y = torch.rand(5, generator=generator).tolist()
        if chance < probability:
            eh, ew = int((0.1 + 0.2 * a) * h), int((0.1 + 0.2 * b) * w)
            top, left = int(y * (h - eh)), int(x * (w - ew))
            image[:, top : top + eh, left : left + ew] = 0.5
    return images
