"""Fractures and support devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.raster import bezier, ellipse, polyline, ramp
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Break, Thorax

# Plastic tubes carry a barium stripe: modelled as the iron that absorbs as much.
_TUBE, _WIRE, _STEEL = 0.030, 0.055, 0.25  # cm of iron


def break_bones(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """Fracture: one clavicle, or one to four neighbouring ribs."""
    side = pick(rng, SIDES)
    healing = bool(rng.random() < 0.35)

    def step() -> float:
        return float(rng.uniform(0.2, 0.5) if healing else rng.uniform(0.55, 1.1)) * (1 if rng.random() < 0.5 else -1)

    if rng.random() < 0.25:
        return replace(thorax, breaks=(Break("clavicle", side, 0, float(rng.uniform(0.4, 0.7)), step(), healing),))
    first = int(rng.integers(3, 8))
    at = float(rng.uniform(0.45, 0.85))
    count = int(rng.choice([1, 1, 2, 3]))
    ribs = tuple(
        Break("posterior rib", side, n, float(np.clip(at + rng.normal(0, 0.04), 0.35, 0.9)), step(), healing)
        for n in range(first, min(first + count, 10))
    )
    return replace(thorax, breaks=ribs)


def fracture(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Where the skeleton was drawn broken."""
    regions = []
    ordinal = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    by_key = {(b.bone, b.side, b.number): b for b in scene.thorax.breaks}
    for (bone, side, number), (x, y) in scene.breaks:
        b = by_key[(bone, side, number)]
        mask = ellipse(scene.grid, x, y, 1.5, 1.35) > 0
        if not mask.any():
            continue
        what = f"{side} clavicle" if bone == "clavicle" else f"{side} {ordinal[number]} {bone}"
        words = ("healing",) if b.healing else ("acute", "displaced")
        regions.append(
            Region(mask, what, words, side, "", "clavicle fracture" if bone == "clavicle" else "rib fracture")
        )
    return regions


def _add(scene: Scene, path: np.ndarray, radius: float, metal: float) -> np.ndarray:
    """Lay a line along ``path`` and return its mask, a little wider than the line."""
    line = polyline(scene.grid, path, radius)
    scene.metal += line * (metal / (2 * radius))
    margin = max(radius, 0.8 * scene.grid.pixel)
    return polyline(scene.grid, path, margin) > 0


def _endotracheal(scene: Scene, rng: np.random.Generator) -> Region:
    t = scene.thorax
    tip = t.carina - float(rng.uniform(2.0, 5.0))
    path = np.array([[0.1, 0.0], [0.2, t.apex], [0.3 + rng.normal(0, 0.15), tip]])
    grid = scene.grid
    outer = polyline(grid, path, 0.45)
    scene.metal += (outer > 0.1) * ramp(np.abs(grid.x - 0.2) - 0.25, 0.2) * 0.02
    mask = _add(scene, path, 0.08, _TUBE) | (outer > 0)
    return Region(mask, "trachea", (f"tip {t.carina - tip:.1f} cm above the carina",), "", "", "endotracheal tube")


def _central_line(scene: Scene, rng: np.random.Generator) -> Region:
    t = scene.thorax
    side = pick(rng, SIDES, (0.65, 0.35))
    s = SIGN[side]
    jugular = rng.random() < 0.6
    start = [s * float(rng.uniform(3.0, 4.0)), 0.0] if jugular else [s * float(rng.uniform(8.5, 11)), t.apex + 4.5]
    via = [s * 2.6, t.apex + 2.6] if jugular else [s * 5.0, t.apex + 2.0]
    end = [-2.2, t.hilum + float(rng.uniform(-1.5, 1.5))]
    path = bezier(np.array([start, via, [0.2 * s - 2.0, t.apex + 4.2], [-2.5, t.carina], end]), 18)
    name = "internal jugular" if jugular else "subclavian"
    return Region(
        _add(scene, path, 0.12, _WIRE), "superior vena cava", (f"{side} {name}",), side, "", "central venous catheter"
    )


def _picc(scene: Scene, rng: np.random.Generator) -> Region:
    t = scene.thorax
    side = pick(rng, SIDES)
    s = SIGN[side]
    out = t.half_width
    control = [
        [s * (out + 3.5), t.apex + 8],
        [s * (out - 1.0), t.apex + 3],
        [s * 5, t.apex + 2.6],
        [-1.5, t.apex + 4],
        [-2.4, t.hilum],
    ]
    path = bezier(np.array(control), 20)
    return Region(
        _add(scene, path, 0.09, _WIRE), "superior vena cava", (f"{side} upper extremity",), side, "", "PICC line"
    )


