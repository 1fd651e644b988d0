"""Arithmetic of the projection: chords, areas, Beer-Lambert, magnification, display response."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from wsrpn_vl.data.phantom.acquisition import AP, PA, TECHNIQUES, Look, Technique, attenuation, expose, respond
from wsrpn_vl.data.phantom.raster import Grid, blur, smooth_noise


def test_grid_is_in_centimetres_about_the_shifted_midline() -> None:
    grid = Grid(4, fov=8.0, shift=1.0)
    assert grid.pixel == 2.0
    assert grid.x.ravel().tolist() == [-2.0, 0.0, 2.0, 4.0]
    assert grid.y.ravel().tolist() == [1.0, 3.0, 5.0, 7.0]


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


def slab(size: int, soft: float) -> tuple[Grid, dict[str, np.ndarray]]:
    grid = Grid(size, 30.0)
    return grid, {"soft": grid.zeros() + np.float32(soft), **{name: grid.zeros() for name in ("bone", "lung", "metal")}}


def test_log_signal_of_a_slab_is_mu_times_thickness() -> None:
    """Without scatter and nearly without noise: 10 cm of soft tissue at 60 keV is 0.2048 * 1.06 * 10 = 2.1709."""
    grid, maps = slab(64, 10)
    clean = replace(PA, scatter=0.0, blur_mm=0.0, quanta=1e12)
    log_signal = expose(maps, grid, clean, np.random.default_rng(0)).log_signal
    assert float(np.median(log_signal)) == pytest.approx(2.1709, abs=2e-3)


def test_quantum_noise_follows_the_dose() -> None:
    """A quarter of the photons doubles the relative noise."""
    grid, maps = slab(128, 12)
    sd = []
    for quanta in (4e5, 1e5):
        technique = replace(PA, quanta=quanta, scatter=0.0)
        sd.append(expose(maps, grid, technique, np.random.default_rng(3)).log_signal.std())
    assert sd[1] / sd[0] == pytest.approx(2.0, rel=0.1)


def test_the_shown_picture_is_the_response_to_the_log_signal() -> None:
    for site in TECHNIQUES.values():
        for technique in site.values():
            grid, maps = slab(96, 12)
            exposure = expose(maps, grid, technique, np.random.default_rng(1))
            assert np.array_equal(exposure.show(exposure.log_signal), exposure.picture)
            assert exposure.picture.dtype == np.float32
            assert (exposure.show(exposure.log_signal - np.float32(0.2)) < exposure.picture).all()


@pytest.mark.parametrize("technique", [PA, AP])
def test_a_change_is_taken_from_the_primary_beam_alone(technique: Technique) -> None:
    """Against the exposure without it: 0.5 cm of water hardly changes the scatter, but is veiled by it."""
    clean = replace(technique, quanta=1e12, cutoff=0.0)
    grid, maps = slab(96, 14)
    plain = expose(maps, grid, clean, np.random.default_rng(0))
    maps["soft"][40:56, 40:56] += np.float32(0.5)
    change = grid.zeros()
    change[40:56, 40:56] = np.float32(0.5 * clean.mu["soft"])
    changed = expose(maps, grid, clean, np.random.default_rng(0))
    inner = slice(44, 52), slice(44, 52)
    seen = float((changed.log_signal - plain.log_signal)[inner].mean())
    told = float((changed.log_signal - changed.without(change))[inner].mean())
    assert told == pytest.approx(seen, rel=0.1)
    assert float(change[inner].mean()) > 1.15 * seen
    assert changed.without(-change)[inner].mean() > changed.log_signal[inner].mean()


def test_electronic_noise_is_that_of_independent_cells() -> None:
    """In the dark, four pixels added up are as noisy as one pixel of their area."""
    dark = replace(PA, scatter=0.0, quanta=400.0, blur_mm=0.0)
    fine, coarse = (np.exp(-expose(*slab(n, 1)[::-1], dark, np.random.default_rng(n)).log_signal) for n in (128, 64))
    added = fine.reshape(64, 2, 64, 2).mean((1, 3))
    assert added.std() == pytest.approx(coarse.std(), rel=0.06)


def test_motion_blurs_along_its_axis_and_keeps_the_signal() -> None:
    grid, maps = slab(128, 8)
    maps["bone"][60:68, 60:68] = 2
    still = replace(PA, scatter=0.0, quanta=1e12)
    at = {}
    for motion in ((0.0, 0.0), (9.0, 0.0), (0.0, 9.0)):
        signal = np.exp(-expose(maps, grid, replace(still, motion_mm=motion), np.random.default_rng(0)).log_signal)
        dark = signal.max() - signal
        at[motion] = dark.sum(), dark.sum(1).max(), dark.sum(0).max()
    assert at[9.0, 0.0][0] == pytest.approx(at[0.0, 0.0][0], rel=0.02)
    assert at[9.0, 0.0][1] < 0.7 * at[0.0, 0.0][1] and at[9.0, 0.0][2] == pytest.approx(at[0.0, 0.0][2], rel=0.02)
    assert at[0.0, 9.0][2] < 0.7 * at[0.0, 0.0][2] and at[0.0, 9.0][1] == pytest.approx(at[0.0, 0.0][1], rel=0.02)


def test_attenuation_meets_the_tabulated_energies_and_falls_between() -> None:
    """NIST 126: cortical bone at 80 keV 0.2229 cm2/g times 1.92 g/cm3."""
    assert attenuation(80)["bone"] == pytest.approx(0.2229 * 1.92)
    for name in ("soft", "bone", "lung", "metal"):
        assert attenuation(60)[name] > attenuation(66)[name] > attenuation(80)[name]


def test_tissues_rank_as_in_life() -> None:
    for technique in (PA, AP):
        mu = technique.mu
        assert 0 < mu["lung"] < mu["soft"] < mu["bone"] < mu["metal"]
        assert mu["lung"] == pytest.approx(mu["soft"] * 0.26 / 1.06, rel=0.01)


def test_display_response_is_monotone_and_bounded() -> None:
    signal = np.linspace(0, 6, 64 * 64, dtype=np.float32).reshape(64, 64)
    shown = respond(signal, Look(), 0.5)(signal).ravel()
    assert (np.diff(shown) > 0).all() and shown[0] >= 0 and shown[-1] <= 1


def test_edge_enhancement_raises_detail_and_leaves_flat_areas() -> None:
    signal = np.full((64, 64), 3.0, np.float32)
    signal[:, 32:] = 3.4
    plain, sharp = (respond(signal, Look(edge=e, edge_cm=1.0), 0.5)(signal) for e in (0.0, 1.0))
    assert np.ptp(sharp[32, 28:36]) > 1.2 * np.ptp(plain[32, 28:36])
    assert sharp[32, 8] == pytest.approx(plain[32, 8], abs=1e-3)
