"""Which findings a patient has: prevalence and co-occurrence of CheXpert, with the opacity hierarchy kept.

Source: CheXpert training set, 191,027 frontal images (Irvin et al., AAAI 2019), share of images labelled positive and
P(column | row). Co-occurrence is a Gaussian copula whose correlations are the tetrachoric ones of those pairs.
CheXpert labels Lung Opacity apart from its children (P(opacity | edema) = 0.53); here a child always implies it, so
the parent's own latent is thinned until its total prevalence is CheXpert's again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from wsrpn_vl.labels import OBSERVATIONS

PREVALENCE: dict[str, float] = {
    "Enlarged Cardiomediastinum": 0.0481,
    "Cardiomegaly": 0.1224,
    "Lung Opacity": 0.4932,
    "Lung Lesion": 0.0369,
    "Edema": 0.2600,
    "Consolidation": 0.0680,
    "Pneumonia": 0.0245,
    "Atelectasis": 0.1556,
    "Pneumothorax": 0.0926,
    "Pleural Effusion": 0.4026,
    "Pleural Other": 0.0131,
    "Fracture": 0.0389,
    "Support Devices": 0.5610,
}
# Lung Opacity is the parent of these; a child's presence sets the parent's label.
OPACITY_CHILDREN = ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis")
_OPACITY_ALONE = 0.075  # P(own latent); with the children's union the total is PREVALENCE["Lung Opacity"]

_CORRELATION = (  # percent, lower triangle, rows and columns in the order of OBSERVATIONS
    (100,),
    (11, 100),
    (0, 1, 100),
    (2, -15, 11, 100),
    (-6, 33, 7, -25, 100),
    (-5, -7, -15, 5, -4, 100),
    (-11, -9, 21, 13, -4, 24, 100),
    (-3, -3, -11, -8, 6, -4, -9, 100),
    (-5, -29, -3, 5, -37, -14, -24, 1, 100),
    (-3, 7, 33, -5, 22, 14, -12, 15, -9, 100),
    (3, -6, 6, 17, -23, 6, 6, -7, -3, -13, 100),
    (11, -9, -9, -2, -22, -9, -9, -2, 9, -14, 16, 100),
    (0, 7, 18, -19, 20, 0, -24, 12, 8, 23, -13, -15, 100),
)
_PERSISTENCE = 0.7  # correlation of one patient's latents between visits


@dataclass(frozen=True)
class Site:
    """A hospital: name and the share of its studies taken antero-posterior."""

    name: str
    ap_share: float


SITES: dict[str, Site] = {"A": Site("A", 0.45)}


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray]:
    n = len(OBSERVATIONS)
    r = np.zeros((n, n))
    for i, row in enumerate(_CORRELATION):
        r[i, : i + 1] = r[: i + 1, i] = np.array(row) / 100
    share = dict(PREVALENCE, **{"Lung Opacity": _OPACITY_ALONE})
    return np.linalg.cholesky(r), np.array([NormalDist().inv_cdf(share[name]) for name in OBSERVATIONS])


def sample_labels(patient_rng: np.random.Generator, study_rng: np.random.Generator) -> dict[str, int]:
    """One study's 13 labels (1 or 0): latents shared by the patient's visits plus what is new at this one."""
    factor, threshold = _tables()
    n = len(OBSERVATIONS)
    z = _PERSISTENCE**0.5 * patient_rng.standard_normal(n) + (1 - _PERSISTENCE) ** 0.5 * study_rng.standard_normal(n)
    positive = factor @ z < threshold
    return close_hierarchy({name: int(p) for name, p in zip(OBSERVATIONS, positive, strict=True)})


def close_hierarchy(labels: dict[str, int]) -> dict[str, int]:
    """The same labels with Lung Opacity set wherever one of its children is."""
    parent = labels.get("Lung Opacity", 0) or any(labels.get(child, 0) for child in OPACITY_CHILDREN)
    return {name: int(parent) if name == "Lung Opacity" else int(labels.get(name, 0)) for name in OBSERVATIONS}


def no_finding(labels: dict[str, int]) -> int:
    """CheXpert's ``No Finding``: nothing but, at most, a support device."""
    return int(not any(v for name, v in labels.items() if name != "Support Devices"))
