"""Class vocabularies: order, hierarchy, names of columns, codes."""

from __future__ import annotations

import re

import pytest
from pydicom.sr.codedict import codes

from wsrpn_vl.errors import ConfigError
from wsrpn_vl.labels import (
    BY_NAME,
    NIH8,
    NIH14,
    NO_FINDING,
    OBSERVATIONS,
    VOCABULARIES,
    colour,
    label_column,
    phrase,
    resolve_classes,
    slug,
)

CHEXPERT = [  # CheXpert's CSV header without No Finding
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]


def verhoeff(digits: str) -> bool:
    """Check digit of SNOMED CT identifiers, from the dihedral group of the pentagon."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
        return 5 + (a - b) % 5 if b < 5 else (a - b) % 5

    def permuted(digit: int, position: int) -> int:
        for _ in range(position % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        return digit

    check = 0
    for position, digit in enumerate(reversed(digits)):
        check = times(check, permuted(int(digit), position))
    return check == 0


def test_the_thirteen_observations_in_chexperts_order() -> None:
    assert list(OBSERVATIONS) == CHEXPERT
    assert NO_FINDING not in OBSERVATIONS


def test_nih_vocabularies() -> None:
    assert len(NIH8) == 8 and len(NIH14) == len(set(NIH14)) == 14
    assert set(NIH8) < set(NIH14)


def test_every_class_of_every_vocabulary_is_described() -> None:
    assert all(name in BY_NAME for names in VOCABULARIES.values() for name in names)
    for name, observation in BY_NAME.items():
        assert observation.name == name
        assert observation.phrase == observation.phrase.lower() and observation.phrase.strip()
        assert re.fullmatch(r"#[0-9a-f]{6}", observation.colour)


def test_parents_are_classes_and_lead_to_a_root() -> None:
    for name in BY_NAME:
        seen: list[str] = []
        parent = BY_NAME[name].parent
        while parent is not None:
            assert parent in OBSERVATIONS and parent not in seen
            seen.append(parent)
            parent = BY_NAME[parent].parent
    assert BY_NAME["Pneumonia"].parent == "Consolidation" and BY_NAME["Consolidation"].parent == "Lung Opacity"
    assert BY_NAME["Cardiomegaly"].parent == "Enlarged Cardiomediastinum"


@pytest.mark.parametrize("vocabulary", sorted(VOCABULARIES))
def test_columns_of_a_vocabulary_are_distinct_and_safe(vocabulary: str) -> None:
    columns = [label_column(name) for name in VOCABULARIES[vocabulary]]
    assert len(set(columns)) == len(columns)
    assert all(re.fullmatch(r"y_[a-z0-9]+(_[a-z0-9]+)*", c) for c in columns)


def test_slugs() -> None:
    assert label_column("Pleural Effusion") == "y_pleural_effusion"
    assert slug("Pleural_Thickening") == slug(" pleural  thickening! ") == "pleural_thickening"
    assert len({slug(name) for name in BY_NAME}) == len(BY_NAME)


def test_snomed_codes_have_a_valid_check_digit() -> None:
    """19242006 (pulmonary edema) passes, a digit changed or swapped does not; every code in the table passes."""
    assert verhoeff("19242006") and not verhoeff("19242007") and not verhoeff("19422006")
    for observation in BY_NAME.values():
        assert not observation.snomed or verhoeff(observation.snomed), observation


def test_snomed_codes_agree_with_dicoms_own_dictionary() -> None:
    for name, concept in (
        ("Edema", codes.SCT.PulmonaryEdema),
        ("Pneumothorax", codes.SCT.Pneumothorax),
        ("Pleural Effusion", codes.SCT.PleuralEffusion),
        ("Effusion", codes.SCT.PleuralEffusion),
    ):
        assert BY_NAME[name].snomed == concept.value


FURTHER = {  # classes of VinDr-CXR and ChestX-Det that CheXpert has no twin of
    "Nodule/Mass",
    "Diffuse Nodule",
    "Lung cavity",
    "Lung cyst",
    "Lung tumor",
    "Rib fracture",
    "Clavicle fracture",
    "Aortic enlargement",
    "Mediastinal shift",
    "Enlarged PA",
    "Calcification",
    "ILD",
    "COPD",
    "Tuberculosis",
    "Other lesion",
    "Other disease",
}


def test_classes_without_an_exact_concept_have_no_code() -> None:
    assert {name for name, o in BY_NAME.items() if not o.snomed} == {
        "Enlarged Cardiomediastinum",
        "Lung Opacity",
        "Lung Lesion",
        "Pleural Other",
        "Pleural_Thickening",
    } | FURTHER
    assert BY_NAME["Pleural Effusion"].snomed == BY_NAME["Effusion"].snomed


def test_classes_resolve_by_vocabulary_or_by_list() -> None:
    assert resolve_classes("chexpert13") == OBSERVATIONS
    assert resolve_classes(["Edema", "Hernia"]) == resolve_classes(("Edema", "Hernia")) == ("Edema", "Hernia")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("chexpert14", "unknown class vocabulary 'chexpert14'; did you mean 'chexpert13'?"),
        (["Edema", "Atelektasis"], "unknown class 'Atelektasis'; did you mean 'Atelectasis'?"),
        ([], "data.classes is empty; name a vocabulary"),
        (["Edema", "Fracture", "Edema"], "data.classes names 'Edema' twice"),
    ],
)
def test_wrong_classes_are_refused(classes: str | list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_classes(classes)
    assert expected in str(caught.value)


def test_unknown_classes_still_have_words_and_a_colour() -> None:
    assert phrase("Edema") == "pulmonary edema" and phrase("Aortic_Enlargement") == "aortic enlargement"
    assert colour("Edema") == "#17becf" and colour("No such class") == "#888888"
