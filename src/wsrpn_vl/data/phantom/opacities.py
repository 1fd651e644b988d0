"""What the findings inside the lung share, and the plain opacity.

An opacity replaces air by water-like tissue inside a solid that lies in the lung. An ill-defined one has a density
that falls with the square of the distance to its edge, so that its shadow follows the cube of the chord.
"""

from __future__ import annotations

import numpy as np

from wsrpn_vl.data.phantom.raster import smooth_noise
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import Solid, ellipsoid, turn
from wsrpn_vl.data.phantom.thorax import SIDES

SEVERITIES = ("mild", "moderate", "severe")
_LEAST = 0.12  # cm of water in place of air: less is not seen


def pick(rng: np.random.Generator, options: tuple, weights: tuple | None = None):
    """One of ``options``; the generator's ``choice`` would turn them into numpy scalars."""
    p = None if weights is None else np.asarray(weights) / sum(weights)
    return options[int(rng.choice(len(options), p=p))]


def zone_name(down: float) -> str:
    """Radiologist's third of the lung for a height 0 (apex) .. 1 (dome)."""
    return "upper" if down < 0.38 else "mid" if down < 0.68 else "lower"


def sides_of(rng: np.random.Generator, right: float, both: float) -> tuple[str, ...]:
    """Which lungs are ill: both with probability ``both``, else the right one with probability ``right``."""
    if rng.random() < both:
        return SIDES
    return ("right",) if rng.random() < right else ("left",)


def soft_edged(scene: Scene, solid: Solid, side: str, depth: float, soft: int = 2) -> np.ndarray:
    """(h, w) cm of lung inside ``solid`` weighted by a density of 1 at its core and 0 at its edge.

    depth: the solid's half-axis along the ray, cm; soft: power with which the density falls, 0 = sharp edge.
    """
    length = scene.within(solid, side)
    return length * np.minimum((length / (2 * depth)) ** soft, 1) * np.float32(1 / (1 + 0.25 * soft))


def cloud(
    scene: Scene,
    rng: np.random.Generator,
    side: str,
    centre: np.ndarray,
    radii: np.ndarray | tuple[float, float, float],
    *,
    lumps: int = 4,
    only: Solid | None = None,
    mottle: float = 0.25,
    soft: int = 2,
) -> np.ndarray:
    """(h, w) cm of lung inside an ill-defined, uneven heap of ellipsoids of total half-axes ``radii``.

    only: the lobe it keeps to.
    """
    out = scene.grid.zeros()
    size = np.asarray(radii)
    for k in range(lumps + 1):
        share = 0.7 if k == 0 else float(rng.uniform(0.34, 0.62))
        reach = size * share * rng.uniform(0.85, 1.15, 3)
        at = centre + (0 if k == 0 else 1) * rng.uniform(-1, 1, 3) * (size - reach)
        solid = ellipsoid(at, reach, turn(roll=float(rng.uniform(-0.5, 0.5))))
        out += soft_edged(scene, solid if only is None else solid & only, side, float(reach[2]), soft)
    most = np.float32(1.1 * radii[2])
    out = most * (1 - np.exp(-out / most))  # where lumps overlap, air spaces cannot be filled twice
    if mottle:
        out *= np.maximum(1 + mottle * smooth_noise(scene.grid, rng, 0.8), 0.2)
    return out


def fill(scene: Scene, water: np.ndarray, most: float = 0.9) -> np.ndarray:
    """Put ``water`` (h, w) cm in place of air, at most the share ``most`` of it; returns what was put, cm."""
    share = np.minimum(water / np.maximum(scene.healthy_lung.sum(0), np.float32(0.3)), np.float32(most))
    added = scene.lung * share
    scene.soft += added
    scene.lung -= added
    return added


def seen(scene: Scene, added: np.ndarray, side: str = "", share: float = 0.4) -> np.ndarray:
    """(h, w) bool: where an opacity is told from lung, at least ``share`` of its peak and of a least thickness."""
    inside = np.where(scene.side(side) if side else scene.lung_area, added, np.float32(0))
    peak = float(inside.max())
    return inside > max(share * peak, min(_LEAST, 0.8 * peak))


def lung_opacity(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """A hazy ill-defined area; sometimes one diffuse change of both lungs."""
    t = scene.thorax
    diffuse = bool(rng.random() < 0.15)
    sides = SIDES if diffuse else sides_of(rng, 0.445, 0.0)
    level = int(rng.integers(3))
    style = pick(rng, ("hazy", "ill-defined", "ground-glass", "streaky"), (3, 3, 2, 1))
    masks, down = [], 0.5
    for side in sides:
        down = float(np.clip(rng.normal(0.66, 0.17), 0.22, 0.95))
        centre = t.place(side, float(rng.uniform(0.0, 0.6)), down, float(rng.uniform(0.25, 0.75)))
        tall = float(np.clip(rng.lognormal(1.90, 0.45), 3.0, 14.0))
        wide = float(np.clip(rng.normal(6.0, 0.9), 3.5, 8.0))
        if diffuse:
            centre, tall, wide = t.place(side, 0.45, 0.6, 0.5), float(rng.uniform(6.5, 9.5)), 5.2
        water = cloud(scene, rng, side, centre, (wide, tall, float(rng.uniform(3, 5))), lumps=5)
        added = fill(scene, water * (0.36 + 0.13 * level) * (0.8 if diffuse else 1.0))
        masks.append(seen(scene, added, side, 0.22))
    side = "bilateral" if diffuse else sides[0]
    place = "bilateral lungs" if diffuse else f"{side} {zone_name(down)} lung zone"
    words = (SEVERITIES[level], "diffuse" if diffuse else style)
    return [Region(np.logical_or.reduce(masks), place, words, side, SEVERITIES[level], "opacity")]
