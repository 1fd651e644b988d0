"""Which findings a patient has, and where: CheXpert's label statistics and the two hospitals.

Labels are drawn from a log-linear (maximum-entropy) model over all sets of observations in which a child of Lung
Opacity brings its parent: ``P(x) ~ exp(sum_i h_i x_i + sum_ij J_ij x_i x_j + g(sum_i x_i))``. J and g are fitted to
CheXpert's training set, 191,027 frontal images (Irvin et al., AAAI 2019): P(column | row) and the number of positives
per image (benchmarks/phantom_prior.py). h follows from a hospital's prevalences, which it meets exactly.
CheXpert labels Lung Opacity apart from its children (P(opacity | edema) = 0.53); here a child always implies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import product

import numpy as np

from wsrpn_vl.data.phantom.acquisition import TECHNIQUES, Technique
from wsrpn_vl.data.phantom.artefacts import HABITS, Habits
from wsrpn_vl.data.phantom.raster import one_thread
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS

# Lung Opacity is the parent of these; a child's presence sets the parent's label.
OPACITY_CHILDREN = ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis")
# fmt: off
_COUPLING = (  # J in percent, below the diagonal, in the order of OBSERVATIONS
    (),
    (71,),
    (313, -32,),
    (-18, 115, 0,),
    (-75, 352, 0, -318,),
    (-53, 76, 0, -180, -226,),
    (-55, 74, 0, -154, -214, -89,),
    (-63, 105, 0, -228, -213, -204, -224,),
    (11, -50, 375, -50, -214, -125, -224, -63,),
    (58, 106, 352, -12, 28, 49, -31, 30, 53,),
    (74, 18, 310, 79, -112, 53, 57, -33, 20, -5,),
    (81, -3, 258, -3, -74, -11, 4, 13, 91, 31, 117,),
    (92, 105, 242, 3, 110, 71, -10, 97, 134, 157, 40, 44,),
)
# g in percent, for 0, 1, ... positives; the last stands for more, too
_COUNT = (-147, 106, 273, 253, 70, -145, -410)
# fmt: on
_PERSISTENCE = 0.7  # share of a patient's labels that a visit takes over before the rest is drawn to match


@dataclass(frozen=True)
class Site:
    """A hospital.

    ap_share: share of its studies taken antero-posterior; supine_share: share of those taken lying down;
    prevalence: share of studies with each observation; male_share, age and bmi (mean, sd): its patients;
    techniques: view -> how it is taken; habits: how pictures are marked and collimated.
    """

    name: str
    ap_share: float
    supine_share: float
    prevalence: Mapping[str, float]
    male_share: float
    age: tuple[float, float]
    bmi: tuple[float, float]
    techniques: dict[str, Technique]
    habits: Habits

    @property
    def prevalence_vector(self) -> tuple[float, ...]:
        """The prevalences in the order of the observations."""
        return tuple(self.prevalence[name] for name in OBSERVATIONS)


@lru_cache(maxsize=1)
def published_priors() -> dict:
    """The published statistics the phantom is calibrated to, with their sources (``real_priors.json``).

    ``boxes``: percentiles of NIH's boxes; ``rsna_pneumonia``; ``chexpert_train_frontal``: ``labels``,
    ``P(column|row)`` and ``positives_per_image``.
    """
    file = resources.files("wsrpn_vl.data.phantom") / "real_priors.json"
    return json.loads(file.read_text("utf-8"))


def _chexpert() -> dict[str, float]:
    labels = published_priors()["chexpert_train_frontal"]["labels"]
    return {name: labels[name]["positive"] for name in OBSERVATIONS}


_INTENSIVE_CARE = {
    "Enlarged Cardiomediastinum": 0.07,
    "Cardiomegaly": 0.20,
    "Lung Opacity": 0.64,
    "Lung Lesion": 0.02,
    "Edema": 0.36,
    "Consolidation": 0.11,
    "Pneumonia": 0.05,
    "Atelectasis": 0.24,
    "Pneumothorax": 0.12,
    "Pleural Effusion": 0.50,
    "Pleural Other": 0.01,
    "Fracture": 0.025,
    "Support Devices": 0.78,
}
# A: a general hospital with CheXpert's findings; somewhat more upright than bedside films, as in NIH ChestX-ray14 (40 %
# AP). B: intensive care: four in five films portable, sicker and older patients, more devices, and other machines.
SITES: dict[str, Site] = {
    "A": Site("A", 0.45, 0.5, _chexpert(), 0.58, (60, 17), (27, 5), TECHNIQUES["A"], HABITS["A"]),
    "B": Site("B", 0.80, 0.75, _INTENSIVE_CARE, 0.52, (67, 14), (29, 6), TECHNIQUES["B"], HABITS["B"]),
}


def _states() -> np.ndarray:
    """(n, 13) int: every set of observations in which no child is without its parent."""
    every = np.array(list(product((0, 1), repeat=len(OBSERVATIONS))), np.int64)
    children = every[:, [OBSERVATIONS.index(name) for name in OPACITY_CHILDREN]].max(1)
    return every[children <= every[:, OBSERVATIONS.index("Lung Opacity")]]


STATES = _states()
_CODES = STATES @ (1 << np.arange(len(OBSERVATIONS)))


@lru_cache(maxsize=8)
@one_thread  # or the last bits, and with them now and then a label, would depend on who asks first
def state_probabilities(prevalence: tuple[float, ...]) -> np.ndarray:
    """(n,) probability of each of :data:`STATES`; its marginals are ``prevalence``, in the order of the observations.

    Raises: DataError if no set of labels has these prevalences (a child more frequent than Lung Opacity, say).
    """
    coupling = np.zeros((len(OBSERVATIONS),) * 2)
    for i, row in enumerate(_COUPLING):
        coupling[i, :i] = np.array(row) / 100
    base = ((STATES @ coupling) * STATES).sum(1) + np.array(_COUNT)[np.minimum(STATES.sum(1), len(_COUNT) - 1)] / 100
    target = np.array(prevalence)
    if not ((target > 0) & (target < 1)).all():
        raise DataError("phantom: a site's prevalences must lie between 0 and 1, both exclusive")
    h = np.log(target / (1 - target))
    for _ in range(200):  # damped Newton steps on the convex dual
        score = base + STATES @ h
        p = np.exp(score - score.max())
        p /= p.sum()
        mean = p @ STATES
        if np.abs(mean - target).max() < 1e-10:
            return p
        spread = (STATES * p[:, None]).T @ STATES - np.outer(mean, mean)
        h += np.clip(np.linalg.solve(spread + 1e-12 * np.eye(len(h)), target - mean), -1, 1)
    raise DataError("phantom: no labels have a site's prevalences; raise Lung Opacity's above that of its children")


@lru_cache(maxsize=8)
def _cumulative(prevalence: tuple[float, ...]) -> np.ndarray:
    return np.cumsum(state_probabilities(prevalence))


def sample_labels(patient_rng: np.random.Generator, study_rng: np.random.Generator, site: Site) -> dict[str, int]:
    """One study's 13 labels (1 or 0).

    A patient has a state of its own; a visit takes over a random part of it and draws the rest given that part, so
    that visits are alike and each follows the site's distribution.
    """
    cumulative = _cumulative(site.prevalence_vector)
    usual = int(_CODES[_pick(cumulative, patient_rng.random())])
    kept = int((study_rng.random(len(OBSERVATIONS)) < _PERSISTENCE) @ (1 << np.arange(len(OBSERVATIONS))))
    match = np.flatnonzero((_CODES & kept) == (usual & kept))
    at = _pick(np.cumsum(state_probabilities(site.prevalence_vector)[match]), study_rng.random())
    return {name: int(v) for name, v in zip(OBSERVATIONS, STATES[match[at]], strict=True)}


def _pick(cumulative: np.ndarray, u: float) -> int:
    return min(int(np.searchsorted(cumulative, u * cumulative[-1], side="right")), len(cumulative) - 1)


def departure(p: np.ndarray) -> dict[str, float]:
    """How far a distribution over :data:`STATES` is from CheXpert's numbers.

    prevalence: largest difference; conditional: mean of |P(column | row) - published| weighted by the row's prevalence,
    conditional_max: largest of these weighted differences (both without the pairs of Lung Opacity and a child, which
    the hierarchy sets); positives: total variation of the histogram of positives per image.
    """
    published = published_priors()["chexpert_train_frontal"]
    mean = p @ STATES
    joint = (STATES * p[:, None]).T @ STATES
    children = ("Lung Opacity", *OPACITY_CHILDREN)
    error, weight = [], []
    for i, a in enumerate(OBSERVATIONS):
        for j, b in enumerate(OBSERVATIONS):
            if i != j and not ("Lung Opacity" in (a, b) and a in children and b in children):
                error.append(abs(joint[i, j] / mean[i] - published["P(column|row)"][a][b]))
                weight.append(published["labels"][a]["positive"])
    bars = published["positives_per_image"]
    histogram = np.bincount(STATES.sum(1), p, len(OBSERVATIONS) + 1)
    wanted = np.array([bars.get(str(k), 0.0) for k in range(len(OBSERVATIONS) + 1)])
    return {
        "prevalence": float(
            max(abs(m - published["labels"][n]["positive"]) for m, n in zip(mean, OBSERVATIONS, strict=True))
        ),
        "conditional": float(np.average(error, weights=weight)),
        "conditional_max": float(np.max(np.multiply(error, weight))),
        "positives": float(np.abs(histogram - wanted).sum() / 2),
    }


def close_hierarchy(labels: dict[str, int]) -> dict[str, int]:
    """The same labels with Lung Opacity set wherever one of its children is."""
    parent = labels.get("Lung Opacity", 0) or any(labels.get(child, 0) for child in OPACITY_CHILDREN)
    return {name: int(parent) if name == "Lung Opacity" else int(labels.get(name, 0)) for name in OBSERVATIONS}


def no_finding(labels: dict[str, int]) -> int:
    """CheXpert's ``No Finding``: nothing but, at most, a support device."""
    return int(not any(v for name, v in labels.items() if name != "Support Devices"))
