"""Two hospitals and what may be wrong on purpose: rates by counting draws, effects by comparing pictures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from wsrpn_vl.data.phantom import artefacts
from wsrpn_vl.data.phantom.acquisition import PA
from wsrpn_vl.data.phantom.prior import (
    OPACITY_CHILDREN,
    SITES,
    STATES,
    departure,
    published_priors,
    sample_labels,
    state_probabilities,
)
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.data.phantom.study import draw_labels, draw_view, patient_thorax, simulate
from wsrpn_vl.data.phantom.traps import (
    NO_TRAPS,
    QUALITIES,
    Quality,
    Traps,
    draw_quality,
    noisy_labels,
    report_kind,
    spurious_present,
)
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS

SIZE = 64
MANY = 3000  # the sd of a share is below one point


# --- labels -----------------------------------------------------------------------------------------------------------


def test_label_prior_is_near_the_published_one() -> None:
    """Prevalence exactly; the rest as near as a child that brings its parent allows."""
    away = departure(state_probabilities(SITES["A"].prevalence_vector))
    assert away["prevalence"] < 1e-6
    assert away["conditional"] < 0.005 and away["conditional_max"] < 0.005
    assert away["positives"] < 0.07


@pytest.mark.parametrize("site", ["A", "B"])
def test_every_visit_has_the_sites_prevalence(site: str) -> None:
    for study in (0, 1):
        rows = np.array([list(draw_labels(23, patient, study, site).values()) for patient in range(MANY)])
        assert np.abs(rows.mean(0) - SITES[site].prevalence_vector).max() < 0.03
        parent = rows[:, OBSERVATIONS.index("Lung Opacity")]
        assert (rows[:, [OBSERVATIONS.index(name) for name in OPACITY_CHILDREN]].max(1) <= parent).all()


def test_visits_of_one_patient_are_alike_but_not_the_same() -> None:
    one, two = (np.array([list(draw_labels(2, p, study).values()) for p in range(800)]) for study in (0, 1))
    devices = OBSERVATIONS.index("Support Devices")
    assert 0.3 < np.corrcoef(one[:, devices], two[:, devices])[0, 1] < 0.9
    assert 0.05 < (one == two).all(1).mean() < 0.95


def test_sampled_pairs_are_those_of_the_model() -> None:
    p = state_probabilities(SITES["A"].prevalence_vector)
    rows = np.array([list(draw_labels(29, patient).values()) for patient in range(MANY)])
    assert np.abs(rows.T @ rows / MANY - (STATES * p[:, None]).T @ STATES).max() < 0.03


def test_impossible_prevalences_are_one_clear_line() -> None:
    wrong = replace(SITES["A"], prevalence=dict(SITES["A"].prevalence) | {"Lung Opacity": 0.1})
    with pytest.raises(DataError, match="Lung Opacity"):
        sample_labels(np.random.default_rng(0), np.random.default_rng(0), wrong)


def test_published_numbers_name_their_sources() -> None:
    published = published_priors()
    assert set(published["sources"]) == set(published) - {"sources"}


# --- sites ------------------------------------------------------------------------------------------------------------


def test_sites_differ_in_views_prevalence_and_patients() -> None:
    share = {s: np.mean([draw_view(5, p, 0, s) == "AP" for p in range(1500)]) for s in SITES}
    assert share["B"] - share["A"] > 0.25
    for name, site in SITES.items():
        assert share[name] == pytest.approx(site.ap_share, abs=0.04)
    a, b = (SITES[s].prevalence_vector for s in "AB")
    assert np.abs(np.subtract(a, b)).max() > 0.1
    age = {s: np.mean([patient_thorax(5, p, s).age for p in range(600)]) for s in SITES}
    assert age["B"] > age["A"] + 3


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_sites_differ_in_the_grey_values_of_the_same_patients(view: str) -> None:
    histogram = {}
    for site in SITES:
        images = [simulate(6, p, SIZE, site, labels={}, view=view).image for p in range(6)]
        histogram[site] = np.bincount(np.concatenate(images).ravel() // 16, minlength=16) / len(images) / SIZE**2
    assert np.abs(histogram["A"] - histogram["B"]).sum() / 2 > 0.12


def test_position_is_erect_for_pa_and_follows_the_site_for_ap() -> None:
    assert simulate(6, 0, SIZE, view="PA").attributes["position"] == "erect"
    lying = {
        s: [simulate(6, p, SIZE, s, labels={}, view="AP").attributes["position"] for p in range(24)] for s in SITES
    }
    assert set(lying["A"]) == {"erect", "supine"}
    assert lying["B"].count("supine") > lying["A"].count("supine")


# --- rates ------------------------------------------------------------------------------------------------------------


def marks(split: str, label: int, traps: Traps) -> float:
    prevalence = SITES["A"].prevalence
    return float(
        np.mean(
            [spurious_present(traps, 1, p, 0, prevalence=prevalence, split=split, label=label) for p in range(MANY)]
        )
    )


def test_the_mark_goes_with_the_finding_in_training_alone() -> None:
    traps = Traps(spurious="Edema", spurious_rate=0.8, spurious_base=0.1)
    for split in ("train", "val"):
        assert marks(split, 1, traps) == pytest.approx(0.8, abs=0.03)
        assert marks(split, 0, traps) == pytest.approx(0.1, abs=0.03)
    marginal = 0.26 * 0.8 + 0.74 * 0.1
    assert marks("test", 1, traps) == marks("test", 0, traps) == pytest.approx(marginal, abs=0.03)
    assert marks("train", 1, NO_TRAPS) == 0


def test_report_kinds_have_their_shares() -> None:
    traps = Traps(wrong_report=0.2, vague_report=0.1, duplicate_report=0.3)
    kinds = [report_kind(traps, 1, p, 0) for p in range(MANY)]
    for kind, share in (("wrong", 0.2), ("vague", 0.1), ("template", 0.3), ("own", 0.4)):
        assert kinds.count(kind) / MANY == pytest.approx(share, abs=0.03)


def test_qualities_have_their_share_and_any_degree() -> None:
    drawn = [draw_quality(Traps(poor_quality=0.4), 1, p, 0) for p in range(MANY)]
    poor = [q for q in drawn if q.kind != "good"]
    assert len(poor) / MANY == pytest.approx(0.4, abs=0.03)
    for kind in QUALITIES:
        degree = [q.degree for q in poor if q.kind == kind]
        assert len(degree) / len(poor) == pytest.approx(0.25, abs=0.05)
        assert min(degree) < 0.05 and max(degree) > 0.95
    assert {q.degree for q in drawn if q.kind == "good"} == {0.0}


def test_label_noise_loses_its_share_and_keeps_the_prevalence() -> None:
    site = SITES["A"]
    true = [draw_labels(31, p) for p in range(MANY)]
    given = [
        noisy_labels(Traps(label_noise=0.3), 31, p, 0, labels=labels, prevalence=site.prevalence, split="train")
        for p, labels in enumerate(true)
    ]
    for name in ("Support Devices", "Pleural Effusion", "Edema"):
        before, after = (np.array([row[name] for row in rows]) for rows in (true, given))
        assert (after[before == 1] == 0).mean() == pytest.approx(0.3, abs=0.05)
        assert after.mean() == pytest.approx(before.mean(), abs=0.03)
        assert (after[before == 0] == 1).any()
    kept = noisy_labels(Traps(label_noise=1), 31, 0, 0, labels=true[0], prevalence=site.prevalence, split="test")
    assert kept == true[0]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"poor_quality": 1.2}, "poor_quality"),
        ({"spurious": "Edma"}, "Edema"),
        ({"wrong_report": 0.6, "vague_report": 0.6}, "exceed 1"),
    ],
)
def test_a_wrong_trap_is_one_clear_line(wrong: dict, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        Traps(**wrong)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="train"):
        simulate(0, 0, SIZE, split="trian")


# --- one trap changes one thing ---------------------------------------------------------------------------------------

BASE = simulate(8, 3, SIZE, labels={"Consolidation": 1, "Pleural Effusion": 1})


def trapped(split: str = "train", **traps):
    return simulate(8, 3, SIZE, labels={"Consolidation": 1, "Pleural Effusion": 1}, traps=Traps(**traps), split=split)


def test_without_traps_the_split_changes_nothing() -> None:
    for split in ("val", "test"):
        other = trapped(split)
        assert np.array_equal(other.image, BASE.image)
        assert (other.report, other.labels, other.given_labels) == (BASE.report, BASE.labels, BASE.given_labels)
    assert BASE.given_labels == BASE.labels
    assert {type(v) for v in BASE.attributes.values()} <= {str, int, float, bool}
    assert (BASE.attributes["report_kind"], BASE.attributes["report_of"]) == ("own", BASE.image_id)
    assert (BASE.attributes["quality"], BASE.attributes["mark"], BASE.attributes["flipped"]) == ("good", "", "")


def test_label_noise_changes_given_labels_alone() -> None:
    noisy = trapped(label_noise=1.0)
    assert np.array_equal(noisy.image, BASE.image)
    assert (noisy.report, noisy.labels, noisy.boxes) == (BASE.report, BASE.labels, BASE.boxes)
    assert noisy.given_labels["Consolidation"] == 0
    flipped = [n for n in OBSERVATIONS if noisy.given_labels[n] != noisy.labels[n]]
    assert noisy.attributes["flipped"] == ";".join(flipped)
    assert trapped("test", label_noise=1.0).given_labels == BASE.labels


def test_the_mark_changes_one_corner_alone() -> None:
    marked = trapped(spurious="Consolidation", spurious_rate=1.0, spurious_base=0.0)
    rows, cols = np.nonzero(marked.image != BASE.image)
    assert marked.attributes["mark"] == "token"
    assert rows.size and rows.min() > 0.8 * SIZE and cols.max() < 0.2 * SIZE
    assert (marked.report, marked.labels, marked.boxes) == (BASE.report, BASE.labels, BASE.boxes)


@pytest.mark.parametrize(("trap", "kind"), [("wrong", "wrong"), ("vague", "vague"), ("duplicate", "template")])
def test_a_report_trap_changes_words_alone(trap: str, kind: str) -> None:
    study = trapped(**{f"{trap}_report": 1.0})
    assert np.array_equal(study.image, BASE.image)
    assert (study.labels, study.given_labels, study.boxes) == (BASE.labels, BASE.labels, BASE.boxes)
    assert study.attributes["report_kind"] == kind and study.report != BASE.report
    assert (study.attributes["report_of"] == study.image_id) == (kind != "wrong")


def test_wrong_words_are_those_of_the_named_study() -> None:
    study = trapped(wrong_report=1.0)
    donor = simulate(8, int(str(study.attributes["report_of"])[1:].split("_")[0]), SIZE)
    assert donor.image_id == study.attributes["report_of"]
    assert (donor.report, donor.triples) == (study.report, study.triples)
    assert donor.labels != study.labels


def test_poor_quality_changes_the_picture_and_not_what_was_drawn() -> None:
    seen = set()
    for patient in range(24):
        good = simulate(8, patient, SIZE, labels={"Pleural Effusion": 1})
        poor = simulate(8, patient, SIZE, labels={"Pleural Effusion": 1}, traps=Traps(poor_quality=1.0))
        kind = str(poor.attributes["quality"])
        seen.add(kind)
        assert not np.array_equal(good.image, poor.image)
        assert 0 <= float(poor.attributes["quality_degree"]) <= 1
        assert poor.labels == {name: int(name in poor.regions) for name in OBSERVATIONS}
        if kind in ("underexposed", "motion"):
            assert (poor.boxes, poor.labels, poor.report) == (good.boxes, good.labels, good.report)
        elif kind == "rotated" and poor.boxes:
            assert poor.boxes != good.boxes
        for _, (x1, y1, x2, y2) in poor.boxes:
            assert 0 <= x1 < x2 <= SIZE and 0 <= y1 < y2 <= SIZE
    assert seen == set(QUALITIES)


def test_all_traps_at_once_are_reproducible() -> None:
    everything = Traps("Edema", poor_quality=0.7, wrong_report=0.3, vague_report=0.3, label_noise=0.3)
    for patient in range(4):
        one, two = (simulate(8, patient, SIZE, "B", traps=everything) for _ in range(2))
        assert np.array_equal(one.image, two.image)
        assert (one.attributes, one.report, one.given_labels) == (two.attributes, two.report, two.given_labels)


# --- geometry and marks -----------------------------------------------------------------------------------------------


def block(x1: int, y1: int, x2: int, y2: int, size: int = 128) -> tuple[np.ndarray, dict[str, tuple[Region, ...]]]:
    mask = np.zeros((size, size), bool)
    mask[y1:y2, x1:x2] = True
    return mask.astype(np.float32), {"Lung Lesion": (Region(mask, "here"),)}


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_turned_box_is_tight_on_the_turned_corners(sign: int) -> None:
    picture, regions = block(70, 40, 90, 52)
    turned, after = artefacts.reframe(picture, regions, Quality("rotated", 0.5, sign))
    angle = sign * math.radians(13)
    corners = np.array([(70, 40), (90, 40), (70, 52), (90, 52)], float) - 64
    # Pillow maps new to old by this rotation, so old corners move by its inverse.
    c, s = math.cos(angle), math.sin(angle)
    moved = corners @ np.array([[c, -s], [s, c]]).T + 64
    want = (*moved.min(0), *moved.max(0))
    (region,) = after["Lung Lesion"]
    assert region.box == pytest.approx(want, abs=1.5)
    assert ((turned > 0.5) == region.mask).mean() > 0.995


def test_a_clipped_picture_enlarges_and_drops_what_is_lost() -> None:
    quality = Quality("clipped", 0.6, 1, True)  # 30 % of the left edge is lost
    picture, regions = block(60, 40, 84, 60)
    clipped, after = artefacts.reframe(picture, regions, quality)
    (region,) = after["Lung Lesion"]
    lost, keep = 0.3 * 128, 0.7
    want = ((60 - lost) / keep, (40 - lost / 2) / keep, (84 - lost) / keep, (60 - lost / 2) / keep)
    assert region.box == pytest.approx(want, abs=1.5)
    assert ((clipped > 0.5) == region.mask).mean() > 0.99
    for x, left in ((2, 0), (20, 0), (28, 1)):  # nothing, 2 of 20 columns, half of them are left
        _, rest = artefacts.reframe(*block(x, 60, x + 20, 70), quality)
        assert len(rest["Lung Lesion"]) == left


@pytest.mark.parametrize("kind", ["underexposed", "motion"])
def test_degree_worsens_the_technique(kind: str) -> None:
    mild, bad = (artefacts.degrade(PA, Quality(kind, degree)) for degree in (0.1, 0.9))
    assert (bad.quanta, *map(float.__neg__, bad.motion_mm)) <= (mild.quanta, *map(float.__neg__, mild.motion_mm))
    assert mild != PA and mild != bad


def test_words_are_burnt_in_where_asked() -> None:
    image = np.zeros((140, 140), np.float32)
    artefacts.burn(image, "L", 0.5, 0.2, 0.05)
    rows, cols = np.nonzero(image)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (28, 34, 70, 74)
    assert image[28:35, 70].min() > 0.9 and image[28:34, 72].max() == 0
    right = np.zeros_like(image)
    artefacts.burn(right, "AP", 1.0, 0.5, 0.05, from_right=True)
    assert np.nonzero(right)[1].max() == 139


def test_a_shutter_covers_the_edge_and_cuts_regions() -> None:
    always = replace(artefacts.HABITS["A"], shutters=1.0, border=0.0, words={"PA": ()})
    picture, regions = block(0, 0, 128, 128)
    shut, after = artefacts.finish(picture, regions, "PA", False, always, np.random.default_rng(0))
    (region,) = after["Lung Lesion"]
    assert shut[0].max() == 0 and shut[:, 0].max() == 0 and shut[64, 64] == 1
    x1, y1, x2, y2 = region.box
    assert min(x1, y1) >= 1 and max(x2, y2) <= 127


def test_leads_are_thin_and_faint() -> None:
    iron = artefacts.leads(128, np.random.default_rng(0))
    assert iron.dtype == np.float32 and iron.min() == 0
    assert 0.002 < (iron > 0).mean() < 0.1
    assert iron.max() * PA.mu["metal"] < 1.0
