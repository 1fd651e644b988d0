"""PadChest: the real label table counted, its lists and places read, and every way a copy may lie on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.padchest import ROWS, TABLE, Form, Row, write_padchest, write_table
from fixtures.txv import txv_file
from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import read_index, write_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.sources import padchest_words as words
from wsrpn_vl.data.sources.padchest import build, read_labels
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import label_column
from wsrpn_vl.text.triples import Triple, flat_caption, from_json


@pytest.fixture
def padchest(tmp_path: Path) -> Path:
    return write_padchest(tmp_path / "padchest")


def row(frame: pl.DataFrame, image_id: str) -> dict:
    return frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


def triples(frame: pl.DataFrame, image_id: str) -> tuple[Triple, ...]:
    return from_json(row(frame, image_id)["triples"])


@pytest.fixture(scope="module")
def real() -> pl.DataFrame:
    """The real table, read once."""
    return read_labels(txv_file(f"{TABLE}.gz"))


def test_real_table_counts(real: pl.DataFrame) -> None:
    """Rows, patients and projections as published; 3,041 lists with an empty name and 103 blanks (§6.5)."""
    assert real.height == 160_861 and real["patient_id"].n_unique() == 67_625 and real["study_id"].n_unique() == 109_931
    assert dict(real["projection"].value_counts().iter_rows()) == {
        **{"PA": 91_728, "L": 49_579, "AP_HORIZONTAL": 14_346, "AP": 4_559},
        **{"COSTAL": 630, "EXCLUDE": 11, "UNK": 8},
    }
    assert dict(real["view"].value_counts().iter_rows()) == {"PA": 91_728, "LAT": 49_579, "AP": 18_905, "UNK": 649}
    assert dict(real["label_method"].value_counts().iter_rows()) == {"Physician": 39_053, "RNN_model": 121_808}
    assert int((~real["_listed"]).sum()) == 103
    assert real["image_id"].n_unique() == 160_861


def test_real_labels_agree_with_a_plain_count_of_the_text(real: pl.DataFrame) -> None:
    """Names with and without a leading space are one: counted here by a regular expression on the raw cells."""
    raw = pl.read_csv(txv_file(f"{TABLE}.gz"), columns=["Labels"], infer_schema=False)["Labels"]

    def said(*names: str) -> int:
        return int(raw.str.contains("|".join(rf"'\s*{name}\s*'" for name in names)).sum())

    spaced, plain = raw.str.contains("' pneumonia'"), raw.str.contains("'pneumonia'")
    assert (int(spaced.sum()), int(plain.sum()), int((spaced & plain).sum())) == (4_563, 3_474, 84)
    for cls, names in {
        "Pneumonia": ("pneumonia", "atypical pneumonia"),
        "Cardiomegaly": ("cardiomegaly",),
        "Consolidation": ("consolidation",),
        "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
        "Rib fracture": ("rib fracture", "callus rib fracture"),
        "COPD": ("COPD signs",),
    }.items():
        assert int((real[label_column(cls)] == 1).sum()) == said(*names), cls
    unnamed = raw.str.contains(r"'\s*'")
    assert int(unnamed.sum()) == 3_041
    zeros = pl.any_horizontal(pl.col(label_column(c)) == 0 for c in mapping.index_classes("padchest"))
    assert not real.select(zeros).to_series().filter(unnamed).any()
    normal = raw.str.contains(r"^\['\s*normal\s*'\]$")
    assert (real["no_finding"].filter(normal) == 1).all() and int(normal.sum()) == 50_384


def test_real_triples_say_what_the_labels_say(real: pl.DataFrame) -> None:
    """Of every class with an observation, the triples and the labels name the same ones, and every place is English."""
    sample = real.filter(pl.col("triples").is_not_null()).sample(4_000, seed=0)
    columns = {c: label_column(c) for c in mapping.index_classes("padchest")}
    for found in sample.iter_rows(named=True):
        told = from_json(found["triples"])
        assert all("loc " not in t.location for t in told)
        labelled = {c for c, column in columns.items() if found[column] == 1}
        assert {t.finding for t in told} <= labelled
        observed = {mapping.observations("padchest").get(c, c) for c in labelled}
        assert observed == {mapping.observations("padchest").get(t.finding, t.finding) for t in told}


def test_mapping_lists_what_the_real_table_names() -> None:
    raw = pl.read_csv(txv_file(f"{TABLE}.gz"), columns=["Labels"], infer_schema=False)["Labels"].unique()
    names = set(raw.str.extract_all(r"'[^']*'").explode().drop_nulls().str.strip_chars("' ")) - {""}
    known = [name.native for name in mapping.table("padchest")]
    assert names == set(known) and len(names) == 193


FORMS = [
    Form(packed=True),
    Form(flat=True, crlf=True, bom=True),
    Form(shuffled=True),
    Form(flat=True, suffix=".jpg"),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_layout_gives_the_same_tables(padchest: Path, tmp_path: Path, form: Form) -> None:
    wanted, got = build(padchest), build(write_padchest(tmp_path / "other", form))
    assert got.frame.drop("path").equals(wanted.frame.drop("path"))
    assert all((tmp_path / "other" / path).is_file() for path in got.frame["path"])


def test_labels(padchest: Path) -> None:
    frame = build(padchest).frame
    first = row(frame, "102_a")
    held = {c for c in mapping.index_classes("padchest") if first[label_column(c)] == 1}
    assert held == {"Atelectasis", "Cardiomegaly"} and first["y_pneumonia"] == 0 and first["no_finding"] == 0
    assert (first["view"], first["sex"], first["age"], first["patient_id"]) == ("PA", "M", 64, "P2")
    bare = row(frame, "103_a")
    assert (bare["y_pneumonia"], bare["y_consolidation"], bare["view"]) == (1, 1, "AP")
    assert bare["age"] is None and bare["sex"] is None  # written "None"
    assert row(frame, "101_b")["view"] == "LAT" and row(frame, "107_a")["view"] == "UNK"


def test_what_counts_as_normal_and_what_as_unknown(padchest: Path) -> None:
    """0 only where the whole report was labelled: not beside an empty name, nor "unchanged", nor without a finding."""
    frame = build(padchest).frame
    zeros = {r["image_id"]: r["y_pneumothorax"] for r in frame.iter_rows(named=True)}
    wanted = {
        "101_a": 0,
        "101_b": 0,
        "102_a": 0,
        "103_a": 0,
        "104_a": None,
        "105_a": None,
        "106_a": None,
        "107_a": None,
    }
    assert zeros == wanted | {"110_a": 0}
    none = {r["image_id"]: r["no_finding"] for r in frame.iter_rows(named=True)}
    assert none == {
        **{"101_a": 1, "101_b": 1, "110_a": 1, "102_a": 0, "103_a": 0, "104_a": 0, "105_a": 0},
        **{"106_a": None, "107_a": None},
    }
    assert row(frame, "105_a")["y_pleural_effusion"] == 1 and row(frame, "104_a")["y_nodule"] == 1
    blanks = build(padchest, blank="null").frame
    labels = [label_column(c) for c in mapping.index_classes("padchest")]
    assert not blanks.select(pl.any_horizontal((pl.col(c) == 0).fill_null(False) for c in labels)).to_series().any()
    assert (blanks.select(labels).sum() == frame.select(labels).sum()).row(0) == (True,) * len(labels)


def test_triples_by_sentence(padchest: Path) -> None:
    frame = build(padchest).frame
    assert triples(frame, "102_a") == (
        Triple("Atelectasis", "left base", ("laminar",)),
        Triple("Cardiomegaly", "heart"),
    )
    assert set(triples(frame, "103_a")) == {  # two findings share a sentence, so its places are nobody's
        *(Triple("Consolidation"), Triple("Pneumonia"), Triple("Pneumonia", "left lower lobe"))
    }
    assert triples(frame, "104_a") == (Triple("Lung Lesion", "right apex", ("nodule",)),)
    assert triples(frame, "105_a") == (Triple("Pleural Effusion", "right"),)
    assert triples(frame, "101_a") == () and row(frame, "107_a")["triples"] is None
    assert flat_caption(triples(frame, "102_a")) == "Cardiomegaly. Atelectasis at the left base, laminar."


PLACES = [
    (("basal", "left"), ("left base",)),
    (("left", "right", "apical"), ("bilateral apices",)),
    (("left", "right", "apical", "basal"), ("apex", "base")),  # which is where is not said
    (("lobar", "upper lobe", "right", "right upper lobe"), ("right upper lobe",)),
    (("middle lung field", "hemithorax", "lung field", "left"), ("left mid lung zone", "left hemithorax")),
    (("pleural", "bilateral"), ("bilateral",)),
    (("dorsal vertebrae", "right"), ("thoracic spine",)),
    (("basal bilateral", "basal"), ("base", "bilateral bases")),
    (("a new place", "left"), ("a new place",)),
    ((), ()),
]


@pytest.mark.parametrize(("locs", "wanted"), PLACES)
def test_places(locs: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert words.places(locs) == wanted


def test_sentences_of_both_forms_are_the_same() -> None:
    """The model's flat list marks the further names of a sentence by a space."""
    by_sentence = [["nodule", " scoliosis", "loc left"], ["normal"], None, [], ["cardiomegaly", "loc cardiac"]]
    flat = ["nodule", " scoliosis", "loc left", "normal", "cardiomegaly", "loc cardiac"]
    wanted = [(["nodule", "scoliosis"], ["left"]), (["normal"], []), (["cardiomegaly"], ["cardiac"])]
    assert list(words.sentences(by_sentence)) == wanted == list(words.sentences(flat))
    assert words.split_side("mastectomy left side") == ("mastectomy", "left")
    assert words.split_side("consolidation bilateral") == ("consolidation", "bilateral")
    assert words.split_side("loculated pleural effusion") == ("loculated pleural effusion", "")


