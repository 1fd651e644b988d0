"""MIMIC-CXR in every form it is downloaded in: the same rows, and each fault of a table in one line."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest

from fixtures.mimic import (
    CHEXPERT,
    CHEXPERT_LABELS,
    CXR,
    HEIGHT,
    JPG,
    LABELS,
    METADATA,
    NEGBIO,
    REPORTS,
    SHOTS,
    SPLIT,
    SPLITS,
    TAM_BOXES,
    TEST_LABELS,
    TEXTS,
    VIEWS,
    WIDTH,
    Mimic,
    dicom_id,
    path_of,
    tables,
    write_coco,
    write_mimic,
    write_ms_cxr,
    write_table,
)
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.mimic import CLASSES, build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.text.sections import split_sections

EXAM = "PerformedProcedureStepDescription"


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    return write_mimic(tmp_path / "mimic")


def by_name(frame: pl.DataFrame, column: str) -> dict[str, object]:
    """Short name of an image -> value."""
    values = dict(zip(frame["image_id"], frame[column], strict=True))
    return {shot.name: values[dicom_id(shot.name)] for shot in SHOTS if dicom_id(shot.name) in values}


def rewrite(root: Path, name: str, **changes: dict[str, str]) -> None:
    """Write a table again, plain, in place of the packed one. changes: first field of a row -> column -> value."""
    header, rows = next((header, rows) for table, header, rows in tables() if table == name)
    places = {c: i for i, c in enumerate(header)}
    out = []
    for row in rows:
        change = changes.get(str(row[0]), {})
        out.append(tuple(change.get(c, row[i]) for c, i in places.items()))
    (root / JPG / f"{name}.gz").unlink()
    write_table(root / JPG / name, header, out)


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


def test_missing_images_are_listed(mimic: Path, tmp_path: Path) -> None:
    gone = [s for s in SHOTS if s.name in ("a1", "c1")]
    for shot in gone:
        (mimic / JPG / path_of(shot)).unlink()
    (mimic / JPG / path_of(gone[0])).with_name("._x.jpg").write_bytes(b"")
    (mimic / JPG / path_of(gone[0])).with_name("other.jpg").write_bytes(b"")
    index = build_index("mimic", mimic, tmp_path / "i")
    assert read_index(index).frame.height == 8
    assert missing_path(index).read_text().split() == [f"{JPG}/{path_of(s)}" for s in gone]
    notes = read_index(index).notes
    assert "2 x image of the tables missing (see the .missing.txt list)" in notes
    assert "1 x image file not in the tables, left out" in notes
    with pytest.raises(DataError, match=r"2 images of the tables are not there, first mimic-cxr-jpg/2\.1\.0/files/p10"):
        build(mimic, missing="error")
    assert build(mimic, missing="unchecked").frame.height == 10


def test_tables_without_any_image(mimic: Path) -> None:
    shutil.rmtree(mimic / JPG / "files")
    with pytest.raises(DataError, match="no JPEG or DICOM files below a folder files/p10 to p19"):
        build(mimic)
    frame = build(mimic, missing="unchecked", views="all").frame
    assert frame["path"].to_list() == [f"{JPG}/{path_of(s)}" for s in SHOTS]


def test_a_broken_picture_is_not_looked_into(mimic: Path) -> None:
    assert dicom_id("e3") in set(build(mimic, views="all").frame["image_id"])


def test_boxes_of_both_sets_are_joined_and_their_patients_leave_train(mimic: Path, tmp_path: Path) -> None:
    """a1 and d1 are drawn on: both patients' images leave train. c1 is in val and e1 in test, where they stay."""
    write_ms_cxr(mimic / "ms-cxr" / "0.1")
    write_coco(mimic / "tam" / "221v2hiqualnihsplit.json", TAM_BOXES, report="words nobody should read")
    index = read_index(build_index("mimic", mimic, tmp_path / "i", views="all"))
    boxes = pl.read_parquet(boxes_path(index.path))
    assert boxes.height == 7 and set(index.boxed_classes) == set(boxes["label"])
    splits = by_name(index.frame, "split")
    assert {name for name, split in splits.items() if split == ""} == {"a1", "a2", "a3", "a4", "d1", "d2", "d3"}
    assert {name for name, split in splits.items() if split == "train"} == {"b1", "b2"}
    assert splits["c1"] == "val" and splits["e1"] == "test"
    assert {n for n, read in by_name(index.frame, "boxes_read").items() if read} == {"a1", "a2", "c1", "d1", "e1"}
    assert "2 patients with boxes (7 images) taken out of train, in no split now" in index.notes
    assert "5 boxes of MS-CXR on 3 images" in index.notes and "2 boxes of Tam et al. on 2 images" in index.notes
    kept = build(mimic, views="all", keep_boxed_in_train=True)
    assert by_name(kept.frame, "split")["a1"] == "train"
    assert "2 patients with boxes (7 images) stay in train, as asked: do not test on their boxes" in kept.notes


