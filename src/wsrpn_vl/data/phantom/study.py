"""One simulated study: a pure function of (seed, patient, study, size, site)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wsrpn_vl.data.phantom.acquisition import TECHNIQUES, expose, mark
from wsrpn_vl.data.phantom.anatomy import build_scene, cardiothoracic_ratio
from wsrpn_vl.data.phantom.findings import ALTER, DRAW, DRAW_ORDER, parent_regions
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN, SITES, close_hierarchy, no_finding, sample_labels
from wsrpn_vl.data.phantom.reports import write_report
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import Thorax, position, sample_thorax
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS

_PATIENT = 0xFFFFFFFF  # stands in the study's place for what all visits of a patient share
MIN_SIZE = 64


@dataclass(frozen=True)
class PhantomStudy:
    """A radiograph and everything that is known of it.

    image: (h, w) uint8, bright = dense, patient's left at the viewer's right; view: PA or AP;
    labels: 1/0 for each of the 13 observations, 1 exactly where ``regions`` has an entry;
    regions: name -> instances with mask, location and modifiers; report: sections of text;
    triples: (finding, location, modifiers, polarity) stated by the report;
    attributes: sex, age, bmi, ctr (erect PA equivalent), fov_cm, site, no_finding.
    """

    image_id: str
    patient_id: str
    study_id: str
    view: str
    image: np.ndarray
    labels: dict[str, int]
    regions: dict[str, tuple[Region, ...]]
    report: str
    triples: tuple[dict, ...]
    attributes: dict[str, str | int | float] = field(default_factory=dict)

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


def patient_thorax(seed: int, patient: int) -> Thorax:
    """The patient's body before posture and findings."""
    return sample_thorax(_streams(seed, patient, _PATIENT, 3)[0])


def draw_labels(seed: int, patient: int, study: int = 0) -> dict[str, int]:
    """The labels :func:`simulate` gives, without rendering."""
    shared = _streams(seed, patient, _PATIENT, 3)[1]
    return sample_labels(shared, _streams(seed, patient, study, 4)[1])


def simulate(
    seed: int,
    patient: int,
    size: int = 256,
    site: str = "A",
    *,
    study: int = 0,
    labels: Mapping[str, int] | None = None,
    view: str | None = None,
) -> PhantomStudy:
    """Simulate one study.

    size: pixels per side; site: hospital of :data:`prior.SITES`; study: 0-based visit of the patient;
    labels: observations to draw instead of the sampled ones (missing = 0; a child of Lung Opacity sets it);
    view: "PA" or "AP" instead of the sampled one. Each finding has its own stream of chance, so the same patient
    with and without a finding differs by that finding alone.
    Raises: DataError for a size below 64, a negative number, or an unknown site, view or observation.
    """
    if size < MIN_SIZE or min(seed, patient, study) < 0:
        raise DataError(
            f"phantom: size {size} must be >= {MIN_SIZE}; seed {seed}, patient {patient} and study {study} >= 0"
        )
    hospital = lookup("phantom site", site, SITES, DataError)
    for name in labels or {}:
        lookup("observation", name, DRAW, DataError)
    pose, _, chance, words, *own_streams = _streams(seed, patient, study, 4 + len(OBSERVATIONS))
    tree = _streams(seed, patient, _PATIENT, 3)[2]
    drawn_view = "AP" if pose.random() < hospital.ap_share else "PA"
    technique = lookup("phantom view", view or drawn_view, TECHNIQUES[site], DataError)
    wanted = draw_labels(seed, patient, study) if labels is None else close_hierarchy(dict(labels))

    own = {name: stream.bit_generator.state for name, stream in zip(OBSERVATIONS, own_streams, strict=True)}
    thorax = position(patient_thorax(seed, patient), technique.view, pose)
    for name, alter in ALTER.items():
        if wanted[name]:
            thorax = alter(thorax, _restart(own[name]))
    scene = build_scene(thorax, size, technique, tree)
    regions = _draw_findings(scene, wanted, own)

    picture, _ = expose(scene.maps(), scene.grid, technique, chance)
    _lead_marker(picture, technique.view, chance)
    got = {name: int(name in regions) for name in OBSERVATIONS}
    report = write_report(regions, thorax, technique.view, words, repeat=study > 0)
    return PhantomStudy(
        image_id=f"p{patient:06d}_s{study}",
        patient_id=f"p{patient:06d}",
        study_id=f"p{patient:06d}_s{study}",
        view=technique.view,
        image=np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8),
        labels=got,
        regions=regions,
        report=report.text,
        triples=report.triples,
        attributes={
            "sex": thorax.sex,
            "age": thorax.age,
            "bmi": round(thorax.bmi, 1),
            "ctr": round(cardiothoracic_ratio(thorax), 4),
            "fov_cm": round(thorax.fov, 2),
            "site": site,
            "no_finding": no_finding(got),
        },
    )


def _restart(state: Mapping[str, Any]) -> np.random.Generator:
    """A finding's stream from its beginning, so that altering the chest and drawing on it see the same draws."""
    generator = np.random.Generator(np.random.PCG64(0))
    generator.bit_generator.state = state
    return generator


def _draw_findings(
    scene: Scene, wanted: Mapping[str, int], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[Region, ...]]:
    """Draw every wanted observation; Lung Opacity is drawn only when no child stands for it."""
    has_child = any(wanted[name] for name in OPACITY_CHILDREN)
    found: dict[str, tuple[Region, ...]] = {}
    for name in DRAW_ORDER:
        if wanted[name] and not (name == "Lung Opacity" and has_child):
            found[name] = tuple(r for r in DRAW[name](scene, _restart(own[name])) if r.mask.any())
    if has_child:
        found["Lung Opacity"] = tuple(parent_regions(r for n in OPACITY_CHILDREN for r in found.get(n, ())))
    return {name: found[name] for name in OBSERVATIONS if found.get(name)}


def _lead_marker(picture: np.ndarray, view: str, rng: np.random.Generator) -> None:
    """L at the viewer's right or R at the left; AP films often say so."""
    left = bool(rng.random() < 0.75)
    y = float(rng.uniform(0.02, 0.06))
    mark(picture, "L" if left else "R", float(rng.uniform(0.88, 0.93) if left else rng.uniform(0.03, 0.07)), y, 0.045)
    if rng.random() < (0.6 if view == "AP" else 0.15):
        mark(picture, view, float(rng.uniform(0.82, 0.88) if left else rng.uniform(0.03, 0.08)), y + 0.08, 0.032)