def test_which_images_are_taken(padchest: Path) -> None:
    tables = build(padchest)
    assert set(tables.frame["image_id"]) == {r.name[:-4] for r in ROWS} - {"108_a", "109_a"}
    assert any(note.startswith("2 x image of another part") for note in tables.notes)
    assert not any("not in the table" in note for note in tables.notes)
    everything = build(padchest, views="all").frame
    assert row(everything, "108_a")["view"] == row(everything, "109_a")["view"] == "UNK"
    assert row(everything, "108_a")["y_fracture"] == row(everything, "108_a")["y_rib_fracture"] == 1
    physician = build(padchest, method="physician")
    assert set(physician.frame["label_method"]) == {"Physician"} and physician.frame.height == 6
    assert any(note.startswith("3 x image that no physician labelled") for note in physician.notes)


@pytest.mark.parametrize("blank", ["negative", "null"])
def test_a_name_that_only_suggests_a_finding_leaves_it_uncertain(padchest: Path, blank: str) -> None:
    """A blunted costophrenic angle may be an effusion; beside a named effusion it adds nothing."""
    rows = list(ROWS)
    for at, labels in {
        2: "['cardiomegaly', 'costophrenic angle blunting']",
        3: "['pneumonia', 'vertebral compression left side']",
        5: "['costophrenic angle blunting', 'pleural effusion']",
    }.items():
        rows[at] = replace(rows[at], labels=labels)
    write_table(padchest, tuple(rows))
    frame = build(padchest, blank=blank).frame
    assert row(frame, "102_a")["y_pleural_effusion"] == -1 and row(frame, "102_a")["y_cardiomegaly"] == 1
    assert row(frame, "103_a")["y_fracture"] == -1 and row(frame, "105_a")["y_pleural_effusion"] == 1
    assert row(frame, "102_a")["y_fracture"] == (0 if blank == "negative" else None)


