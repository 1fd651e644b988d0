"""MIMIC-CXR in every form it is downloaded in: the same rows, labels and words."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from fixtures.mimic import (
    CHEXPERT_LABELS,
    CXR,
    HEIGHT,
    JPG,
    LABELS,
    METADATA,
    SHOTS,
    SPLITS,
    TEXTS,
    VIEWS,
    WIDTH,
    Mimic,
    by_name,
    dicom_id,
    path_of,
    rewrite,
    write_mimic,
)
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.data.sources.mimic import CLASSES, build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.text.sections import split_sections

EXAM = "PerformedProcedureStepDescription"


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    return write_mimic(tmp_path / "mimic")


def test_every_image_has_its_view_split_size_and_place(mimic: Path) -> None:
    tables = build(mimic, views="all")
    frame = tables.frame
    assert [dicom_id(s.name) for s in SHOTS] == frame["image_id"].to_list()
    assert by_name(frame, "view") == VIEWS
    assert by_name(frame, "split") == {s.name: SPLITS[s.subject].replace("validate", "val") for s in SHOTS}
    assert frame["patient_id"].to_list() == [str(s.subject) for s in SHOTS]
    assert frame["study_id"].to_list() == [str(s.study) for s in SHOTS]
    assert set(frame["width"]) == {WIDTH} and set(frame["height"]) == {HEIGHT}
    assert frame["path"].to_list() == [f"{JPG}/{path_of(s)}" for s in SHOTS]
    assert all((mimic / path).is_file() for path in frame["path"])
    assert tables.missing == () and tables.boxes is None and tables.box_complete == dict.fromkeys(OBSERVATIONS, False)


def test_where_a_view_comes_from_is_told(mimic: Path) -> None:
    """b1 by its code, d2 by an examination of one view; d3's examination has two, so nobody knows."""
    tables = build(mimic, views="all")
    told = by_name(tables.frame, "view_from")
    assert told["b1"] == "ViewCodeSequence_CodeMeaning" and told["d2"] == EXAM and told["d3"] is None
    assert {told[s.name] for s in SHOTS if s.position} == {"ViewPosition"}
    assert by_name(tables.frame, "view_position")["e3"] == "LAO"
    assert "1 x image without ViewPosition, its view taken from ViewCodeSequence_CodeMeaning" in tables.notes
    assert "1 x image without ViewPosition, its view taken from the name of the examination" in tables.notes


@pytest.mark.parametrize(
    ("exam", "view"),
    [
        ("CHEST (PORTABLE AP)", "AP"),
        ("CHEST (PRE-OP PA ONLY)", "PA"),
        ("CHEST (LAT DECUB ONLY)", "UNK"),  # a frontal view of somebody who lies on the side
        ("TRAUMA #2 (AP CXR & PELVIS PORT)", "UNK"),  # which of the two it shows is not said
        ("CHEST (PA, LAT & OBLIQUES)", "UNK"),
        ("ABDOMEN (SUPINE AP)", "UNK"),
        ("CHEST (SINGLE VIEW)", "UNK"),
    ],
)
def test_an_examination_tells_the_view_only_of_one_chest_film(mimic: Path, exam: str, view: str) -> None:
    rewrite(mimic, METADATA, **{dicom_id("d3"): {EXAM: exam}})
    assert by_name(build(mimic, views="all").frame, "view")["d3"] == view


@pytest.mark.parametrize(
    ("position", "view"),
    [("LL", "LAT"), ("XTABLE LATERAL", "LAT"), ("PA LLD", "UNK"), ("AP AXIAL", "UNK"), ("RPO", "UNK"), ("pa", "PA")],
)
def test_rare_view_positions(mimic: Path, position: str, view: str) -> None:
    rewrite(mimic, METADATA, **{dicom_id("e3"): {"ViewPosition": position}})
    assert by_name(build(mimic, views="all").frame, "view")["e3"] == view


def test_frontal_views_are_the_default(mimic: Path) -> None:
    tables = build(mimic)
    assert set(by_name(tables.frame, "view")) == {name for name, view in VIEWS.items() if view in ("AP", "PA")}
    assert "3 x lateral image, left out (views=all keeps it)" in tables.notes
    assert "2 x image of unknown or other view, left out (views=all keeps it)" in tables.notes


def test_times_lost_their_leading_zeros(mimic: Path) -> None:
    frame = build(mimic, views="all").frame
    times = by_name(frame, "study_datetime")
    assert times["a1"] == "2180-05-06T08:05:56.875"
    assert times["a3"] == "2179-01-01T23:59:59.500"
    assert times["b1"] == "2150-02-28T00:00:01.250"
    assert times["c1"] == "2111-01-01T12:00:00.000"
    assert times["f1"] is None
    order = by_name(frame, "study_order")
    assert (order["a3"], order["a1"], order["d1"], order["d2"], order["e1"], order["e4"]) == (1, 2, 1, 2, 1, 2)


