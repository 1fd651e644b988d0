"""Findings of the pleural space other than air: effusion, thickening, apical cap and plaques.

Terms after the Fleischner Society's glossary (Hansell et al., Radiology 2008).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.anatomy import lung_solid
from wsrpn_vl.data.phantom.opacities import SEVERITIES, fill, pick, seen, sides_of
from wsrpn_vl.data.phantom.raster import smooth_noise
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import Solid, bullet, ellipsoid, half_space, moved, turn
from wsrpn_vl.data.phantom.thorax import DOME_HEIGHT, SIDES, SIGN

SIZES = ("small", "moderate", "large")
_SULCUS = 4.5  # cm from the top of a dome down to the costophrenic angle as it is seen


def pleural_effusion(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Free fluid on one or both sides, layered behind the lung of a lying patient, or a loculated collection."""
    sides = sides_of(rng, 0.56, 0.35)
    if len(sides) == 1 and rng.random() < 0.30:
        return [_loculated(scene, rng, sides[0])]
    return [_layered(scene, rng, s) if scene.thorax.supine else _upright(scene, rng, s) for s in sides]


def _told(mask: np.ndarray, side: str, place: str, level: int, *words: str) -> Region:
    return Region(mask, f"{side} {place}", (SIZES[level], *words), side, SEVERITIES[level], "effusion")


def _upright(scene: Scene, rng: np.random.Generator, side: str) -> Region:
    """Fluid around and beneath a lung that floats in it: seen from the front its border is the meniscus.

    The lung keeps a round base (Davis et al., Radiology 1963: the fluid is one level ring, deeper against the wall
    where more of it lies along the beam). Where the air of a pneumothorax reaches down to it, its surface is level.
    """
    t, s = scene.thorax, SIGN[side]
    level = pick(rng, (0, 1, 2), (0.31, 0.44, 0.25))
    rise = float(rng.uniform(*((0.2, 2.3), (3.0, 6.8), (7.5, 13.0))[level]))
    base = t.dome(side) + _SULCUS - rise  # lowest point of the floating lung
    round_off = float(rng.uniform(9.0, 15.0)) * (0.6 if level == 0 else 1.0)
    middle = (s * 0.34 * t.half_width, base - round_off, 0.0)
    bowl = bullet(middle, (0.64 * t.half_width, round_off, 1.04 * t.depth), turn(roll=np.pi))
    bowl = replace(bowl, low=np.array([*(bowl.low[:1] - 9), -80.0, bowl.low[2] - 9]), high=bowl.high + 9)
    before = scene.lung_of(side)
    fluid = np.maximum(before - scene.within(bowl, side), 0)
    surface = base - 0.3 * round_off
    pool, level_surface = _pool(scene, side, surface)
    if level_surface:
        fluid *= scene.grid.y > surface
    added = fill(scene, fluid, 0.97) + pool
    _drown(scene, fluid, before)
    fluid = np.maximum(fluid, pool)
    mask = (fluid > 0.42 * before) & scene.side(side) & (added > 0)
    if (
        rise < _SULCUS + 1 and not level_surface
    ):  # below the top of the dome only the lateral angle is told from the heart
        mask &= s * scene.grid.x > t.dome_centre[0]
    if level:  # deep down fluid and abdomen are one shade
        mask &= scene.grid.y < t.dome(side) + 0.3
    if not mask.any():
        mask = seen(scene, fluid, side, 0.8)
    words = ("with an air-fluid level",) if level_surface else ("with blunting of the angle",) if level == 0 else ()
    return _told(mask, side, "costophrenic angle" if level == 0 else "pleural space", level, *words)


def _pool(scene: Scene, side: str, surface: float) -> tuple[np.ndarray, bool]:
    """(h, w) cm of fluid put where a pneumothorax's air reached below the height ``surface``, and whether that is so
    much of it that the surface is seen level.
    """
    air = scene.pleural_air.get(side)
    if air is None:
        return scene.grid.zeros(), False
    pool = air * np.clip((scene.grid.y - surface) / scene.grid.pixel + 0.5, 0, 1)
    flooded = pool > np.maximum(0.5 * air, 0.25)
    if not flooded.any():
        return scene.grid.zeros(), False
    scene.soft += pool * np.float32(0.97)
    scene.flooded = flooded if scene.flooded is None else scene.flooded | flooded
    row = int(flooded.any(1).argmax()) + 1
    return pool, bool((pool > 0.5 * scene.lung_of(side))[row].sum() > 0.25 * scene.side(side)[row].sum())


def _displace(scene: Scene, side: str, water: np.ndarray) -> np.ndarray:
    """Put fluid in place of a pneumothorax's air too, as far as it makes up the ray's way; returns it, cm."""
    air = scene.pleural_air.get(side)
    if air is None:
        return scene.grid.zeros()
    pool = np.minimum(water * air / np.maximum(scene.lung_of(side), np.float32(0.3)), air)
    scene.soft += pool * np.float32(0.95)
    return pool


def _drown(scene: Scene, fluid: np.ndarray, before: np.ndarray) -> None:
    """Vessels go with the lung that was pushed away."""
    scene.vessels *= 1 - np.minimum(fluid / np.maximum(before, np.float32(0.05)), 1)


