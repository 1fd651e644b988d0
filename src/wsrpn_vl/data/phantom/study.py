"""One simulated study: a pure function of (seed, patient, study, size, site, traps, split)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from wsrpn_vl.data.phantom import artefacts
from wsrpn_vl.data.phantom.acquisition import Exposure, Technique, expose
from wsrpn_vl.data.phantom.anatomy import build_scene
from wsrpn_vl.data.phantom.cardiac import cardiothoracic_ratio
from wsrpn_vl.data.phantom.findings import ALTER, DRAW, draw_findings, parent_regions, restart
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN, SITES, Site, close_hierarchy, no_finding, sample_labels
from wsrpn_vl.data.phantom.raster import one_thread
from wsrpn_vl.data.phantom.reports import Report, write_report
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import Thorax, position, sample_thorax
from wsrpn_vl.data.phantom.traps import (
    DONORS,
    MARK,
    NO_TRAPS,
    SPLITS,
    Quality,
    Traps,
    draw_quality,
    noisy_labels,
    report_kind,
    spurious_present,
    stream,
)
from wsrpn_vl.data.phantom.visibility import measure
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS

_PATIENT = 0xFFFFFFFF  # stands in the study's place for what all visits of a patient share
MIN_SIZE = 64


@dataclass(frozen=True)
class PhantomStudy:
    """A radiograph and everything that is known of it.

    image: (h, w) uint8, bright = dense, patient's left at the viewer's right; view: PA or AP;
    labels: 1/0 for each of the 13 observations, 1 exactly where ``regions`` has an entry;
    given_labels: the labels as handed out, after label noise; regions: name -> instances with mask, location and
    modifiers; report: the text handed out, in sections;
    triples: (finding, location, modifiers, polarity) stated by that text;
    attributes: sex, age, bmi, ctr (erect PA equivalent), fov_cm, site, position (erect, supine), no_finding,
    report_kind (own, wrong, vague, template), report_of (id of the study the words belong to), mark (name of the
    spurious mark or ""), quality (good or one of ``traps.QUALITIES``), quality_degree (0..1), flipped (observations
    whose given label is wrong, joined by ";").
    """

    image_id: str
    patient_id: str
    study_id: str
    view: str
    image: np.ndarray
    labels: dict[str, int]
    regions: artefacts.Regions
    report: str
    triples: tuple[dict, ...]
    attributes: dict[str, str | int | float] = field(default_factory=dict)
    given_labels: dict[str, int] = field(default_factory=dict)
    thorax: Thorax | None = None

    @property
    def boxes(self) -> list[tuple[str, tuple[float, float, float, float]]]:
        """(observation, xyxy in pixels, right and bottom exclusive), tight on each region's mask."""
        return [(name, region.box) for name, found in self.regions.items() for region in found]


def _streams(seed: int, patient: int, study: int, n: int) -> list[np.random.Generator]:
    children = np.random.SeedSequence([seed, patient, study]).spawn(n)
    return [np.random.Generator(np.random.PCG64(child)) for child in children]


def studies_of(seed: int, patient: int) -> int:
    """How many studies a patient has: one, or two for a third of the patients."""
    (rng,) = _streams(seed, patient, _PATIENT - 1, 1)
    return 1 + int(rng.random() < 0.33)


def study_name(patient: int, study: int = 0) -> str:
    """Id of a study and of its image."""
    return f"p{patient:06d}_s{study}"


def patient_thorax(seed: int, patient: int, site: str = "A") -> Thorax:
    """The patient's body before posture and findings, drawn from the site's demographics."""
    hospital = lookup("phantom site", site, SITES, DataError)
    rng = _streams(seed, patient, _PATIENT, 3)[0]
    return sample_thorax(rng, male_share=hospital.male_share, age=hospital.age, bmi=hospital.bmi)


def draw_labels(seed: int, patient: int, study: int = 0, site: str = "A") -> dict[str, int]:
    """The labels :func:`simulate` is to draw, without rendering."""
    hospital = lookup("phantom site", site, SITES, DataError)
    shared = _streams(seed, patient, _PATIENT, 3)[1]
    return sample_labels(shared, _streams(seed, patient, study, 4)[1], hospital)


