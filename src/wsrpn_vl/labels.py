"""Class vocabularies: the 13 CheXpert observations, their names in every data set, and prompts.

The order of :data:`OBSERVATIONS` is CheXpert's CSV order without ``No Finding``. Files order their
columns differently, so columns are always selected by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wsrpn_vl.errors import ConfigError, lookup

NO_FINDING = "No Finding"


@dataclass(frozen=True)
class Observation:
    """One class: canonical name, caption phrase, parent in CheXpert's hierarchy, display colour, SNOMED CT code.

    The code is empty where no concept says just this; a wrong code would be believed, so a local one is written then.
    """

    name: str
    phrase: str
    parent: str | None
    colour: str
    snomed: str


_TABLE = (
    Observation("Enlarged Cardiomediastinum", "enlarged cardiomediastinum", None, "#8c564b", ""),
    Observation("Cardiomegaly", "cardiomegaly", "Enlarged Cardiomediastinum", "#d62728", "8186001"),
    Observation("Lung Opacity", "lung opacity", None, "#ff7f0e", ""),
    Observation("Lung Lesion", "lung lesion", "Lung Opacity", "#bcbd22", ""),
    Observation("Edema", "pulmonary edema", "Lung Opacity", "#17becf", "19242006"),
    Observation("Consolidation", "consolidation", "Lung Opacity", "#9467bd", "95436008"),
    Observation("Pneumonia", "pneumonia", "Consolidation", "#e377c2", "233604007"),
    Observation("Atelectasis", "atelectasis", "Lung Opacity", "#2ca02c", "46621007"),
    Observation("Pneumothorax", "pneumothorax", None, "#1f77b4", "36118008"),
    Observation("Pleural Effusion", "pleural effusion", None, "#00a2a2", "60046008"),
    Observation("Pleural Other", "pleural thickening", None, "#7f7f7f", ""),
    Observation("Fracture", "fracture", None, "#ffbb00", "125605004"),
    Observation("Support Devices", "support device", None, "#4b6bff", "303607000"),
)
# Data-set classes with no exact CheXpert twin keep their own names, so that a native table can be reported.
_NATIVE = (
    Observation("Infiltration", "infiltration", "Lung Opacity", "#ff7f0e", "409609008"),
    Observation("Nodule", "pulmonary nodule", "Lung Lesion", "#bcbd22", "427359005"),
    Observation("Mass", "pulmonary mass", "Lung Lesion", "#dbdb00", "309529002"),
    Observation("Effusion", "pleural effusion", None, "#00a2a2", "60046008"),
    Observation("Pleural_Thickening", "pleural thickening", None, "#7f7f7f", ""),
    Observation("Emphysema", "emphysema", None, "#aec7e8", "87433001"),
    Observation("Fibrosis", "pulmonary fibrosis", None, "#98df8a", "51615001"),
    Observation("Hernia", "hiatal hernia", None, "#c49c94", "84089009"),
    Observation("Nodule/Mass", "nodule or mass", "Lung Lesion", "#bcbd22", ""),
    Observation("Diffuse Nodule", "diffuse nodules", "Lung Lesion", "#dbdb00", ""),
    Observation("Lung cavity", "lung cavity", "Lung Lesion", "#9c9c2c", ""),
    Observation("Lung cyst", "lung cyst", "Lung Lesion", "#c8c85a", ""),
    Observation("Lung tumor", "lung tumor", "Lung Lesion", "#8c8c00", ""),
    Observation("Rib fracture", "rib fracture", "Fracture", "#ffbb00", ""),
    Observation("Clavicle fracture", "clavicle fracture", "Fracture", "#ffd24d", ""),
    Observation("Aortic enlargement", "aortic enlargement", None, "#a05050", ""),
    Observation("Mediastinal shift", "mediastinal shift", None, "#b07a7a", ""),
    Observation("Enlarged PA", "enlarged pulmonary artery", None, "#7a3b3b", ""),
    Observation("Calcification", "calcification", None, "#c7c7c7", ""),
    Observation("ILD", "interstitial lung disease", None, "#66aa99", ""),
    Observation("COPD", "chronic obstructive pulmonary disease", None, "#88aacc", ""),
    Observation("Tuberculosis", "tuberculosis", None, "#996633", ""),
    Observation("Other lesion", "other lesion", None, "#999999", ""),
    Observation("Other disease", "other disease", None, "#aaaaaa", ""),
)

OBSERVATIONS: tuple[str, ...] = tuple(o.name for o in _TABLE)
BY_NAME: dict[str, Observation] = {o.name: o for o in (*_TABLE, *_NATIVE)}

NIH8 = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
NIH14 = (*NIH8, "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")

VOCABULARIES: dict[str, tuple[str, ...]] = {"chexpert13": OBSERVATIONS, "nih8": NIH8, "nih14": NIH14}


def slug(name: str) -> str:
    """Column-safe form of a class name: ``Pleural Effusion`` -> ``pleural_effusion``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def label_column(name: str) -> str:
    """Index column that holds a class's label (1, 0, -1 uncertain, null blank)."""
    return f"y_{slug(name)}"


def resolve_classes(classes: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Class names of a vocabulary's name or of an explicit list.

    Raises: ConfigError for an unknown vocabulary or class, a repeated class, or an empty list.
    """
    if isinstance(classes, str):
        return lookup("class vocabulary", classes, VOCABULARIES)
    for name in classes:
        lookup("class", name, BY_NAME)
        if list(classes).count(name) > 1:
            raise ConfigError(f"data.classes names {name!r} twice")
    if not classes:
        raise ConfigError("data.classes is empty; name a vocabulary (chexpert13, nih8, nih14) or list classes")
    return tuple(classes)


def phrase(name: str) -> str:
    """Words for a class in captions and prompts."""
    return BY_NAME[name].phrase if name in BY_NAME else name.replace("_", " ").lower()


def colour(name: str) -> str:
    """Display colour (hex) of a class; grey when unknown."""
    return BY_NAME[name].colour if name in BY_NAME else "#888888"
