"""Registration of a radiograph to the mean training radiograph: where is the thorax in this image?

A frontal radiograph shows the same anatomy at another zoom and position. For every image the axis-aligned affine map
(sx, sy, tx, ty) is found that best correlates a small template with it, by exhaustive search (one matrix product).
The template is the mean of the training images, registered to itself a few times (groupwise registration to an
evolving mean; Joshi et al., NeuroImage 2004). No labels and no boxes take part. ROI anchors live in the template's
frame and are carried into each image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, interpolate

SIDE = 48
SCALES = (0.8, 0.88, 0.96, 1.0, 1.04, 1.12, 1.2)
SHIFTS = (-0.08, -0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06, 0.08)
PENALTY = 0.3  # correlation a map must gain per unit of squared log-scale and shift


class Registration(nn.Module):
    """Images (b, ch, H, W) -> frames (b, 4): (sx, sy, tx, ty), ``image = s · canonical + t`` about the centre, [0, 1].

    Before :meth:`fit` (or a loaded template) every frame is the identity.
    """

    template: Tensor
    maps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("template", torch.zeros(SIDE, SIDE))
        maps = torch.cartesian_prod(*(torch.tensor(v) for v in (SCALES, SCALES, SHIFTS, SHIFTS)))
        self.register_buffer("maps", maps, persistent=False)
        self._bank: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def fit(self, images: Tensor, rounds: int = 3) -> None:
        """Make the template from training images (n, h, w) in [0, 1]."""
        small = _standardise(_shrink(images[:, None]))
        self.template.copy_(_standardise(small.mean(0, keepdim=True))[0])
        for _ in range(rounds):
            frames = self._search(small)
            warped = _warp(small[:, None], frames)
            self.template.copy_(_standardise(warped.mean(0))[0])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(b, ch, H, W) -> (b, 4)."""
        if not bool(self.template.any()):
            return images.new_tensor([1.0, 1.0, 0.0, 0.0]).expand(len(images), 4)
        return self._search(_standardise(_shrink(images.mean(1, keepdim=True).float()))).to(images.dtype)

    def _search(self, small: Tensor) -> Tensor:
        bank, penalty = self._candidates()
        with torch.autocast(
            small.device.type, enabled=False
        ):  # neighbouring maps differ by less than bfloat16 resolves
            score = small.flatten(1) @ bank.T / bank.shape[1] - penalty
        return self.maps[score.argmax(1)]

    def _candidates(self) -> tuple[Tensor, Tensor]:
        bank, here = self._bank, self.template.device
        if bank is None or bank[0].device != here or not torch.equal(bank[0], self.template):
            s, t = self.maps[:, :2], self.maps[:, 2:]
            inverse = torch.cat([1 / s, -t / s], dim=1)
            warped = _warp(self.template.expand(len(inverse), 1, SIDE, SIDE), inverse)[:, 0]
            bank = self._bank = (self.template.clone(), _standardise(warped).flatten(1))
        s, t = self.maps[:, :2], self.maps[:, 2:]
        return bank[1], PENALTY * (s.log().square().sum(1) + 4 * t.square().sum(1))


def boxes_to_image(boxes: Tensor, frames: Tensor) -> Tensor:
    """Canonical ``cxcywh`` (k, 4) in [0, 1] and frames (b, 4) -> boxes (b, k, 4) in [0, 1] of each image."""
    s, t = frames[:, None, :2], frames[:, None, 2:]
    centre = (boxes[None, :, :2] - 0.5) * s + 0.5 + t
    return torch.cat([centre, boxes[None, :, 2:] * s], dim=-1)


def _shrink(images: Tensor) -> Tensor:
    return interpolate(images, size=(SIDE, SIDE), mode="area")[:, 0]


def _standardise(x: Tensor) -> Tensor:
    x = x - x.mean((-2, -1), keepdim=True)
    return x / x.std((-2, -1), keepdim=True).clamp_min(1e-3)


def _warp(images: Tensor, frames: Tensor) -> Tensor:
    """Sample (b, 1, h, w) at ``s · u + t``: canonical view of each image."""
    theta = frames.new_zeros(len(frames), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = frames[:, 0], frames[:, 1]
    theta[:, :, 2] = 2 * frames[:, 2:]  # grid_sample's frame is [-1, 1]
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False, padding_mode="border")
