"""Nodules and masses: round or lobulated solids of tissue in the lung, some spiculated, cavitary or calcified.

A nodule measures up to 3 cm, a mass more (Fleischner Society glossary, Hansell et al., Radiology 2008).
"""

from __future__ import annotations

import numpy as np

from wsrpn_vl.data.phantom.opacities import pick, zone_name
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import Solid, ellipsoid, turn
from wsrpn_vl.data.phantom.thorax import SIDES

MASS_CM = 3.0


def lung_lesion(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """One mass, sometimes with satellites, or one to three nodules."""
    if rng.random() < 0.5:
        diameter = float(np.clip(rng.lognormal(1.56, 0.63), MASS_CM + 0.1, 12.0))
        return _lesion(scene, rng, "mass", diameter, pick(rng, SIDES, (0.565, 0.435)))
    regions = []
    for _ in range(pick(rng, (1, 2, 3), (0.7, 0.2, 0.1))):
        regions += _lesion(scene, rng, "nodule", float(rng.uniform(1.6, MASS_CM)), pick(rng, SIDES, (0.44, 0.56)))
    return regions


def _lesion(scene: Scene, rng: np.random.Generator, kind: str, diameter: float, side: str) -> list[Region]:
    mass = kind == "mass"
    down = float(np.clip(rng.normal(0.53 if mass else 0.56, 0.22), 0.10, 0.92))
    across = float(0.8 * rng.random() ** (1.5 if side == "right" else 0.9) if mass else rng.uniform(0.15, 0.88))
    centre, down = _inside(scene, side, across, down, float(rng.uniform(0.2, 0.8)))
    radius = diameter / 2
    lobes = _lobules(rng, centre, radius) if rng.random() < (0.6 if mass else 0.35) else []
    body = ellipsoid(centre, radius * rng.uniform(0.85, 1.1, 3) * (0.86 if lobes else 1.0), _any_turn(rng))
    solids = [body, *lobes]
    tissue = np.maximum.reduce([scene.within(s, side) for s in solids])
    if not (tissue > 0).any():
        return []
    words = [f"{diameter:.1f} cm", "lobulated" if lobes else "round"]
    if rng.random() < (0.35 if mass else 0.2):
        words[1] = "spiculated"
        tissue = np.maximum(tissue, _spicules(scene, rng, centre, radius) * (scene.within(body, side) <= 0))
    core = tissue.copy()
    if mass and rng.random() < 0.16:
        tissue = tissue - _cavity(scene, rng, centre, radius, side)
        words.append("cavitary")
    elif not mass and rng.random() < 0.14:
        scene.bone += 0.35 * scene.within(ellipsoid(centre, np.full(3, 0.55 * radius)), side)
        words.append("calcified")
    scene.add_soft(np.maximum(tissue, 0) * np.float32(0.95))
    mask = (core > 0.05 * min(float(core.max()), diameter)) & (scene.healthy_lung.sum(0) > 0.3)
    return [Region(mask, f"{side} {zone_name(down)} lung zone", tuple(words), side, "", kind)]


def _any_turn(rng: np.random.Generator) -> np.ndarray:
    return turn(*rng.uniform(-1, 1, 3))


def _lobules(rng: np.random.Generator, centre: np.ndarray, radius: float) -> list[Solid]:
    """Smaller balls that bulge out of a lesion."""
    out = []
    for _ in range(4):
        way = rng.normal(0, 1, 3) * (1, 1, 0.6)
        at = centre + way / np.linalg.norm(way) * radius * 0.55
        out.append(ellipsoid(at, radius * rng.uniform(0.42, 0.6, 3)))
    return out


def _spicules(scene: Scene, rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """(h, w) cm of fine strands that radiate from a lesion."""
    n = 16
    way = rng.normal(0, 1, (n, 3)) * (1, 1, 0.3)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    reach = radius * rng.uniform(1.25, 1.75, (n, 1))
    return scene.beam.tubes(centre + 0.8 * radius * way, centre + reach * way, np.full(n, 0.13), np.full(n, 0.04))


def _cavity(scene: Scene, rng: np.random.Generator, centre: np.ndarray, radius: float, side: str) -> np.ndarray:
    """(h, w) cm of air inside a lesion; in an upright patient it may stand over a level of fluid."""
    thin = float(rng.uniform(0.55, 0.78))
    hole = ellipsoid(centre + rng.uniform(-0.1, 0.1, 3) * radius, np.full(3, radius * thin))
    if not scene.thorax.supine and rng.random() < 0.5:
        hole = hole.cut((0, 1, 0), float(centre[1]) + 0.25 * radius)
    return scene.within(hole, side)


def _inside(scene: Scene, side: str, across: float, down: float, front: float) -> tuple[np.ndarray, float]:
    """A place whose surroundings are seen as lung, and its height: moved outwards off the heart and up off the dome."""
    area, grid = scene.side(side), scene.grid
    for _ in range(12):
        at = scene.thorax.place(side, across, down, front)
        xy, _ = scene.beam.project(at)
        col, row = int((xy[0, 0] - grid.shift + grid.fov / 2) / grid.pixel), int(xy[0, 1] / grid.pixel)
        if 0 <= row < grid.size and 0 <= col < grid.size and area[row, col]:
            break
        across, down = across + 0.3 * (0.72 - across), down * 0.95
    return at, down