def _layered(scene: Scene, rng: np.random.Generator, side: str) -> Region:
    """A sheet of fluid behind the lung, deeper below, through which the vessels are seen; a cap at the apex."""
    t = scene.thorax
    level = pick(rng, (0, 1, 2), (0.35, 0.40, 0.25))
    deep = (1.2, 2.2, 3.6)[level] * float(rng.uniform(0.8, 1.2))
    tilt = float(rng.uniform(0.14, 0.30))
    sheet = half_space((0, -tilt, 1), -t.depth + deep - tilt * (t.dome(side) - 3))
    fluid = scene.within(sheet, side) * np.float32(0.95)
    mask = seen(scene, fluid, side, 0.4)
    if level:
        cap = _rind(scene, side, 0.5 + 0.3 * level) & half_space((0, 1, 0), t.apex + 4.5)
        fluid += np.maximum(scene.within(half_space((0, 1, 0), t.apex + 4.5), side) - scene.within(cap, side), 0)
    fill(scene, fluid, 0.95)
    _displace(scene, side, fluid)
    return _told(mask, side, "hemithorax", level, "layering")


def _loculated(scene: Scene, rng: np.random.Generator, side: str) -> Region:
    """A lens of fluid held against the wall."""
    t = scene.thorax
    level = pick(rng, (0, 1), (0.6, 0.4))
    at = t.place(side, 1.0, float(rng.uniform(0.25, 0.8)), float(rng.uniform(0.4, 0.6)))
    size = (1.4 + 1.0 * level, 2.8 + 1.6 * level, 3.2 + level)
    lens = ellipsoid(at, np.array(size) * rng.uniform(0.85, 1.15, 3), turn(roll=-0.12 * SIGN[side]))
    water = scene.within(lens, side)
    added = fill(scene, water, 0.95) + _displace(scene, side, water)
    return _told(seen(scene, added, side, 0.3), side, "lateral pleural space", level, "loculated")


def _rind(scene: Scene, side: str, thick: float) -> Solid:
    """The lung drawn in from wall and apex by about ``thick`` cm."""
    t, s = scene.thorax, SIGN[side]
    about = np.array([s * 2.0, t.widest, 0.0])
    scale = np.diag([1 - thick / (t.half_width - 2), 1 - thick / (t.widest - t.apex), 1 - 0.5 * thick / t.depth])
    return moved(lung_solid(t, side), scale, about)


def pleural_other(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Thickening along the wall, an apical cap, or calcified plaques."""
    kind = pick(rng, ("pleural thickening", "apical cap", "pleural plaque"), (0.45, 0.25, 0.3))
    if kind == "pleural plaque":
        return _plaques(scene, rng)
    side = pick(rng, SIDES)
    return [_thickening(scene, rng, side, apical=kind == "apical cap")]


def _thickening(scene: Scene, rng: np.random.Generator, side: str, apical: bool) -> Region:
    """A rind of tissue between the wall and the lung."""
    t = scene.thorax
    thick = float(rng.uniform(0.6, 1.3))
    if apical:
        where, place = half_space((0, 1, 0), t.apex + float(rng.uniform(1.6, 2.8))), f"{side} apex"
    else:
        at = t.place(side, 1.0, float(rng.uniform(0.5, 0.85)), 0.5)
        where = ellipsoid(at, (3.2, float(rng.uniform(3.5, 6.5)), 0.9 * t.depth))
        place = f"{side} lateral chest wall"
    rind = np.maximum(scene.within(where, side) - scene.within(where & _rind(scene, side, thick), side), 0)
    uneven = np.clip(1 + 0.08 * smooth_noise(scene.grid, rng, 2.5), 0.6, 1.3)
    added = fill(scene, rind * uneven, 0.9)
    words = (pick(rng, ("smooth", "irregular", "nodular"), (4, 2, 1)),)
    return Region(
        seen(scene, added, side, 0.3), place, words, side, "", "apical cap" if apical else "pleural thickening"
    )


def _plaques(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Asbestos plaques: chalky sheets on the wall seen en face, and a line along a dome."""
    sides = SIDES if rng.random() < 0.45 else (pick(rng, SIDES),)
    regions = []
    for side in sides:
        dome = bool(rng.random() < 0.35)
        chalk = _on_dome(scene, rng, side) if dome else _en_face(scene, rng, side)
        chalk *= scene.lung_area | dome
        scene.bone += chalk
        mask = chalk > 0.3 * float(chalk.max())
        place = "hemidiaphragm" if dome else "chest wall"
        if mask.any():
            regions.append(Region(mask, f"{side} {place}", ("calcified",), side, "", "pleural plaque"))
    return regions


def _en_face(scene: Scene, rng: np.random.Generator, side: str) -> np.ndarray:
    """(h, w) cm of chalk in an uneven leaf on the front or back wall; its rolled edge is the densest."""
    t, s = scene.thorax, SIGN[side]
    at = t.place(side, float(rng.uniform(0.35, 0.8)), float(rng.uniform(0.4, 0.85)), pick(rng, (0.03, 0.97)))
    size = (float(rng.uniform(0.8, 1.6)), float(rng.uniform(1.2, 2.2)), 0.35)
    length = scene.beam.through(ellipsoid(at, size, turn(roll=s * float(rng.uniform(-0.5, 0.5)))))
    leaf = length + 0.16 * smooth_noise(scene.grid, rng, 0.6) * (length > 0)
    return np.where(leaf > 0.28, 0.16 + 0.10 * (leaf < 0.45), 0).astype(np.float32)


def _on_dome(scene: Scene, rng: np.random.Generator, side: str) -> np.ndarray:
    """(h, w) cm of chalk in a thin line over the top of the diaphragm."""
    t, s = scene.thorax, SIGN[side]
    centre, half = t.dome_centre
    u = float(rng.uniform(-0.2, 0.3)) + np.linspace(-0.22, 0.22, 9)
    y = t.dome(side) + DOME_HEIGHT * (1 - np.sqrt(1 - u * u)) - 0.1
    course = np.stack([s * (centre + half * u), y, np.full(9, 0.7)], 1)
    return 1.6 * scene.beam.polyline(course, np.linspace(0.10, 0.17, 9))
