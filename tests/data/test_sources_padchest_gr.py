"""PadChest-GR: boxes in pixels of the stored file, two readers, polarity, and what is missing or wrong."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fixtures.padchest import ROWS, write_table
from fixtures.padchest_gr import MASTER, REPORTS, SIZE, studies, write_padchest_gr
from wsrpn_vl.data.index import boxes_path, read_index, write_index
from wsrpn_vl.data.sources.padchest_gr import build
from wsrpn_vl.data.sources.tables import SourceTables
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.truth import load_truth
from wsrpn_vl.text.sections import describing_text
from wsrpn_vl.text.triples import Triple, from_json


@pytest.fixture
def gr(tmp_path: Path) -> Path:
    return write_padchest_gr(tmp_path / "gr")


def row(tables: SourceTables, image_id: str) -> dict:
    return tables.frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


def boxes(tables: SourceTables) -> pl.DataFrame:
    assert tables.boxes is not None
    return tables.boxes


def written(tables: SourceTables, root: Path, out: Path) -> Path:
    return write_index(
        tables.frame,
        tables.boxes,
        out / "index.parquet",
        dataset=tables.dataset,
        root=root,
        classes=tables.classes,
        box_complete=tables.box_complete,
        boxed_classes=tables.boxed_classes,
        text_origin=tables.text_origin,
    )


def test_boxes_are_pixels_of_the_stored_image(gr: Path) -> None:
    """200 x 100: 0.5, 0.6, 0.75, 0.8 is 100, 60, 150, 80; 1.02 is clipped to 200."""
    table = boxes(build(gr))
    found = {r["label"]: r for r in table.iter_rows(named=True) if r["reader"] is None}
    assert set(found) == {"Atelectasis", "Cardiomegaly", "Fracture", "Rib fracture"}
    corners = [found["Atelectasis"][c] for c in ("x1", "y1", "x2", "y2")]
    assert corners == pytest.approx([100, 60, 150, 80])
    assert found["Atelectasis"]["phrase"] == "Linear atelectasis at the left base"
    assert found["Fracture"]["x2"] == SIZE[0] and found["Fracture"]["source"] == REPORTS
    assert table.filter(pl.col("label") == "Fracture").height == 1  # two names of one sentence, one box


def test_labels_and_text(gr: Path) -> None:
    tables = build(gr)
    first, second, third, fourth = (row(tables, f"{n}_a") for n in (1, 2, 3, 4))
    assert (first["y_atelectasis"], first["y_cardiomegaly"], first["y_pneumothorax"]) == (1, 1, 0)
    assert (second["y_fracture"], second["y_rib_fracture"], second["y_pleural_effusion"], second["y_nodule"]) == (
        1,
        1,
        1,
        0,
    )
    assert (third["no_finding"], third["y_cardiomegaly"]) == (1, 0)
    assert (fourth["no_finding"], fourth["y_cardiomegaly"]) == (0, None)  # its finding has no name
    assert describing_text(first["text"]) == "Linear atelectasis at the left base. Heart enlarged. No pneumothorax."
    assert (first["split"], second["split"], third["split"]) == ("train", "val", "test")
    assert (first["age"], first["sex"], second["age"], third["age"], third["sex"]) == (61, "M", 70, None, None)
    assert first["patient_id"] == "P1" and {r["view"] for r in (first, second)} == {"UNK"}
    assert row(build(gr, blank="null"), "1_a")["y_pneumothorax"] is None


def test_a_name_that_only_suggests_a_finding_leaves_it_uncertain(gr: Path) -> None:
    """Two positive sentences and a negative one with approximate names: the negative one suggests nothing."""
    reports = studies()
    reports[0]["findings"][0]["labels"].append("costophrenic angle blunting")
    reports[2]["findings"].append(
        {"sentence_en": "No vertebral compression", "abnormal": False, "labels": ["vertebral compression"]}
    )
    (gr / REPORTS).write_text(json.dumps(reports))
    tables = build(gr)
    assert row(tables, "1_a")["y_pleural_effusion"] == -1 and row(tables, "2_a")["y_pleural_effusion"] == 1
    assert row(tables, "3_a")["y_fracture"] == 0
    assert row(build(gr, approximate=True), "1_a")["y_pleural_effusion"] == 1


def test_triples_carry_the_polarity(gr: Path) -> None:
    tables = build(gr)
    assert from_json(row(tables, "1_a")["triples"]) == (
        *(Triple("Atelectasis", "left base", ("laminar",)), Triple("Cardiomegaly", "heart")),
    )
    told = from_json(row(tables, "2_a")["triples"])
    assert Triple("Pleural Effusion", "right costophrenic angle") in told
    assert Triple("Lung Lesion", "lung", ("nodule",), "negative") in told
    assert Triple("Fracture", "rib", ("callus rib",)) in told


def test_the_second_reader_is_kept_apart(gr: Path, tmp_path: Path) -> None:
    tables = build(gr)
    second = boxes(tables).filter(pl.col("reader") == "second")
    assert second.select("image_id", "label").rows() == [("1_a", "Cardiomegaly")]
    assert row(tables, "1_a")["readers"] == "second" and row(tables, "2_a")["readers"] is None
    path = written(tables, gr, tmp_path / "out")
    truth = load_truth(path, "train", ("Cardiomegaly",))
    assert truth.boxes[0][0].tolist() == [[50, 50, 150, 100]]
    other = load_truth(path, "train", ("Cardiomegaly",), reader="second")
    assert other.boxes[0][0][0] == pytest.approx([40, 50, 140, 100])
    both = boxes(build(gr, extra_boxes="reference")).filter(pl.col("label") == "Cardiomegaly")
    assert both.height == 2 and both["reader"].null_count() == 2
    assert "second" not in boxes(build(gr, extra_boxes="none"))["reader"]


def test_when_no_box_means_no_finding(gr: Path, tmp_path: Path) -> None:
    """S2's effusion has a sentence and no box, and S4 is no benchmark study: there an absent box says nothing."""
    tables = build(gr)
    read = dict(tables.frame.select("image_id", "boxes_read").iter_rows())
    assert read == {"1_a": True, "2_a": False, "3_a": True, "4_a": False}
    assert [c for c, full in tables.box_complete.items() if full] == list(tables.boxed_classes)
    path = written(tables, gr, tmp_path / "out")
    truth = load_truth(path, None, ("Atelectasis", "Fracture", "Cardiomegaly"))
    assert truth.ignore.tolist() == [[False] * 3, [False] * 3, [False] * 3, [True] * 3]
    assert not any(build(gr, complete="none").box_complete.values())


