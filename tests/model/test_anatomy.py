"""Textbook anatomy: regions inside the image, on the right sides, and where findings tend to lie."""

from __future__ import annotations

import pytest
import torch

from wsrpn_vl.labels import BY_NAME
from wsrpn_vl.model.anatomy import LOCATION, REGIONS, location_affinity

NAMES = list(REGIONS)


def best_regions(name: str) -> set[str]:
    affinity = location_affinity((name,), len(NAMES))[:, 0]
    return {NAMES[i] for i in (affinity == affinity.max()).nonzero().flatten().tolist()}


def test_regions_lie_inside_the_image() -> None:
    for x, y, w, h in REGIONS.values():
        assert x - w / 2 >= 0 and x + w / 2 <= 1 and y - h / 2 >= 0 and y + h / 2 <= 1


def test_the_patients_right_is_the_viewers_left() -> None:
    for name, (x, y, *_) in REGIONS.items():
        if name.startswith("right"):
            other = REGIONS[name.replace("right", "left")]
            assert x < 0.5 < other[0]
            assert y == other[1]
    assert REGIONS["heart"][0] > 0.5  # the heart lies to the patient's left


def test_zones_descend() -> None:
    for side in ("right", "left"):
        zones = [REGIONS[f"{side} {z}"][1] for z in ("upper zone", "mid zone", "lower zone", "costophrenic angle")]
        assert zones == sorted(zones)


@pytest.mark.parametrize(
    ("name", "regions"),
    [
        ("Cardiomegaly", {"heart"}),
        ("Enlarged Cardiomediastinum", {"upper mediastinum"}),
        ("Pneumothorax", {"right upper zone", "left upper zone"}),
        ("Pleural Effusion", {"right costophrenic angle", "left costophrenic angle"}),
        ("Effusion", {"right costophrenic angle", "left costophrenic angle"}),
        ("Atelectasis", {"right lower zone", "left lower zone"}),
        ("Edema", {"right mid zone", "left mid zone"}),
    ],
)
def test_findings_prefer_their_places(name: str, regions: set[str]) -> None:
    assert best_regions(name) == regions


def test_affinity_never_forbids_and_never_exceeds_one() -> None:
    table = location_affinity(tuple(BY_NAME), len(NAMES))
    assert table.shape == (len(NAMES), len(BY_NAME))
    assert table.min() > 0 and table.max() <= 1
    assert (table.amax(0) == 1).all()  # some region fits each class fully


def test_affinity_is_the_same_on_both_sides() -> None:
    table = dict(zip(NAMES, location_affinity(tuple(BY_NAME), len(NAMES)), strict=True))
    for name, row in table.items():
        if name.startswith("right"):
            assert torch.equal(row, table[name.replace("right", "left")])


def test_every_known_class_has_a_place_and_unknown_ones_lie_anywhere() -> None:
    assert set(BY_NAME) == set(LOCATION)
    assert location_affinity(("Scoliosis", "Support Devices"), 7).eq(1).all()


def test_more_queries_than_regions_start_over() -> None:
    table = location_affinity(("Cardiomegaly", "Edema"), 23)
    assert torch.equal(table[10:20], table[:10]) and torch.equal(table[20:], table[:3])
