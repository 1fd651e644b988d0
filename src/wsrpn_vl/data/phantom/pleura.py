"""Findings of the pleural space: pneumothorax, effusion, thickening and plaques."""

from __future__ import annotations

import numpy as np

from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.raster import chord, ellipse, ramp, smooth_noise
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN


def _wall_distance(scene: Scene) -> np.ndarray:
    """(h, w) cm from the inner chest wall, measured sideways and from the apex, whichever is less."""
    t, grid = scene.thorax, scene.grid
    x = np.abs(grid.x)
    lateral = t.cage(grid.y) - x
    top = grid.y - (t.apex + 0.42 * np.maximum(min(4.4, 0.33 * t.half_width) - x, 0) ** 2)
    return np.minimum(lateral, top)


def pneumothorax(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Air between lung and wall: black, without vessels, bounded by the thin visceral line; widest at the apex."""
    side = pick(rng, SIDES)
    t, grid = scene.thorax, scene.grid
    size = float(rng.choice([rng.uniform(1.1, 2.2), rng.uniform(2.2, 4.5)], p=[0.55, 0.45]))
    tension = float(rng.uniform(0.0, 1.0) ** 1.6)  # how far down the gap reaches
    v = np.clip((grid.y - t.apex) / (t.dome(side) - t.apex), 0, 1.2)
    gap = size * np.clip(1.0 - (v / (0.22 + 0.95 * tension)) ** 2, 0, 1) * (1 + 0.05 * smooth_noise(grid, rng, 3.0))
    across = np.abs(grid.x) / t.cage(grid.y)
    gap = gap * ramp(across - 0.25 - 0.12 * (1 - tension), 0.3)  # the lung stays tied to the hilum and apex medially
    distance = _wall_distance(scene)
    here = scene.side(side)
    beyond = ramp(gap - distance, 0.35) * here
    scene.vessels *= 1 - beyond
    line = np.exp(-(((distance - gap) / 0.13) ** 2)) * here * (gap > 0.25)
    air = scene.lung * beyond
    scene.lung -= air
    collapsed = (here & (distance > gap)) * min(0.16, 0.03 * size)
    scene.fill(collapsed.astype(np.float32))
    scene.add_soft(0.75 * line.astype(np.float32))
    mask = here & (distance < gap) & (gap > 0.3)
    words = (
        "small" if size < 1.6 else "moderate" if size < 3 else "large",
        "apical" if tension < 0.35 else "apicolateral",
    )
    severity = {"small": "mild", "moderate": "moderate", "large": "severe"}[words[0]]
    return [Region(mask, f"{side} {words[1]} pleural space", words[:1], side, severity, "pneumothorax")]


def pleural_effusion(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Fluid: meniscus and blunted angle when erect, layering haze besides when supine."""
    sides = SIDES if rng.random() < 0.4 else (pick(rng, SIDES),)
    t, grid = scene.thorax, scene.grid
    regions = []
    for side in sides:
        level = int(rng.choice(3, p=[0.45, 0.35, 0.2]))
        rise = (0.4, 3.2, 7.5)[level] + float(rng.uniform(0.0, 2.4))
        across = np.abs(grid.x) / t.cage(grid.y)
        # The upper border is lowest in the middle of the lung and climbs along the wall.
        surface = t.dome(side) + 2.4 - rise - 3.6 * np.clip(across - 0.35, 0, None) ** 2 / 0.36 + 0.8 * (across < 0.35)
        fluid = ramp(grid.y - surface, 1.4 + 0.5 * level)
        fraction = fluid * float(rng.uniform(0.7, 0.92)) * scene.side(side)
        scene.fill(fraction)
        if scene.technique.view == "AP":
            haze = np.clip((grid.y - t.apex) / t.height, 0, 1) * (0.05 + 0.05 * level)
            scene.fill((haze * scene.side(side)).astype(np.float32))
        mask = (fluid > 0.5) & scene.side(side)
        if not mask.any():
            mask = (fluid * scene.side(side)) >= max(float((fluid * scene.side(side)).max()), 1e-6)
        size = ("small", "moderate", "large")[level]
        severity = ("mild", "moderate", "severe")[level]
        regions.append(Region(mask, f"{side} costophrenic angle", (size,), side, severity, "effusion"))
    return regions


def pleural_other(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Thickening along the wall, an apical cap, or calcified plaques."""
    side = pick(rng, SIDES)
    kind = pick(rng, ("thickening", "apical cap", "plaque"), (0.45, 0.25, 0.3))
    t, grid = scene.thorax, scene.grid
    distance, here = _wall_distance(scene), scene.side(side)
    v = (grid.y - t.apex) / (t.dome(side) - t.apex)
    if kind == "plaque":
        y = t.apex + float(rng.uniform(0.45, 0.85)) * t.height
        x = SIGN[side] * (float(t.cage(y)) - float(rng.uniform(0.9, 3.0)))
        shape = ellipse(
            grid, x, y, float(rng.uniform(0.5, 0.9)), float(rng.uniform(1.2, 2.2)), float(rng.uniform(-0.3, 0.3))
        )
        shape = shape + 0.25 * smooth_noise(grid, rng, 0.6) * (shape > -0.6)
        mask = (shape > 0) & here
        scene.bone += (0.30 + chord(shape, 0.12)) * mask
        return [Region(mask, f"{side} lateral chest wall", ("calcified",), side, "", "pleural plaque")]
    width = float(rng.uniform(0.7, 1.3))
    if kind == "apical cap":
        extent = ramp(0.14 - v, 0.1)
        place = f"{side} apex"
    else:
        low, high = sorted((float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.7, 1.05))))
        extent = ramp(v - low, 0.1) * ramp(high - v, 0.1)
        place = f"{side} lateral chest wall"
    profile = width * extent * (1 + 0.15 * smooth_noise(grid, rng, 1.2))
    band = ramp(profile - distance, 0.35) * here
    scene.fill((0.75 * band).astype(np.float32))
    return [
        Region((band > 0.5) & here, place, ("smooth",), side, "", f"pleural {kind}" if kind == "thickening" else kind)
    ]