def test_a_time_that_is_none_is_left_blank_and_counted(mimic: Path) -> None:
    rewrite(mimic, METADATA, **{dicom_id("a1"): {"StudyTime": "256000"}, dicom_id("c1"): {"StudyDate": "21111301"}})
    tables = build(mimic, views="all")
    times = by_name(tables.frame, "study_datetime")
    assert times["a1"] is None and times["c1"] is None and times["a2"] is not None
    assert any(note.startswith("3 x image whose date or time") for note in tables.notes)  # f1 has no time at all


def test_labels_of_a_study_go_to_each_of_its_images(mimic: Path) -> None:
    tables = build(mimic, views="all")
    numbers = {"1.0": 1, "0.0": 0, "-1.0": -1}
    for row in tables.frame.iter_rows(named=True):
        given = CHEXPERT_LABELS.get(int(row["study_id"]), {})
        for name in OBSERVATIONS:
            assert row[label_column(name)] == numbers.get(given.get(name, "")), (row["study_id"], name)
        assert row["no_finding"] == numbers.get(given.get("No Finding", ""))
    assert "1 x study without a row of labels, all of them blank" in tables.notes


def test_both_labellers_agree_or_nothing_is_said(mimic: Path) -> None:
    """NegBio differs on Edema of 50000001 and is silent on Pneumothorax of 51000003."""
    tables = build(mimic, views="all", labels="both")
    edema, air = (by_name(tables.frame, label_column(n)) for n in ("Edema", "Pneumothorax"))
    assert edema["a1"] is None and air["d2"] is None
    assert by_name(tables.frame, label_column("Atelectasis"))["a1"] == -1
    assert by_name(tables.frame, label_column("Support Devices"))["d2"] == 1
    assert by_name(tables.frame, "no_finding")["a3"] == 1
    assert "2 x label on which CheXpert and NegBio differ, left blank" in tables.notes
    assert by_name(build(mimic, labels="negbio").frame, label_column("Edema"))["a1"] == -1


def test_without_labels(mimic: Path) -> None:
    frame = build(mimic, labels="none").frame
    assert all(frame[label_column(name)].null_count() == frame.height for name in CLASSES)


def test_a_radiologist_has_the_last_word_on_test_studies(mimic: Path) -> None:
    """59000001 was read; 50000001 was too, but is in train, so the labeller's word stands."""
    tables = build(mimic, views="all", test_labels=True)
    assert by_name(tables.frame, label_column("Lung Opacity"))["e1"] == 0
    assert by_name(tables.frame, label_column("Pneumonia"))["e2"] == 1
    assert by_name(tables.frame, label_column("Fracture"))["e4"] == 1
    assert by_name(tables.frame, label_column("Edema"))["a1"] == 0
    assert "1 x study of the test split with the labels of a radiologist" in tables.notes
    assert "2 x study of the test split with the labels of a labeller" in tables.notes


def test_reports_are_those_written(mimic: Path) -> None:
    tables = build(mimic, views="all")
    assert dict(tables.frame.select("study_id", "text").drop_nulls().iter_rows()) == TEXTS
    assert tables.text_origin == "report"
    assert "1 x study without a report" in tables.notes and "1 x report that is empty" in tables.notes
    assert not any("junk" in text for text in tables.frame["text"].drop_nulls())


@pytest.mark.parametrize(
    "form",
    [
        Mimic("plain", reports="text"),
        Mimic("both", odd=True),
        Mimic("gz", odd=True, above="physionet.org/files"),
        Mimic("plain", kinds=("jpg", "dicom"), reports="text", odd=True),
    ],
)
def test_every_form_gives_the_same_tables(mimic: Path, tmp_path: Path, form: Mimic) -> None:
    wanted, got = build(mimic, views="all"), build(write_mimic(tmp_path / "other", form), views="all")
    assert got.frame.drop("path").equals(wanted.frame.drop("path"))
    assert [n for n in got.notes if "beside it" not in n] == list(wanted.notes)
    assert sum("beside it is not" in n for n in got.notes) == (3 if form.packed == "both" else 0)
    assert all((tmp_path / "other" / path).is_file() for path in got.frame["path"])


def test_the_folder_of_the_images_alone_has_no_reports(mimic: Path) -> None:
    wanted = build(mimic).frame
    bare = build(mimic / JPG)
    assert bare.text_origin == "none" and any("no reports found" in n for n in bare.notes)
    assert bare.frame["path"].to_list() == [path.removeprefix(f"{JPG}/") for path in wanted["path"]]
    for where in (mimic / CXR, mimic / CXR / "mimic-cxr-reports.zip", "../../mimic-cxr/2.1.0"):
        assert build(mimic / JPG, reports=str(where)).frame.drop("path").equals(wanted.drop("path"))