def _pacemaker(scene: Scene, rng: np.random.Generator) -> Region:
    t, grid = scene.thorax, scene.grid
    side = pick(rng, SIDES, (0.2, 0.8))
    s = SIGN[side]
    x, y = s * 0.68 * t.half_width, t.apex + float(rng.uniform(4.2, 6.0))
    shape = 1 - np.abs((grid.x - x) / 2.2) ** 3 - np.abs((grid.y - y) / 1.9) ** 3
    case = ramp(shape, 0.25)
    scene.metal += case * _STEEL
    mask = case > 0.5
    apex = [2.5 + 3.2 * t.ctr / 0.45, t.dome("left") - 1.0]
    atrium = [-2.6, t.hilum + 3.5]
    for end in (apex, atrium)[: 1 + int(rng.random() < 0.6)]:
        control = np.array(
            [[x - s * 1.2, y - 1.5], [s * 4.5, t.apex + 1.5], [-1.8, t.apex + 4], [-3.6, t.hilum + 4.5], end]
        )
        mask |= _add(scene, bezier(control, 20), 0.09, _WIRE)
    return Region(mask, f"{side} chest wall", ("leads in place",), side, "", "pacemaker")


def _nasogastric(scene: Scene, rng: np.random.Generator) -> Region:
    t = scene.thorax
    control = [
        [-0.3, 0.0],
        [-0.3, t.carina],
        [0.6, t.dome("left") - 2],
        [3.0, t.dome("left") + 2.5],
        [0.45 * t.half_width, t.dome("left") + 3.5],
    ]
    return Region(
        _add(scene, bezier(np.array(control), 20), 0.14, _TUBE * 1.6),
        "stomach",
        ("tip below the diaphragm",),
        "",
        "",
        "enteric tube",
    )


def _chest_tube(scene: Scene, rng: np.random.Generator) -> Region:
    t = scene.thorax
    side = pick(rng, SIDES)
    s = SIGN[side]
    y = t.apex + float(rng.uniform(0.6, 0.85)) * t.height
    start = [s * (float(t.cage(y)) + 2.5), y + 1.0]
    end = [s * float(rng.uniform(4.0, 6.5)), t.apex + float(rng.uniform(1.5, 7))]
    path = bezier(np.array([start, [s * (t.half_width - 2.5), y - 1.5], [s * (t.half_width - 4), t.apex + 6], end]), 16)
    return Region(
        _add(scene, path, 0.24, _TUBE * 1.8),
        f"{side} pleural space",
        ("tip directed towards the apex",),
        side,
        "",
        "chest tube",
    )


def _sternal_wires(scene: Scene, rng: np.random.Generator) -> Region:
    t = scene.thorax
    mask = np.zeros(scene.soft.shape, bool)
    angle = np.linspace(0, 2 * np.pi, 12)
    for k in range(int(rng.integers(4, 7))):
        x, y = float(rng.normal(0.2, 0.12)), t.carina - 2.0 + 2.7 * k
        ring = np.stack([x + 0.62 * np.cos(angle), y + 0.45 * np.sin(angle)], 1)
        mask |= _add(scene, ring, 0.06, _WIRE)
    return Region(mask, "midline sternum", ("well aligned",), "", "", "sternotomy wires")


_DEVICES = {  # kind: (drawing, relative frequency PA, AP)
    "pacemaker": (_pacemaker, 3.0, 1.6),
    "central line": (_central_line, 2.2, 4.0),
    "PICC": (_picc, 1.8, 1.8),
    "sternal wires": (_sternal_wires, 2.2, 1.2),
    "endotracheal": (_endotracheal, 0.05, 3.5),
    "enteric": (_nasogastric, 0.2, 2.6),
    "chest tube": (_chest_tube, 0.5, 1.2),
}


def support_devices(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """One to three devices with plausible courses."""
    ap = scene.technique.view == "AP"
    kinds = list(_DEVICES)
    weight = np.array([_DEVICES[k][2 if ap else 1] for k in kinds])
    n = int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2] if ap else [0.75, 0.2, 0.05]))
    chosen = rng.choice(len(kinds), size=n, replace=False, p=weight / weight.sum())
    regions = [_DEVICES[kinds[int(k)]][0](scene, rng) for k in sorted(chosen)]
    return [r for r in regions if r.mask.any()]
