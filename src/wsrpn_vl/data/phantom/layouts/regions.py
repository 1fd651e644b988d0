"""Boxes of the 36 anatomical regions of Chest ImaGenome (Wu et al., NeurIPS Datasets 2021), from a chest's geometry.

Measured in the mid-coronal plane, the heart magnified as its depth asks. A reader's box of such a region is as rough.
"""

from __future__ import annotations

import numpy as np

from wsrpn_vl.data.phantom.artefacts import reframe
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax
from wsrpn_vl.data.phantom.traps import Quality

Box = tuple[float, float, float, float]
_GOOD = Quality()
_HEART = {"PA": 0.98, "AP": 1.05}  # magnification of the heart over the mid-coronal plane's
_HEART_LEFT = 0.62  # share of the heart's width left of the midline

SIDED = (
    "lung", "upper lung zone", "mid lung zone", "lower lung zone", "hilar structures", "apical zone",
    "costophrenic angle", "cardiophrenic angle", "hemidiaphragm", "clavicle", "upper abdomen",
)  # fmt: skip
MIDDLE = (
    "trachea", "spine", "aortic arch", "mediastinum", "upper mediastinum", "svc", "cardiac silhouette",
    "left cardiac silhouette", "right cardiac silhouette", "cavoatrial junction", "right atrium", "descending aorta",
    "carina", "abdomen",
)  # fmt: skip
REGIONS = tuple(f"{side} {name}" for side in SIDES for name in SIDED) + MIDDLE
NOT_IN_29 = (
    "right cardiophrenic angle", "left cardiophrenic angle", "left cardiac silhouette", "right cardiac silhouette",
    "descending aorta", "left upper abdomen", "right upper abdomen",
)  # fmt: skip
GOLD = tuple(name for name in REGIONS if name not in (*NOT_IN_29, "mediastinum", "spine", "abdomen"))


def anatomy_boxes(thorax: Thorax, view: str, size: int, quality: Quality = _GOOD) -> dict[str, Box]:
    """Region -> xyxy in pixels of a ``size`` x ``size`` image; regions that a clipped image lost are absent."""
    centimetres = {**_middle(thorax, view)}
    for side in SIDES:
        centimetres |= {f"{side} {name}": box for name, box in _sided(thorax, side).items()}
    boxes = {name: _pixels(thorax, size, centimetres[name]) for name in REGIONS}
    if quality.kind in ("rotated", "clipped"):
        return _moved(boxes, size, quality)
    return boxes


def _sided(t: Thorax, side: str) -> dict[str, Box]:
    """cm boxes of one side; x as distances from the midline until the last line."""
    wide, dome = t.half_width, t.dome(side)
    deep = dome - t.apex

    def zone(top: float, bottom: float) -> Box:
        y1, y2 = t.apex + top * deep, t.apex + bottom * deep
        return float(t.medial((y1 + y2) / 2, side)), y1, float(t.cage(y2)), y2

    clavicle = t.clavicle(side)
    boxes = {
        "lung": (1.6, t.apex, wide, dome + 3.2),
        "upper lung zone": zone(0.0, 0.38),
        "mid lung zone": zone(0.38, 0.68),
        "lower lung zone": zone(0.68, 1.08),
        "hilar structures": (1.6, t.hilum - 3.2, 6.0, t.hilum + 3.0),
        "apical zone": zone(0.0, 0.18),
        "costophrenic angle": (wide - 4.6, dome + 0.3, wide, dome + 4.6),
        "cardiophrenic angle": (2.0, dome - 1.5, 6.5, dome + 2.5),
        "hemidiaphragm": (1.6, dome - 0.4, wide, dome + 3.4),
        "clavicle": (
            float(abs(clavicle[:, 0]).min()),
            float(clavicle[:, 1].min()) - 0.6,
            float(abs(clavicle[:, 0]).max()),
            float(clavicle[:, 1].max()) + 0.6,
        ),
        "upper abdomen": (0.0, dome, wide, max(t.fov, dome + 2)),
    }
    if SIGN[side] > 0:
        return boxes
    return {name: (-x2, y1, -x1, y2) for name, (x1, y1, x2, y2) in boxes.items()}


def _middle(t: Thorax, view: str) -> dict[str, Box]:
    width = 2 * t.half_width * t.ctr * _HEART[view]
    left, right = _HEART_LEFT * width, (_HEART_LEFT - 1) * width
    top, bottom = t.hilum - 0.5, t.dome("left") + 1.2
    edges = -float(t.medial(t.carina, "right")), float(t.medial(t.carina - 1.6, "left"))
    return {
        "trachea": (-1.1, t.apex - 2.5, 1.3, t.carina),
        "spine": (-2.4, 0.0, 2.4, t.fov),
        "aortic arch": (-0.6, t.carina - 4.2, edges[1], t.carina + 0.2),
        "mediastinum": (min(edges[0], right), t.apex - 1.0, max(edges[1], left), bottom),
        "upper mediastinum": (edges[0], t.apex - 1.0, edges[1], t.carina + 1.0),
        "svc": (-3.4, t.apex + 2.0, -1.2, t.hilum + 0.5),
        "cardiac silhouette": (right, top, left, bottom),
        "left cardiac silhouette": (0.0, top, left, bottom),
        "right cardiac silhouette": (right, top, 0.0, bottom),
        "cavoatrial junction": (-4.0, t.hilum - 0.6, -1.6, t.hilum + 2.0),
        "right atrium": (right, t.hilum + 1.0, 0.0, bottom - 1.0),
        "descending aorta": (0.2, t.carina - 1.0, 3.0, bottom),
        "carina": (-1.8, t.carina - 1.0, 2.0, t.carina + 1.2),
        "abdomen": (-t.half_width, t.dome("right"), t.half_width, max(t.fov, t.dome("right") + 2)),
    }


def _pixels(t: Thorax, size: int, box: Box) -> Box:
    x1, y1, x2, y2 = box
    scale = size / t.fov
    offset = t.fov / 2 - t.shift
    return (x1 + offset) * scale, y1 * scale, (x2 + offset) * scale, y2 * scale


def _moved(boxes: dict[str, Box], size: int, quality: Quality) -> dict[str, Box]:
    """The boxes in a picture that was turned or cut, by way of the findings' own function."""
    masks = {}
    for name, box in boxes.items():
        x1, y1, x2, y2 = (int(v) for v in np.clip(np.rint(box), 0, size))
        mask = np.zeros((size, size), bool)
        mask[y1:y2, x1:x2] = True
        if mask.any():
            masks[name] = (Region(mask, name),)
    _, kept = reframe(np.zeros((size, size), np.float32), masks, quality)
    return {name: found[0].box for name, found in kept.items() if found and found[0].mask.any()}
