"""Path lengths of the diverging beam: closed forms, an independent ray marcher, and what projection must do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.rays import Beam
from wsrpn_vl.data.phantom.solids import (
    AIR,
    LEFT_LUNG,
    SOFT,
    Solid,
    bullet,
    cylinder,
    ellipsoid,
    half_space,
    surface,
    turn,
)

FAR = 1e6  # cm: a focus so far away that the rays are parallel


def beam(size: int = 64, fov: float = 20.0, distance: float = FAR, rotation: float = 0.0, front: bool = True) -> Beam:
    return Beam(Grid(size, fov), distance, front, rotation)


def test_sphere_chord_under_parallel_rays() -> None:
    """Radius 4 at (1, 10, 2): 8 cm through the middle; 2 sqrt(16 - 9) = 5.2915 cm at 3 cm beside it."""
    b = beam(size=201, fov=20.1)
    way = b.through(ellipsoid((0.0, 10.05, 2.0), (4, 4, 4)))
    assert way[100, 100] == pytest.approx(8.0, abs=1e-3)
    assert way[100, 130] == pytest.approx(2 * math.sqrt(7), abs=1e-3)
    assert way[100, 142] == 0


def test_ellipsoid_has_its_volume_and_a_magnified_one_its_scale_squared() -> None:
    """Volume 4/3 pi abc on parallel rays; at depth z towards the focus areas grow by the magnification squared."""
    solid = ellipsoid((0.5, 10.0, 5.0), (3, 2, 1), turn(yaw=0.4, roll=0.3, pitch=0.2))
    b = beam(256)
    assert b.through(solid).sum() * b.grid.pixel**2 == pytest.approx(4 / 3 * math.pi * 6, rel=0.01)
    near = beam(256, distance=113.0, front=False)  # focus 100 cm in front of the mid-coronal plane
    scale = 100 / 95
    assert near.through(solid).sum() * near.grid.pixel**2 == pytest.approx(4 / 3 * math.pi * 6 * scale**2, rel=0.02)


def test_what_is_near_the_detector_is_small_and_near_the_focus_large() -> None:
    """PA (front at the detector): a point 5 cm in front is demagnified by 167 / 172; AP: magnified by 97 / 92."""
    for front, distance, scale in ((True, 180.0, 167 / 172), (False, 110.0, 97 / 92)):
        b = Beam(Grid(64, 40.0), distance, front)
        xy, magnified = b.project(np.array([[6.0, 20.0, 5.0]]))
        assert magnified[0] == pytest.approx(scale, rel=1e-9)
        assert xy[0] == pytest.approx([6.0 * scale, 20.0], rel=1e-9)


def test_projected_surface_points_lie_within_the_shadow() -> None:
    centre, radii, axes = (2.0, 11.0, 3.0), (3.0, 2.0, 4.0), turn(roll=0.5)
    b = Beam(Grid(400, 20.0), 110.0, False, rotation=0.2)
    shadow = b.through(ellipsoid(centre, radii, axes)) > 0
    xy, _ = b.project(surface(centre, radii, axes))
    rows, cols = np.nonzero(shadow)
    x, y = b.grid.x.ravel()[cols], b.grid.y.ravel()[rows]
    assert xy[:, 0].min() == pytest.approx(x.min(), abs=0.15) and xy[:, 0].max() == pytest.approx(x.max(), abs=0.15)
    assert xy[:, 1].min() == pytest.approx(y.min(), abs=0.15) and xy[:, 1].max() == pytest.approx(y.max(), abs=0.15)


def inside(solid: Solid, r: np.ndarray) -> np.ndarray:
    """Oracle: which (n, 3) points lie in a solid, straight from the documented rows."""
    out = np.ones(len(r), bool)

    def quadric(q: np.ndarray) -> np.ndarray:
        a = np.array([[q[0], q[3], q[4]], [q[3], q[1], q[5]], [q[4], q[5], q[2]]])
        return np.einsum("ni,ij,nj->n", r, a, r) + 2 * r @ q[6:9] + q[9] <= 0

    for part in solid.parts:
        below = r @ part[21:24] <= part[24]
        if part[0] == 0:
            out &= quadric(part[1:11])
        elif part[0] == 1:
            out &= below
        else:
            out &= np.where(below, quadric(part[1:11]), quadric(part[11:21]))
    return out


SOLIDS = {
    "ellipsoid": ellipsoid((1, 9, 1), (4, 3, 2), turn(0.3, 0.4, 0.2)),
    "bullet": bullet((-1, 11, 0.5), (4, 6, 3), turn(roll=0.15)),
    "cylinder": cylinder((-4, 5, -2), (5, 14, 3), (1.5, 2.5)),
    "cut": ellipsoid((0, 10, 0), (6, 6, 6)).cut((0, 1, 0.4), 10.5).cut((-1, 0, 0), 2.0),
    "both": bullet((0, 12, 0), (6, 9, 4)) & ellipsoid((3, 10, 0), (6, 5, 5)),
}


def marched(b: Beam, solids: list[Solid], n: int = 4001) -> np.ndarray:
    """Oracle: for each pixel, the last solid (or -1) at each of n depths in -20..20 cm; (h * w, n)."""
    g = b.grid
    fx, fy, fz = b.focus
    x, y = np.meshgrid(g.x.ravel(), g.y.ravel())
    z = np.linspace(-20, 20, n)
    rank = np.full((g.size**2, n), -1)
    for i, (px, py) in enumerate(zip(x.ravel(), y.ravel(), strict=True)):
        room = np.stack([px + (px - fx) * z / -fz, py + (py - fy) * z / -fz, z], 1)
        c, s = math.cos(b.rotation), math.sin(b.rotation)
        r = np.stack([c * room[:, 0] - s * room[:, 2], room[:, 1], s * room[:, 0] + c * room[:, 2]], 1)
        for k, solid in enumerate(solids):
            rank[i][inside(solid, r)] = k
    return rank


def slant(b: Beam) -> np.ndarray:
    fx, fy, fz = b.focus
    return np.sqrt(1 + ((b.grid.x - fx) / fz) ** 2 + ((b.grid.y - fy) / fz) ** 2)


@pytest.mark.parametrize("name", SOLIDS)
def test_path_lengths_are_those_of_a_ray_marcher(name: str) -> None:
    b = Beam(Grid(12, 20.0, 1.0), 110.0, False, rotation=0.25)
    counted = (marched(b, [SOLIDS[name]]) == 0).sum(1).reshape(12, 12) * (40 / 4000) * slant(b)
    assert counted.max() > 1
    assert np.abs(b.through(SOLIDS[name]) - counted).max() < 0.03


def test_later_solids_displace_earlier_ones() -> None:
    b = Beam(Grid(12, 20.0), 180.0, True, rotation=-0.1)
    solids = [bullet((0, 8, 0), (9, 6, 8)), SOLIDS["both"], SOLIDS["ellipsoid"], SOLIDS["cylinder"]]
    soft, lung, spans = b.trace(solids, [SOFT, LEFT_LUNG, SOFT, AIR], [1.0, 0.0, 1.5, 0.0])
    rank = marched(b, solids)
    step = (40 / 4000) * slant(b)
    weight = np.where(rank == 0, 1.0, np.where(rank == 2, 1.5, 0.0))
    assert np.abs(soft - weight.sum(1).reshape(12, 12) * step).max() < 0.06
    assert np.abs(lung[1] - (rank == 1).sum(1).reshape(12, 12) * step).max() < 0.06
    assert not lung[0].any()
    assert np.abs((spans[..., 1] - spans[..., 0]).sum(-1) * slant(b) - lung[1]).max() < 1e-3


def test_a_ray_may_meet_lung_six_times() -> None:
    """A lung that five rods cross: none of its way is lost to the spans."""
    b = Beam(Grid(16, 20.0), 180.0, True)
    rods = [cylinder((-9, 10, z), (9, 10, z), 0.9) for z in (-5, -2.5, 0, 2.5, 5)]
    solids = [ellipsoid((0, 10, 0), (7, 8, 7)), *rods]
    _, ways, spans = b.trace(solids, [LEFT_LUNG] + [SOFT] * 5, [0.0] + [1.0] * 5)
    assert b.within(half_space((0, 0, 1), 99.0), spans) == pytest.approx(ways[1], abs=1e-3)


def test_within_counts_only_the_given_spans() -> None:
    b = Beam(Grid(16, 20.0), 180.0, True)
    lung = ellipsoid((0, 10, 0), (7, 8, 6))
    _, ways, spans = b.trace([lung, SOLIDS["ellipsoid"]], [LEFT_LUNG, SOFT], [0.0, 1.0])
    everything = half_space((0, 0, 1), 99.0)
    assert b.within(everything, spans) == pytest.approx(ways[1], abs=1e-3)
    front, back = (b.within(half_space(n, 0.0), spans) for n in ((0.0, 0.0, -1.0), (0.0, 0.0, 1.0)))
    assert front + back == pytest.approx(ways[1], abs=1e-3)
    assert b.within(SOLIDS["ellipsoid"], spans).max() < 1e-4


def test_tube_chord_area_and_slant() -> None:
    """Radius 1, in the plane: chord 2 cm. Tilted by 45 degrees the same tube is sqrt(2) as long on the ray."""
    b = beam(128)
    flat = b.polyline(np.array([[-8.0, 10, 0], [8.0, 10, 0]]), 1.0)
    assert flat.max() == pytest.approx(2.0, abs=0.02)
    steep = b.polyline(np.array([[-8.0, 10, -8.0], [8.0, 10, 8.0]]), 1.0)
    assert steep[:, 64].max() == pytest.approx(2 * math.sqrt(2), rel=0.03)
    wire = b.polyline(np.array([[-8.0, 10, 0], [8.0, 12, 0]]), 0.02)
    assert wire.sum() * b.grid.pixel**2 == pytest.approx(math.pi * 0.02**2 * math.hypot(16, 2), rel=0.1)


def test_rotation_turns_the_patient_not_the_film() -> None:
    """Turned by 90 degrees, what lay 3 cm in front lies 3 cm beside the midline."""
    b = beam(distance=FAR, rotation=math.pi / 2)
    xy, _ = b.project(np.array([[0.0, 10.0, 3.0]]))
    assert xy[0] == pytest.approx([3.0, 10.0], abs=1e-3)
    way = b.through(ellipsoid((0, 10, 3.0), (1, 1, 1)))
    columns = np.flatnonzero(way.any(0))
    assert b.grid.x.ravel()[columns].mean() == pytest.approx(3.0, abs=0.2)
