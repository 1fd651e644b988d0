"""Pneumothorax: the lung drawn away from the wall towards its hilum, air without markings around it.

The drawn-away lung is the lung's own solid, sheared and shrunk; its border against the air is the visceral line.
In an upright patient the air rises to the apex; lying, it gathers in front and at the base (the deep sulcus,
Gordon, Radiology 1980); under tension it pushes the diaphragm down and the mediastinum over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wsrpn_vl.data.phantom.anatomy import lung_solid
from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.raster import ramp, resample
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import Solid, half_space, moved
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax

_PLEURA = 0.06  # cm: visceral pleura with the lung's outermost layer


@dataclass(frozen=True)
class _Plan:
    """gap: cm between lung and wall where it is widest; spread: 0 at the apex alone .. 1 down to the base."""

    side: str
    size: str
    gap: float
    spread: float
    tension: bool
    other: float


def _plan(rng: np.random.Generator) -> _Plan:
    side = pick(rng, SIDES, (0.575, 0.425))
    size = pick(rng, ("small", "moderate", "large"), (0.56, 0.33, 0.11))
    low, high = {"small": (0.6, 1.9), "moderate": (2.1, 4.2), "large": (4.5, 7.5)}[size]
    tension = size == "large" and bool(rng.random() < 0.35)
    return _Plan(side, size, float(rng.uniform(low, high)), float(rng.random()), tension, float(rng.random()))


def push_down(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """A deep sulcus when lying, a low dome and a mediastinum pushed over under tension."""
    plan = _plan(rng)
    drop = 1.2 if plan.tension else 0.5 if thorax.supine else 0.0
    right, left = thorax.dome_raise
    down = (right - drop * (plan.side == "right"), left - drop * (plan.side == "left"))
    pull = thorax.pull - SIGN[plan.side] * (1.6 if plan.tension else 0.0)
    return replace(thorax, dome_raise=down, pull=pull)


def pneumothorax(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Air in one pleural space."""
    plan = _plan(rng)
    t, side = scene.thorax, plan.side
    basal = t.supine and plan.size != "large" and plan.other < 0.7
    drawn = (_basal if basal else _collapsed if plan.size == "large" else _apical)(t, plan)
    before, lung = scene.lung_of(side), drawn.within(scene, side)
    gap = np.maximum(before - lung, 0)
    _move_vessels(scene, drawn, side)
    _let_in_air(scene, gap, before, lung)
    scene.pleural_air[side] = gap
    dense = np.float32(min(0.5, 0.2 * (1 / float(np.linalg.det(drawn.matrix)) - 1)))  # the same tissue in less room
    squeezed = np.minimum(lung * dense * (gap > 0), scene.lung)
    scene.soft += squeezed
    scene.lung -= squeezed
    _visceral_line(scene, drawn, side, lung)
    told = gap / np.maximum(before, np.float32(0.05))
    mask = _where_told(told, _here(scene, side, basal) & (gap > 0.25), 0.33 if basal else 0.75)
    apical = plan.size == "small" or (plan.size == "moderate" and plan.spread < 0.5)
    place = "basilar" if basal else "apical" if apical else "apicolateral"
    words = (plan.size, *(("with deep sulcus sign",) if basal else ()), *(("under tension",) if plan.tension else ()))
    severity = {"small": "mild", "moderate": "moderate", "large": "severe"}[plan.size]
    return [Region(mask, f"{side} {place} pleural space", words, side, severity, "pneumothorax")]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A lung moved by ``matrix`` about a fixed point where ``moves`` holds, at rest in ``rests``."""

    solid: Solid
    matrix: np.ndarray
    about: np.ndarray
    moves: Solid | None = None
    rests: Solid | None = None

    def within(self, scene: Scene, side: str) -> np.ndarray:
        """(h, w) cm of the chest the lung still fills."""
        lung = moved(self.solid, self.matrix, self.about)
        if self.moves is None or self.rests is None:
            return scene.within(lung, side)
        return scene.within(lung & self.moves, side) + scene.within(self.rests, side)


def _apical(t: Thorax, plan: _Plan) -> _Drawn:
    """The top falls inwards and down, what is below the end of the gap stays."""
    s, tall = SIGN[plan.side], t.dome(plan.side) - t.apex
    reach = tall * (0.23 + 0.66 * plan.spread**1.1) + 0.8 * plan.gap  # how far down the gap goes
    about = np.array([s * 0.3 * t.half_width, t.apex + reach, 0.0])
    matrix = np.array([[1, s * plan.gap * 0.9 / reach, 0], [0, 1 - 0.6 * plan.gap / reach, 0], [0, 0, 1]])
    above, below = half_space((0, 1, 0), about[1]), half_space((0, -1, 0), -about[1])
    return _Drawn(lung_solid(t, plan.side), matrix, about, above, below)


def _basal(t: Thorax, plan: _Plan) -> _Drawn:
    """The base sinks back, in and up off the diaphragm; what is above stays."""
    s, tall = SIGN[plan.side], t.dome(plan.side) + 4.0 - t.apex
    reach = tall * (0.30 + 0.25 * plan.spread) + 0.8 * plan.gap
    about = np.array([s * 0.2 * t.half_width, t.apex + tall - reach, -t.depth])
    rate = (plan.gap + 0.8) / reach
    matrix = np.array([[1, -s * 0.7 * rate, 0], [0, 1 - 0.7 * rate, 0], [0, -0.9 * rate, 1]])
    above, below = half_space((0, 1, 0), about[1]), half_space((0, -1, 0), -about[1])
    return _Drawn(lung_solid(t, plan.side), matrix, about, below, above)


def _collapsed(t: Thorax, plan: _Plan) -> _Drawn:
    """The whole lung shrinks towards its hilum."""
    about = np.array([SIGN[plan.side] * 2.6 + t.pull, t.hilum + 2.0, -0.5])
    left = 1 - plan.gap / (0.75 * t.half_width)
    return _Drawn(lung_solid(t, plan.side), np.diag([left, 0.35 + 0.65 * left, 0.3 + 0.7 * left]), about)


def _here(scene: Scene, side: str, basal: bool) -> np.ndarray:
    """The lung's area, for a basal gap its outer half: the inner one lies over the dome."""
    area = scene.side(side)
    return area & (SIGN[side] * scene.grid.x > 0.42 * scene.thorax.half_width) if basal else area


