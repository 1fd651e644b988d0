"""The bones: ribs, clavicles, scapulae, humeral heads and spine as cortical shells around spongy cores.

Courses and calibres after Gray's Anatomy. The shares of mineral (shell, core, ageing, one bone against another) are
chosen by eye against radiographs, not measured.
"""

from __future__ import annotations

import math

import numpy as np

from wsrpn_vl.data.phantom.raster import bezier, ramp
from wsrpn_vl.data.phantom.rays import Beam
from wsrpn_vl.data.phantom.scene import Scene
from wsrpn_vl.data.phantom.solids import ellipsoid, turn
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax

_FADES = {"anterior rib": 2.5, "lowest rib": 9.0}  # cm from its end over which calcium gives way to cartilage
_MINERAL = 0.62  # share of cortical bone's attenuation in a shell with its marrow


def draw_skeleton(scene: Scene) -> None:
    """Add all bones to ``scene.bone`` (cm of cortical bone) and record where broken ones are seen broken."""
    t = scene.thorax
    bone = _spine(scene.beam, t)
    thinning = 1.0 - 0.25 * max(0.0, (t.age - 55) / 40)
    for front in (False, True):
        name, radius = ("anterior rib", 0.62) if front else ("posterior rib", 0.56)
        courses = [(name, side, n, t.rib(side, n, front)) for side in SIDES for n in range(1, 8 if front else 10)]
        if not front:
            courses += [("lowest rib", side, n, t.rib(side, n, front)) for side in SIDES for n in (10, 11)]
        bone += _bones(scene, courses, radius) * (0.50 if front else 0.72)
    bone += _bones(scene, [("clavicle", side, 0, t.clavicle(side)) for side in SIDES], 0.60) * 1.05
    for side in SIDES:
        bone += _scapula(scene.beam, t, side)
    scene.bone += bone * (_MINERAL * thinning)


def _bones(scene: Scene, courses: list[tuple[str, str, int, np.ndarray]], radius: float) -> np.ndarray:
    """Long bones (name, side, number, (n, 3) points) of one calibre, broken where the thorax says so."""
    beam = scene.beam
    starts, ends, weights, knots = [], [], [], []
    for name, side, number, course in courses:
        for piece in _pieces(scene, name, side, number, course, knots):
            starts.append(piece[:-1])
            ends.append(piece[1:])
            far = np.linalg.norm(piece[:-1] - course[-1], axis=1)
            weights.append(np.clip(far / _FADES[name], 0.15, 1.0) if name in _FADES else np.ones(len(far)))
    length = beam.tubes(np.concatenate(starts), np.concatenate(ends), radius, radius, np.concatenate(weights))
    core = 2 * np.sqrt(np.maximum((length / 2) ** 2 - (1 - 0.68**2) * radius**2, 0))
    shell = length - 0.72 * core
    for knot in knots:  # callus: solid woven bone around the break
        shell = np.maximum(shell, 0.6 * beam.through(ellipsoid(knot, (1.0, 0.95, 0.9))))
    return shell


def _pieces(
    scene: Scene, name: str, side: str, number: int, course: np.ndarray, knots: list[np.ndarray]
) -> list[np.ndarray]:
    """The bone in one piece, or in two that are set off against each other; a callus is added to ``knots``."""
    for b in scene.thorax.breaks:
        if (b.bone, b.side, b.number) == (name, side, number):
            cut = int(np.clip(round(b.at * (len(course) - 1)), 2, len(course) - 3))
            along = course[cut + 1] - course[cut - 1]
            along = along / np.linalg.norm(along)
            across = np.cross(along, [0.0, 0.0, 1.0])
            across = across / max(float(np.linalg.norm(across)), 1e-6)
            far = course[cut:] + across * b.step * np.exp(-np.arange(len(course) - cut) / 5.0)[:, None]
            gap = 0.0 if b.healing else 0.6  # the ends are round: little more than their radius
            far[0] += along * gap
            near = course[: cut + 1].copy()
            near[-1] -= along * gap
            middle = course[cut] + across * b.step / 2
            xy, _ = scene.beam.project(middle)
            scene.breaks.append(((name, side, number), (float(xy[0, 0]), float(xy[0, 1]))))
            if b.healing:
                knots.append(middle)
            return [near, far]
    return [course]


def _spine(beam: Beam, t: Thorax) -> np.ndarray:
    """Vertebral bodies with end plates, pedicles and spinous processes, as they lie behind the lungs."""
    x, y = beam.plane(-t.depth + 0.6)
    lean = t.scoliosis * np.sin((y - t.apex) / (t.height + 8) * math.pi)
    x = x - lean
    period = 2.05 + 0.035 * (y - t.apex)
    phase = np.cumsum(np.diff(y, axis=0, prepend=y[:1] * 0) / period, axis=0)
    beat = np.abs((phase % 1.0) - 0.5)  # 0 mid-body .. 0.5 at the disc
    half = 1.35 + 0.02 * (y - t.apex) + 0.12 * np.cos(beat * 2 * math.pi + math.pi)
    body = ramp(half - np.abs(x), 0.55)
    plates = np.where(beat > 0.40, np.float32(0.45), np.float32(1.0)) + 0.35 * np.exp(-(((beat - 0.36) / 0.04) ** 2))
    pedicle = np.exp(-(((np.abs(x) - 0.95) / 0.32) ** 2) - ((beat - 0.12) / 0.13) ** 2)
    spinous = np.exp(-((x / 0.28) ** 2) - ((beat - 0.30) / 0.13) ** 2)
    return (body * plates * 0.48 + 0.36 * pedicle + 0.45 * spinous).astype(np.float32)


def _scapula(beam: Beam, t: Thorax, side: str) -> np.ndarray:
    """Blade and spine behind the ribs, and the head of the humerus."""
    s, z = SIGN[side], -t.depth - 1.0
    out = (t.half_width + 2.0) if not t.arms_down else (t.half_width + 0.3)
    top = t.apex + 1.2
    corner = np.array([s * (out + 1.8), top + 1.6, z + 3.0])
    tip = np.array([s * (out - 0.8), top + 10.5, z])
    inner = np.array([s * (out - 3.6), top + 1.2, z])
    edge = np.concatenate(
        [
            bezier(np.array([inner, inner + np.array([s * 0.2, 5.0, -0.5]), tip])),
            bezier(np.array([tip, (tip + corner) / 2, corner])),
        ]
    )
    rim = beam.polyline(edge, 0.32) * 0.8
    middle = (inner + tip + corner) / 3
    blade = beam.through(ellipsoid(middle, (2.2, 4.6, 0.18), turn(roll=s * 0.12, yaw=s * 0.3)))
    ridge = beam.polyline(np.array([inner, [s * (out + 3.2), top - 1.4, z + 1.5]]), 0.42) * 0.6
    head = beam.through(ellipsoid((s * (out + 4.2), top + 0.8, -1.0), (2.3, 2.4, 1.2)))
    end = np.array([s * (out + (5.6 if t.arms_down else 9.0)), top + (14.0 if t.arms_down else 6.0), 0.0])
    shaft = beam.polyline(np.array([[s * (out + 4.6), top + 1.5, -1.0], end]), 1.15)
    core = 2 * np.sqrt(np.maximum((shaft / 2) ** 2 - 0.55 * 1.15**2, 0))
    return np.maximum.reduce([rim, blade, ridge, head, shaft - 0.7 * core])
