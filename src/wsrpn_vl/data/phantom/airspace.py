"""Consolidation and pneumonia: air spaces filled as far as the fissures let them.

Where filled lung lies against the heart or the diaphragm their borders fade by themselves: the silhouette sign
(Felson & Felson, Radiology 1950) is physics here, not drawing. The middle
lobe hides the right heart border and the lower lobe leaves it; of the dome either hides its own part.
"""

from __future__ import annotations

import numpy as np

from wsrpn_vl.data.phantom.anatomy import LOBES, lobe
from wsrpn_vl.data.phantom.opacities import cloud, fill, pick, seen
from wsrpn_vl.data.phantom.raster import bezier, smooth_noise
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import ellipsoid
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN

# Middle of each lobe: across, down, front; and its half-axes across, down, front to back, cm.
_MIDDLE = {
    "right upper lobe": ((0.45, 0.28, 0.6), (5.5, 6.0, 8.0)),
    "right middle lobe": ((0.35, 0.76, 0.85), (6.0, 4.5, 6.0)),
    "right lower lobe": ((0.42, 0.80, 0.25), (6.0, 6.5, 8.0)),
    "left upper lobe": ((0.45, 0.30, 0.6), (5.5, 6.5, 8.0)),
    "lingula": ((0.40, 0.74, 0.85), (5.0, 4.5, 6.0)),
    "left lower lobe": ((0.42, 0.80, 0.25), (6.0, 6.5, 8.0)),
}


def side_of(name: str) -> str:
    """right or left, of a lobe."""
    return "right" if name.startswith("right") else "left"


def consolidation(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Dense filling of a lobe or of a part of it that reaches a fissure, with air bronchograms."""
    chosen = [pick(rng, LOBES, (3, 2, 5, 2, 2, 5))]
    if rng.random() < 0.18:
        chosen.append(pick(rng, tuple(n for n in LOBES if side_of(n) != side_of(chosen[0]))))
    return [r for name in chosen for r in _consolidate(scene, rng, name)]


def _consolidate(scene: Scene, rng: np.random.Generator, name: str) -> list[Region]:
    side = side_of(name)
    place, reach = _MIDDLE[name]
    whole = bool(rng.random() < 0.4)
    part = 1.15 if whole else float(rng.uniform(0.55, 0.85))
    centre = scene.thorax.place(side, *place) + (0 if whole else rng.uniform(-0.3, 0.3, 3) * reach)
    only, dense = lobe(scene.thorax, name), float(rng.uniform(0.65, 0.95))
    if whole:
        uneven = np.clip(1 + 0.18 * smooth_noise(scene.grid, rng, 1.8), 0.4, 1.4)
        water = scene.within(ellipsoid(centre, np.asarray(reach) * part) & only, side) * uneven * dense
    else:
        water = cloud(scene, rng, side, centre, np.asarray(reach) * part * 1.25, only=only, soft=1, mottle=0.3)
        water *= 1.35 * dense
    air = 2.2 * _bronchi(scene, rng, side, centre) * np.minimum(water, 1)
    added = fill(scene, np.maximum(water - air, 0.15 * water), 0.93)
    scene.vessels *= 1 - np.minimum(water / 3, 0.85)  # a vessel in water casts no shadow
    mask = seen(scene, water, side, 0.3) & (added > 0)
    if not mask.any():
        return []
    words = ("dense" if whole else "patchy", "with air bronchograms")
    return [Region(mask, name, words, side, "", "consolidation")]


def _bronchi(scene: Scene, rng: np.random.Generator, side: str, centre: np.ndarray) -> np.ndarray:
    """(h, w) cm of the open airways that branch from the hilum into the filled part."""
    root = np.array([SIGN[side] * 3.0, scene.thorax.hilum, -0.8])
    out = scene.grid.zeros()
    for _ in range(6):
        end = centre + rng.normal(0, 1, 3) * (2.8, 2.8, 2.0)
        bend = (root + end) / 2 + rng.normal(0, 0.8, 3)
        path = bezier(np.array([root, bend, end]), 9)
        out = np.maximum(out, scene.beam.polyline(path, np.linspace(0.30, 0.12, 9)))
        twig = path[5] + rng.normal(0, 1, 3) * (2.0, 2.0, 1.0)
        out = np.maximum(out, scene.beam.polyline(np.array([path[5], twig]), np.array([0.18, 0.09])))
    return out


def pneumonia(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Patchy filling of one or two segments, or a multifocal change of both lungs."""
    multifocal = bool(rng.random() < 0.15)
    if multifocal:
        masks = [_infiltrate(scene, rng, n, 1.3) for s in SIDES for n in _two_lobes(rng, s)]
        mask = np.logical_or.reduce(masks)
        return [Region(mask, "bilateral lungs", ("patchy", "multifocal"), "bilateral", "", "pneumonia")]
    name = pick(rng, LOBES, (1.7, 2.2, 4.1, 1.3, 2.6, 4.1))
    mask = _infiltrate(scene, rng, name, float(np.clip(rng.lognormal(0.0, 0.32), 0.5, 2.0)))
    style = pick(rng, ("patchy", "segmental", "ill-defined"), (3, 2, 1))
    return [Region(mask, name, (style,), side_of(name), "", "pneumonia")]


def _two_lobes(rng: np.random.Generator, side: str) -> list[str]:
    names = tuple(n for n in LOBES if side_of(n) == side)
    return [names[k] for k in rng.choice(3, 2, replace=False)]


def _infiltrate(scene: Scene, rng: np.random.Generator, name: str, size: float) -> np.ndarray:
    """Fill a part of a lobe unevenly; its mask."""
    side = side_of(name)
    place, _ = _MIDDLE[name]
    down = place[1] * (0.93 if place[1] > 0.7 else 1.25)
    centre = scene.thorax.place(side, float(rng.uniform(0.2, 0.6)), down + float(rng.normal(0, 0.05)), place[2])
    radii = (6.2 * size**0.5, 8.2 * size * float(rng.uniform(0.75, 1.35)), 5.0)
    only = lobe(scene.thorax, name)
    water = cloud(scene, rng, side, centre, radii, lumps=9, only=only, mottle=0.4)
    added = fill(scene, water * float(rng.uniform(0.5, 0.85)))
    return seen(scene, added, side, 0.2)
