"""A patient's soft tissues in three dimensions: parameters (:mod:`thorax`) -> solids -> tissue maps (:class:`Scene`).

Heart and vessels: positions and calibres after Gray's Anatomy and ICRP 89 (2002): aorta 2.5-3.5 cm, superior vena cava
2 cm, trachea 1.8 cm, pulmonary arteries 1.5 cm at the hilum. Pulmonary arteries halve their calibre over about three
generations and bifurcate at some 35 degrees to the axis (Weibel 1963).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.acquisition import Technique
from wsrpn_vl.data.phantom.cardiac import heart_parts, heart_scale, silhouette
from wsrpn_vl.data.phantom.raster import Grid, blur, smooth_noise
from wsrpn_vl.data.phantom.rays import Beam
from wsrpn_vl.data.phantom.scene import Scene
from wsrpn_vl.data.phantom.skeleton import draw_skeleton
from wsrpn_vl.data.phantom.solids import (
    AIR,
    LEFT_LUNG,
    RIGHT_LUNG,
    SOFT,
    Solid,
    bullet,
    cylinder,
    ellipsoid,
    half_space,
    moved,
    turn,
)
from wsrpn_vl.data.phantom.thorax import DOME_HEIGHT, LEAN, SIDES, SIGN, Thorax

# Attenuation relative to soft tissue. ICRU-44 densities and NIST's values at 60 keV: adipose 0.864, muscle 0.990, blood
# 1.004. What is written out below is chosen as a mixture: mediastinum 0.97 and arms 0.96 (muscle with fat), breast 0.93
# (gland with fat).
FAT, MUSCLE, BLOOD, ORGANS = 0.87, 0.99, 1.0, 1.0


def beam_of(thorax: Thorax, grid: Grid, technique: Technique) -> Beam:
    """The rays of one exposure of this chest."""
    return Beam(grid, technique.distance, technique.front_first, thorax.rotation)


def build_scene(thorax: Thorax, size: int, technique: Technique, rng: np.random.Generator) -> Scene:
    """Draw a chest without findings (bar those that ``thorax`` itself carries). ``size``: pixels per side."""
    grid = Grid(size, thorax.fov, thorax.shift)
    beam = beam_of(thorax, grid, technique)
    solids = [*_trunk(thorax), *_lungs(thorax), *_abdomen(thorax), *_mediastinum(thorax), *_air(thorax)]
    soft, lungs, spans = beam.trace([s for s, _, _ in solids], [m for _, m, _ in solids], [d for _, _, d in solids])
    lung = lungs.sum(0)
    scene = Scene(
        grid=grid,
        beam=beam,
        thorax=thorax,
        technique=technique,
        soft=soft + _overlay(beam, thorax),
        lung=lung,
        vessels=_vessels(beam, thorax, rng),
        bone=grid.zeros(),
        metal=grid.zeros(),
        heart=silhouette(beam, thorax),
        lung_area=_seen_as_lung(beam, thorax, lung),
        healthy_lung=lungs,
        spans=spans,
    )
    _texture(scene, rng)
    draw_skeleton(scene)
    return scene


def _seen_as_lung(beam: Beam, t: Thorax, lung: np.ndarray) -> np.ndarray:
    """Where a reader sees lung: enough air, and above the domes, though thin lung reaches far below them behind."""
    grid = beam.grid
    floor = np.where(grid.x > 0, t.floor(grid.x, "left"), t.floor(grid.x, "right"))
    return (lung > 1.6) & (grid.y < floor + 0.8)


def _trunk(t: Thorax) -> list[tuple[Solid, int, float]]:
    """Fat and muscle of trunk and neck."""
    fat = _fat(t)
    top = t.apex + 7.5
    neck = cylinder((0, -30, -0.5), (0, t.apex + 3, -0.5), (5.4 + 0.8 * fat, 5.8 + 0.6 * fat))

    def torso(skin: float) -> Solid:
        wide, tall, deep = t.half_width + 2.3 + skin, 9.5 + skin, t.depth + 2.0 + skin
        # two ellipses make the flattened oval of a chest in cross-section
        return bullet((0, top, 0), (1.22 * wide, tall, deep)) & bullet((0, top, 0), (wide, 1.1 * tall, 1.75 * deep))

    return [(torso(0.7 + 1.0 * fat), SOFT, FAT), (neck, SOFT, MUSCLE), (torso(0.0), SOFT, MUSCLE)]


def _fat(t: Thorax) -> float:
    return max(0.0, t.bmi - 20) / 10


def _overlay(beam: Beam, t: Thorax) -> np.ndarray:
    """(h, w) cm of what lies on the trunk: shoulders, arms, trapezius, pectoral muscles, breasts; soft-edged."""
    fat = _fat(t)
    on: list[tuple[Solid, int, float]] = []
    for s in SIGN.values():
        down = t.arms_down
        shoulder = np.array([s * (t.half_width + 3.4), t.apex + 5.4, -0.5])
        hand = shoulder + np.array([s * (2.2 if down else 11.0), 24.0 if down else 9.0, 0.0 if down else 6.0])
        on.append((cylinder(shoulder, hand, 4.4 + 0.4 * fat), SOFT, 0.96))
        on.append((ellipsoid(shoulder, (6.2, 6.2, 5.8)), SOFT, MUSCLE))
        slope = turn(roll=s * 0.30)
        on.append((ellipsoid((s * 7.4, t.apex + 3.4, -2.0), (10.5, 5.4, 6.4), slope), SOFT, MUSCLE))
        chest = t.depth + 1.2 + 0.5 * fat
        middle = (s * 0.60 * t.half_width, t.apex + 0.30 * t.height, 0.62 * chest)
        on.append((ellipsoid(middle, (7.6, 7.6, 0.40 * chest + 1.8), turn(yaw=s * 0.45)), SOFT, MUSCLE))
        if t.breast > 0:
            wide = 5.0 + 0.5 * t.breast
            centre = (s * (0.60 if t.supine else 0.54) * t.half_width, t.apex + (0.74 if t.supine else 0.82) * t.height)
            deep = 1.4 + 1.3 * t.breast
            on.append((ellipsoid((*centre, chest - 0.5), (wide, 0.95 * wide, deep + 1.0)), SOFT, 0.93))
    trunk = [s for s, _, _ in _trunk(t)]
    solids = [s for s, _, _ in on] + trunk
    materials = [SOFT] * len(on) + [AIR] * len(trunk)
    coarse = replace(beam, grid=Grid((beam.grid.size + 1) // 2, beam.grid.fov, beam.grid.shift))
    extra, _, _ = coarse.trace(solids, materials, [d for _, _, d in on] + [0.0] * len(trunk))
    nearest = np.arange(beam.grid.size) * coarse.grid.size // beam.grid.size
    return blur(extra[np.ix_(nearest, nearest)], 0.7 / beam.grid.pixel)


def lung_solid(t: Thorax, side: str) -> Solid:
    """One lung at full extent, mediastinum, heart and diaphragm not yet taken away."""
    s = SIGN[side]
    cage = bullet((0, t.widest, 0), (t.half_width, t.widest - t.cage_top, t.depth))
    tall = t.widest - t.apex
    lean = turn(roll=s * LEAN)
    own = bullet((s * t.lung_centre, t.widest, -0.2), (t.lung_half, tall, 1.04 * t.depth), lean)
    low = t.dome(side) + 3.6
    tilt = 0.36  # the recess reaches deeper behind than in front
    return (cage & own).cut((-s, 0, 0), 0.6).cut((0, 1, tilt), low)


def _lungs(t: Thorax) -> list[tuple[Solid, int, float]]:
    return [(lung_solid(t, "right"), RIGHT_LUNG, 0.0), (lung_solid(t, "left"), LEFT_LUNG, 0.0)]


def lobe(t: Thorax, name: str) -> Solid:
    """A lobe as the half-spaces its fissures bound; meet it with the lung (:meth:`Scene.within`).

    The oblique fissure runs from the spine at a third of the lung's height (the fourth or fifth thoracic vertebra)
    forward and down to the diaphragm, which it meets some way in front of the dome's top, behind the right atrium; the
    horizontal one leaves it at the hilum (Gray's Anatomy). The lingula is the left counterpart of the middle lobe.
    """
    side = "right" if name.startswith("right") else "left"
    s = SIGN[side]
    midline = half_space((-s, 0, 0), 0.0)
    back = t.apex + 0.36 * t.height
    steep = (t.dome(side) + 1.0 - back) / (1.38 * t.depth)  # drop of the oblique fissure per cm forwards
    at = back + steep * t.depth  # its height in the mid-coronal plane
    if name.endswith("lower lobe"):
        return midline.cut((0, -1, steep), -at)
    front = midline.cut((0, 1, -steep), at)
    level = t.apex + 0.54 * t.height
    if name.endswith("upper lobe"):
        return front.cut((0, 1, 0.12), level)
    return front.cut((0, -1, -0.12), -level)  # right middle lobe, lingula


LOBES = (
    "right upper lobe",
    "right middle lobe",
    "right lower lobe",
    "left upper lobe",
    "lingula",
    "left lower lobe",
)


def _abdomen(t: Thorax) -> list[tuple[Solid, int, float]]:
    """The diaphragm's domes and what lies beneath."""
    out = []
    for side in SIDES:
        centre, half = t.dome_centre
        at = (SIGN[side] * centre, t.dome(side) + DOME_HEIGHT, 0.7)
        out.append((bullet(at, (half, DOME_HEIGHT, 0.93 * t.depth)), SOFT, ORGANS))
    return out


def _mediastinum(t: Thorax) -> list[tuple[Solid, int, float]]:
    """Fat and vessels between the lungs, and the heart."""
    heart = [ellipsoid(*p) for p in heart_parts(t, heart_scale(t))]
    y, bottom = t.carina, t.apex + t.height + 40
    spine = -t.depth + 0.9
    wide = max(0.0, t.mediastinum - 2.6)
    knob = 1.5 + 0.25 * wide
    arch = (1.8 + 0.8 * t.knob + 0.6 * wide, y - 2.0, -1.6)
    solids = [
        ellipsoid((0, y - 3.0, 0.2), (t.mediastinum, 9.5, 0.62 * t.depth)),  # thymic bed, vessels to the neck
        cylinder((0, y - 8, 0), (0, bottom, 0), (1.2, 1.02 * t.depth)),
        bullet((0.2, y + 6, -0.3 * t.depth), (2.0, 7.0, 0.40 * t.depth)),  # oesophagus, azygos, lower veins
        cylinder((0, -5, spine), (0, bottom, spine), (1.8, 2.2)),  # spine with its muscles
        cylinder((-2.0 - 0.5 * wide, t.apex + 1.5, 0.8), (-2.15 - 0.4 * wide, t.hilum + 2, 1.4), 0.95),  # vena cava
        cylinder((-0.4, t.hilum + 1.0, 2.6), (-1.5 - 0.5 * wide, y - 1.6, 1.6), 1.5 + 0.3 * wide),  # ascending aorta
        cylinder((-1.3, y - 2.6, 1.6), arch, 1.35 + 0.2 * wide),
        ellipsoid(arch, (knob, knob * 1.1, 1.9)),
        cylinder(arch, (1.5 + 0.5 * t.knob, t.hilum + 2, spine + 1.5), 1.2),  # descending aorta
        cylinder((1.5 + 0.5 * t.knob, t.hilum + 2, spine + 1.5), (0.8, bottom, spine + 2.0), 1.15),
    ]
    if t.pull:
        spine_at = 3
        shift = np.array([t.pull, 0.0, 0.0])
        solids = [s if k == spine_at else moved(s, np.eye(3), shift, shift) for k, s in enumerate(solids)]
    return [(s, SOFT, 0.97) for s in solids[:3]] + [(s, SOFT, BLOOD) for s in (*solids[3:], *heart)]


def _air(t: Thorax) -> list[tuple[Solid, int, float]]:
    """Trachea, main bronchi, gastric bubble and a gas-filled splenic flexure."""
    solids = [cylinder((0.0, -20, -0.2), t.split, 0.9)]
    for out, drop, r in ((-2.0, 2.3, 0.62), (4.3, 1.9, 0.55)):  # the left main bronchus is the longer and flatter one
        solids.append(cylinder(t.split, t.split + np.array([out, drop, -0.2]), r))
    if t.gastric > 0:
        y, z = t.dome("left") + 2.4, 4.2 if t.supine else 1.0
        bubble = ellipsoid((0.48 * t.half_width, y, z), (3.0 * t.gastric, 1.7 * t.gastric, 2.6), turn(roll=-0.15))
        solids.append(bubble if t.supine else bubble.cut((0, 1, 0), y + 0.7 * t.gastric))
    return [(s, AIR, 0.0) for s in solids] + _flexure(t)


def _flexure(t: Thorax) -> list[tuple[Solid, int, float]]:
    """Gas in the colon's splenic flexure, beside a large gastric bubble: haustra that overlap, each in its own wall."""
    if t.gastric < 1.2:
        return []
    out = []
    top, thin = np.array([0.72 * t.half_width, t.dome("left") + 5.0, 0.3]), 0.16
    for at, radii in (
        ((0.9, 2.0, -0.5), (1.2, 1.3, 0.9)),
        ((-1.4, 0.7, 0.5), (1.3, 1.1, 0.8)),
        ((0.2, 0.0, 0.0), (1.5, 1.2, 1.0)),
    ):
        for radius, material in ((np.array(radii) + thin, SOFT), (np.array(radii), AIR)):
            out.append((ellipsoid(top + at, radius, turn(roll=0.25)), material, MUSCLE))
    return out


def _vessels(beam: Beam, t: Thorax, rng: np.random.Generator) -> np.ndarray:
    """Bronchovascular tree: three orders of tapering branches that fan out from each hilum into its lung."""
    starts, ends, r0, r1 = [], [], [], []
    for side in SIDES:
        s = SIGN[side]
        root = np.array([s * (2.6 if side == "right" else 3.0), t.hilum - (0.6 if side == "left" else 0.0), -0.6])
        n = 20
        angle = np.linspace(-1.4, 1.5, n) + rng.normal(0, 0.1, n)  # in the film's plane, 0 = outwards
        depth = rng.uniform(-0.75, 0.75, n)
        reach = np.where(angle > 0.3, 0.95, 0.8) * (t.half_width - 2.5) * rng.uniform(0.75, 1.05, n)
        where = np.repeat(root[None], n, 0) + rng.normal(0, 0.35, (n, 3))
        radius = rng.uniform(0.26, 0.48, n)
        for order in range(3):
            steps = 6
            heading = angle[:, None] + rng.normal(0, 0.12, (len(angle), steps)).cumsum(1)
            tilt = depth[:, None] + rng.normal(0, 0.10, (len(angle), steps)).cumsum(1)
            flat = np.cos(tilt)
            way = np.stack([s * np.cos(heading) * flat, np.sin(heading) * flat, np.sin(tilt)], -1)
            stride = (reach / steps)[:, None, None] * way
            path = np.concatenate([where[:, None], where[:, None] + stride.cumsum(1)], 1)
            taper = radius[:, None] * np.linspace(1, 0.34, steps + 1)
            starts.append(path[:, :-1].reshape(-1, 3))
            ends.append(path[:, 1:].reshape(-1, 3))
            r0.append(taper[:, :-1].ravel())
            r1.append(taper[:, 1:].ravel())
            pick = rng.integers(1, steps - 1, (2, len(angle)))
            rows = np.arange(len(angle))
            where = np.concatenate([path[rows, k] for k in pick])
            radius = 0.75 * np.concatenate([taper[rows, k] for k in pick])
            angle = np.concatenate([heading[rows, k] + g for k, g in zip(pick, (0.6, -0.6), strict=True)])
            depth = np.concatenate([tilt[rows, k] + g for k, g in zip(pick, (0.5, -0.5), strict=True)])
            reach = np.tile(reach * (0.55 if order == 0 else 0.5), 2)
    tree = beam.tubes(np.concatenate(starts), np.concatenate(ends), np.concatenate(r0), np.concatenate(r1))
    for side in SIDES:  # the pulmonary arteries themselves
        x, y = SIGN[side] * 3.0, t.hilum - (0.8 if side == "left" else 0.0)
        hilum = ellipsoid((x, y, -0.6), (1.25, 2.3, 0.75), turn(roll=-0.35 * SIGN[side]))
        tree = np.maximum(tree, beam.through(hilum))
    return tree * np.float32(2.3)  # the bronchi's walls and the lymphatics run along


def _texture(scene: Scene, rng: np.random.Generator) -> None:
    """Uneven ventilation and fine interstitium."""
    coarse = smooth_noise(scene.grid, rng, 4.0)
    fine = smooth_noise(scene.grid, rng, 0.8) + 0.7 * smooth_noise(scene.grid, rng, 0.35)
    scene.fill(np.clip(0.03 + 0.012 * coarse + 0.014 * fine, 0.0, 0.12))
    scene.soft *= 1 + 0.006 * smooth_noise(scene.grid, rng, 5.0)