def test_boxes_are_corners_clipped_to_the_original_image(mimic: Path) -> None:
    write_ms_cxr(mimic)
    tables = build(mimic)
    assert tables.boxes is not None
    rows = tables.boxes.filter(image_id=dicom_id("e1"), label="Lung Opacity").select("x1", "y1", "x2", "y2").rows()
    assert rows == [(100.0, 200.0, 400.0, 600.0), (1600.0, 200.0, 2544.0, 600.0)]
    heart = tables.boxes.row(by_predicate=pl.col("label") == "Cardiomegaly", named=True)
    assert (heart["x1"], heart["y1"], heart["x2"], heart["y2"]) == (700.5, 1500.25, 1800.5, 2400.25)
    assert heart["phrase"] == "large heart" and heart["source"] == "MS_CXR_Local_Alignment_v1.0.0.csv"
    assert "1 x box of MS-CXR that stuck out of its image, clipped" in tables.notes


def test_box_on_an_image_left_out_still_keeps_its_patient_out_of_train(mimic: Path) -> None:
    """a2 is lateral: no box of it is in the index, yet who drew it saw the patient."""
    write_coco(mimic / "boxes.json", TAM_BOXES[1:])
    tables = build(mimic, tam="boxes.json")
    assert tables.boxes is not None and tables.boxes.height == 0 and tables.boxed_classes == ()
    assert by_name(tables.frame, "split")["a1"] == ""
    assert "1 x box of Tam et al. on an image that is not in the index, left out" in tables.notes


def test_boxes_stated_for_another_size(mimic: Path) -> None:
    """Boxes on a picture twice as large are halved; on one with width and height exchanged they mean nothing here."""
    double = {"image_width": str(2 * WIDTH), "image_height": str(2 * HEIGHT)}
    turned = {"image_width": str(HEIGHT), "image_height": str(WIDTH)}
    write_ms_cxr(mimic, a1=double, c1=turned)
    tables = build(mimic)
    assert tables.boxes is not None
    rows = tables.boxes.filter(image_id=dicom_id("a1")).select("x1", "y1", "x2", "y2").rows()
    assert rows == [(750.0, 1000.0, 1050.0, 1250.0)]
    assert dicom_id("c1") not in set(tables.boxes["image_id"])
    assert "1 x box of MS-CXR stated for another image size, scaled" in tables.notes
    assert "1 x box of MS-CXR stated for an image of another form, left out" in tables.notes


def test_box_files_that_are_not_wanted(mimic: Path) -> None:
    write_ms_cxr(mimic)
    tables = build(mimic, ms_cxr="none")
    assert tables.boxes is None and "boxes_read" not in tables.frame.columns
    with pytest.raises(DataError, match="ms_cxr='nowhere': no such file or folder"):
        build(mimic, ms_cxr="nowhere")


