"""The observations as physical changes: what each does to the tissue, and that words, masks and tissue agree."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from wsrpn_vl.data.phantom import devices, pleura
from wsrpn_vl.data.phantom.acquisition import AP, PA, Exposure, Response
from wsrpn_vl.data.phantom.airspace import consolidation
from wsrpn_vl.data.phantom.anatomy import build_scene, lobe
from wsrpn_vl.data.phantom.atelectasis import lose_volume
from wsrpn_vl.data.phantom.findings import DRAW, draw_findings
from wsrpn_vl.data.phantom.lesions import lung_lesion
from wsrpn_vl.data.phantom.opacities import fill, seen
from wsrpn_vl.data.phantom.pneumothorax import pneumothorax, push_down
from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.rays import Beam
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import bullet, ellipsoid, moved
from wsrpn_vl.data.phantom.study import draw_regions, simulate
from wsrpn_vl.data.phantom.thorax import SIGN, Thorax, position, sample_thorax
from wsrpn_vl.data.phantom.visibility import measure
from wsrpn_vl.labels import OBSERVATIONS

SIZE = 96


def chest(seed: int, view: str = "PA", supine: bool = False) -> Thorax:
    rng = np.random.default_rng(seed)
    return replace(position(sample_thorax(rng), view, rng, supine=supine), rotation=0.0)


def scene_of(thorax: Thorax, view: str = "PA") -> Scene:
    return build_scene(thorax, SIZE, PA if view == "PA" else AP, np.random.default_rng(0))


def drawn(name: str, seed: int, supine: bool = False) -> tuple[Scene, Scene, list[Region]]:
    """The scene before and after one finding, and its regions."""
    view = "AP" if supine else "PA"
    before, after = (scene_of(chest(seed, view, supine), view) for _ in range(2))
    return before, after, DRAW[name](after, np.random.default_rng(seed))


def test_a_moved_solid_has_its_volume_times_the_determinant() -> None:
    """A sheared and shrunk ellipsoid, and a bullet whose cylinder part moves with its cap."""
    beam = Beam(Grid(192, 24.0), 1e6, True)
    matrix = np.array([[0.8, 0.3, 0.0], [0.0, 0.7, 0.0], [0.1, 0.0, 0.9]])
    about = np.array([1.0, 10.0, -1.0])
    solid = ellipsoid((0.0, 12.0, 0.5), (4, 5, 3))
    volume = beam.through(moved(solid, matrix, about)).sum() / beam.through(solid).sum()
    assert volume == pytest.approx(float(np.linalg.det(matrix)), rel=0.01)
    dome = bullet((0.0, 10.0, 0.0), (3, 4, 3))
    shifted = beam.through(moved(dome, np.eye(3), about, np.array([0.0, 2.0, 0.0])))
    assert shifted == pytest.approx(beam.through(bullet((0.0, 12.0, 0.0), (3, 4, 3))), abs=1e-3)


def test_filling_keeps_the_way_through_the_chest() -> None:
    scene = scene_of(chest(0))
    whole = scene.soft + scene.lung
    added = fill(scene, np.full_like(scene.soft, 2.0))
    assert scene.soft + scene.lung == pytest.approx(whole, abs=1e-4)
    assert 0 < added.max() <= 2.0 and scene.lung.min() >= 0


@pytest.mark.parametrize("name", ["Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pleural Effusion"])
@pytest.mark.parametrize("supine", [False, True])
def test_water_takes_the_place_of_air_and_of_nothing_else(name: str, supine: bool) -> None:
    for seed in range(3):
        before, after, regions = drawn(name, seed, supine)
        assert regions and all(r.mask.any() for r in regions)
        assert after.soft + after.lung == pytest.approx(before.soft + before.lung, abs=1e-3)
        change = after.optical() - before.optical()
        mask = np.logical_or.reduce([r.mask for r in regions])
        assert change[mask].mean() > 3 * abs(change[~mask].mean())


def test_a_nodule_is_small_a_mass_large_and_the_mask_has_the_told_size() -> None:
    kinds = set()
    for seed in range(14):
        scene = scene_of(chest(seed))
        for region in lung_lesion(scene, np.random.default_rng(seed)):
            told = float(region.modifiers[0].removesuffix(" cm"))
            kinds.add(region.kind)
            assert (region.kind == "mass") == (told > 3.0)
            x1, y1, x2, y2 = region.box
            seen_size = max(x2 - x1, y2 - y1) * scene.grid.pixel
            assert 0.55 * told < seen_size < (1.35 if "spiculated" not in region.modifiers else 1.9) * told + 0.8
    assert kinds == {"nodule", "mass"}


def test_consolidation_keeps_to_its_lobe() -> None:
    for seed in range(4):
        before, scene = (scene_of(chest(seed)) for _ in range(2))
        regions = consolidation(scene, np.random.default_rng(seed))
        inside = np.logical_or.reduce([before.within(lobe(scene.thorax, r.location)) > 0 for r in regions])
        assert not ((scene.soft - before.soft)[~inside] > 1e-3).any()


def test_a_pneumothorax_is_air_without_vessels() -> None:
    for seed in range(5):
        before, after, (region,) = drawn("Pneumothorax", seed)
        assert region.side in ("right", "left") and region.modifiers[0] in ("small", "moderate", "large")
        own = region.mask & before.side(region.side)
        assert own.sum() == region.mask.sum()
        assert np.median(after.lung[own]) < 0.35 * np.median(before.lung[own])
        assert after.vessels[own].sum() < 0.45 * before.vessels[own].sum() + 0.1
        assert np.median((after.optical() - before.optical())[own]) < 0


def test_air_rises_in_the_upright_and_gathers_at_the_base_of_the_supine() -> None:
    def height(supine: bool) -> float:
        at = []
        for seed in range(10):
            thorax = chest(1, "AP", supine)
            scene = scene_of(push_down(thorax, np.random.default_rng(seed)), "AP")
            (region,) = pneumothorax(scene, np.random.default_rng(seed))
            if region.modifiers[0] != "large":
                rows = np.flatnonzero(region.mask.any(1)) * scene.grid.pixel
                at.append((rows.mean() - thorax.apex) / thorax.height)
        return float(np.median(at))

    assert height(False) < 0.35 < 0.6 < height(True)


def test_tension_pushes_and_collapse_draws_the_mediastinum() -> None:
    pushed = drew = 0
    for seed in range(60):
        thorax = chest(0)
        pulled = push_down(thorax, np.random.default_rng(seed)).pull
        (region,) = pneumothorax(scene_of(thorax), np.random.default_rng(seed)) if pulled else [None]
        if region is not None:
            assert "under tension" in region.modifiers and pulled * SIGN[region.side] < 0
            pushed += 1
        shrunk = lose_volume(thorax, np.random.default_rng(seed))
        if shrunk.pull:
            side = "left" if shrunk.pull > 0 else "right"
            assert shrunk.dome(side) < thorax.dome(side) - 1
            drew += 1
    assert pushed and drew


def test_the_heart_moves_with_the_mediastinum() -> None:
    thorax = chest(2)
    columns = [np.flatnonzero(scene_of(replace(thorax, pull=p)).heart.any(0)).mean() for p in (0.0, 2.0)]
    assert (columns[1] - columns[0]) * thorax.fov / SIZE == pytest.approx(2.0, abs=0.5)


def test_a_meniscus_climbs_along_the_wall() -> None:
    """Upright fluid stands higher at the ribs than in the middle of the lung."""
    climbs = []
    for seed in range(12):
        _, scene, regions = drawn("Pleural Effusion", seed)
        for region in regions:
            if "loculated" in region.modifiers or not region.mask.any():
                continue
            columns = np.flatnonzero(region.mask.any(0))
            top = region.mask.argmax(0)[columns]
            lateral, medial = (-1, 0) if region.side == "left" else (0, -1)
            climbs.append((top[medial] - top[lateral]) * scene.grid.pixel)
    assert np.mean(climbs) > 2.0


def test_fluid_of_the_supine_layers_and_leaves_the_vessels() -> None:
    before, after, regions = drawn("Pleural Effusion", 3, supine=True)
    assert all("layering" in r.modifiers or "loculated" in r.modifiers for r in regions)
    assert np.array_equal(before.vessels, after.vessels)
    upright_before, upright, _ = drawn("Pleural Effusion", 3)
    assert upright.vessels.sum() < upright_before.vessels.sum()


def test_large_effusions_hold_more_than_small_ones() -> None:
    volume: dict[str, list[float]] = {size: [] for size in pleura.SIZES}
    for seed in range(24):
        before, after, regions = drawn("Pleural Effusion", seed)
        if len(regions) == 1 and "loculated" not in regions[0].modifiers:
            volume[regions[0].modifiers[0]].append(float((after.soft - before.soft).sum()) * after.grid.pixel**2)
    means = [np.mean(volume[size]) for size in pleura.SIZES]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("kind", devices.DEVICES)
def test_a_device_lies_within_its_mask(kind: str) -> None:
    for seed in range(2):
        before, scene = (scene_of(chest(seed, "AP"), "AP") for _ in range(2))
        region = devices.DEVICES[kind][0](scene, np.random.default_rng(seed))
        added = scene.metal - before.metal
        assert added.sum() > 0 and added[region.mask].sum() > 0.95 * added.sum()
        assert region.kind and region.location
        assert region.mask.mean() < 0.12


def test_the_told_depth_of_an_endotracheal_tube_is_that_of_its_tip() -> None:
    for seed in range(5):
        thorax = chest(seed, "AP")
        scene = scene_of(thorax, "AP")
        region = devices.endotracheal(scene, np.random.default_rng(seed))
        told = float(re.findall(r"[\d.]+", region.modifiers[0])[0])
        tip = (np.flatnonzero(region.mask.any(1))[-1] + 1) * scene.grid.pixel
        assert thorax.carina - tip == pytest.approx(told, abs=1.2)


def test_findings_that_share_a_study_are_all_reported_and_their_change_is_kept() -> None:
    scene = scene_of(chest(4))
    wanted = dict.fromkeys(OBSERVATIONS, 0) | {"Consolidation": 1, "Pleural Effusion": 1, "Lung Opacity": 1}
    state = np.random.PCG64(7).state
    found = draw_findings(scene, wanted, dict.fromkeys(OBSERVATIONS, state))
    assert list(found) == ["Lung Opacity", "Consolidation", "Pleural Effusion"]
    assert scene.changes["Lung Opacity"] == pytest.approx(scene.changes["Consolidation"])
    assert scene.changes["Pleural Effusion"].max() > 0.3


def test_regions_without_exposure_are_those_of_the_study() -> None:
    labels = {"Pneumothorax": 1, "Cardiomegaly": 1}
    regions, study = draw_regions(5, 3, SIZE, labels=labels), simulate(5, 3, SIZE, labels=labels)
    for name in labels:
        pairs = zip(regions[name], study.regions[name], strict=True)
        assert all(np.array_equal(a.mask, b.mask) for a, b in pairs)
        assert all(np.isnan(r.visibility) for r in regions[name])
        assert all(r.visibility > 0 for r in study.regions[name])


def _exposure(noise: float) -> tuple[Exposure, tuple[Region, ...], np.ndarray]:
    """A flat picture of given noise, with a square that is 0.2 brighter."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[30:60, 30:60] = True
    log = np.float32(0.4) + np.float32(0.2) * mask
    log = log + np.random.default_rng(0).normal(0, noise, mask.shape).astype(np.float32)
    exposure = Exposure(log, log, cast(Response, lambda x: x), np.exp(-log), lambda x: x)
    return exposure, (Region(mask, "here"),), (0.2 * mask).astype(np.float32)


