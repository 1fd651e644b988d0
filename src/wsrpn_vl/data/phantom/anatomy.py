"""A patient's projected anatomy: parameters (:mod:`thorax`) -> tissue thickness maps (:class:`Scene`)."""

from __future__ import annotations

import math

import numpy as np

from wsrpn_vl.data.phantom.acquisition import PA, Technique
from wsrpn_vl.data.phantom.raster import Grid, bezier, chord, ellipse, polyline, ramp, smooth_noise, tubes
from wsrpn_vl.data.phantom.scene import Scene
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax

HEART_DEPTH = 3.5  # cm in front of the mid-coronal plane
_UNIT_WIDTH = 12.1  # cm, width of the heart drawn at scale 1


def build_scene(thorax: Thorax, size: int, technique: Technique, rng: np.random.Generator) -> Scene:
    """Draw a chest without findings (bar those that ``thorax`` itself carries). ``size``: pixels per side."""
    grid = Grid(size, thorax.fov, thorax.shift)
    body = _body(grid, thorax)
    cage = _cage(grid, thorax)
    heart_chord, heart = _heart(grid, thorax, technique)
    open_side = _above_diaphragm(grid, thorax)
    centre = _mediastinum(grid, thorax)
    area = cage * open_side * (1 - centre)
    lung = np.maximum(area - heart_chord, 0.0)
    lung_area = (area > 1.5) & (lung > 1.0)
    body = np.maximum(body, np.where(cage > 0, cage + np.float32(3.0), np.float32(0)))
    soft = np.maximum(body - lung, 0.0)
    scene = Scene(
        grid=grid,
        thorax=thorax,
        technique=technique,
        soft=soft,
        lung=lung,
        vessels=_vessels(grid, thorax, rng),
        bone=grid.zeros(),
        metal=grid.zeros(),
        heart=heart,
        lung_area=lung_area,
    )
    _texture(scene, rng)
    _airways(scene)
    _gastric(scene)
    _skeleton(scene)
    return scene


def cardiothoracic_ratio(thorax: Thorax) -> float:
    """Widest heart over widest inner rib cage on an erect PA film, measured on the outlines, free of pixels."""
    angle = np.linspace(0, 2 * math.pi, 181)
    seen: list[np.ndarray] = []
    for cx, cy, a, b, turn in _heart_outline(thorax, PA):
        x = cx + a * np.cos(angle) * math.cos(turn) - b * np.sin(angle) * math.sin(turn)
        y = cy + a * np.cos(angle) * math.sin(turn) + b * np.sin(angle) * math.cos(turn)
        seen.append(x[y < _heart_floor(thorax, x)])
    across = np.concatenate(seen)
    return float((across.max() - across.min()) / (2 * thorax.half_width))


def _body(grid: Grid, t: Thorax) -> np.ndarray:
    """Front-to-back thickness of the whole patient."""
    x, y = np.abs(grid.x), grid.y
    fat = max(0.0, t.bmi - 21) / 10
    trunk = t.half_width + 2.4 + 1.4 * fat
    axilla = t.apex + (9.0 if t.arms_down else 6.5)
    width = trunk + 0.04 * (y - t.apex) * fat + 9.0 * ramp(axilla - y, 5.0)
    depth = t.depth + 2.4 + 1.1 * fat
    section = np.maximum(1.0 - (x / width) ** 6, 0.0)
    trunk_map = 2 * depth * np.sqrt(section)
    shoulder = t.apex - 2.2 + 0.30 * np.maximum(x - 5.5, 0) + 0.012 * np.maximum(x - 14, 0) ** 2
    shade = np.clip((y - shoulder) / 5.0, 0.0, 1.0) ** 0.33
    neck = 14.5 * np.sqrt(np.maximum(1 - (x / (6.3 + fat)) ** 4, 0)) * ramp(t.apex + 2 - y, 6.0)
    shade = shade * (1 - 0.15 * ramp(t.apex + 4 - y, 6.0))
    out = np.maximum(trunk_map * shade, neck)
    if t.arms_down:
        gap = trunk + 0.7
        arm = 9.0 * np.sqrt(np.maximum(1 - ((x - gap - 4.3) / 4.3) ** 2, 0)) * ramp(y - t.apex - 4, 4.0)
        out = np.maximum(out, arm)
    if t.breast > 0:
        low = t.apex + 0.86 * t.height
        for s in (-1.0, 1.0):
            out = out + chord(ellipse(grid, s * 0.6 * t.half_width, low, 6.6, 6.2), t.breast) * 0.8
    return out


