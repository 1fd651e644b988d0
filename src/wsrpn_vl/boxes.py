"""The only geometry there is: letterboxing, box formats, IoU.

Two frames exist. *Original*: float pixels of the image as stored, ``xyxy``, right and bottom edges
exclusive (a full-image box is ``(0, 0, width, height)``). *Network*: ``cxcywh`` in [0, 1] of the
square, padded network input. :class:`Letterbox` maps between them; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou  # re-exported: box_iou

from wsrpn_vl.overlap import iou_matrix, iou_pairs, weighted_fusion  # re-exported
from wsrpn_vl.placement import Placement

__all__ = [
    "Letterbox",
    "box_iou",
    "cxcywh_to_xyxy",
    "iou_matrix",
    "iou_pairs",
    "weighted_fusion",
    "xyxy_to_cxcywh",
]


@dataclass(frozen=True)
class Letterbox(Placement):
    """Aspect-preserving resize of an (height, width) image into a centred ``size`` x ``size`` square.

    Pixel x of the original lies at ``x * scale_x + pad_x`` of the square. The resized extent is rounded
    to whole pixels, and the exact per-axis ratio is kept, so forward and inverse are mutual inverses.
    """

    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        (w, h), (x, y) = self.resized, self.offset
        return np.array([w / self.width, h / self.height] * 2), np.array([x, y] * 2, dtype=float)

    def boxes_to_network(self, xyxy: np.ndarray) -> np.ndarray:
        """Original pixels ``xyxy`` (n, 4) -> network frame ``cxcywh`` in [0, 1] (n, 4)."""
        scale, shift = self._affine()
        out = (np.asarray(xyxy, dtype=float).reshape(-1, 4) * scale + shift) / self.size
        return xyxy_to_cxcywh(torch.from_numpy(out)).numpy()

    def boxes_to_original(self, cxcywh01: np.ndarray, clip: bool = True) -> np.ndarray:
        """Network frame ``cxcywh`` in [0, 1] (n, 4) -> original pixels ``xyxy`` (n, 4), clipped to the image."""
        scale, shift = self._affine()
        xyxy = cxcywh_to_xyxy(torch.as_tensor(np.asarray(cxcywh01, dtype=float).reshape(-1, 4))).numpy()
        out = (xyxy * self.size - shift) / scale
        if clip:
            out = out.clip(0, np.array([self.width, self.height] * 2))
        return out

    def content_mask(self, grid_h: int, grid_w: int) -> np.ndarray:
        """(grid_h, grid_w) bool: patches whose centre lies on image content, not on padding."""
        (w, h), (x, y) = self.resized, self.offset
        cx = (np.arange(grid_w) + 0.5) / grid_w * self.size
        cy = (np.arange(grid_h) + 0.5) / grid_h * self.size
        return ((cy >= y) & (cy < y + h))[:, None] & ((cx >= x) & (cx < x + w))[None, :]

    def image_to_network(self, image: Tensor) -> Tensor:
        """(ch, height, width) float tensor -> (ch, size, size), antialiased, zero-padded."""
        (w, h), (x, y) = self.resized, self.offset
        resized = torch.nn.functional.interpolate(
            image[None].float(), size=(h, w), mode="bilinear", antialias=True, align_corners=False
        )[0]
        out = resized.new_zeros(image.shape[0], self.size, self.size)
        out[:, y : y + h, x : x + w] = resized
        return out

    def map_to_original(self, heatmap: Tensor) -> Tensor:
        """(gh, gw) map over the network square -> (height, width) over the original image, bilinear."""
        (w, h), (x, y) = self.resized, self.offset
        square = torch.nn.functional.interpolate(
            heatmap[None, None].float(), size=(self.size, self.size), mode="bilinear", align_corners=False
        )
        content = square[:, :, y : y + h, x : x + w]
        return torch.nn.functional.interpolate(
            content, size=(self.height, self.width), mode="bilinear", align_corners=False
        )[0, 0]


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre-size -> corners, same units."""
    return box_convert(boxes, "cxcywh", "xyxy")


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners -> centre-size, same units."""
    return box_convert(boxes, "xyxy", "cxcywh")
