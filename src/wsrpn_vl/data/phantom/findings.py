"""The registry of observations: what each does to the chest before it is drawn, and to the drawn scene.

``ALTER[name](thorax, rng) -> thorax`` changes anatomy; ``DRAW[name](scene, rng) -> regions`` changes tissue and says
where. Both get the same seed, so that one instance of a finding is one draw of chance whatever else the chest carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from wsrpn_vl.data.phantom import (
    airspace,
    atelectasis,
    devices,
    edema,
    fractures,
    heart,
    lesions,
    opacities,
    pleura,
    pneumothorax,
)
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import Thorax
from wsrpn_vl.labels import OBSERVATIONS

ALTER: dict[str, Callable[[Thorax, np.random.Generator], Thorax]] = {
    "Cardiomegaly": heart.enlarge_heart,
    "Enlarged Cardiomediastinum": heart.widen_mediastinum,
    "Atelectasis": atelectasis.lose_volume,
    "Pneumothorax": pneumothorax.push_down,
    "Fracture": fractures.break_bones,
}

DRAW: dict[str, Callable[[Scene, np.random.Generator], list[Region]]] = {
    "Enlarged Cardiomediastinum": heart.enlarged_cardiomediastinum,
    "Cardiomegaly": heart.cardiomegaly,
    "Lung Opacity": opacities.lung_opacity,
    "Lung Lesion": lesions.lung_lesion,
    "Edema": edema.edema,
    "Consolidation": airspace.consolidation,
    "Pneumonia": airspace.pneumonia,
    "Atelectasis": atelectasis.atelectasis,
    "Pneumothorax": pneumothorax.pneumothorax,
    "Pleural Effusion": pleura.pleural_effusion,
    "Pleural Other": pleura.pleural_other,
    "Fracture": fractures.fracture,
    "Support Devices": devices.support_devices,
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
# These change the anatomy before it is drawn, and no tissue after; there is no picture without them to compare with.
_ANATOMY = ("Cardiomegaly", "Enlarged Cardiomediastinum", "Fracture")
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


def restart(state: Mapping[str, Any]) -> np.random.Generator:
    """A finding's stream from its beginning, so that altering the chest and drawing on it see the same draws."""
    generator = np.random.Generator(np.random.PCG64(0))
    generator.bit_generator.state = state
    return generator


def _dry(region: Region, flooded: np.ndarray) -> Region:
    """A pneumothorax without what fluid has filled since."""
    mask = region.mask & ~flooded
    return replace(region, mask=mask) if mask.any() else region


def draw_findings(
    scene: Scene, wanted: Mapping[str, int], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[Region, ...]]:
    """Draw every wanted observation; Lung Opacity is drawn only when no child stands for it.

    own: each observation's state of chance. Regions nothing of which is in the picture are left out, and so are
    observations without regions. ``scene.changes`` records the optical thickness each observation added.
    """
    has_child = any(wanted[name] for name in OPACITY_CHILDREN)
    found: dict[str, tuple[Region, ...]] = {}
    before = scene.optical()
    for name in DRAW_ORDER:
        if not wanted[name] or (name == "Lung Opacity" and has_child):
            continue
        found[name] = tuple(r for r in DRAW[name](scene, restart(own[name])) if r.mask.any())
        if name not in _ANATOMY:
            after = scene.optical()
            scene.changes[name], before = after - before, after
    if scene.flooded is not None and "Pneumothorax" in found:
        found["Pneumothorax"] = tuple(_dry(r, scene.flooded) for r in found["Pneumothorax"])
    children = [name for name in OPACITY_CHILDREN if found.get(name)]
    if children:
        found["Lung Opacity"] = tuple(parent_regions(r for n in children for r in found[n]))
        scene.changes["Lung Opacity"] = np.sum([scene.changes[n] for n in children], axis=0)
    return {name: found[name] for name in OBSERVATIONS if found.get(name)}
