"""How well each finding can be seen: its contrast-to-noise ratio in the displayed exposure, before it is turned,
clipped, collimated or marked.

Contrast is the mean, over the region, of the difference the finding's own tissue makes to the displayed picture; noise
is the spread of what the picture shows at the scale of about a centimetre beside the region, quanta and fine anatomy
alike (Bushberg, The Essential Physics of Medical Imaging, chapter 4). Findings that change the anatomy itself have no
picture without them; theirs is the contrast to the surroundings. The change weakens the primary beam alone: scatter, as
strong with the finding as without, veils it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.acquisition import Exposure
from wsrpn_vl.data.phantom.scene import Region

_CELLS = 32  # the picture is compared with its means over 1/32 of the side, about a centimetre
_LEAST_NOISE = 1.0 / 255


def measure(
    exposure: Exposure, found: Mapping[str, tuple[Region, ...]], changes: Mapping[str, np.ndarray]
) -> dict[str, tuple[Region, ...]]:
    """The same regions with their visibility. ``changes``: (h, w) optical thickness each observation added."""
    fine = _fine_detail(exposure.picture)
    out = {}
    for name, regions in found.items():
        change = None
        if name in changes:
            change = np.abs(exposure.picture - exposure.show(exposure.without(changes[name])))
        out[name] = tuple(replace(r, visibility=_ratio(r, exposure.picture, change, fine)) for r in regions)
    return out


def _ratio(region: Region, picture: np.ndarray, change: np.ndarray | None, fine: np.ndarray) -> float:
    x1, y1, x2, y2 = (int(v) for v in region.box)
    margin = max(3, (x2 - x1 + y2 - y1) // 8)
    window = slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)
    inside = region.mask[window]
    beside = fine[window][~inside]
    noise = max(float(beside.std()) if beside.size > 8 else float(fine.std()), _LEAST_NOISE)
    if change is not None:
        return round(float(change[window][inside].mean()) / noise, 3)
    part = picture[window]
    around = part[~inside] if not inside.all() else part
    return round(abs(float(part[inside].mean()) - float(around.mean())) / noise, 3)


def _fine_detail(picture: np.ndarray) -> np.ndarray:
    """(h, w) the picture less its local means."""
    size = picture.shape[0]
    block = max(2, size // _CELLS)
    n = -(-size // block)
    padded = np.pad(picture, (0, n * block - size), mode="edge")
    means = padded.reshape(n, block, n, block).mean((1, 3))
    return picture - np.repeat(np.repeat(means, block, 0), block, 1)[:size, :size]
