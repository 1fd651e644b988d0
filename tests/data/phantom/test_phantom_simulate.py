"""The simulator as a pure function: what is drawn, what is said of it, and that the two agree."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from wsrpn_vl.data.phantom.anatomy import build_scene
from wsrpn_vl.data.phantom.cardiac import cardiothoracic_ratio
from wsrpn_vl.data.phantom.findings import parent_regions
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.data.phantom.study import PhantomStudy, draw_labels, simulate
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS

SIZE = 128
# These change the chest as a whole: heart, mediastinum, diaphragm; edema thickens the vessels of both lungs.
CHANGES_ALL = {"Cardiomegaly", "Enlarged Cardiomediastinum", "Atelectasis", "Edema"}


@lru_cache(maxsize=1)
def natural() -> tuple[PhantomStudy, ...]:
    return tuple(simulate(5, patient, SIZE) for patient in range(60))


@lru_cache(maxsize=64)
def alone(name: str, patient: int, view: str | None = None) -> PhantomStudy:
    return simulate(5, patient, SIZE, labels={name: 1} if name else {}, view=view)


def test_same_arguments_give_the_same_study() -> None:
    a, b = simulate(9, 4, SIZE, study=1), simulate(9, 4, SIZE, study=1)
    assert np.array_equal(a.image, b.image)
    assert (a.report, a.triples, a.boxes, a.labels, a.attributes) == (
        b.report,
        b.triples,
        b.boxes,
        b.labels,
        b.attributes,
    )


@pytest.mark.parametrize("other", [{"seed": 10}, {"patient": 5}, {"study": 0}])
def test_every_part_of_the_identity_changes_the_picture(other: dict[str, int]) -> None:
    base = {"seed": 9, "patient": 4, "study": 1}
    one, two = (simulate(a["seed"], a["patient"], SIZE, study=a["study"]) for a in (base, base | other))
    assert not np.array_equal(one.image, two.image)


def test_image_is_a_square_8_bit_picture_with_range() -> None:
    for study in natural():
        assert study.image.shape == (SIZE, SIZE) and study.image.dtype == np.uint8
        assert study.image.std() > 25 and np.ptp(study.image) > 150


def test_lungs_are_darker_than_mediastinum_and_abdomen() -> None:
    """The median normal chest, sampled at places no build of body moves off their organ."""
    mean = np.mean([alone("", p).image for p in range(8)], axis=0) / 255
    lungs = mean[45:60, 32:45].mean() / 2 + mean[45:60, 84:96].mean() / 2
    assert lungs + 0.25 < mean[45:60, 62:67].mean()
    assert lungs + 0.25 < mean[110:120, 50:78].mean()


def test_heart_points_to_the_viewers_right() -> None:
    for patient in range(6):
        columns = np.flatnonzero(alone("Cardiomegaly", patient).regions["Cardiomegaly"][0].mask.any(0))
        reach_right = columns[-1] - SIZE / 2
        reach_left = SIZE / 2 - columns[0]
        assert reach_right > reach_left - 0.12 * SIZE  # the field may be off-centre by a few centimetres
    mean_centre = np.mean([np.mean(alone("Cardiomegaly", p).regions["Cardiomegaly"][0].box[::2]) for p in range(6)])
    assert mean_centre > SIZE / 2 + 2


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_each_observation_is_drawn_and_boxed_tightly(name: str) -> None:
    for patient in range(4):
        study = alone(name, patient)
        assert study.labels[name] == 1
        for region in study.regions[name]:
            x1, y1, x2, y2 = (int(v) for v in region.box)
            assert 0 <= x1 < x2 <= SIZE and 0 <= y1 < y2 <= SIZE
            inside = np.zeros_like(region.mask)
            inside[y1:y2, x1:x2] = True
            assert not (region.mask & ~inside).any()
            for edge in (region.mask[y1, :], region.mask[y2 - 1, :], region.mask[:, x1], region.mask[:, x2 - 1]):
                assert edge.any()


def test_every_observation_occurs_in_a_natural_sample() -> None:
    seen = np.zeros(len(OBSERVATIONS), int)
    for patient in range(400):
        seen += np.array(list(draw_labels(5, patient).values()))
    assert (seen > 0).all()


def test_labels_are_presence_of_boxes_and_follow_the_prior() -> None:
    for patient, study in enumerate(natural()):
        boxed = {name for name, _ in study.boxes}
        assert boxed == {name for name, value in study.labels.items() if value}
        assert study.labels == draw_labels(5, patient)
        assert list(study.labels) == list(OBSERVATIONS)


def test_an_opacity_child_implies_its_parent_and_gives_it_its_extent() -> None:
    with_child = [s for s in natural() if any(s.labels[c] for c in OPACITY_CHILDREN)]
    assert len(with_child) > 10
    for study in with_child:
        assert study.labels["Lung Opacity"] == 1
        union = np.logical_or.reduce([r.mask for c in OPACITY_CHILDREN for r in study.regions.get(c, ())])
        parent = np.logical_or.reduce([r.mask for r in study.regions["Lung Opacity"]])
        assert np.array_equal(union, parent)


def test_parent_merges_what_overlaps_and_keeps_what_does_not() -> None:
    def square(x: int) -> Region:
        mask = np.zeros((20, 20), bool)
        mask[5:10, x : x + 5] = True
        return Region(mask, f"at {x}")

    merged = parent_regions([square(0), square(2), square(12)])
    assert sorted(r.box for r in merged) == [(0.0, 5.0, 7.0, 10.0), (12.0, 5.0, 17.0, 10.0)]


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_cardiothoracic_ratio_decides_cardiomegaly(view: str) -> None:
    for patient in range(25):  # the ratio knows no pixels: the smallest picture will do
        healthy, ill = (simulate(5, patient, 64, labels=some, view=view) for some in ({}, {"Cardiomegaly": 1}))
        assert float(healthy.attributes["ctr"]) < 0.5 < float(ill.attributes["ctr"])
    for study in natural():
        assert (float(study.attributes["ctr"]) > 0.5) == bool(study.labels["Cardiomegaly"])


def test_ap_view_magnifies_the_heart() -> None:
    def width(view: str) -> float:
        study = simulate(5, 3, 512, labels={"Cardiomegaly": 1}, view=view)
        x1, _, x2, _ = study.regions["Cardiomegaly"][0].box
        return (x2 - x1) / 512 * float(study.attributes["fov_cm"])

    assert 1.03 < width("AP") / width("PA") < 1.12


@pytest.mark.parametrize("name", [n for n in OBSERVATIONS if n not in CHANGES_ALL])
def test_a_finding_changes_the_picture_inside_its_box_and_hardly_outside(name: str) -> None:
    inside, outside = [], []
    for patient in range(6):
        healthy, ill = alone("", patient, "PA"), alone(name, patient, "PA")
        change = ill.image.astype(float) - healthy.image.astype(float)
        near = np.zeros(change.shape, bool)
        for _, (x1, y1, x2, y2) in ill.boxes:
            near[max(0, int(y1) - 8) : int(y2) + 8, max(0, int(x1) - 8) : int(x2) + 8] = True
        mask = np.logical_or.reduce([r.mask for r in ill.regions[name]])
        change = np.abs(change - np.median(change[~near]))  # the display window follows the whole histogram
        inside.append(np.percentile(change[mask], 80))
        outside.append(np.percentile(change[~near], 80))
    assert np.mean(inside) > 5
    assert np.mean(inside) > 2 * np.mean(outside)


@pytest.mark.parametrize(
    "name", ["Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Pleural Effusion"]
)
def test_opacities_brighten_and_pneumothorax_darkens(name: str) -> None:
    for finding, sign in ((name, 1), ("Pneumothorax", -1)):
        change = []
        for patient in range(5):
            healthy, ill = alone("", patient, "PA"), alone(finding, patient, "PA")
            mask = np.logical_or.reduce([r.mask for r in ill.regions[finding]])
            contrast = ill.image.astype(float) - healthy.image
            change.append(contrast[mask].mean() - np.median(contrast[~mask]))
        assert sign * np.mean(change) > 3


def test_boxes_do_not_depend_on_resolution() -> None:
    coarse, fine = (simulate(5, 11, size, labels={"Consolidation": 1, "Lung Lesion": 1}) for size in (128, 512))
    assert [n for n, _ in coarse.boxes] == [n for n, _ in fine.boxes]
    for (_, a), (_, b) in zip(coarse.boxes, fine.boxes, strict=True):
        assert np.abs(np.array(a) / 128 - np.array(b) / 512).max() < 0.05


def test_visits_of_a_patient_share_the_body() -> None:
    one, two = simulate(5, 2, SIZE), simulate(5, 2, SIZE, study=1)
    for key in ("sex", "age", "bmi"):
        assert one.attributes[key] == two.attributes[key]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"size": 8}, "size=8"),
        ({"seed": -1}, "seed=-1"),
        ({"site": "Z"}, "site"),
        ({"labels": {"Cardiomegali": 1}}, "Cardiomegaly"),
        ({"view": "LATERAL"}, "view"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(arguments: dict, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        simulate(**({"seed": 0, "patient": 0, "size": SIZE} | arguments))
    assert "\n" not in str(caught.value)


def test_tissue_maps_are_finite_non_negative_float32() -> None:
    from wsrpn_vl.data.phantom.acquisition import PA
    from wsrpn_vl.data.phantom.thorax import position, sample_thorax

    for seed in range(4):
        rng = np.random.default_rng(seed)
        scene = build_scene(position(sample_thorax(rng), "PA", rng), SIZE, PA, rng)
        assert 0.3 < cardiothoracic_ratio(scene.thorax) < 0.5
        for name, thickness in scene.maps().items():
            assert thickness.dtype == np.float32, name
            assert np.isfinite(thickness).all() and thickness.min() >= 0, name


def test_a_share_of_studies_is_without_finding() -> None:
    rows = [draw_labels(17, patient) for patient in range(2000)]
    clear = np.mean([not any(v for k, v in r.items() if k != "Support Devices") for r in rows])
    assert 0.10 < clear < 0.27


@pytest.mark.parametrize("patient", range(4))
def test_cardiothoracic_ratio_is_what_a_ruler_on_the_image_gives(patient: int) -> None:
    study = simulate(5, patient, 1024, labels={"Cardiomegaly": 1}, view="PA")
    x1, _, x2, _ = study.regions["Cardiomegaly"][0].box
    heart = (x2 - x1) / 1024 * float(study.attributes["fov_cm"])
    cage = 2 * heart_cage_half_width(5, patient)
    assert heart / cage == pytest.approx(float(study.attributes["ctr"]), abs=0.006)


def heart_cage_half_width(seed: int, patient: int) -> float:
    from wsrpn_vl.data.phantom.study import patient_thorax

    return patient_thorax(seed, patient).half_width