def draw_view(seed: int, patient: int, study: int = 0, site: str = "A") -> str:
    """The view :func:`simulate` takes, without rendering."""
    hospital = lookup("phantom site", site, SITES, DataError)
    return _pose(hospital, None, _streams(seed, patient, study, 4)[0])[0].view


@one_thread
def simulate(
    seed: int,
    patient: int,
    size: int = 256,
    site: str = "A",
    *,
    study: int = 0,
    labels: Mapping[str, int] | None = None,
    view: str | None = None,
    traps: Traps = NO_TRAPS,
    split: str = "train",
) -> PhantomStudy:
    """Simulate one study.

    size: pixels per side; site: hospital of :data:`prior.SITES`; study: 0-based visit of the patient;
    labels: observations to draw instead of the sampled ones (missing = 0; a child of Lung Opacity sets it);
    view: "PA" or "AP" instead of the sampled one; traps: what is wrong on purpose; split: train, val or test, heeded
    by the spurious mark and the label noise alone. Each finding has its own stream of chance, so the same patient
    with and without a finding differs by that finding alone.
    Raises: DataError for a size below 64, a negative number, or an unknown site, view, split or observation.
    """
    _check(seed, patient, study, size, split, labels or {})
    hospital = lookup("phantom site", site, SITES, DataError)
    drawn = _draw(seed, patient, study, size, hospital, labels, view)
    quality = draw_quality(traps, seed, patient, study)
    picture, regions = _picture(drawn, (seed, patient, study), hospital, quality)
    got = {name: int(name in regions) for name in OBSERVATIONS}
    marked = spurious_present(
        traps, seed, patient, study, prevalence=hospital.prevalence, split=split, label=got.get(traps.spurious, 0)
    )
    if marked:
        artefacts.token(picture, stream(seed, patient, study, "token"))
    given = noisy_labels(traps, seed, patient, study, labels=got, prevalence=hospital.prevalence, split=split)
    kind = report_kind(traps, seed, patient, study)
    report, words_of = _words(kind, (seed, patient, study), hospital, drawn, regions, got)
    name = study_name(patient, study)
    return PhantomStudy(
        image_id=name,
        patient_id=f"p{patient:06d}",
        study_id=name,
        view=drawn.technique.view,
        image=np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8),
        labels=got,
        regions=regions,
        report=report.text,
        triples=report.triples,
        attributes=_body(drawn.thorax, hospital.name)
        | {
            "no_finding": no_finding(got),
            "report_kind": kind,
            "report_of": words_of,
            "mark": MARK if marked else "",
            "quality": quality.kind,
            "quality_degree": round(quality.degree, 4),
            "flipped": ";".join(n for n in OBSERVATIONS if given[n] != got[n]),
        },
        given_labels=given,
        thorax=drawn.thorax,
    )


def check_range(size: int, **numbers: int) -> None:
    """Raises: DataError for a size that is too small or a negative number; its name and value are told."""
    if size < MIN_SIZE:
        raise DataError(f"phantom: size={size}; the smallest size is {MIN_SIZE} pixels")
    for name, value in numbers.items():
        if value < 0:
            raise DataError(f"phantom: {name}={value}; use 0 or a positive number")


def _check(seed: int, patient: int, study: int, size: int, split: str, labels: Mapping[str, int]) -> None:
    check_range(size, seed=seed, patient=patient, study=study)
    lookup("split", split, dict.fromkeys(SPLITS), DataError)
    for name in labels:
        lookup("observation", name, DRAW, DataError)


def _picture(
    drawn: _Drawn, identity: tuple[int, int, int], hospital: Site, quality: Quality
) -> tuple[np.ndarray, artefacts.Regions]:
    """The finished picture, (h, w) float32 in [0, 1], and what is left of the regions in it."""
    technique = artefacts.degrade(drawn.technique, quality)
    exposure = _expose(drawn, technique, hospital, stream(*identity, "leads"))
    measured = measure(exposure, drawn.regions, drawn.scene.changes)
    picture, regions = artefacts.reframe(exposure.picture, measured, quality)
    hand = stream(*identity, "marks")
    picture, regions = artefacts.finish(picture, regions, technique.view, drawn.thorax.supine, hospital.habits, hand)
    return picture, regions if regions is measured else _settle(regions, drawn.regions)


