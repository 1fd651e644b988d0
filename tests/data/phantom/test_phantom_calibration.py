"""Calibration: what is compared and judged, and that the phantom passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.phantom.calibration import (
    AXES,
    BOXED,
    FEWEST,
    Calibration,
    Drawn,
    Row,
    boxes_of,
    calibrate,
    calibrate_drawn,
    calibration_table,
    compare,
    free_pairs,
    read_drawn,
    write_calibration,
)
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN, published_priors
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column

BOX = (0.25, 0.5, 0.5, 0.625)
NOTHING = {name: np.zeros((0, len(AXES))) for name in BOXED}


@pytest.fixture(scope="module")
def drawn() -> Calibration:
    """Labels of 3,000 patients; each boxed finding alone on 160 others."""
    return calibrate_drawn(seed=0, studies=3000, patients=160, size=96)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    write_phantom(folder, images=40, size=64, progress=False)
    return folder


def rows_of(found: Calibration, group: str, name: str) -> dict[str, Row]:
    return {row.quantity: row for row in found.rows if (row.group, row.name) == (group, name)}


def published_boxes(name: str, n: int = 4 * FEWEST) -> np.ndarray:
    """(n, 5) boxes with NIH's published quartiles on every axis."""
    at = np.linspace(0, 1, n)
    table = published_priors()["boxes"][name]
    return np.stack([np.interp(at, (0.05, 0.25, 0.5, 0.75, 0.95), table[axis]) for axis in AXES], axis=1)


def test_the_phantom_is_within_every_tolerance(drawn: Calibration) -> None:
    out = [
        f"{row.name} {row.quantity}: {row.measured:.3f}, published {row.published:.3f}"
        for row in drawn.rows
        if row.ok is False
    ]
    assert not out and drawn.ok
    assert sum(row.ok is not None for row in drawn.rows) == len(OBSERVATIONS) + 7 * len(BOXED)


def test_labels_that_are_not_judged_are_near_too(drawn: Calibration) -> None:
    """Half the sum of the bars' differences; and P(column | row), rows weighted by how many studies they rest on."""
    bars = [row for row in drawn.rows if row.group == "positives per image"]
    assert sum(abs(row.measured - row.published) for row in bars) / 2 < 0.1
    pairs = [row for row in drawn.rows if row.group == "co-occurrence"]
    assert np.average([row.measured for row in pairs], weights=[row.n for row in pairs]) < 0.02


def test_published_boxes_pass_and_moved_or_grown_ones_do_not() -> None:
    boxes = {name: published_boxes(name) for name in BOXED}
    studies = [Drawn({}, ())]
    assert all(row.ok for row in compare(studies, boxes, "x").rows if row.group == "boxes")
    moved = dict(boxes, Mass=boxes["Mass"] + [0, 0.07, 0, 0, 0])
    failed = [(r.name, r.quantity) for r in compare(studies, moved, "x").rows if r.group == "boxes" and not r.ok]
    assert failed == [("Mass", "median cy")]
    for factor in (1.6, 1 / 1.6):
        grown = dict(boxes, Mass=boxes["Mass"] * [1, 1, 1, 1, factor])
        failed = [(r.name, r.quantity) for r in compare(studies, grown, "x").rows if r.group == "boxes" and not r.ok]
        assert failed == [("Mass", f"area, {q} quantile") for q in ("25%", "50%", "75%")]


def test_prevalence_is_judged_at_three_points() -> None:
    wanted = published_priors()["chexpert_train_frontal"]["labels"]["Fracture"]["positive"]
    for share, ok in ((wanted + 0.028, True), (wanted + 0.033, False)):
        studies = [Drawn({"Fracture": int(i < round(share * 2000))}, ()) for i in range(2000)]
        (row,) = rows_of(compare(studies, NOTHING, "x"), "prevalence", "Fracture").values()
        assert row.ok is ok and row.n == 2000
        assert row.interval[0] < row.measured < row.interval[1]


