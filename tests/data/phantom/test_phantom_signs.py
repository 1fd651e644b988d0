"""Radiological signs that a reader counts on: each must follow from the physics, and vanish with its cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsrpn_vl.data.phantom import airspace, artefacts, devices, edema, pneumothorax
from wsrpn_vl.data.phantom.acquisition import PA, Technique, expose
from wsrpn_vl.data.phantom.anatomy import BLOOD, MUSCLE, ORGANS, _flexure, build_scene, lobe
from wsrpn_vl.data.phantom.cardiac import cardiothoracic_ratio
from wsrpn_vl.data.phantom.findings import ALTER, DRAW
from wsrpn_vl.data.phantom.opacities import fill
from wsrpn_vl.data.phantom.raster import blur
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import AIR
from wsrpn_vl.data.phantom.study import draw_regions
from wsrpn_vl.data.phantom.thorax import SIGN, Break, Thorax, position, sample_thorax
from wsrpn_vl.data.phantom.traps import Quality

SIZE = 96


def chest(seed: int) -> Thorax:
    """An upright, straight patient without findings."""
    rng = np.random.default_rng(seed)
    return replace(position(sample_thorax(rng), "PA", rng), rotation=0.0, shift=0.0)


def scene_of(thorax: Thorax, size: int = SIZE) -> Scene:
    return build_scene(thorax, size, PA, np.random.default_rng(0))


def borders(thorax: Thorax, filled: str) -> tuple[float, float]:
    """Steps of optical thickness over the right heart border and the right dome, with one lobe full of water."""
    scene = scene_of(thorax)
    cm = round(1 / scene.grid.pixel)
    if filled:
        fill(scene, scene.within(lobe(thorax, filled), "right"), 0.95)
    optical, y = scene.optical(), scene.grid.y.ravel()
    there = scene.heart.any(1) & (y > thorax.hilum + 2) & (y < thorax.dome("right") - 0.3)
    rows = np.flatnonzero(there)
    edge = scene.heart.argmax(1)[rows]  # the right heart border is at the viewer's left
    top = int(thorax.dome("right") / scene.grid.pixel)
    column = slice(*np.searchsorted(scene.grid.x.ravel(), -thorax.dome_centre[0] + np.array([-1.5, 1.5])))
    heart = np.median(optical[rows, edge + cm] - optical[rows, edge - cm])
    return float(heart), float(np.median(optical[top + cm, column] - optical[top - cm, column]))


@pytest.mark.parametrize("seed", range(3))
def test_filled_lung_hides_the_border_it_lies_against(seed: int) -> None:
    """Felson's silhouette sign: the middle lobe hides the right heart border, the lower lobe its part of the dome."""
    thorax = chest(seed)
    healthy, middle, lower = (borders(thorax, name) for name in ("", "right middle lobe", "right lower lobe"))
    assert healthy[0] > 0.5 and healthy[1] > 0.5
    assert middle[0] < 0.5 * healthy[0]
    assert lower[1] < 0.6 * healthy[1]


def test_filled_lung_behind_the_heart_leaves_its_border() -> None:
    for seed in range(3):
        healthy, middle, lower = (borders(chest(seed), n)[0] for n in ("", "right middle lobe", "right lower lobe"))
        assert middle < 0.5 * healthy < 0.8 * healthy < lower


def test_air_bronchograms_are_thin_dark_branches_in_the_consolidation(monkeypatch: pytest.MonkeyPatch) -> None:
    with_air = scene_of(chest(1))
    (region, *_) = DRAW["Consolidation"](with_air, np.random.default_rng(1))
    monkeypatch.setattr(airspace, "_bronchi", lambda scene, *_: scene.grid.zeros())
    without = scene_of(chest(1))
    DRAW["Consolidation"](without, np.random.default_rng(1))
    less = without.soft - with_air.soft
    assert less.min() > -1e-3 and less[region.mask].max() > 0.2
    assert 0.02 < (less[region.mask] > 0.1).mean() < 0.5


def test_cephalisation_widens_upper_vessels_more_than_lower_ones() -> None:
    for seed in range(3):
        thorax = chest(seed)
        before, after = scene_of(thorax), scene_of(thorax)
        DRAW["Edema"](after, np.random.default_rng(seed))
        grown = {}
        for name, rows in (
            ("upper", before.grid.y.ravel() < thorax.hilum - 4),
            ("lower", before.grid.y.ravel() > thorax.hilum + 2),
        ):
            grown[name] = float(after.vessels[rows].sum() / before.vessels[rows].sum())
        assert grown["upper"] > 1.15 * grown["lower"] > 1.1


