"""Arithmetic of the projection: chords, areas, Beer-Lambert, magnification, display response."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from wsrpn_vl.data.phantom.acquisition import AP, PA, expose, mark, voi
from wsrpn_vl.data.phantom.raster import Grid, blur, chord, ellipse, polyline, smooth_noise, tubes


def test_grid_is_in_centimetres_about_the_shifted_midline() -> None:
    grid = Grid(4, fov=8.0, shift=1.0)
    assert grid.pixel == 2.0
    assert grid.x.ravel().tolist() == [-2.0, 0.0, 2.0, 4.0]
    assert grid.y.ravel().tolist() == [1.0, 3.0, 5.0, 7.0]


def test_tube_chord_is_that_of_a_cylinder() -> None:
    """Radius 2 cm: 4 cm through the axis, 2 sqrt(4 - 1) = 3.4641 at 1 cm off, nothing outside."""
    grid = Grid(81, fov=8.1)
    path = tubes(grid, np.array([[-9.0, 4.05]]), np.array([[9.0, 4.05]]), np.array([2.0]), np.array([2.0]))
    column = path[:, 40]
    assert column[40] == pytest.approx(4.0, abs=1e-3)
    assert column[50] == pytest.approx(2 * math.sqrt(3), abs=1e-3)
    assert column[62] == 0.0


@pytest.mark.parametrize("size", [64, 256])
def test_a_tube_thinner_than_a_pixel_keeps_its_projected_area(size: int) -> None:
    """A wire of radius r, length l puts pi r^2 l cm3 on the film, sampled coarsely or finely."""
    grid = Grid(size, fov=30.0)
    wire = polyline(grid, np.array([[-8.0, 14.0], [8.0, 16.0]]), 0.05)
    volume = wire.sum() * grid.pixel**2
    assert volume == pytest.approx(math.pi * 0.05**2 * math.hypot(16, 2), rel=0.12)


def test_ellipsoid_chord_has_the_ellipsoids_volume() -> None:
    grid = Grid(256, fov=20.0)
    path = chord(ellipse(grid, 0.5, 10.0, 4.0, 2.0, 0.7), 3.0)
    assert path.max() == pytest.approx(6.0, rel=1e-2)
    assert path.sum() * grid.pixel**2 == pytest.approx(4 / 3 * math.pi * 4 * 2 * 3, rel=1e-2)


def test_blur_keeps_a_constant_and_the_mass_of_a_point() -> None:
    assert blur(np.full((32, 32), 3.0, np.float32), 2.5) == pytest.approx(3.0, abs=1e-5)
    point = np.zeros((65, 65), np.float32)
    point[32, 32] = 1
    spread = blur(point, 3.0)
    assert spread.sum() == pytest.approx(1.0, abs=1e-4)
    assert spread[32, 32] == pytest.approx(1 / (2 * math.pi * 9), rel=1e-3)


def test_smooth_noise_is_one_field_at_every_resolution() -> None:
    coarse, fine = (smooth_noise(Grid(n, 30.0), np.random.default_rng(1), 3.0) for n in (64, 256))
    assert np.corrcoef(coarse.ravel(), fine.reshape(64, 4, 64, 4).mean((1, 3)).ravel())[0, 1] > 0.999


def test_log_signal_of_a_slab_is_mu_times_thickness() -> None:
    """Without scatter and nearly without noise: 10 cm of soft tissue at 60 keV is 0.2048 * 1.06 * 10 = 2.1709."""
    clean = replace(PA, scatter=0.0, blur_mm=0.0, quanta=1e12)
    grid = Grid(64, 30.0)
    maps = {name: grid.zeros() for name in ("soft", "bone", "lung", "metal")}
    maps["soft"] += 10
    _, log_signal = expose(maps, grid, clean, np.random.default_rng(0))
    assert float(np.median(log_signal)) == pytest.approx(2.1709, abs=2e-3)


def test_quantum_noise_follows_the_dose() -> None:
    """A quarter of the photons doubles the relative noise."""
    grid = Grid(128, 30.0)
    maps = {"soft": grid.zeros() + 12, "bone": grid.zeros(), "lung": grid.zeros(), "metal": grid.zeros()}
    sd = []
    for quanta in (4e5, 1e5):
        technique = replace(PA, quanta=quanta, scatter=0.0)
        sd.append(expose(maps, grid, technique, np.random.default_rng(3))[1].std())
    assert sd[1] / sd[0] == pytest.approx(2.0, rel=0.1)


def test_tissues_rank_as_in_life() -> None:
    for technique in (PA, AP):
        mu = technique.mu
        assert 0 < mu["lung"] < mu["soft"] < mu["bone"] < mu["metal"]
        assert mu["lung"] == pytest.approx(mu["soft"] * 0.26 / 1.06, rel=0.01)


def test_what_is_near_the_source_is_magnified() -> None:
    """PA: the front of the chest lies at the detector; AP: the back does."""
    assert PA.magnify(5.0) < 1 < PA.magnify(-5.0)
    assert AP.magnify(-5.0) < 1 < AP.magnify(5.0)
    assert PA.magnify(0.0) == AP.magnify(0.0) == 1.0


def test_display_response_is_monotone_and_bounded() -> None:
    signal = np.linspace(0, 6, 64 * 64, dtype=np.float32).reshape(64, 64)
    shown = voi(signal).ravel()
    assert (np.diff(shown) > 0).all() and shown[0] >= 0 and shown[-1] <= 1


def test_mark_is_burnt_in_where_asked() -> None:
    image = np.zeros((100, 100), np.float32)
    mark(image, "L", 0.5, 0.2, 0.07)
    rows, cols = np.nonzero(image)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (20, 26, 50, 54)
    assert image[20:27, 50].min() > 0.9 and image[20:26, 52].max() == 0
