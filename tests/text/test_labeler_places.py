"""Where the labeler says a finding is, and how it looks: the vocabulary of the triples."""

from __future__ import annotations

import pytest

from wsrpn_vl.text.labeler import read_statements
from wsrpn_vl.text.triples import Triple, flat_caption


def told(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """(finding, location, modifiers) of what is not denied."""
    return [(t.finding, t.location, t.modifiers) for t in read_statements(text) if t.polarity != "negative"]


@pytest.mark.parametrize(
    ("text", "finding", "location"),
    [
        ("Small left pleural effusion.", "Pleural Effusion", "left"),
        ("Left-sided pleural effusion.", "Pleural Effusion", "left"),
        ("Bilateral pleural effusions.", "Pleural Effusion", "bilateral"),
        ("Pleural effusions bilaterally.", "Pleural Effusion", "bilateral"),
        ("A pleural effusion on the right.", "Pleural Effusion", "right"),
        ("In the left hemithorax, there is an effusion.", "Pleural Effusion", "left hemithorax"),
        ("Right basilar atelectasis.", "Atelectasis", "right base"),
        ("Atelectasis at the left lung base.", "Atelectasis", "left base"),
        ("Bibasilar atelectasis.", "Atelectasis", "bilateral bases"),
        ("The left base shows atelectasis.", "Atelectasis", "left base"),
        ("Consolidation of the right upper lobe.", "Consolidation", "right upper lobe"),
        ("RLL consolidation.", "Consolidation", "right lower lobe"),
        ("Bilateral lower lobe consolidation.", "Consolidation", "bilateral lower lobes"),
        ("Lingular consolidation.", "Consolidation", "lingula"),
        ("Opacities in the left mid lung.", "Lung Opacity", "left mid lung zone"),
        ("Edema in the bilateral perihilar regions.", "Edema", "bilateral perihilar regions"),
        ("Right apical pneumothorax.", "Pneumothorax", "right apex"),
        ("Nodule in both lungs.", "Lung Lesion", "both lungs"),
        ("Fracture of the right fifth posterior rib.", "Fracture", "right fifth posterior rib"),
        ("Left clavicle fracture.", "Fracture", "left clavicle"),
        ("A right PICC line terminates in the superior vena cava.", "Support Devices", "superior vena cava"),
        ("Chest tube enters the left pleural space.", "Support Devices", "left pleural space"),
        ("The heart is enlarged.", "Cardiomegaly", ""),
        ("Pleural effusion.", "Pleural Effusion", ""),
        ("The lungs are clear. Effusion.", "Pleural Effusion", ""),
    ],
)
def test_places(text: str, finding: str, location: str) -> None:
    assert [(name, where) for name, where, _ in told(text)] == [(finding, location)]


def test_a_place_belongs_to_the_finding_beside_it() -> None:
    assert [(f, where) for f, where, _ in told("Left pleural effusion and right lower lobe atelectasis.")] == [
        ("Pleural Effusion", "left"),
        ("Atelectasis", "right lower lobe"),
    ]
    assert [(f, where) for f, where, _ in told("Left effusion. Atelectasis, nodule in the right apex.")] == [
        ("Pleural Effusion", "left"),
        ("Atelectasis", ""),
        ("Lung Lesion", "right apex"),
    ]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("Opacity in the left base and a nodule in the right apex.", "left base", "right apex"),
        ("Atelectasis in the left lower lobe and effusion on the right.", "left lower lobe", "right"),
        ("Consolidation in the right upper lobe and bilateral effusions.", "right upper lobe", "bilateral"),
        ("Atelectasis at the left base with a small effusion.", "left base", ""),
        ("Opacity in the left base and right upper lobe nodule.", "left base", "right upper lobe"),
        ("Opacity involving the left base, and a consolidation in RML.", "left base", "right middle lobe"),
    ],
)
def test_a_place_with_its_preposition_is_the_first_finding_s_alone(text: str, first: str, second: str) -> None:
    assert [where for _, where, _ in told(text)] == [first, second]


def test_the_cause_is_where_its_sign_is() -> None:
    assert [(f, where) for f, where, _ in told("Opacity in the left base consistent with pneumonia.")] == [
        ("Lung Opacity", "left base"),
        ("Pneumonia", "left base"),
    ]


def test_two_places_make_two_statements_with_their_own_looks() -> None:
    assert told("Small right and moderate left pleural effusions.") == [
        ("Pleural Effusion", "right", ("small",)),
        ("Pleural Effusion", "left", ("moderate",)),
    ]
    assert [where for _, where, _ in told("Opacities in the right upper lobe and left base.")] == [
        "right upper lobe",
        "left base",
    ]


@pytest.mark.parametrize(
    ("text", "modifiers"),
    [
        ("Small loculated left pleural effusion.", ("small", "loculated")),
        ("Mildly enlarged heart.", ("mild",)),
        ("The heart is moderately enlarged.", ("moderate",)),
        ("Dense patchy consolidation with air bronchograms.", ("dense", "patchy", "with air bronchograms")),
        ("A 2.5 cm spiculated nodule.", ("nodule", "2.5 cm", "spiculated")),
        ("Plate-like atelectasis.", ("plate-like",)),
        ("Ground-glass opacity.", ("ground-glass",)),
        ("Pleural plaque.", ("pleural plaque",)),
        ("Right internal jugular PICC line.", ("PICC line", "right internal jugular")),
        ("Swan-Ganz catheter.", ("Swan-Ganz catheter",)),
        (
            "Endotracheal tube, tip 3.5 cm above the carina.",
            ("endotracheal tube", "tip 3.5 cm above the carina"),
        ),
        ("Borderline heart size.", ("borderline",)),
    ],
)
def test_looks(text: str, modifiers: tuple[str, ...]) -> None:
    assert [how for _, _, how in told(text)] == [modifiers]


def test_what_is_denied_has_no_place() -> None:
    assert read_statements("No left pleural effusion.") == (Triple("Pleural Effusion", polarity="negative"),)


def test_statements_make_captions() -> None:
    text = "1. Small left pleural effusion. 2. No pneumothorax. 3. Possible right lower lobe pneumonia."
    assert flat_caption(read_statements(text)) == (
        "Possible pneumonia in the right lower lobe. Pleural effusion on the left, small."
    )