@pytest.mark.parametrize("name", ["Edema", "Lung Opacity"])
def test_severer_words_mean_more_water(name: str) -> None:
    thorax = chest(0)
    before = scene_of(thorax)
    water: dict[str, list[float]] = {"mild": [], "moderate": [], "severe": []}
    for seed in range(24):
        after = scene_of(thorax)
        regions = DRAW[name](after, np.random.default_rng(seed))
        mask = np.logical_or.reduce([r.mask for r in regions])
        water[regions[0].severity].append(float((after.soft - before.soft)[mask].mean()))
    means = [float(np.mean(water[severity])) for severity in ("mild", "moderate", "severe")]
    assert means[0] < means[1] < means[2]


def test_the_visceral_line_is_tissue_at_the_border_of_the_air(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        before, with_line, without = (scene_of(chest(seed)) for _ in range(3))
        (region,) = DRAW["Pneumothorax"](with_line, np.random.default_rng(seed))
        with monkeypatch.context() as patch:
            patch.setattr(pneumothorax, "_visceral_line", lambda *_: None)
            DRAW["Pneumothorax"](without, np.random.default_rng(seed))
        line = with_line.soft - without.soft
        assert line.min() >= 0 and 0.2 < line.max() < 1.5
        strong = line > 0.5 * line.max()
        air = before.lung - without.lung > 0.02
        inwards = SIGN[region.side] * before.grid.x - chest(seed).medial(before.grid.y, region.side)
        assert inwards[strong].min() > 0.4  # none along the mediastinum
        assert air[strong].mean() > 0.95 and strong.sum() < 0.25 * before.side(region.side).sum()


def test_a_larger_ratio_is_a_wider_heart_and_a_wider_mediastinum_a_wider_shadow() -> None:
    thorax = chest(3)
    width, ratio, upper = [], [], []
    for ctr, mediastinum in ((0.42, 2.4), (0.52, 3.9), (0.62, 5.2)):
        scene = scene_of(replace(thorax, ctr=ctr, mediastinum=mediastinum))
        width.append(int(scene.heart.any(0).sum()) * scene.grid.pixel)
        ratio.append(cardiothoracic_ratio(scene.thorax))
        row = int((thorax.carina - 3) / scene.grid.pixel)
        middle = slice(*np.searchsorted(scene.grid.x.ravel(), (-8, 8)))
        upper.append(int((~scene.lung_area[row, middle]).sum()) * scene.grid.pixel)
    assert ratio == pytest.approx([0.42, 0.52, 0.62], abs=2e-3)
    assert np.diff(width) == pytest.approx(0.1 * 2 * thorax.half_width, abs=2.5 * thorax.fov / SIZE)
    assert np.diff(upper).min() > 0.5


@pytest.mark.parametrize("healing", [False, True])
def test_a_break_changes_its_bone_at_its_place_alone(healing: bool) -> None:
    """Fresh: a gap and a step; healing: a callus around it."""
    thorax = chest(0)
    broken = replace(thorax, breaks=(Break("posterior rib", "left", 6, 0.7, 0.8, healing),))
    whole, scene = scene_of(thorax, 192), scene_of(broken, 192)
    (region,) = DRAW["Fracture"](scene, np.random.default_rng(0))
    change = scene.bone - whole.bone
    assert np.array_equal(scene.soft, whole.soft) and np.array_equal(scene.lung, whole.lung)
    far = (
        np.hypot(
            *np.meshgrid(
                *(scene.grid.x.ravel() - _middle(region, scene)[0], scene.grid.y.ravel() - _middle(region, scene)[1])
            )
        )
        > 6
    )
    assert np.abs(change[far]).max() < 0.05 < 0.2 < np.abs(change[region.mask]).max()
    assert (change[region.mask].sum() > 0) or not healing
    assert "callus" in " ".join(region.modifiers) if healing else "acute" in region.modifiers


def _middle(region: Region, scene: Scene) -> tuple[float, float]:
    x1, y1, x2, y2 = region.box
    return float(scene.grid.x.ravel()[int((x1 + x2) / 2)]), float(scene.grid.y.ravel()[int((y1 + y2) / 2)])


def test_a_collapsed_lobe_lifts_its_dome_and_draws_the_heart_towards_it() -> None:
    for seed in range(40):
        thorax = chest(0)
        shrunk = ALTER["Atelectasis"](thorax, np.random.default_rng(seed))
        if not shrunk.pull:
            continue
        before, after = scene_of(thorax), scene_of(shrunk)
        (region,) = DRAW["Atelectasis"](after, np.random.default_rng(seed))
        moved = np.flatnonzero(after.heart.any(0)).mean() - np.flatnonzero(before.heart.any(0)).mean()
        assert moved * SIGN[region.side] > 0
        assert after.side(region.side).sum() < before.side(region.side).sum()
        return
    pytest.fail("no lobar collapse in 40 draws")


def test_an_underexposed_picture_is_noisier_and_a_moved_one_smoother() -> None:
    scene = scene_of(chest(0), 192)

    def detail(quality: Quality) -> float:
        """Mean difference of neighbours down the lung's columns, relative to the picture's contrast."""
        picture = expose(scene.maps(), scene.grid, artefacts.degrade(PA, quality), np.random.default_rng(0)).picture
        lung = scene.lung_area[1:] & scene.lung_area[:-1]
        return float(np.abs(np.diff(picture, axis=0))[lung].mean() / picture[scene.lung_area].std())

    good = detail(Quality())
    assert good * 1.1 < detail(Quality("underexposed", 0.5)) < detail(Quality("underexposed", 1.0))
    assert good * 0.9 > detail(Quality("motion", 0.1)) > detail(Quality("motion", 0.9))
    assert detail(Quality("motion", 0.9)) < 0.7 * good


def test_a_degree_of_poor_quality_costs_about_the_same_detail_either_way() -> None:
    """1 less the correlation of the lung's fine detail with that of a picture without noise."""
    scene = scene_of(chest(0), 256)

    def detail(technique: Technique) -> np.ndarray:
        picture = expose(scene.maps(), scene.grid, technique, np.random.default_rng(0)).picture
        return (picture - blur(picture, 4.0))[scene.lung_area]

    clean = detail(replace(PA, quanta=1e9))

    def loss(kind: str, degree: float) -> float:
        return 1 - float(np.corrcoef(clean, detail(artefacts.degrade(PA, Quality(kind, degree))))[0, 1])

    lost = {kind: [loss(kind, degree) for degree in (0.1, 0.5, 1.0)] for kind in ("underexposed", "motion")}
    assert all(np.diff(values).min() > 0.02 for values in lost.values())
    assert lost["underexposed"] == pytest.approx(lost["motion"], rel=0.5)


def test_a_level_surface_where_the_air_of_a_pneumothorax_reaches_the_fluid() -> None:
    """Erect hydropneumothorax: a straight level border, and water in the air space below it alone."""
    levels = 0
    for seed in range(40):
        thorax, both = chest(seed % 3), np.random.default_rng(seed)
        scene = scene_of(thorax)
        (air,) = DRAW["Pneumothorax"](scene, both)
        before = scene.soft + scene.lung
        drawn = DRAW["Pleural Effusion"](scene, both)
        fluid = [r for r in drawn if "with an air-fluid level" in r.modifiers]
        put = scene.soft + scene.lung - before  # more than an exchange of lung for water
        if not fluid:
            loculated = any("loculated" in r.modifiers for r in drawn)
            assert loculated or scene.flooded is not None or np.abs(put).max() < 1e-3
            continue
        levels += 1
        region = next(r for r in fluid if r.side == air.side)
        assert scene.flooded is not None and put.max() > 0.5
        tops = region.mask.argmax(0)[region.mask.any(0)]
        flat = np.bincount(tops).max() / len(tops)
        assert flat > 0.5
        assert not (put[: np.flatnonzero(scene.flooded.any(1))[0] - 1] > 1e-3).any()
    assert levels >= 2


def test_fluid_is_seen_beside_any_pneumothorax() -> None:
    """A loculated collection in the air of a collapsed lung, too."""
    labels = {"Pneumothorax": 1, "Pleural Effusion": 1}
    assert set(draw_regions(31, 57, 64, labels=labels)) == set(labels)


def test_a_large_pneumothorax_is_not_only_apical() -> None:
    places = {"small": set(), "moderate": set(), "large": set()}
    for seed in range(60):
        (region,) = DRAW["Pneumothorax"](scene_of(chest(0), 64), np.random.default_rng(seed))
        places[region.modifiers[0]].add(region.location.split()[1])
    assert places == {"small": {"apical"}, "moderate": {"apical", "apicolateral"}, "large": {"apicolateral"}}


def test_venous_catheters_end_low_in_the_vena_cava_but_for_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[np.ndarray] = []
    monkeypatch.setattr(devices, "lay", lambda scene, path, *_: ends.append(path[-1]) or np.zeros((1, 1), bool))
    scene = scene_of(chest(0), 64)
    for seed in range(60):
        devices.picc(scene, np.random.default_rng(seed))
    where = devices.Places(scene.thorax)
    length = where.cava_end[1] - where.cava_top[1]
    deep = (np.array(ends)[:, 1] - where.cava_top[1]) / length
    right = (deep > 0.66) & (deep < 1.15)
    assert 0.7 < right.mean() < 0.97 and (deep < 0.66).any()


def test_the_carina_lies_a_little_to_the_right() -> None:
    for seed in range(3):
        thorax = chest(seed)
        assert -0.8 < thorax.split[0] < -0.1
        assert replace(thorax, pull=1.0).split[0] == pytest.approx(thorax.split[0] + 1)
        scene = scene_of(thorax, 192)
        row = int((thorax.carina - 0.6) / scene.grid.pixel)
        middle = slice(*np.searchsorted(scene.grid.x.ravel(), (-1.6, 1.2)))
        trough = scene.grid.x.ravel()[middle][scene.soft[row, middle].argmin()]
        assert trough == pytest.approx(thorax.split[0], abs=0.7)


def test_gas_in_the_colon_is_rare_and_lies_in_folds_with_walls() -> None:
    """Two or three haustra that overlap on the film, tissue between them."""
    full, common = (replace(chest(0), gastric=size) for size in (1.3, 1.15))
    beam = scene_of(full, 192).beam
    gas = [beam.through(solid) > 0 for solid, material, _ in _flexure(full) if material == AIR]
    assert not _flexure(common) and 2 <= len(gas) <= 3
    together = np.logical_or.reduce(gas)
    assert together.sum() < sum(g.sum() for g in gas)  # they overlap
    assert max(g.sum() for g in gas) < 0.7 * together.sum()
    tissue, _, _ = beam.trace(*(list(column) for column in zip(*_flexure(full), strict=True)))
    assert tissue[together].min() > 0.1


def test_soft_organs_weaken_the_beam_as_tabulated() -> None:
    """ICRU-44 at 60 keV (NIST 126), cm2/g times g/cm3, over soft tissue's 0.2048 * 1.06."""
    soft = 0.2048 * 1.06
    assert pytest.approx(0.2057 * 1.06 / soft, abs=0.01) == BLOOD
    assert pytest.approx(0.2048 * 1.05 / soft, abs=0.01) == MUSCLE
    assert pytest.approx(1.0, abs=0.01) == ORGANS


def test_edema_blurs_the_vessels_more_the_severer_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharpness of the vessel map: how much of it lies in differences of neighbours."""
    sharp = []
    for level in range(3):
        scene = scene_of(chest(0), 192)
        monkeypatch.setattr(edema, "pick", lambda _rng, options, *_, at=level: options[min(at, len(options) - 1)])
        DRAW["Edema"](scene, np.random.default_rng(0))
        sharp.append(float(np.abs(np.diff(scene.vessels, axis=1)).sum() / scene.vessels.sum()))
    assert sharp[0] > 1.15 * sharp[1] > 1.3 * sharp[2]


def test_the_vessels_of_a_collapsed_lung_go_with_it() -> None:
    for seed in range(60):
        thorax = chest(1)
        if "large" not in DRAW["Pneumothorax"](scene_of(thorax, 64), np.random.default_rng(seed))[0].modifiers:
            continue
        before, after = scene_of(thorax, 192), scene_of(thorax, 192)
        (region,) = DRAW["Pneumothorax"](after, np.random.default_rng(seed))
        side = before.side(region.side)
        inside = after.lung > 1.5
        left, gone = side & inside, side & (after.lung < 0.05)
        assert after.vessels[gone].max(initial=0) < 0.05
        steps = [np.abs(np.diff(s.vessels, axis=1, prepend=0))[left].mean() for s in (before, after)]
        assert after.vessels[left].mean() > 0.7 * before.vessels[left].mean()
        assert steps[1] > 1.3 * steps[0]  # squeezed together, not merely cut off
        return
    pytest.fail("no large pneumothorax in 60 draws")