FAULTS: list[tuple[str, str, dict[str, dict[str, str]], str]] = [
    ("duplicate", METADATA, {dicom_id("a2"): {"dicom_id": dicom_id("a1")}}, r"dicom_id='\w{8}-.*appears twice"),
    ("bad id", METADATA, {dicom_id("a2"): {"dicom_id": "../../x"}}, r"data row 2, dicom_id='../../x'.*not an id"),
    ("bad subject", METADATA, {dicom_id("a2"): {"subject_id": "17"}}, r"data row 2, subject_id='17'.*not an id"),
    ("no size", METADATA, {dicom_id("a2"): {"Rows": ""}}, "data row 2, Rows=None.*expected a number of pixels"),
    ("wordy size", METADATA, {dicom_id("a2"): {"Columns": "wide"}}, "data row 2, Columns='wide'.*whole number"),
    ("other patient", METADATA, {dicom_id("a2"): {"subject_id": "10000009"}}, "data row 2, patient_id=.*says another"),
    ("split word", SPLIT, {dicom_id("a2"): {"split": "valid"}}, "data row 2, split='valid'.*train, validate, test"),
    ("study twice", CHEXPERT, {"10000002": {"study_id": "50000001"}}, "study_id='50000001'.*appears twice"),
    ("label", CHEXPERT, {"10000002": {"Edema": "2.0"}}, r"data row 3, Edema=2.0.*expected 1.0, 0.0, -1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "said"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_faults_of_tables_are_one_line(mimic: Path, name: str, changes: dict[str, dict[str, str]], said: str) -> None:
    rewrite(mimic, name, **changes)
    with pytest.raises(DataError, match=said) as error:
        build(mimic)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", [METADATA, SPLIT, CHEXPERT, NEGBIO, TEST_LABELS])
def test_a_table_that_is_not_there_is_named(mimic: Path, name: str) -> None:
    (mimic / JPG / f"{name}.gz").unlink()
    for listed in mimic.rglob("cxr-record-list.csv.gz"):
        listed.unlink()
    with pytest.raises(DataError, match=re.escape(f"no {name}")):
        build(mimic, labels="both", test_labels=True)


@pytest.mark.parametrize("name", [METADATA, SPLIT, CHEXPERT])
def test_a_table_cut_short_or_empty(mimic: Path, name: str) -> None:
    path = mimic / JPG / f"{name}.gz"
    whole = path.read_bytes()
    for data in (whole[:40], b""):
        path.write_bytes(data)
        with pytest.raises(DataError, match=re.escape(path.name)) as error:
            build(mimic)
        assert "\n" not in str(error.value)


def test_images_of_one_table_alone_are_counted(mimic: Path) -> None:
    """b1 and b2 lack a split: in none. An image only in the split table is left out."""
    header, rows = next((h, r) for n, h, r in tables() if n == SPLIT)
    (mimic / JPG / f"{SPLIT}.gz").unlink()
    kept = [r for r in rows if r[1] != 50000003] + [(dicom_id("zz"), 50000009, 10000002, "train")]
    write_table(mimic / JPG / SPLIT, header, kept)
    built = build(mimic, views="all")
    assert by_name(built.frame, "split")["b1"] == "" and built.frame.height == 15
    assert "1 x study of the metadata not in the split table, in no split" in built.notes
    assert "2 x image of the metadata not in the split table, in no split" in built.notes
    assert "1 x image of the split table not in the metadata, left out" in built.notes


@pytest.mark.parametrize("cut", [0, 30, 400, -30])
def test_a_broken_archive_is_one_line_without_words(mimic: Path, cut: int) -> None:
    path = mimic / CXR / "mimic-cxr-reports.zip"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip: not a readable archive.*download it again") as error:
        build(mimic)
    assert "\n" not in str(error.value)
    assert not any(text[-30:-10] in str(error.value) for text in REPORTS.values() if len(text) > 30)


def test_a_damaged_member_is_one_line(mimic: Path) -> None:
    path = mimic / CXR / "mimic-cxr-reports.zip"
    data = bytearray(path.read_bytes())
    data[data.index(b"Blunting")] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a readable archive"):
        build(mimic)


@pytest.mark.parametrize(
    "option",
    [{"images": "jpeg"}, {"views": "front"}, {"labels": "chexbert"}, {"missing": "lists"}, {"reports": "nowhere"}],
)
def test_unknown_options_are_named(mimic: Path, option: dict[str, str]) -> None:
    with pytest.raises(DataError, match=re.escape(next(iter(option.values())))):
        build(mimic, **option)  # type: ignore[arg-type]


def test_label_columns_are_those_of_the_reference() -> None:
    assert set(LABELS) == {*OBSERVATIONS, "No Finding"} and CLASSES == OBSERVATIONS