def test_the_index_can_be_written_and_read(gr: Path, tmp_path: Path) -> None:
    path = written(build(gr), gr, tmp_path / "out")
    assert read_index(path).frame.height == 4 and pl.read_parquet(boxes_path(path)).height == 5


def test_master_table_in_a_zip_file(gr: Path, tmp_path: Path) -> None:
    zipped = build(write_padchest_gr(tmp_path / "zipped", master="zip"))
    assert zipped.frame.equals(build(gr).frame)
    (tmp_path / "zipped" / f"{MASTER}.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match=r"master_table\.csv\.zip: no readable master_table\.csv inside"):
        build(tmp_path / "zipped")


def test_a_damaged_zip_file_is_named(tmp_path: Path) -> None:
    """The first byte of a deflated member that is no deflate: zlib, not zipfile, complains."""
    root = write_padchest_gr(tmp_path / "gr", master="zip")
    with zipfile.ZipFile(root / f"{MASTER}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MASTER, "StudyID,ImageID\n" * 99)
    data = bytearray((root / f"{MASTER}.zip").read_bytes())
    data[30 + len(MASTER)] = 0xFF
    (root / f"{MASTER}.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"master_table\.csv\.zip: no readable master_table\.csv inside") as caught:
        build(root)
    assert "\n" not in str(caught.value)


def test_views_come_from_the_table_of_padchest(gr: Path) -> None:
    write_table(gr, (ROWS[0].__class__(**{**vars(ROWS[3]), "name": "1_a.png"}), ROWS[1]))
    tables = build(gr)
    assert row(tables, "1_a")["view"] == "AP" and row(tables, "2_a")["view"] == "UNK"


def test_missing_images_say_how_to_join_the_pieces(gr: Path) -> None:
    folder = gr / "Padchest_GR_files" / "PadChest_GR"
    (folder / "0_z.png").write_bytes((folder / "1_a.png").read_bytes())  # the earlier study's image
    (folder / "2_a.png").unlink()
    tables = build(gr)
    assert tables.missing == ("2_a.png",) and "2_a" not in set(boxes(tables)["image_id"])
    assert not any("not in the table" in note for note in tables.notes)
    for path in folder.glob("*.png"):
        path.unlink()
    (gr / "Padchest_GR_files" / "PadChest_GR.zip.001").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"none of the .* 4 images is there; in .*: cat PadChest_GR\.zip\.0\* > PadChest"
    ):
        build(gr)


def test_a_study_outside_the_master_table_has_no_split(gr: Path) -> None:
    text = (gr / MASTER).read_text()
    (gr / MASTER).write_text("\n".join(line for line in text.splitlines() if not line.startswith("S3")))
    tables = build(gr)
    assert (row(tables, "3_a")["split"], row(tables, "3_a")["patient_id"]) == ("", None)
    assert any(note.startswith("1 x study not in master_table.csv") for note in tables.notes)


def test_unknown_names_are_an_error_unless_skipped(gr: Path) -> None:
    reports = studies()
    reports[0]["findings"][0]["labels"] = ["cardiomegali", "laminar atelectasis"]
    (gr / REPORTS).write_text(json.dumps(reports))
    with pytest.raises(
        DataError, match=r"study 1, finding 1, labels: finding 'cardiomegali' is unknown; did you mean 'card"
    ):
        build(gr)
    tables = build(gr, unknown="skip")
    assert row(tables, "1_a")["y_atelectasis"] == 1
    assert any(note.startswith("1 x unknown finding name") for note in tables.notes)


def at(*keys: str | int, value: object) -> Callable[[list], None]:
    def change(reports: list) -> None:
        place = reports
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


FAULTS = [
    (at(0, "findings", 0, "boxes", value=[[0.1, 0.2, 0.3]]), "study 1, finding 1, boxes: expected x1, y1, x2, y2"),
    (at(0, "findings", 0, "boxes", value=[[100, 60, 150, 80]]), "study 1, finding 1, boxes: expected x1, y1, x2, y2"),
    (at(0, "findings", 0, "boxes", value=[[0, 0, float("nan"), 1]]), "study 1, finding 1, boxes"),
    (at(0, "findings", 0, "boxes", value=[[0, 0, 10**400, 1]]), "study 1, finding 1, boxes"),
    (at(0, "findings", 1, "extra_boxes", value={"x": 1}), "study 1, finding 2, extra_boxes: expected a list"),
    (at(0, "findings", 0, "abnormal", value="yes"), "study 1, finding 1, abnormal: expected true or false"),
    (at(0, "findings", 0, "labels", value=[["nodule"]]), "study 1, finding 1, labels: holds a list among the names"),
    (at(0, "findings", 0, value="text"), "study 1, finding 1: expected an object"),
    (at(0, "findings", value="text"), "study 1, findings: expected a list"),
    (at(1, "ImageID", value="1_a.png"), "study 2, ImageID='1_a.png': empty, or in the file twice"),
    (at(1, "ImageID", value=None), "study 2, ImageID: expected a file name"),
    (at(1, value=[]), "study 2: expected a study"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_a_fault_is_named_in_one_line_without_the_words(gr: Path, change: Callable[[list], None], message: str) -> None:
    reports = studies()
    change(reports)
    (gr / REPORTS).write_text(json.dumps(reports))
    with pytest.raises(DataError) as caught:
        build(gr)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert "Linear" not in str(caught.value)


TABLE_FAULTS = [
    ("validation", "valid8", "split='valid8': expected train, validation or test"),
    (
        "S1,1_a.png,P1,train,True,61,M,card",
        "S1,1_a.png,P9,train,True,61,M,card",
        "the study has more than one PatientID",
    ),
    ("S1,1_a.png,P1,train,True,61,M,card", "S1,1_a.png,P1,test,True,61,M,card", "the study has more than one split"),
    ("70.0", "old", "PatientAge='old'"),
    ("PatientID", "Patient", "column 'PatientID' is missing"),
]


def test_an_age_that_nobody_reaches_is_blank(gr: Path) -> None:
    text = (gr / MASTER).read_text()
    (gr / MASTER).write_text(text.replace(",70.0,", ",1e308,").replace(",61,", ",120.5,"))
    assert build(gr).frame.sort("image_id")["age"].to_list() == [None, None, None, 55]


@pytest.mark.parametrize(("old", "new", "message"), TABLE_FAULTS)
def test_a_fault_of_the_master_table_is_named(gr: Path, old: str, new: str, message: str) -> None:
    text = (gr / MASTER).read_text()
    assert old in text
    (gr / MASTER).write_text(text.replace(old, new))
    with pytest.raises(DataError) as caught:
        build(gr)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 100_000, b'[{"StudyID"', b"\xff\xfe\x00"])
def test_a_broken_reports_file_is_named(gr: Path, content: bytes) -> None:
    (gr / REPORTS).write_bytes(content)
    with pytest.raises(DataError, match=r"grounded_reports_20240819\.json: "):
        build(gr)
