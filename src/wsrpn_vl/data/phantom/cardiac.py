"""The heart as ellipsoids, and its size: scaled until its shadow gives the chest its cardiothoracic ratio.

The ratio is Danzer's (1919): widest heart over widest inner rib cage on an erect postero-anterior film.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from wsrpn_vl.data.phantom.acquisition import PA
from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.rays import Beam
from wsrpn_vl.data.phantom.solids import ellipsoid, surface, turn
from wsrpn_vl.data.phantom.thorax import Thorax


def heart_parts(t: Thorax, scale: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(centre, radii, axes) of ventricles, atria and outflow tract for a heart ``scale`` times the common one."""
    tall = 1.04 * scale**0.6  # hearts widen more than they heighten
    deep = scale**0.6
    y = t.apex + t.height + t.left_drop - 0.5 * sum(t.dome_raise) + 0.8 - 4.3 * tall
    axis = turn(roll=t.heart_turn)
    upright = np.eye(3)

    def part(x, dy, z, rx, ry, rz, axes=upright):
        centre = np.array([x * scale + t.pull, y + dy * tall, z])
        return centre, np.array([rx * scale, ry * tall, rz * deep]), axes

    return [
        part(2.7, 0.9, 2.2, 5.0, 3.7, 4.6, axis),  # left ventricle
        part(0.6, 1.2, 3.8 * deep**0.5, 4.4, 3.5, 3.3, turn(roll=0.25)),  # right ventricle
        part(-2.05, 0.0, 2.3, 2.35, 3.9, 3.9),  # right atrium
        part(0.7, -2.7, -0.8, 3.3, 2.9, 3.0),  # left atrium
        part(2.35, -3.1, 1.4, 1.7, 2.3, 1.5, turn(roll=-0.3)),  # left atrial appendage
        part(1.7, -4.6, 2.6, 1.7, 2.6, 1.7, turn(roll=0.2)),  # pulmonary trunk
    ]


def _heart_width(t: Thorax, scale: float) -> float:
    """Width of the heart's shadow above the diaphragm on an erect, unrotated PA film, cm in the mid-coronal plane."""
    beam = Beam(Grid(64, t.fov), PA.distance, PA.front_first)
    points = np.concatenate([surface(*p) for p in heart_parts(t, scale)])
    xy, _ = beam.project(points)
    seen = xy[xy[:, 1] < heart_floor(t, xy[:, 0])]
    return float(np.ptp(seen[:, 0]))


@lru_cache(maxsize=256)
def heart_scale(t: Thorax) -> float:
    """Size of the heart that gives the chest its cardiothoracic ratio."""
    wanted = 2 * t.half_width * t.ctr
    scale = 1.0
    for _ in range(5):
        scale *= wanted / _heart_width(t, scale)
    return scale


def cardiothoracic_ratio(thorax: Thorax) -> float:
    """Widest heart over widest inner rib cage on an erect PA film, measured on the solids, free of pixels."""
    return _heart_width(thorax, heart_scale(thorax)) / (2 * thorax.half_width)


def heart_floor(t: Thorax, x: np.ndarray) -> np.ndarray:
    """y down to which the heart's border can be told from the liver: a little below the domes."""
    return np.where(x > 0, t.floor(x, "left"), t.floor(x, "right")) + 1.2


def silhouette(beam: Beam, t: Thorax) -> np.ndarray:
    """(h, w) bool: the heart's shadow above the diaphragm."""
    seen = np.logical_or.reduce([beam.through(ellipsoid(*p)) > 0 for p in heart_parts(t, heart_scale(t))])
    return seen & (beam.grid.y < heart_floor(t, beam.grid.x))