def _where_told(told: np.ndarray, here: np.ndarray, least: float) -> np.ndarray:
    """Where a reader would point: nearly all of the ray in air, and rows in which the gap is not a mere sliver."""
    mask = (told > least) & here
    if not mask.any():
        mask = (told > 0.8 * float(np.where(here, told, 0).max())) & here
    wide = mask.sum(1)
    return mask & (wide >= 0.28 * wide.max())[:, None]


def _let_in_air(scene: Scene, gap: np.ndarray, before: np.ndarray, lung: np.ndarray) -> None:
    """Replace the lung in the gap, what has filled it and its vessels by air."""
    share = np.minimum(gap / np.maximum(before, np.float32(0.05)), 1)
    held = np.maximum(before - scene.lung, 0) * share  # interstitium counted as soft tissue
    scene.soft -= np.minimum(held, scene.soft)
    scene.lung *= 1 - share
    scene.vessels *= np.where(share > 0.02, np.clip(0.6 * lung - 0.3, 0, 1), np.float32(1))  # none in a mere sliver


def _move_vessels(scene: Scene, drawn: _Drawn, side: str) -> None:
    """The vessels go with their lung; squeezed together they lie closer and over each other."""
    grid, about = scene.grid, drawn.about
    back = np.linalg.inv(drawn.matrix[:2, :2])
    x, y = grid.x - np.float32(about[0]), grid.y - np.float32(about[1])
    cols = (about[0] + back[0, 0] * x + back[0, 1] * y - grid.shift + grid.fov / 2) / grid.pixel - 0.5
    rows = (about[1] + back[1, 0] * x + back[1, 1] * y) / grid.pixel - 0.5
    own = scene.lung_of(side) > scene.lung_of(SIDES[1 - SIDES.index(side)])
    if drawn.moves is not None:
        own = own & (scene.beam.within(drawn.moves, scene.spans) > 0)
    crowded = np.float32(np.linalg.det(back) ** 0.5)
    scene.vessels = np.where(own, crowded * resample(scene.vessels, rows, cols), scene.vessels)


def _visceral_line(scene: Scene, drawn: _Drawn, side: str, lung: np.ndarray) -> None:
    """The pleura seen edge-on: a thin shell, drawn at least a pixel wide and as much thinner in tissue.

    Only where air lies beside it and away from the mediastinum, which has no border of its own against the lung.
    """
    t = scene.thorax
    wide = max(_PLEURA, 0.8 * scene.grid.pixel)
    thin = np.diag([1 - wide / (0.5 * t.half_width), 1 - wide / (0.5 * t.height), 1.0])
    middle = np.array([SIGN[side] * 0.45 * t.half_width, t.widest, 0.0])
    inner = replace(drawn, solid=moved(drawn.solid, thin, middle))
    shell = np.maximum(lung - inner.within(scene, side), 0)
    shell *= np.clip(5 * (scene.lung_of(side) - lung), 0, 1)
    inwards = SIGN[side] * (scene.grid.x - t.pull) - t.medial(scene.grid.y, side)
    shell *= ramp(inwards - 1.0, 1.0)
    scene.soft += shell * np.float32(0.9 * _PLEURA / wide)