def test_approximate_names_only_when_asked_for(padchest: Path) -> None:
    changed = tuple(replace(r, labels=r.labels.replace("scoliosis", "pseudonodule")) for r in ROWS)
    write_table(padchest, changed)
    assert row(build(padchest).frame, "102_a")["y_lung_lesion"] == -1
    assert row(build(padchest, approximate=True).frame, "102_a")["y_lung_lesion"] == 1


def test_text_is_kept_out_unless_asked_for(padchest: Path) -> None:
    assert build(padchest).text_origin == "none" and build(padchest).frame["text"].null_count() == 9
    tables = build(padchest, text="report")
    assert tables.text_origin == "report" and set(tables.frame["text"]) == {"sin hallazg"}
    assert "the text is stemmed Spanish" in tables.notes


def test_patients_stay_together_and_the_index_is_valid(padchest: Path, tmp_path: Path) -> None:
    tables = build(padchest, val_share=0.3, test_share=0.3)
    path = write_index(
        tables.frame,
        None,
        tmp_path / "index.parquet",
        dataset=tables.dataset,
        root=padchest,
        classes=tables.classes,
        box_complete=tables.box_complete,
        boxed_classes=(),
        text_origin=tables.text_origin,
    )
    assert read_index(path).frame.height == 9
    assert {r["split"] for r in tables.frame.iter_rows(named=True) if r["patient_id"] == "P1"} < {
        "train",
        "val",
        "test",
    }
    few = build(write_padchest(tmp_path / "few", rows=ROWS[4:]), val_share=0.3, test_share=0.3).frame
    whole = dict(tables.frame.select("image_id", "split").iter_rows())
    assert dict(few.select("image_id", "split").iter_rows()).items() <= whole.items()
    assert any("1 x study with two patient ids" in note for note in tables.notes)


