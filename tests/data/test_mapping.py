"""The one table of finding names: every data set's file is sound, and what it derives is right."""

from __future__ import annotations

import polars as pl
import pytest

from wsrpn_vl.data import mapping
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NIH8, NIH14, OBSERVATIONS, label_column


@pytest.mark.parametrize("dataset", mapping.datasets())
def test_every_table_is_sound(dataset: str) -> None:
    rows = mapping.table(dataset)
    assert rows
    keys = [(row.native, row.cls) for row in rows]
    assert len(set(keys)) == len(keys), "a native name says the same thing twice"
    for row in rows:
        assert row.native == row.native.strip() and row.fit in mapping.FITS
        assert row.observation in ("", *OBSERVATIONS)
        if row.cls in OBSERVATIONS:
            assert row.observation == row.cls, "an observation is itself"


def test_no_two_classes_share_a_column() -> None:
    for dataset in mapping.datasets():
        classes = mapping.index_classes(dataset, approximate=True)
        assert len({label_column(c) for c in classes}) == len(classes), dataset


def test_nih_classes_and_what_chexpert_has_no_name_for() -> None:
    classes = mapping.index_classes("nih")
    assert classes[:14] == NIH14
    assert set(classes[14:]) == {"Lung Opacity", "Lung Lesion", "Pleural Effusion", "Pleural Other"}
    assert set(NIH14) - set(mapping.observations("nih")) == {"Emphysema", "Fibrosis", "Hernia"}
    assert set(NIH8) <= set(mapping.observations("nih"))


def test_the_box_lists_word_for_infiltration() -> None:
    assert mapping.classes_of("nih", "Infiltrate", "x") == ("Infiltration",)


@pytest.mark.parametrize("spelling", ["Pleural_Thickening", "pleural thickening", " PLEURAL  thickening "])
def test_case_spaces_and_underscores_do_not_matter(spelling: str) -> None:
    assert mapping.classes_of("nih", spelling, "x") == ("Pleural_Thickening",)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="line 7: finding 'Efusion' is unknown; did you mean 'Effusion'"):
        mapping.classes_of("nih", "Efusion", "table.csv: line 7")
    with pytest.raises(DataError, match="no mapping table for data set 'nihh'; did you mean 'nih'"):
        mapping.table("nihh")


def test_an_approximate_name_alone_leaves_its_class_in_doubt() -> None:
    names = ["pseudonodule", "vertebral compression", "rib fracture"]
    assert mapping.doubtful("padchest", names, "x") == {"Lung Lesion"}  # the fracture is said by another name
    assert mapping.doubtful("padchest", names, "x", approximate=True) == set()
    assert mapping.doubtful("padchest", ["scoliosis"], "x") == set()


def test_an_observation_is_the_strongest_statement_of_its_classes() -> None:
    """Mass and Nodule make Lung Lesion: 1 beats -1 beats unknown beats 0."""
    mass = [1, 0, -1, None, 0, None, -1]
    nodule = [0, 1, 0, 0, 0, -1, None]
    frame = pl.DataFrame({"y_mass": mass, "y_nodule": nodule}, schema={"y_mass": pl.Int8, "y_nodule": pl.Int8})
    out, classes = mapping.with_observations(frame, ["Mass", "Nodule"])
    assert classes == ("Mass", "Nodule", "Lung Lesion")
    assert out["y_lung_lesion"].to_list() == [1, 1, -1, None, 0, -1, -1]


def test_an_observation_of_its_own_keeps_its_labels() -> None:
    frame = pl.DataFrame({"y_infiltration": [1], "y_lung_opacity": [0]})
    out, classes = mapping.with_observations(frame, ["Infiltration", "Lung Opacity"])
    assert classes == ("Infiltration", "Lung Opacity") and out["y_lung_opacity"].to_list() == [0]
