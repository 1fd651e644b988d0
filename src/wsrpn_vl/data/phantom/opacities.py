"""Findings inside the lung: opacity, lesion, edema, consolidation, pneumonia, atelectasis.

Each replaces air by water-like tissue; its mask is where a visible share was replaced.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.raster import bezier, chord, ellipse, polyline, ramp, smooth_noise, tubes
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax

SEVERITIES = ("mild", "moderate", "severe")


def pick(rng: np.random.Generator, options: tuple, weights: tuple | None = None):
    """One of ``options``; the generator's ``choice`` would turn them into numpy scalars."""
    p = None if weights is None else np.asarray(weights) / sum(weights)
    return options[int(rng.choice(len(options), p=p))]


def zone_name(down: float) -> str:
    """Radiologist's third of the lung for a height 0 (apex) .. 1 (dome)."""
    return "upper" if down < 0.38 else "mid" if down < 0.68 else "lower"


def _blob(scene: Scene, rng: np.random.Generator, x: float, y: float, a: float, b: float, rough: float) -> np.ndarray:
    """Soft-edged irregular patch, 1 at the core; a, b half-axes in cm."""
    inside = ellipse(scene.grid, x, y, a, b, float(rng.uniform(-0.6, 0.6)))
    return ramp(inside + rough * smooth_noise(scene.grid, rng, 0.6 * min(a, b) + 0.4) - 0.15, 0.9)


def _visible(scene: Scene, fraction: np.ndarray, side: str, share: float = 0.4) -> np.ndarray:
    """Where the fill is at least ``share`` of its peak inside one lung; never empty."""
    seen = np.where(scene.side(side), fraction, 0.0)
    peak = float(seen.max())
    return seen >= max(share * peak, 1e-6)