def _cage(grid: Grid, t: Thorax) -> np.ndarray:
    """Front-to-back inside of the rib cage: elliptic sections, closed at the apices."""
    x, y = np.abs(grid.x), grid.y
    width = t.cage(y)
    v = np.clip((y - t.apex) / (0.55 * t.height), 0, 1)
    depth = t.depth * (0.5 + 0.5 * v * (2 - v))
    out = 2 * depth * np.sqrt(np.maximum(1 - (x / width) ** 2.2, 0))
    narrow = min(4.4, 0.33 * t.half_width)
    top = t.apex + 0.42 * np.maximum(narrow - x, 0) ** 2
    return out * np.sqrt(np.clip((y - top) / 2.2, 0.0, 1.0))


def _above_diaphragm(grid: Grid, t: Thorax) -> np.ndarray:
    """1 in the lungs, falling to a faint posterior recess below the domes."""
    out = grid.zeros()
    for side in SIDES:
        depth = grid.y - t.floor(grid.x, side)
        open_here = ramp(-depth, 0.45) + 0.10 * (depth > 0) * np.clip(1 - depth / 4.0, 0, 1)
        out += np.minimum(open_here, 1.0) * (grid.x * SIGN[side] > 0)
    return out


def _mediastinum(grid: Grid, t: Thorax) -> np.ndarray:
    """Share of the cage's depth taken by the mediastinum."""
    out = grid.zeros()
    for side in SIDES:
        inside = t.medial(grid.y, side) - np.abs(grid.x)
        out += ramp(inside, 0.7) * (0.72 + 0.25 * ramp(inside - 1.0, 2.0)) * (grid.x * SIGN[side] > 0)
    return out


def heart_centre(t: Thorax, technique: Technique) -> tuple[float, float, float]:
    """(x, y, scale) of the heart as projected."""
    scale = t.ctr * 2 * t.half_width / (_UNIT_WIDTH * PA.magnify(HEART_DEPTH)) * technique.magnify(HEART_DEPTH)
    y = t.apex + t.height + t.left_drop - 0.5 * sum(t.dome_raise) - 3.3 * scale**0.6
    return HEART_DEPTH * math.sin(t.rotation), y, scale


def _heart_outline(t: Thorax, technique: Technique) -> tuple[tuple[float, float, float, float, float], ...]:
    """(cx, cy, a, b, angle) of left ventricle, right atrium and outflow tract as projected, cm and radians."""
    cx, cy, s = heart_centre(t, technique)
    tall = 1.06 * s**0.7  # hearts widen more than they heighten
    turn = t.heart_turn
    reach = math.hypot(5.4 * math.cos(turn), 4.5 * math.sin(turn))
    shift = 7.62 - reach  # keeps the width whatever the axis
    return (
        (cx + s * shift, cy + 0.4 * tall, 5.4 * s, 4.5 * tall, turn),
        (cx - 1.55 * s, cy - 0.2 * tall, 2.93 * s, 4.7 * tall, 0.0),
        (cx + 1.1 * s, cy - 3.4 * tall, 3.3 * s, 4.6 * tall, 0.1),
    )


def _heart_floor(t: Thorax, x: np.ndarray) -> np.ndarray:
    """y down to which the heart's border can be told from the liver: a little below the domes."""
    return np.where(x > 0, t.floor(x, "left"), t.floor(x, "right")) + 1.2


def _heart(grid: Grid, t: Thorax, technique: Technique) -> tuple[np.ndarray, np.ndarray]:
    """Path length through the heart and its silhouette above the diaphragm."""
    parts = _heart_outline(t, technique)
    inside = np.maximum.reduce([ellipse(grid, *part) for part in parts])
    depth = 2 * 5.2 * heart_centre(t, technique)[2]
    return depth * np.maximum(inside, 0) ** 0.5, (inside > 0) & (grid.y < _heart_floor(t, grid.x))