def test_sixteen_bit_images_use_their_whole_range(padchest: Path) -> None:
    pixels = read_image(padchest / "1" / "104_a.png")
    assert pixels[0, 0] == 1 and pixels[5, 5] == pytest.approx(4000 / 65535)
    assert pixels.dtype == np.float32 and pixels.shape == (40, 30)


def test_missing_images_are_listed_and_zip_files_named(padchest: Path) -> None:
    for name in ("110_a.png", "106_a.png"):
        (padchest / "54" / name).unlink()
    (padchest / "54.zip").write_bytes(b"PK")
    (padchest / "0" / "._101_a.png").write_bytes(b"macOS")
    tables = build(padchest)
    assert sorted(tables.missing) == ["106_a.png", "110_a.png"] and tables.frame.height == 7
    assert any(note.startswith("2 x image of the table missing") for note in tables.notes)
    assert "missing images may lie in zip files: unpack 54.zip" in tables.notes
    for path in padchest.glob("*/*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"none of the table's 9 images is there; unpack 54\.zip"):
        build(padchest)


def test_without_looking_for_files(tmp_path: Path) -> None:
    write_table(tmp_path, ROWS)
    frame = build(tmp_path, check_files=False).frame
    assert frame["path"][2] == "0/102_a.png" and frame["width"].null_count() == frame.height == 9


FAULTS = [
    (
        2,
        {"labels": "['laminar atelectasi']"},
        "data row 3, Labels: finding 'laminar atelectasi' is unknown; did you mean 'lam",
    ),
    (2, {"labels": "['nodule'"}, "data row 3, Labels: not a list"),
    (2, {"labels": "'nodule'"}, "data row 3, Labels: not a list"),
    (2, {"labels": "[1]"}, "data row 3, Labels: holds a int among the names"),
    (2, {"labels": "[" * 5000}, "data row 3, Labels: not a list"),
    (2, {"labels": "__import__('os').system('true')"}, "data row 3, Labels: not a list"),
    (2, {"sentences": "[['nodul']]"}, "data row 3, LabelsLocalizationsBySentence: finding 'nodul' is unknown"),
    (2, {"projection": "AXIAL"}, "data row 3, Projection: expected one of PA, L"),
    (2, {"projection": "sin hallazg"}, "data row 3, Projection: expected one of PA, L"),  # a shifted row
    (2, {"born": "sin hallazg"}, "data row 3, PatientBirth: expected a whole number"),
    (2, {"method": "Guess"}, "data row 3, MethodLabel: expected one of physician, rnn_model"),
    (2, {"name": "101_a.png"}, "data row 3, ImageID: not a file name of its own"),
    (2, {"name": "../x.png"}, "data row 3, ImageID: not a file name of its own"),
    (2, {"born": "long ago"}, "data row 3, PatientBirth: expected a whole number"),
    (2, {"patient": "None"}, "data row 3, PatientID: give a value"),
]


@pytest.mark.parametrize(("at", "changes", "message"), FAULTS)
def test_a_fault_is_named_in_one_line(tmp_path: Path, at: int, changes: dict, message: str) -> None:
    rows: tuple[Row, ...] = (*ROWS[:at], replace(ROWS[at], **changes), *ROWS[at + 1 :])
    write_table(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        build(tmp_path, check_files=False)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert "sin hallazg" not in str(caught.value)


def test_a_missing_table_and_unknown_options_are_named(padchest: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown method of source 'padchest': 'doctor'"):
        build(padchest, method="doctor")
    with pytest.raises(DataError, match="give shares"):
        build(padchest, val_share=0.6, test_share=0.5)
    (padchest / TABLE).unlink()
    with pytest.raises(DataError, match=r"put PadChest's label table there"):
        build(padchest)