def lung_opacity(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """A hazy patch, sometimes on both sides."""
    sides = SIDES if rng.random() < 0.25 else (pick(rng, SIDES),)
    regions = []
    for side in sides:
        down = float(rng.uniform(0.25, 0.92))
        x, y = scene.thorax.point(side, float(rng.uniform(0.25, 0.75)), down)
        patch = _blob(scene, rng, x, y, float(rng.uniform(2.2, 3.8)), float(rng.uniform(2.2, 4.6)), 0.16)
        level = int(rng.integers(3))
        fraction = patch * (0.20 + 0.08 * level) * scene.side(side)
        scene.fill(fraction)
        zone = f"{side} {zone_name(down)} lung zone"
        style = pick(rng, ("hazy", "ill-defined", "ground-glass"))
        regions.append(
            Region(
                _visible(scene, fraction, side), zone, (SEVERITIES[level], style), side, SEVERITIES[level], "opacity"
            )
        )
    return regions


def lung_lesion(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """One mass or one to three nodules, round, some lobulated or calcified."""
    mass = rng.random() < 0.4
    regions = []
    for _ in range(1 if mass else int(rng.choice([1, 1, 1, 2, 3]))):
        side = pick(rng, SIDES)
        down = float(rng.uniform(0.14, 0.88))
        radius = float(rng.uniform(1.7, 3.4) if mass else rng.uniform(0.75, 1.4))
        x, y = _inside(scene, side, float(rng.uniform(0.3, 0.8)), down)
        edge = 0.10 * smooth_noise(scene.grid, rng, 0.7 * radius) if rng.random() < 0.5 else 0.0
        inside = (
            ellipse(scene.grid, x, y, radius, radius * float(rng.uniform(0.8, 1.15)), float(rng.uniform(0, 3))) + edge
        )
        inside = np.where(scene.grid.x * SIGN[side] > 0, inside, 0.0)
        near = np.hypot(scene.grid.x - x, scene.grid.y - y) < 1.5 * radius
        mask = (inside > 0.05) & near & scene.side(side)
        if not mask.any():
            continue
        scene.add_soft(chord(inside * near, radius * (1.0 if mass else 1.3)) * mask)
        calcified = not mass and rng.random() < 0.15
        if calcified:
            scene.bone += chord(inside * near, 0.5 * radius) * mask * 0.4
        kind = "mass" if mass else "nodule"
        size = f"{2 * radius:.1f} cm"
        words = (size, "lobulated" if not isinstance(edge, float) else "round") + (("calcified",) if calcified else ())
        regions.append(Region(mask, f"{side} {zone_name(down)} lung zone", words, side, "", kind))
    return regions


def _inside(scene: Scene, side: str, across: float, down: float) -> tuple[float, float]:
    """A place whose surroundings are seen as lung: moved outwards off the heart and upwards off the diaphragm."""
    area, grid = scene.side(side), scene.grid
    x, y = scene.thorax.point(side, across, down)
    for _ in range(12):
        col, row = int((x - grid.shift + grid.fov / 2) / grid.pixel), int(y / grid.pixel)
        if 0 <= row < grid.size and 0 <= col < grid.size and area[row, col]:
            break
        across, down = across + 0.6 * (0.72 - across), down * 0.93
        x, y = scene.thorax.point(side, across, down)
    return x, y


def edema(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Perihilar bat-wing haze on both sides, thicker upper vessels, septal lines at the bases."""
    t, grid = scene.thorax, scene.grid
    level = int(rng.choice(3, p=[0.4, 0.4, 0.2]))
    scene.vessels *= 1.1 + 0.15 * level
    patches = smooth_noise(grid, rng, 1.3)
    regions_fraction = grid.zeros()
    for side in SIDES:
        s = SIGN[side]
        spread = float(rng.uniform(0.85, 1.15))
        x, y = s * (0.40 * t.half_width), t.hilum + float(rng.uniform(0.5, 2.0))
        wing = ellipse(grid, x, y, 0.52 * t.half_width * spread, 0.42 * t.height * spread, -0.2 * s)
        haze = ramp(wing - 0.05, 1.1) * (1 + 0.22 * patches) * (grid.x * s > 0)
        regions_fraction += np.maximum(haze, 0) * (0.13 + 0.10 * level)
    scene.fill(np.clip(regions_fraction, 0, 0.6))
    _septal_lines(scene, rng, 8 + 6 * level)
    severity = SEVERITIES[level]
    words = (severity, "interstitial" if level == 0 else "alveolar" if level == 2 else "perihilar")
    return [
        Region(
            _visible(scene, regions_fraction, side, 0.35), f"{side} perihilar region", words, side, severity, "edema"
        )
        for side in SIDES
    ]


def _septal_lines(scene: Scene, rng: np.random.Generator, n: int) -> None:
    """Kerley B lines: short, thin, horizontal, reaching the pleura."""
    starts, ends = [], []
    for _ in range(n):
        side = pick(rng, SIDES)
        y = scene.thorax.apex + float(rng.uniform(0.62, 1.0)) * scene.thorax.height
        x = float(scene.thorax.cage(y)) - 0.2
        starts.append([SIGN[side] * x, y])
        ends.append([SIGN[side] * (x - float(rng.uniform(1.0, 2.0))), y + float(rng.normal(0, 0.12))])
    r = np.full(n, 0.07)
    scene.add_soft(4.0 * tubes(scene.grid, np.array(starts), np.array(ends), r, r))


_LOBES = {  # side, top, bottom (share of the lung's height), slant of the border, across range
    "right upper lobe": ("right", -0.05, 0.44, 0.0),
    "right middle lobe": ("right", 0.52, 0.86, 0.0),
    "right lower lobe": ("right", 0.60, 1.35, 0.25),
    "left upper lobe": ("left", -0.05, 0.50, 0.15),
    "lingula": ("left", 0.50, 0.84, -0.1),
    "left lower lobe": ("left", 0.58, 1.35, 0.25),
}


def _lobe(scene: Scene, name: str, part: float) -> np.ndarray:
    """Soft membership of a lobe, sharp at its fissure; ``part`` < 1 keeps the share nearest the fissure."""
    side, top, bottom, slant = _LOBES[name]
    t, grid = scene.thorax, scene.grid
    v = (grid.y - t.apex) / (t.dome(side) - t.apex) + slant * (np.abs(grid.x) / t.half_width - 0.5)
    if "upper" in name:
        top = bottom - part * (bottom - top)
    else:
        bottom = top + part * (bottom - top)
    return (
        ramp(v - top, 0.03 if top > 0.3 else 0.12) * ramp(bottom - v, 0.03 if bottom < 0.5 else 0.14) * scene.side(side)
    )


def consolidation(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Dense lobar filling with air bronchograms."""
    names = tuple(_LOBES)
    chosen = [pick(rng, names, (3, 2, 5, 2, 2, 5))]
    if rng.random() < 0.18:
        chosen.append(pick(rng, tuple(n for n in names if _LOBES[n][0] != _LOBES[chosen[0]][0])))
    regions = []
    for name in chosen:
        side = _LOBES[name][0]
        lobe = _lobe(scene, name, float(rng.uniform(0.55, 1.0)))
        wide = 0.22 * smooth_noise(scene.grid, rng, 2.2)
        inner, outer = (
            (0.0, float(rng.uniform(0.7, 1.1))) if rng.random() < 0.6 else (float(rng.uniform(0.1, 0.35)), 1.1)
        )
        across = np.abs(scene.grid.x) / scene.thorax.cage(scene.grid.y)
        shape = lobe * ramp(outer - across + 0.3 * wide, 0.2) * ramp(across - inner + 0.3 * wide, 0.2)
        dense = float(rng.uniform(0.5, 0.8))
        fraction = np.clip(shape * dense * (1 + wide), 0, 0.92)
        scene.fill(fraction * (1 - 0.7 * _bronchograms(scene, rng, side)))
        mask = _visible(scene, fraction, side)
        regions.append(Region(mask, name, ("dense", "with air bronchograms"), side, "", "consolidation"))
    return regions


def _bronchograms(scene: Scene, rng: np.random.Generator, side: str) -> np.ndarray:
    """Share of the depth kept open by branching airways."""
    t, s = scene.thorax, SIGN[side]
    out = scene.grid.zeros()
    for _ in range(7):
        start = np.array([s * 3.0, t.hilum + float(rng.uniform(-1, 1))])
        angle = float(rng.uniform(-1.2, 1.4))
        end = start + float(rng.uniform(5, 9)) * np.array([s * math.cos(angle), math.sin(angle)])
        bend = (start + end) / 2 + rng.normal(0, 0.7, 2)
        out = np.maximum(out, polyline(scene.grid, bezier(np.array([start, bend, end]), 8), np.linspace(0.28, 0.12, 8)))
    return np.clip(out / 0.5, 0, 1)


def pneumonia(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Patchy clustered infiltrates, mostly lower zones, on one or both sides."""
    sides = SIDES if rng.random() < 0.3 else (pick(rng, SIDES),)
    regions = []
    for side in sides:
        down = float(rng.choice([rng.uniform(0.55, 0.92), rng.uniform(0.2, 0.55)], p=[0.7, 0.3]))
        x, y = scene.thorax.point(side, float(rng.uniform(0.25, 0.65)), down)
        patch = scene.grid.zeros()
        for _ in range(int(rng.integers(4, 8))):
            dx, dy = rng.normal(0, 1.3), rng.normal(0, 1.6)
            r = float(rng.uniform(1.2, 2.4))
            patch = patch + 0.5 * _blob(scene, rng, x + dx, y + dy, r, r * float(rng.uniform(0.7, 1.3)), 0.35)
        mottle = np.clip(1 + 0.3 * smooth_noise(scene.grid, rng, 0.9), 0.2, 1.6)
        fraction = np.minimum(patch, 1.15) * mottle * float(rng.uniform(0.28, 0.45)) * scene.side(side)
        scene.fill(fraction)
        place = f"{side} {zone_name(down)} lobe" if not (side == "left" and zone_name(down) == "mid") else "lingula"
        place = place.replace("mid lobe", "middle lobe")
        regions.append(Region(_visible(scene, fraction, side), place, ("patchy",), side, "", "pneumonia"))
    return regions


def _atelectasis_plan(rng: np.random.Generator) -> tuple[tuple[str, ...], bool]:
    sides = SIDES if rng.random() < 0.35 else (pick(rng, SIDES),)
    return sides, bool(rng.random() < 0.35)


def lose_volume(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """Atelectasis lifts the diaphragm of its side: much when lobar, little when plate-like."""
    sides, lobar = _atelectasis_plan(rng)
    lift = float(rng.uniform(1.4, 2.6) if lobar else rng.uniform(0.2, 0.9))
    right, left = thorax.dome_raise
    return replace(thorax, dome_raise=(right + lift * ("right" in sides), left + lift * ("left" in sides)))


def atelectasis(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Plate-like bands at the base, or a collapsed lower lobe beside the heart."""
    sides, lobar = _atelectasis_plan(rng)
    regions = []
    for side in sides:
        fraction = _collapse(scene, rng, side) if lobar else _plates(scene, rng, side)
        scene.fill(fraction)
        words = ("lobar", "with volume loss") if lobar else (pick(rng, ("linear", "plate-like", "subsegmental")),)
        place = f"{side} lower lobe" if lobar else f"{side} base"
        regions.append(
            Region(
                _visible(scene, fraction, side), place, words, side, "", "lobar collapse" if lobar else "atelectasis"
            )
        )
    return regions


def _plates(scene: Scene, rng: np.random.Generator, side: str) -> np.ndarray:
    t = scene.thorax
    fraction = scene.grid.zeros()
    base = float(rng.uniform(0.70, 0.9))
    for k in range(int(rng.integers(1, 4))):
        down = base - 0.07 * k + float(rng.normal(0, 0.01))
        x0, y0 = t.point(side, float(rng.uniform(0.15, 0.4)), down)
        x1, y1 = t.point(side, float(rng.uniform(0.7, 0.98)), down + float(rng.uniform(-0.12, 0.06)))
        sag = np.array([(x0 + x1) / 2, (y0 + y1) / 2 + float(rng.uniform(-0.5, 0.5))])
        band = polyline(scene.grid, bezier(np.array([[x0, y0], sag, [x1, y1]]), 10), float(rng.uniform(0.28, 0.5)))
        fraction = np.maximum(fraction, band * float(rng.uniform(0.45, 0.7)))
    return np.clip(fraction, 0, 0.65) * scene.side(side)


def _collapse(scene: Scene, rng: np.random.Generator, side: str) -> np.ndarray:
    """A wedge with its straight edge running from the hilum down and outwards."""
    t, grid, s = scene.thorax, scene.grid, SIGN[side]
    outward = float(rng.uniform(0.45, 0.75)) * t.half_width
    y0, y1 = t.hilum + 1.5, t.dome(side) + 2.5
    edge = 2.2 + (outward - 2.2) * np.clip((grid.y - y0) / (y1 - y0), 0, 1.3)
    wedge = ramp(edge - grid.x * s, 0.7) * ramp(grid.y - y0, 2.0)
    return wedge * float(rng.uniform(0.5, 0.75)) * scene.side(side)
