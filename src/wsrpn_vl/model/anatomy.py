"""What radiology knows before any training: named regions of a frontal radiograph, and where each finding tends to lie.

Regions are boxes ``cxcywh`` in [0, 1] of the *canonical* frame (the mean training radiograph, see ``register.py``).
They are coarse textbook anatomy - three zones per lung, costophrenic angles, heart, upper mediastinum - and the
affinities are textbook statements (an effusion collects in the dependent pleural space, air rises to the apex, an
enlarged heart is at the heart). Neither is fitted to a box of any data set; both are optional (``model.roi.init``,
``model.roi.location_prior``).
"""

from __future__ import annotations

import torch
from torch import Tensor

REGIONS: dict[str, tuple[float, float, float, float]] = {
    "heart": (0.55, 0.58, 0.45, 0.38),
    "right upper zone": (0.28, 0.25, 0.25, 0.25),  # patient's right is the viewer's left
    "left upper zone": (0.72, 0.25, 0.25, 0.25),
    "right mid zone": (0.28, 0.45, 0.25, 0.25),
    "left mid zone": (0.72, 0.45, 0.25, 0.25),
    "right lower zone": (0.28, 0.65, 0.25, 0.25),
    "left lower zone": (0.74, 0.65, 0.25, 0.25),
    "right costophrenic angle": (0.19, 0.72, 0.20, 0.25),
    "left costophrenic angle": (0.83, 0.72, 0.20, 0.25),
    "upper mediastinum": (0.50, 0.25, 0.25, 0.30),
}

#                  heart upper mid   lower angle mediastinum
_KINDS: dict[str, tuple[float, float, float, float, float, float]] = {
    "heart": (1.0, 0.02, 0.02, 0.02, 0.02, 0.10),
    "mediastinum": (0.3, 0.05, 0.05, 0.02, 0.02, 1.0),
    "dependent pleura": (0.02, 0.10, 0.20, 0.80, 1.0, 0.02),
    "apical pleura": (0.02, 1.0, 0.50, 0.30, 0.30, 0.05),
    "air space": (0.05, 0.50, 1.0, 1.0, 0.30, 0.05),
    "dependent lung": (0.10, 0.20, 0.60, 1.0, 0.30, 0.05),
    "lung": (0.05, 1.0, 1.0, 1.0, 0.30, 0.20),
    "perihilar": (0.30, 0.40, 1.0, 0.80, 0.20, 0.10),
    "chest wall": (0.02, 1.0, 1.0, 0.80, 0.80, 0.05),
    "anywhere": (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
}
LOCATION: dict[str, str] = {
    "Enlarged Cardiomediastinum": "mediastinum",
    "Cardiomegaly": "heart",
    "Lung Opacity": "air space",
    "Lung Lesion": "lung",
    "Edema": "perihilar",
    "Consolidation": "air space",
    "Pneumonia": "air space",
    "Atelectasis": "dependent lung",
    "Pneumothorax": "apical pleura",
    "Pleural Effusion": "dependent pleura",
    "Pleural Other": "chest wall",
    "Fracture": "chest wall",
    "Support Devices": "anywhere",
    "Infiltration": "air space",
    "Nodule": "lung",
    "Mass": "lung",
    "Effusion": "dependent pleura",
    "Pleural_Thickening": "chest wall",
    "Emphysema": "lung",
    "Fibrosis": "lung",
    "Hernia": "heart",
    "Nodule/Mass": "lung",
    "Diffuse Nodule": "lung",
    "Lung cavity": "lung",
    "Lung cyst": "lung",
    "Lung tumor": "lung",
    "Rib fracture": "chest wall",
    "Clavicle fracture": "chest wall",
    "Aortic enlargement": "mediastinum",
    "Mediastinal shift": "mediastinum",
    "Enlarged PA": "perihilar",
    "Calcification": "anywhere",
    "ILD": "lung",
    "COPD": "lung",
    "Tuberculosis": "lung",
    "Other lesion": "anywhere",
    "Other disease": "anywhere",
}
_COLUMN = {"heart": 0, "upper zone": 1, "mid zone": 2, "lower zone": 3, "costophrenic angle": 4, "upper mediastinum": 5}


def location_affinity(classes: tuple[str, ...], queries: int) -> Tensor:
    """(queries, c) affinity in (0, 1] of each ROI's start region for each class; unknown classes may lie anywhere."""
    columns = [next(i for key, i in _COLUMN.items() if region.endswith(key)) for region in REGIONS]
    rows = [[_KINDS[LOCATION.get(name, "anywhere")][i] for name in classes] for i in columns]
    table = torch.tensor(rows)
    return table[torch.arange(queries) % len(table)]