@pytest.mark.parametrize("linked", ["files", "files/p10", "mimic-cxr-2.0.0-split.csv.gz", ""])
def test_folders_and_tables_may_be_links(mimic: Path, tmp_path: Path, linked: str) -> None:
    """Images on another disk are common."""
    plain = build(mimic, views="all").frame
    place = mimic / JPG / linked
    away = (tmp_path / "disk").resolve() / "x"
    away.parent.mkdir()
    place.rename(away)
    place.symlink_to(away, target_is_directory=away.is_dir())
    assert build(mimic, views="all").frame.equals(plain)


def test_tables_unpacked_into_folders_of_their_name(mimic: Path) -> None:
    """As macOS does with ``x.csv.gz`` that a browser has unpacked already."""
    plain = build(mimic).frame
    packed = mimic / JPG / f"{METADATA}.gz"
    folder = mimic / JPG / METADATA
    folder.mkdir()
    (folder / METADATA).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert build(mimic).frame.equals(plain)


def test_dicom_images_take_everything_else_from_the_tables(tmp_path: Path) -> None:
    root = write_mimic(tmp_path / "m", Mimic(kinds=("jpg", "dicom")))
    jpg, dicom = build(root, views="all"), build(root, views="all", images="dicom")
    assert dicom.frame.drop("path").equals(jpg.frame.drop("path"))
    assert dicom.frame["path"].to_list() == [f"{CXR}/{path_of(s, '.dcm')}" for s in SHOTS]
    shutil.rmtree(root / JPG / "files")
    assert build(root, views="all").frame["path"].equals(dicom.frame["path"])


def test_the_dicom_project_alone_has_images_and_words(tmp_path: Path) -> None:
    root = write_mimic(tmp_path / "m", Mimic(kinds=("dicom",)))
    shutil.rmtree(root / JPG)
    with pytest.raises(
        DataError, match="put the tables of MIMIC-CXR-JPG below the root, or give labels=none views=all"
    ):
        build(root)
    build_index("mimic", root, tmp_path / "i", labels="none", views="all")
    frame = read_index(tmp_path / "i" / "index.parquet").frame
    assert set(frame["split"]) == {""} and set(frame["view"]) == {"UNK"} and frame["width"].null_count() == 15
    assert dict(frame.select("study_id", "text").drop_nulls().iter_rows()) == TEXTS
    with pytest.raises(DataError, match="no image is known to be a frontal view; give views=all"):
        build(root, labels="none")


def test_sections_put_together_again_are_read_as_the_same_sections(tmp_path: Path) -> None:
    root = write_mimic(tmp_path / "m", Mimic(reports="sectioned"))
    text = by_name(build(root).frame, "text")
    sections = split_sections(str(text["a1"]))
    assert sections["findings"] == "A blunt angle." and sections["impression"] == "Small left pleural effusion."
    assert split_sections(str(text["b1"])) == {"full report": "Nothing new."}
    assert text["c1"] is None


def test_parts_without_a_header(tmp_path: Path) -> None:
    text = by_name(build(write_mimic(tmp_path / "m", Mimic(reports="parts"))).frame, "text")
    assert (text["a1"], text["a3"], text["e1"]) == ("Small effusion, left.", "Clear\n lungs.", "Opacity.")


def test_reports_may_be_in_another_encoding_with_other_line_ends(mimic: Path) -> None:
    archive = mimic / CXR / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("files/p10/p10000001/s50000001.txt", "Größe\r\nnormal".encode("latin-1"))
        file.writestr("copy/files/p10/p10000001/s50000001.txt", "another copy")
    tables = build(mimic)
    assert by_name(tables.frame, "text")["a1"] == "Größe\nnormal"
    assert "1 x report stored twice, the first is used" in tables.notes


def test_a_broken_picture_is_not_looked_into(mimic: Path) -> None:
    assert dicom_id("e3") in set(build(mimic, views="all").frame["image_id"])


def test_label_columns_are_those_of_the_reference() -> None:
    assert set(LABELS) == {*OBSERVATIONS, "No Finding"} and CLASSES == OBSERVATIONS


def test_published_counts_add_up() -> None:
    facts = json.loads((resources.files("wsrpn_vl.data") / "published" / "mimic.json").read_text("utf-8"))
    assert sum(facts["views"].values()) == facts["images"]
    assert facts["views"]["AP"] + facts["views"]["PA"] == facts["frontal"]
    for count in ("images", "studies", "patients", "frontal"):
        assert sum(split[count] for split in facts["splits"].values()) == facts[count]
    parts = [facts[key]["Atelectasis"] for key in ("positives", "negatives", "uncertain")]
    assert sum(parts) + 170_161 == facts["labelled_studies"]  # 170,161 studies do not mention it
    assert set(facts["rates"]) - {"of"} == set(OBSERVATIONS)


def test_labels_mined_from_the_reports_are_no_witness_for_them(mimic: Path) -> None:
    tables = build(mimic)
    assert tables.text_labels == tables.classes and build(mimic, labels="none", views="all").text_labels == ()