def _vessels(grid: Grid, t: Thorax, rng: np.random.Generator) -> np.ndarray:
    """Bronchovascular tree: three orders of tapering branches from each hilum."""
    starts, ends, r0, r1 = [], [], [], []
    for side in SIDES:
        s = SIGN[side]
        root = np.array([s * (2.6 if side == "right" else 3.0), t.hilum - (0.6 if side == "left" else 0.0)])
        n = 15
        angle = np.linspace(-1.35, 1.45, n) + rng.normal(0, 0.1, n)
        reach = np.where(angle > 0.3, 0.9, 0.75) * (t.half_width - 2.5) * rng.uniform(0.75, 1.05, n)
        where = np.repeat(root[None], n, 0) + rng.normal(0, 0.35, (n, 2))
        radius = rng.uniform(0.26, 0.46, n)
        for _ in range(3):
            steps = 6
            bend = rng.normal(0, 0.12, (len(angle), steps)).cumsum(1)
            heading = angle[:, None] + bend
            stride = (reach / steps)[:, None, None] * np.stack([s * np.cos(heading), np.sin(heading)], -1)
            path = np.concatenate([where[:, None], where[:, None] + stride.cumsum(1)], 1)
            taper = radius[:, None] * np.linspace(1, 0.3, steps + 1)
            starts.append(path[:, :-1].reshape(-1, 2))
            ends.append(path[:, 1:].reshape(-1, 2))
            r0.append(taper[:, :-1].ravel())
            r1.append(taper[:, 1:].ravel())
            pick = rng.integers(1, steps - 1, (2, len(angle)))
            rows = np.arange(len(angle))
            where = np.concatenate([path[rows, k] for k in pick])
            radius = 0.75 * np.concatenate([taper[rows, k] for k in pick])
            angle = np.concatenate([heading[rows, k] + g for k, g in zip(pick, (0.6, -0.6), strict=True)])
            reach = np.tile(reach * 0.55, 2)
    tree = tubes(grid, np.concatenate(starts), np.concatenate(ends), np.concatenate(r0), np.concatenate(r1))
    for side in SIDES:  # the pulmonary arteries themselves
        x, y = SIGN[side] * 3.0, t.hilum - (0.8 if side == "left" else 0.0)
        tree = np.maximum(tree, chord(ellipse(grid, x, y, 1.5, 2.3, -0.35 * SIGN[side]), 0.6))
    return tree * 2.5


def _texture(scene: Scene, rng: np.random.Generator) -> None:
    """Uneven ventilation and fine interstitium."""
    coarse = smooth_noise(scene.grid, rng, 4.0)
    fine = smooth_noise(scene.grid, rng, 0.8)
    scene.fill(np.clip(0.03 + 0.012 * coarse + 0.014 * fine, 0.0, 0.12))
    scene.soft *= 1 + 0.006 * smooth_noise(scene.grid, rng, 5.0)


def _airways(scene: Scene) -> None:
    """Trachea and main bronchi as air."""
    t, grid = scene.thorax, scene.grid
    x = 0.25 + 1.0 * math.sin(t.rotation)
    trachea = np.array([[0.0, 0.0], [x, t.apex + 3], [x, t.carina]])
    air = polyline(grid, trachea, 1.0)
    for s in (-1.0, 1.0):
        air = np.maximum(
            air, polyline(grid, np.array([[x, t.carina], [s * 3.2, t.carina + 2.4]]), np.array([0.7, 0.5]))
        )
    scene.soft -= np.minimum(1.15 * air, scene.soft)


def _gastric(scene: Scene) -> None:
    t, grid = scene.thorax, scene.grid
    if t.gastric <= 0:
        return
    x, y = 0.50 * t.half_width, t.dome("left") + 2.2
    bubble = ellipse(grid, x, y, 2.7 * t.gastric, 1.5 * t.gastric, -0.15)
    level = ramp(y + 0.7 * t.gastric - grid.y, 0.3)
    scene.soft -= np.minimum(chord(bubble, 1.7 * t.gastric) * level, scene.soft)


def _skeleton(scene: Scene) -> None:
    t, grid = scene.thorax, scene.grid
    bone = _spine(grid, t)
    thinning = 1.0 - 0.25 * max(0.0, (t.age - 55) / 40)
    for front in (False, True):
        layer = grid.zeros()
        for side in SIDES:
            for number in range(1, 8 if front else 11):
                course = t.rib(side, number, front, scene.technique.magnify)
                name = "anterior rib" if front else "posterior rib"
                layer = np.maximum(layer, _bone(scene, course, 0.62 if front else 0.56, name, side, number))
        bone += layer * (0.55 if front else 0.75)
    for side in SIDES:
        bone += _bone(scene, t.clavicle(side), 0.62, "clavicle", side, 0) * 1.1
        bone += _scapula(grid, t, side)
    scene.bone += bone * (0.62 * thinning)