def _expose(drawn: _Drawn, technique: Technique, hospital: Site, rng: np.random.Generator) -> Exposure:
    """The exposure, on AP films at times through monitoring leads."""
    maps = drawn.scene.maps()
    if technique.view == "AP" and rng.random() < hospital.habits.leads:
        maps["metal"] = maps["metal"] + artefacts.leads(drawn.scene.grid.size, rng)
    return expose(maps, drawn.scene.grid, technique, drawn.chance)


def _body(thorax: Thorax, site: str) -> dict[str, str | int | float]:
    """What is known of the patient as placed for this study."""
    return {
        "sex": thorax.sex,
        "age": thorax.age,
        "bmi": round(thorax.bmi, 1),
        "ctr": round(cardiothoracic_ratio(thorax), 4),
        "fov_cm": round(thorax.fov, 2),
        "site": site,
        "position": "supine" if thorax.supine else "erect",
    }


@one_thread
def draw_regions(
    seed: int, patient: int, size: int, site: str = "A", *, labels: Mapping[str, int] | None = None
) -> dict[str, tuple[Region, ...]]:
    """The regions that :func:`simulate` draws on a first visit, before exposure: no picture, visibility or trap."""
    return _draw(seed, patient, 0, size, lookup("phantom site", site, SITES, DataError), labels, None).regions


@dataclass(frozen=True)
class _Drawn:
    """A study before the exposure, and the streams that are left."""

    technique: Technique
    thorax: Thorax
    scene: Scene
    regions: dict[str, tuple[Region, ...]]
    chance: np.random.Generator
    words: np.random.Generator


def _draw(
    seed: int, patient: int, study: int, size: int, hospital: Site, labels: Mapping[str, int] | None, view: str | None
) -> _Drawn:
    pose, _, chance, words, *own_streams = _streams(seed, patient, study, 4 + len(OBSERVATIONS))
    tree = _streams(seed, patient, _PATIENT, 3)[2]
    technique, supine = _pose(hospital, view, pose)
    wanted = draw_labels(seed, patient, study, hospital.name) if labels is None else close_hierarchy(dict(labels))
    own = {name: s.bit_generator.state for name, s in zip(OBSERVATIONS, own_streams, strict=True)}
    thorax = position(patient_thorax(seed, patient, hospital.name), technique.view, pose, supine=supine)
    for name, alter in ALTER.items():
        if wanted[name]:
            thorax = alter(thorax, restart(own[name]))
    scene = build_scene(thorax, size, technique, tree)
    return _Drawn(technique, thorax, scene, draw_findings(scene, wanted, own), chance, words)


def _pose(hospital: Site, view: str | None, pose: np.random.Generator) -> tuple[Technique, bool]:
    """The technique of the sampled or given view and whether the patient lies; the same draws whatever the view."""
    at, posture = pose.random(2)
    drawn = "AP" if at < hospital.ap_share else "PA"
    technique = lookup("phantom view", view or drawn, hospital.techniques, DataError)
    return technique, technique.view == "AP" and bool(posture < hospital.supine_share)


def _words(
    kind: str,
    identity: tuple[int, int, int],
    hospital: Site,
    drawn: _Drawn,
    regions: artefacts.Regions,
    labels: Mapping[str, int],
) -> tuple[Report, str]:
    """The text handed out and the id of the study it belongs to."""
    seed, patient, study = identity
    if kind == "wrong":
        donor = patient + DONORS
        while draw_labels(seed, donor, 0, hospital.name) == labels:  # the words of an equal chest would not be wrong
            donor += DONORS
        other = _draw(seed, donor, 0, MIN_SIZE, hospital, None, None)
        return write_report(other.regions, other.thorax, other.technique.view, other.words), study_name(donor)
    report = write_report(regions, drawn.thorax, drawn.technique.view, drawn.words, repeat=study > 0, kind=kind)
    return report, study_name(patient, study)


def _settle(regions: artefacts.Regions, before: artefacts.Regions) -> artefacts.Regions:
    """After regions were cut or lost: the parent is again what its children are, and goes when they are gone."""
    kept = {name: found for name, found in regions.items() if found}
    if any(name in before for name in OPACITY_CHILDREN):
        kept.pop("Lung Opacity", None)
    children = [r for name in OPACITY_CHILDREN for r in kept.get(name, ())]
    if children:
        kept["Lung Opacity"] = tuple(parent_regions(children))
    return {name: kept[name] for name in OBSERVATIONS if name in kept}
