"""The registry of observations: what each does to the chest before it is drawn, and to the drawn scene.

``ALTER[name](thorax, rng) -> thorax`` changes anatomy; ``DRAW[name](scene, rng) -> regions`` changes tissue and says
where. Both get the same seed, so that one instance of a finding is one draw of chance whatever else the chest carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom import hardware, opacities, pleura
from wsrpn_vl.data.phantom.anatomy import cardiothoracic_ratio
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import Thorax
from wsrpn_vl.labels import OBSERVATIONS


def enlarge_heart(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """Cardiomegaly: a cardiothoracic ratio well above 0.5."""
    return replace(thorax, ctr=float(0.53 + 0.16 * rng.beta(1.4, 2.2)))


def cardiomegaly(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """The heart below the great vessels, graded by the cardiothoracic ratio."""
    ratio = cardiothoracic_ratio(scene.thorax)
    severity = "mild" if ratio < 0.56 else "moderate" if ratio < 0.62 else "severe"
    below = scene.grid.y > scene.thorax.hilum - 2.2  # the great vessels above are not part of the heart
    return [Region(scene.heart & below, "cardiac silhouette", (severity,), "", severity, "enlarged heart")]


def widen_mediastinum(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """Enlarged cardiomediastinum: broad upper mediastinum, prominent arch."""
    return replace(thorax, mediastinum=float(rng.uniform(3.9, 5.2)), knob=thorax.knob + float(rng.uniform(0.0, 0.6)))


def enlarged_cardiomediastinum(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """The upper mediastinum from apex to hilum, graded by its half-width."""
    t, grid = scene.thorax, scene.grid
    inside = np.where(grid.x > 0, t.medial(grid.y, "left"), t.medial(grid.y, "right")) > np.abs(grid.x)
    mask = inside & (grid.y > t.apex + 1.0) & (grid.y < t.hilum + 0.5)
    severity = "mild" if t.mediastinum < 4.5 else "moderate" if t.mediastinum < 5.0 else "severe"
    return [Region(mask, "upper mediastinum", (severity,), "", severity, "wide mediastinum")]


ALTER: dict[str, Callable[[Thorax, np.random.Generator], Thorax]] = {
    "Cardiomegaly": enlarge_heart,
    "Enlarged Cardiomediastinum": widen_mediastinum,
    "Atelectasis": opacities.lose_volume,
    "Fracture": hardware.break_bones,
}

DRAW: dict[str, Callable[[Scene, np.random.Generator], list[Region]]] = {
    "Enlarged Cardiomediastinum": enlarged_cardiomediastinum,
    "Cardiomegaly": cardiomegaly,
    "Lung Opacity": opacities.lung_opacity,
    "Lung Lesion": opacities.lung_lesion,
    "Edema": opacities.edema,
    "Consolidation": opacities.consolidation,
    "Pneumonia": opacities.pneumonia,
    "Atelectasis": opacities.atelectasis,
    "Pneumothorax": pleura.pneumothorax,
    "Pleural Effusion": pleura.pleural_effusion,
    "Pleural Other": pleura.pleural_other,
    "Fracture": hardware.fracture,
    "Support Devices": hardware.support_devices,
}
# Air first leaves or enters the lung as a whole, then opacities fill what is left, then hardware lies over everything.
DRAW_ORDER = (
    "Pneumothorax",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Lung Opacity",
    "Lung Lesion",
    "Pleural Effusion",
    "Pleural Other",
    "Cardiomegaly",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Support Devices",
)
assert set(DRAW_ORDER) == set(DRAW) == set(OBSERVATIONS)


def parent_regions(children: Iterable[Region]) -> list[Region]:
    """Lung Opacity as the union of its children: regions that mostly overlap become one."""
    merged: list[Region] = []
    for child in children:
        grown = child
        for other in list(merged):
            common = int((grown.mask & other.mask).sum())
            if common > 0.5 * min(int(grown.mask.sum()), int(other.mask.sum())):
                merged.remove(other)
                larger = max(grown, other, key=lambda r: int(r.mask.sum()))
                grown = replace(larger, mask=grown.mask | other.mask)
        merged.append(replace(grown, kind="opacity", modifiers=()))
    return merged
