"""What may be wrong with a data set on purpose: each share is a setting, each affected study carries a flag.

Every trap draws from a stream of chance of its own, so that switching one on leaves everything else as it was. The
functions here only draw; none of them renders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS

SPLITS = ("train", "val", "test")
QUALITIES = ("underexposed", "motion", "rotated", "clipped")
MARK = "token"  # the spurious mark's name in ``attributes["mark"]``
DONORS = 1_000_000  # patients from this number on lend their words; keep a data set's own below it


@dataclass(frozen=True)
class Traps:
    """Shares in [0, 1], all 0 by default: nothing is wrong.

    spurious: observation whose positive training and validation images carry a burnt-in mark with probability
    ``spurious_rate`` (others with ``spurious_base``); in the test split the mark is independent of the finding, at the
    marginal rate it has in training. "" = no mark.
    wrong_report: words of another study; vague_report: words that name no finding; duplicate_report: one stock text
    per set of findings; poor_quality: under-exposed, motion, rotated or clipped images; label_noise: each positive
    label given in train and val is lost with this probability, and as many negatives on average become positive, so
    that the class's prevalence stays.
    """

    spurious: str = ""
    spurious_rate: float = 0.9
    spurious_base: float = 0.05
    wrong_report: float = 0.0
    vague_report: float = 0.0
    duplicate_report: float = 0.0
    poor_quality: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.spurious:
            lookup("observation", self.spurious, dict.fromkeys(OBSERVATIONS), DataError)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "spurious" and not 0 <= value <= 1:
                raise DataError(f"phantom: {field.name}={value}; a share lies in 0..1")
        if self.wrong_report + self.vague_report + self.duplicate_report > 1:
            raise DataError("phantom: wrong_report + vague_report + duplicate_report exceed 1; lower them")


NO_TRAPS = Traps()


@dataclass(frozen=True)
class Quality:
    """kind: good or one of :data:`QUALITIES`; degree 0..1; sign: -1 or 1, which way a picture is turned or cut;
    across: a clipped picture lost a side (True) or its top or bottom (False).
    """

    kind: str = "good"
    degree: float = 0.0
    sign: int = 1
    across: bool = True


def stream(seed: int, patient: int, study: int, purpose: str) -> np.random.Generator:
    """The stream of chance of one purpose in one study; unrelated to those the chest is drawn from."""
    number = 101 + _PURPOSES.index(purpose)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, patient, study, number])))


_PURPOSES = ("spurious", "report", "quality", "labels", "marks", "token", "leads")


def spurious_rate(traps: Traps, prevalence: Mapping[str, float], split: str, label: int) -> float:
    """Probability of the mark on an image of ``split`` whose true label of ``traps.spurious`` is ``label``.

    prevalence: of each observation at the image's site.
    """
    lookup("split", split, dict.fromkeys(SPLITS), DataError)
    if not traps.spurious:
        return 0.0
    if split == "test":
        share = prevalence[traps.spurious]
        return share * traps.spurious_rate + (1 - share) * traps.spurious_base
    return traps.spurious_rate if label else traps.spurious_base


def spurious_present(
    traps: Traps, seed: int, patient: int, study: int, *, prevalence: Mapping[str, float], split: str, label: int
) -> bool:
    """Whether the study's image carries the mark."""
    return bool(stream(seed, patient, study, "spurious").random() < spurious_rate(traps, prevalence, split, label))


def report_kind(traps: Traps, seed: int, patient: int, study: int) -> str:
    """``own``, ``wrong``, ``vague`` or ``template``."""
    at = stream(seed, patient, study, "report").random()
    for kind, share in (
        ("wrong", traps.wrong_report),
        ("vague", traps.vague_report),
        ("template", traps.duplicate_report),
    ):
        if at < share:
            return kind
        at -= share
    return "own"


def draw_quality(traps: Traps, seed: int, patient: int, study: int) -> Quality:
    """Kind, degree and direction of the study's image quality."""
    rng = stream(seed, patient, study, "quality")
    if rng.random() >= traps.poor_quality:
        return Quality()
    kind = QUALITIES[int(rng.integers(len(QUALITIES)))]
    return Quality(kind, float(rng.random()), 1 if rng.random() < 0.5 else -1, bool(rng.random() < 0.6))


def noisy_labels(
    traps: Traps,
    seed: int,
    patient: int,
    study: int,
    *,
    labels: Mapping[str, int],
    prevalence: Mapping[str, float],
    split: str,
) -> dict[str, int]:
    """The labels as handed out. A child may lose its parent: real label tables hold such rows too."""
    lookup("split", split, dict.fromkeys(SPLITS), DataError)
    draws = stream(seed, patient, study, "labels").random(len(labels))
    if split == "test":
        return dict(labels)
    given = {}
    for (name, value), draw in zip(labels.items(), draws, strict=True):
        odds = prevalence[name] / max(1 - prevalence[name], 1e-9)
        given[name] = int(value) ^ int(draw < traps.label_noise * (1.0 if value else odds))
    return given