def test_too_few_boxes_are_shown_and_not_judged() -> None:
    few = dict(NOTHING, Nodule=published_boxes("Nodule", FEWEST - 1) + 0.5)
    found = compare([Drawn({}, ())], few, "x")
    assert {row.ok for row in rows_of(found, "boxes", "Nodule").values()} == {None}
    assert {row.ok for row in rows_of(found, "boxes", "Mass").values()} == {None}
    assert np.isnan(found.quartiles["Mass"]["cx"]).all()


def test_boxes_go_to_the_class_a_reader_of_nih_would_name() -> None:
    alone = Drawn({"Lung Opacity": 1}, (("Lung Opacity", "opacity", BOX),))
    parent = Drawn(
        {"Lung Opacity": 1, "Pneumonia": 1}, (("Lung Opacity", "opacity", BOX), ("Pneumonia", "pneumonia", BOX))
    )
    lesions = Drawn({"Lung Lesion": 1}, (("Lung Lesion", "mass", BOX), ("Lung Lesion", "nodule", BOX)))
    other = Drawn(
        {"Fracture": 1, "Pleural Effusion": 1}, (("Fracture", "", BOX), ("Pleural Effusion", "effusion", BOX))
    )
    found = boxes_of([alone, parent, lesions, other])
    counts = {name: len(boxes) for name, boxes in found.items() if len(boxes)}
    assert counts == {"Infiltrate": 1, "Pneumonia": 1, "Mass": 1, "Nodule": 1, "Effusion": 1}
    assert found["Mass"].tolist() == [[0.375, 0.5625, 0.25, 0.125, 0.03125]]


def test_the_hierarchy_settles_the_parent_with_its_children_and_nothing_else() -> None:
    free = free_pairs()
    settled = {(OBSERVATIONS[i], OBSERVATIONS[j]) for i, j in zip(*np.where(~free), strict=True) if i != j}
    children = set(OPACITY_CHILDREN)
    assert settled == {("Lung Opacity", c) for c in children} | {(c, "Lung Opacity") for c in children}


def test_a_written_phantom_is_read_as_its_tables_say(written: Path) -> None:
    index = read_index(written / "index.parquet")
    studies = list(read_drawn(written))
    for name in OBSERVATIONS:
        assert index.frame[label_column(name)].to_list() == [study.labels[name] for study in studies]
    table = pl.read_parquet(boxes_path(index.path))
    wanted = (table.select("x1", "y1", "x2", "y2").to_numpy() / 64).tolist()
    assert sorted(wanted) == sorted(list(box) for study in studies for _, _, box in study.boxes)
    assert calibrate(written).studies == 40


def test_figure_and_numbers_are_written(written: Path, tmp_path: Path) -> None:
    """Also where a class has no box at all; the JSON is strict."""
    found = compare(list(read_drawn(written)), NOTHING, "no boxes")
    path = write_calibration(found, tmp_path / "new" / "c.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 500
    record = json.loads(path.with_suffix(".json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert record["studies"] == 40 and len(record["rows"]) == len(found.rows) == calibration_table(found).row_count
    assert record["git_commit"] is None or record["machine"]["cores"]
    again = write_calibration(found, tmp_path / "again.png")
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(DataError, match=r"give a name that ends in \.png"):
        write_calibration(found, tmp_path / "c.json")  # the figure would overwrite the numbers
    assert not (tmp_path / "c.json").exists()


def test_folders_without_whole_records_are_named(written: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no phantom there; write one first"):
        calibrate(tmp_path)
    with pytest.raises(DataError, match="no studies to compare"):
        compare([], NOTHING, "nothing")
    records = tmp_path / ".phantom" / "records"
    records.mkdir(parents=True)
    (records.parent / "phantom.json").write_text('{"size": 64}')
    for broken in ("[{", "[1]", '[{"labels": {}}]'):
        (records / "000000.json").write_text(broken)
        with pytest.raises(DataError, match="broken records") as caught:
            calibrate(tmp_path)
        assert "\n" not in str(caught.value)
