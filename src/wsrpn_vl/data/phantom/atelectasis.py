"""Atelectasis: lung without air and its loss of volume, as plates, patches at the base, or a collapsed lobe.

Signs of lobar collapse after Woodring & Reed, J Thorac Imaging 1996.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wsrpn_vl.data.phantom.anatomy import lobe
from wsrpn_vl.data.phantom.opacities import cloud, fill, pick, seen, sides_of, zone_name
from wsrpn_vl.data.phantom.raster import smooth_noise
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import Solid, ellipsoid, turn
from wsrpn_vl.data.phantom.thorax import SIGN, Thorax


@dataclass(frozen=True)
class _Plan:
    """What both the anatomy and the drawing must know: kind is plate, patch or a lobe."""

    sides: tuple[str, ...]
    kind: str
    lift: float


def _plan(rng: np.random.Generator) -> _Plan:
    sides = sides_of(rng, 0.5, 0.12)
    kind = pick(rng, ("plate", "patch", "lobe"), (0.42, 0.38, 0.20))
    if len(sides) == 2:
        kind = "plate" if kind == "lobe" else kind
    elif kind == "lobe":
        lobes = {"right": ("right upper lobe", "right middle lobe", "right lower lobe")}
        kind = pick(rng, lobes.get(sides[0], ("left upper lobe", "left lower lobe")))
    lift = float(rng.uniform(1.2, 2.4) if kind.endswith("lobe") else rng.uniform(0.2, 1.0))
    return _Plan(sides, kind, lift)


def lose_volume(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """The diaphragm rises on that side, much when lobar, little when plate-like; a collapsed lobe draws the heart."""
    plan = _plan(rng)
    right, left = thorax.dome_raise
    up = (right + plan.lift * ("right" in plan.sides), left + plan.lift * ("left" in plan.sides))
    pull = SIGN[plan.sides[0]] * 0.5 * plan.lift if plan.kind.endswith("lobe") else 0.0
    return replace(thorax, dome_raise=up, pull=thorax.pull + pull)


def atelectasis(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Plates, patches or a collapsed lobe; both bases are told as one change."""
    plan = _plan(rng)
    if plan.kind.endswith("lobe"):
        side = plan.sides[0]
        mask = _collapse(scene, rng, side, plan.kind)
        return [Region(mask, plan.kind, ("lobar", "with volume loss"), side, "", "lobar collapse")]
    style = pick(rng, ("linear", "plate-like", "discoid")) if plan.kind == "plate" else pick(rng, _PATCHES)
    masks, down = [], float(np.clip(rng.normal(0.80, 0.13), 0.30, 0.97))
    if len(plan.sides) == 2:
        down = max(down, 0.78)
    for side in plan.sides:
        draw = _plates if plan.kind == "plate" else _patch
        masks.append(draw(scene, rng, side, float(np.clip(down + rng.normal(0, 0.02), 0.1, 0.97))))
    if len(plan.sides) == 2:
        return [Region(np.logical_or.reduce(masks), "bilateral bases", (style,), "bilateral", "", "atelectasis")]
    side = plan.sides[0]
    place = f"{side} base" if down > 0.72 else f"{side} {zone_name(down)} lung zone"
    return [Region(masks[0], place, (style,), side, "", "atelectasis")]


_PATCHES = ("subsegmental", "patchy", "streaky")


def _plates(scene: Scene, rng: np.random.Generator, side: str, down: float) -> np.ndarray:
    """One to three thin discs of airless lung, near edge-on to the beam."""
    t, s = scene.thorax, SIGN[side]
    water = scene.grid.zeros()
    slant = float(rng.normal(0.08, 0.36))
    across = float(rng.uniform(0.25, 0.72))
    for _ in range(pick(rng, (1, 2, 3), (0.5, 0.35, 0.15))):
        at = t.place(side, across, down, float(rng.uniform(0.3, 0.6)))
        reach = (float(rng.uniform(2.0, 4.2)), float(rng.uniform(0.16, 0.38)), float(rng.uniform(2.2, 3.6)))
        axes = turn(roll=s * (slant + float(rng.normal(0, 0.15))), pitch=float(rng.normal(0, 0.06)))
        down -= float(rng.uniform(0.05, 0.13))
        across = float(np.clip(across + rng.normal(0, 0.13), 0.15, 0.85))
        water = np.maximum(water, scene.within(ellipsoid(at, reach, axes), side))
    uneven = np.clip(1 + 0.3 * smooth_noise(scene.grid, rng, 1.5), 0.2, 1.3)
    return seen(scene, fill(scene, water * uneven * float(rng.uniform(0.55, 0.8))), side, 0.25)


def _patch(scene: Scene, rng: np.random.Generator, side: str, down: float) -> np.ndarray:
    """A small ill-defined area of poorly aired lung, often behind the heart, with a streak or two."""
    t, s = scene.thorax, SIGN[side]
    at = t.place(side, float(rng.uniform(0.1, 0.6)), down, float(rng.uniform(0.2, 0.5)))
    radii = (float(rng.uniform(2.4, 4.8)), float(rng.lognormal(1.15, 0.40)), 3.2)
    water = cloud(scene, rng, side, at, radii, lumps=4, mottle=0.3) * float(rng.uniform(0.40, 0.65))
    disc = ellipsoid(at, (radii[0], 0.25, 2.5), turn(roll=s * float(rng.normal(0.1, 0.3))))
    return seen(scene, fill(scene, np.maximum(water, 0.5 * scene.within(disc, side))), side, 0.22)


def _collapse(scene: Scene, rng: np.random.Generator, side: str, name: str) -> np.ndarray:
    """What is left of a lobe once its fissure has moved; the boundary is as sharp as the fissure."""
    water = scene.within(_shrunken(scene.thorax, rng, side, name), side) * float(rng.uniform(0.65, 0.9))
    return seen(scene, fill(scene, water, 0.93), side, 0.3)


def _shrunken(t: Thorax, rng: np.random.Generator, side: str, name: str) -> Solid:
    s, own, fold = SIGN[side], lobe(t, name), float(rng.uniform(0.0, 1.0))
    if name == "right upper lobe":  # the horizontal fissure swings up about the hilum
        rise = 0.35 + 0.6 * fold
        return own.cut((s * rise, 1, 0), t.hilum - 2.0 + rise * 3.5)
    if name == "left upper lobe":  # folds forwards: a veil over the upper and middle zones
        return own.cut((0, 0, -1), -(0.30 + 0.25 * fold) * t.depth).cut((0.25 * s, 1, 0), t.hilum + 2.0)
    if name == "right middle lobe":  # a thin triangle against the heart
        upper, lower = 0.35 + 0.3 * fold, 0.25 + 0.25 * fold  # slopes of its upper and lower border
        wedge = own.cut((upper * s, -1, 0), upper * 3.0 - t.hilum - 1.0)
        return wedge.cut((lower * s, 1, 0), t.dome(side) + lower * 3.0)
    slope = 0.30 + 0.35 * fold  # a lower lobe: the oblique fissure swings back and in behind the heart
    return own.cut((s, -slope, 0), 3.2 - slope * (t.hilum + 0.5))
