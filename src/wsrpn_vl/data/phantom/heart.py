"""Cardiomegaly and the enlarged cardiomediastinum: changes of the anatomy, and where they are seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.cardiac import cardiothoracic_ratio
from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import Thorax


def enlarge_heart(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """A cardiothoracic ratio well above 0.5; the apex points down (left ventricle) or lies high (right one)."""
    turn = thorax.heart_turn + pick(rng, (0.12, -0.14, 0.0), (0.45, 0.2, 0.35))
    return replace(thorax, ctr=float(0.53 + 0.16 * rng.beta(1.4, 2.2)), heart_turn=float(np.clip(turn, 0.3, 0.95)))


def cardiomegaly(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """The heart below the great vessels, graded by the cardiothoracic ratio."""
    ratio = cardiothoracic_ratio(scene.thorax)
    severity = "mild" if ratio < 0.56 else "moderate" if ratio < 0.62 else "severe"
    below = scene.grid.y > scene.thorax.hilum - 0.6  # the great vessels above are not part of the heart
    return [Region(scene.heart & below, "cardiac silhouette", (severity,), "", severity, "enlarged heart")]


def widen_mediastinum(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """Enlarged cardiomediastinum: broad upper mediastinum, prominent arch."""
    return replace(thorax, mediastinum=float(rng.uniform(3.9, 5.2)), knob=thorax.knob + float(rng.uniform(0.0, 0.6)))


def enlarged_cardiomediastinum(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """The upper mediastinum from apex to hilum, graded by its half-width."""
    t, grid = scene.thorax, scene.grid
    between = ~scene.lung_area & (np.abs(grid.x) < t.mediastinum + t.knob + 1.5)
    mask = between & (grid.y > t.apex + 1.5) & (grid.y < t.hilum)
    severity = "mild" if t.mediastinum < 4.5 else "moderate" if t.mediastinum < 5.0 else "severe"
    return [Region(mask, "upper mediastinum", (severity,), "", severity, "wide mediastinum")]