def _bone(scene: Scene, course: np.ndarray, radius: float, name: str, side: str, number: int) -> np.ndarray:
    """One long bone: cortical shell around a spongy core, broken where the thorax says so."""
    grid = scene.grid
    pieces = [course]
    knots: list[np.ndarray] = []
    for b in scene.thorax.breaks:
        if (b.bone, b.side, b.number) == (name, side, number):
            cut = int(np.clip(round(b.at * (len(course) - 1)), 2, len(course) - 3))
            along = course[cut + 1] - course[cut - 1]
            along = along / math.hypot(*along)
            across = np.array([-along[1], along[0]])
            far = course[cut:] + across * b.step * np.exp(-np.arange(len(course) - cut) / 5.0)[:, None]
            gap = 0.0 if b.healing else 0.22
            far[0] += along * gap
            near = course[: cut + 1].copy()
            near[-1] -= along * gap
            pieces = [near, far]
            x, y = course[cut] + across * b.step / 2
            scene.breaks.append(((name, side, number), (float(x), float(y))))
            if b.healing:
                knots.append(np.array([x, y]))
    length = polyline(grid, pieces[0], radius)
    for piece in pieces[1:]:
        length = np.maximum(length, polyline(grid, piece, radius))
    for knot in knots:
        length = np.maximum(length, chord(ellipse(grid, float(knot[0]), float(knot[1]), 1.0, 0.95), 1.0))
    core = 2 * np.sqrt(np.maximum((length / 2) ** 2 - (1 - 0.68**2) * radius**2, 0))
    shell = length - 0.72 * core
    if name == "anterior rib":  # calcium fades towards the cartilage
        end = course[-1]
        far = np.hypot(grid.x - float(end[0]), grid.y - float(end[1]))
        shell = shell * np.clip(far / 2.5, 0.15, 1.0)
    return shell


def _spine(grid: Grid, t: Thorax) -> np.ndarray:
    """Vertebral bodies with end plates, pedicles and spinous processes."""
    y = grid.y
    lean = t.scoliosis * np.sin((y - t.apex) / (t.height + 8) * math.pi)
    x = grid.x - lean
    period = 2.05 + 0.035 * (y - t.apex)
    phase = np.cumsum(1.0 / period, axis=0) * grid.pixel
    beat = np.abs((phase % 1.0) - 0.5)  # 0 mid-body .. 0.5 at the disc
    half = 1.45 + 0.02 * (y - t.apex) + 0.12 * np.cos(beat * 2 * math.pi + math.pi)
    body = ramp(half - np.abs(x), 0.55)
    plates = np.where(beat > 0.40, np.float32(0.45), np.float32(1.0)) + 0.35 * np.exp(-(((beat - 0.36) / 0.04) ** 2))
    pedicle = np.exp(-(((np.abs(x) - 0.95) / 0.32) ** 2) - ((beat - 0.12) / 0.13) ** 2)
    spinous = np.exp(-((x / 0.28) ** 2) - ((beat - 0.30) / 0.13) ** 2)
    return body * plates * 0.58 + 0.4 * pedicle + 0.5 * spinous


def _scapula(grid: Grid, t: Thorax, side: str) -> np.ndarray:
    """Blade, spine, and the head of the humerus."""
    s = SIGN[side]
    out = (t.half_width + 2.0) if not t.arms_down else (t.half_width + 0.3)
    top = t.apex + 1.2
    corner = np.array([s * (out + 1.8), top + 1.6])
    tip = np.array([s * (out - 0.8), top + 10.5])
    inner = np.array([s * (out - 3.6), top + 1.2])
    edge = np.concatenate(
        [
            bezier(np.array([inner, inner + np.array([s * 0.2, 5.0]), tip])),
            bezier(np.array([tip, (tip + corner) / 2, corner])),
        ]
    )
    rim = polyline(grid, edge, 0.32) * 0.8
    blade = chord(ellipse(grid, float((inner + tip + corner)[0] / 3), top + 4.0, 2.2, 4.6, s * 0.12), 0.18)
    ridge = polyline(grid, np.array([inner, [s * (out + 3.2), top - 1.4]]), 0.42) * 0.6
    head = chord(ellipse(grid, s * (out + 4.2), top + 0.8, 2.3, 2.4), 1.2)
    end = np.array([s * (out + (5.6 if t.arms_down else 9.0)), top + (14.0 if t.arms_down else 6.0)])
    shaft = polyline(grid, np.array([[s * (out + 4.6), top + 1.5], end]), 1.15)
    core = 2 * np.sqrt(np.maximum((shaft / 2) ** 2 - 0.55 * 1.15**2, 0))
    return np.maximum.reduce([rim, blade, ridge, head, shaft - 0.7 * core])