def test_visibility_is_contrast_over_noise() -> None:
    """0.2 over a noise of 0.02 is 10, with or without a picture without the finding; twice the noise halves it."""
    exposure, regions, change = _exposure(0.02)
    (known,) = measure(exposure, {"Consolidation": regions}, {"Consolidation": change})["Consolidation"]
    (beside,) = measure(exposure, {"Cardiomegaly": regions}, {})["Cardiomegaly"]
    assert known.visibility == pytest.approx(10, rel=0.15)
    assert beside.visibility == pytest.approx(known.visibility, rel=0.1)
    noisy, regions, change = _exposure(0.04)
    (worse,) = measure(noisy, {"Consolidation": regions}, {"Consolidation": change})["Consolidation"]
    assert worse.visibility == pytest.approx(known.visibility / 2, rel=0.15)


def test_what_changes_nothing_is_not_visible() -> None:
    exposure, regions, change = _exposure(0.02)
    (region,) = measure(exposure, {"Edema": regions}, {"Edema": 0 * change})["Edema"]
    assert region.visibility == 0


def test_a_mask_keeps_to_its_lung_and_to_what_is_thick_enough() -> None:
    scene = scene_of(chest(0))
    added = scene.grid.zeros() + 1.0
    added[: SIZE // 2] = 0.01
    mask = seen(scene, added, "left")
    assert mask.any() and not (mask & ~scene.side("left")).any() and not mask[: SIZE // 2].any()
