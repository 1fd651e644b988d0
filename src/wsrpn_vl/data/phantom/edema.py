"""Pulmonary edema: fluid around the hila, in the septa and around vessels and airways; vessels turned to the head.

Signs and their grades after Gluecker et al., RadioGraphics 1999: redistribution, septal lines and cuffing, then
perihilar and alveolar filling.
"""

from __future__ import annotations

import numpy as np

from wsrpn_vl.data.phantom.opacities import SEVERITIES, fill, pick, seen, soft_edged
from wsrpn_vl.data.phantom.raster import blur, ramp, smooth_noise
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import ellipsoid, turn
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN


def edema(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Haze on both sides, seldom on one, with its vascular and interstitial signs."""
    level = pick(rng, (0, 1, 2), (0.4, 0.4, 0.2))
    sides = SIDES if rng.random() < 0.93 else (pick(rng, SIDES, (0.7, 0.3)),)
    _redistribute(scene, level)
    _blur_borders(scene, level)
    patches = np.clip(1 + 0.24 * smooth_noise(scene.grid, rng, 1.4), 0.3, 1.7)
    severity = SEVERITIES[level]
    words = (severity, ("interstitial", "perihilar", "alveolar")[level])
    regions = []
    for side in sides:
        added = fill(scene, _bat_wing(scene, rng, side, level) * patches * (0.20 + 0.12 * level), 0.7)
        _cuffs(scene, rng, side, 2 + level)
        _septal_lines(scene, rng, side, 7 + 7 * level)
        mask = seen(scene, added, side, 0.35)
        regions.append(Region(mask, f"{side} perihilar region", words, side, severity, "edema"))
    return regions


def _redistribute(scene: Scene, level: int) -> None:
    """Cephalisation: the upper vessels as thick as the lower ones and more."""
    t = scene.thorax
    upper = ramp(t.hilum - 1.0 - scene.grid.y, 5.0)
    scene.vessels *= 1.05 + 0.10 * level + (0.25 + 0.12 * level) * upper


def _blur_borders(scene: Scene, level: int) -> None:
    """Fluid in the sheaths around the vessels: their borders grow indistinct."""
    scene.vessels = blur(scene.vessels, (0.10, 0.22, 0.40)[level] / scene.grid.pixel)


def _bat_wing(scene: Scene, rng: np.random.Generator, side: str, level: int) -> np.ndarray:
    """(h, w) cm of lung around the hilum and, less, behind towards the bases."""
    t, s = scene.thorax, SIGN[side]
    spread = float(rng.uniform(0.85, 1.15)) * (1 + 0.06 * level)
    at = t.place(side, 0.34, 0.58, 0.45)
    size = np.array([0.44 * t.half_width, 0.40 * t.height, 0.75 * t.depth]) * spread
    wing = soft_edged(scene, ellipsoid(at, size, turn(roll=-0.2 * s)), side, float(size[2]))
    low = t.place(side, 0.4, 0.92, 0.3)
    size = np.array([0.42 * t.half_width, 0.24 * t.height, 0.6 * t.depth])
    return wing + (0.25 + 0.2 * level) * soft_edged(scene, ellipsoid(low, size), side, float(size[2]))


def _septal_lines(scene: Scene, rng: np.random.Generator, side: str, n: int) -> None:
    """Kerley B lines: short, thin, level, reaching the pleura at the base."""
    t, s = scene.thorax, SIGN[side]
    y = t.apex + rng.uniform(0.62, 1.0, n) * t.height
    x = t.cage(y) - 0.15
    z = rng.uniform(-0.12, 0.12, n) * t.depth
    start = np.stack([s * x, y, z], 1)
    end = np.stack([s * (x - rng.uniform(1.0, 2.0, n)), y + rng.normal(0, 0.12, n), z], 1)
    # A septum is a sheet of some 2 cm depth seen edge-on.
    sheet = scene.beam.tubes(start, end, np.full(n, 0.07), np.full(n, 0.06)) * np.float32(6.0)
    scene.add_soft(sheet * scene.side(side))


def _cuffs(scene: Scene, rng: np.random.Generator, side: str, n: int) -> None:
    """Bronchi seen end-on near the hilum with thickened walls."""
    t, s = scene.thorax, SIGN[side]
    for _ in range(n):
        middle = np.array([s * float(rng.uniform(3.4, 5.2)), t.hilum + float(rng.uniform(-2.5, 2.0)), 0.0])
        angle = np.linspace(0, 2 * np.pi, 11)
        radius = float(rng.uniform(0.2, 0.32))
        ring = middle + radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
        scene.add_soft(scene.beam.polyline(ring, 0.09) * np.float32(3.5))
