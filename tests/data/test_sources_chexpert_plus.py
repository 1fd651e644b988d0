"""CheXpert Plus: reports with written-out line ends, labels in JSON lines, images of another suffix than stated."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.chexpert import PLUS, PLUS_HEADER, label_line, lines, picture, write_plus
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.chexpert_plus import DEMOGRAPHICS, build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.text.sections import describing_text, split_sections

TABLE = "df_chexpert_plus_240401.csv"
LABELS = "chexbert_labels/report_fixed.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_plus(tmp_path / "plus")


def rewrite(root: Path, rows: list[dict[str, str]], header: list[str] | None = None) -> None:
    with (root / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, header or PLUS_HEADER.split(","), restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def given_labels(frame: pl.DataFrame) -> list[dict[str, int]]:
    return [
        {c: row[label_column(c)] for c in OBSERVATIONS if row[label_column(c)] is not None}
        for row in frame.iter_rows(named=True)
    ]


def test_rows_labels_and_people(root: Path, tmp_path: Path) -> None:
    index = read_index(build_index("chexpert_plus", root, tmp_path / "out"))
    frame = index.frame
    assert frame["path"].to_list() == [f"PNG/{row['path_to_image'][:-4]}.png" for row in PLUS]
    assert frame["image_id"][1] == "patient00011_study1_view2_lateral"
    assert frame["split"].to_list() == ["train"] * 4 + ["val"]
    assert frame["view"].to_list() == ["AP", "LAT", "AP", "AP", "PA"]
    assert frame["age"].to_list() == [61, 61, 61, None, 61] and frame["sex"].to_list() == ["F", "F", "F", None, "M"]
    assert given_labels(frame) == [
        {"Cardiomegaly": 1, "Pleural Effusion": 0},
        {"Cardiomegaly": 1},
        {"Edema": -1, "Support Devices": 1},
        {},
        {},
    ]
    assert frame["no_finding"].to_list() == [None] * 4 + [1]
    assert index.text_origin == "report" and index.boxed_classes == () and index.classes == OBSERVATIONS
    assert index.notes == (
        "1 x sex neither Male nor Female, left blank",
        "1 x image without a line in report_fixed.json, not labelled",
        "1 x image without words",
    )


def test_words_in_the_look_that_sections_reads(root: Path) -> None:
    """Real line ends, headers once, nothing for a blank or NaN section, case as written."""
    texts = build(root).frame["text"].to_list()
    assert texts == [
        "FINDINGS: THE HEART IS LARGE.\nNO EFFUSION.\n\nIMPRESSION: 1. BIG HEART.\n2. CLEAR LUNGS.",
        "IMPRESSION: as above",
        'IMPRESSION: Tube, "end" at the carina.',
        None,
        "FINDINGS: Normal.",
    ]
    assert split_sections(texts[0]) == {
        "findings": "THE HEART IS LARGE. NO EFFUSION.",
        "impression": "1. BIG HEART. 2. CLEAR LUNGS.",
    }
    assert describing_text(texts[2]) == 'Tube, "end" at the carina.'
    whole = build(root, text="report").frame["text"].to_list()
    assert whole == ["NARRATIVE: CHEST.\nFINDINGS: THE HEART IS LARGE.", None, None, None, None]
    assert describing_text(whole[0]) == "THE HEART IS LARGE."


def test_protected_columns_are_taken_only_when_asked_for(root: Path) -> None:
    assert not set(DEMOGRAPHICS) & set(build(root).frame.columns)
    frame = build(root, demographics=True).frame
    assert set(DEMOGRAPHICS) <= set(frame.columns)
    assert set(frame.select("race", "insurance_type", "recent_bmi", "deceased").rows()) == {
        ("Other", "Medicare", "27.5", None)
    }


def test_labels_of_other_parts_and_none(root: Path) -> None:
    assert given_labels(build(root, labels="impression").frame) == [{"Edema": 1}, {}, {}, {}, {}]
    assert given_labels(build(root, labels="none").frame) == [{}] * 5
    with pytest.raises(DataError, match=r"no chexbert_labels/findings_fixed\.json; put it there, or give labels=FILE"):
        build(root, labels="findings")
    (root / "chexbert_labels/impression_fixed.json").rename(root / "chexbert_labels/other.json")
    assert given_labels(build(root, labels="other.json").frame) == [{"Edema": 1}, {}, {}, {}, {}]
    with pytest.raises(DataError, match="unknown labels 'reports'; did you mean 'report'"):
        build(root, labels="reports")


@pytest.mark.parametrize("suffix", [".jpg", ".dcm"])
def test_images_of_any_suffix(root: Path, tmp_path: Path, suffix: str) -> None:
    other = write_plus(tmp_path / "other")
    for path in (other / "PNG").rglob("*.png"):
        path.rename(path.with_suffix(suffix))
    got = build(other).frame
    assert got.drop("path").equals(build(root).frame.drop("path"))
    assert set(got["path"].str.slice(-4)) == {suffix}


def test_a_picture_goes_before_its_dicom_file(root: Path) -> None:
    picture(root / "DICOM" / PLUS[0]["path_to_image"]).with_suffix(".jpg").rename(
        (root / "DICOM" / PLUS[0]["path_to_image"]).with_suffix(".dcm")
    )
    tables = build(root)
    assert tables.frame["path"][0].endswith(".png")
    assert tables.notes[0] == "1 x image stored twice, one is used (pictures before DICOM, then by path)"


def test_form_of_the_files_does_not_matter(root: Path) -> None:
    """Shuffled columns, CRLF, BOM, another date in the name, gzip; blank lines and shuffled keys in the labels."""
    wanted = build(root).frame
    rewrite(root, list(PLUS), [*reversed(PLUS_HEADER.split(",")), "extra"])
    raw = b"\xef\xbb\xbf" + (root / TABLE).read_bytes()
    (root / TABLE).unlink()
    (root / "df_chexpert_plus_250101.csv.gz").write_bytes(gzip.compress(raw))
    labels = [dict(reversed(json.loads(x).items())) for x in (root / LABELS).read_text().splitlines()]
    text = "\n\n".join(json.dumps(entry) for entry in reversed(labels))
    (root / f"{LABELS}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    (root / LABELS).unlink()
    assert build(root).frame.equals(wanted)
    (root / "df_chexpert_plus_260101.csv").write_bytes(raw)
    with pytest.raises(DataError, match="several tables"):
        build(root)


def test_missing_images_and_strange_labels_are_counted(root: Path, tmp_path: Path) -> None:
    next((root / "PNG").rglob("*view2_lateral.png")).unlink()
    with (root / LABELS).open("a") as file:
        file.write(label_line("train/patient00777/study1/view1_frontal.jpg", {}) + "\n")
    path = build_index("chexpert_plus", root, tmp_path / "out")
    assert missing_path(path).read_text() == PLUS[1]["path_to_image"] + "\n"
    notes = read_index(path).notes
    assert notes[0] == "1 x image of the tables missing (see the .missing.txt list)"
    assert "1 x line of report_fixed.json without an image in the table" in notes


def test_a_share_of_the_patients_for_validation(root: Path) -> None:
    rows = [dict(PLUS[0], path_to_image=f"train/patient{n:05}/study1/view1_frontal.jpg") for n in range(30)]
    for row in rows:
        row["deid_patient_id"] = row["path_to_image"].split("/")[1]
        picture((root / "PNG" / row["path_to_image"]).with_suffix(".png"))
    rewrite(root, [*rows, PLUS[4]])
    frame = build(root, val="share", val_share=0.3).frame
    assert set(frame["split"]) == {"train", "val", "test"} and frame.filter(split="test").height == 1


ROW = PLUS[0]
FAULTS = [
    (dict(ROW, path_to_image="train/patient00011/view1_frontal.jpg"), "path_to_image: expected a path such as"),
    (dict(ROW, deid_patient_id="patient00012"), "deid_patient_id: not the patient of path_to_image"),
    (dict(ROW, split="held out"), "split: use train, valid or test"),
    (dict(ROW, path_to_image=ROW["report"]), "path_to_image: expected"),  # a shifted row: words in any column
    (dict(ROW, deid_patient_id=ROW["report"]), "deid_patient_id: not the patient"),
    (dict(ROW, split=ROW["report"]), "split: use train"),
    (dict(ROW, split=""), "split: use train, valid or test"),
]


@pytest.mark.parametrize(("row", "message"), FAULTS)
def test_faults_of_the_table_are_named_without_words(root: Path, tmp_path: Path, row: dict, message: str) -> None:
    rewrite(root, [PLUS[4], row])
    with pytest.raises(DataError, match=f"240401.csv: data row 2, {message}") as caught:
        build_index("chexpert_plus", root, tmp_path / "out")
    assert "\n" not in str(caught.value) and "HEART" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda raw: raw.partition(b"\n")[2],
            "column .path_to_image. is missing; the first line must name",
        ),
        (lambda raw: raw.replace(b'"Tube', b'""Tube', 1), "240401.csv"),
        (lambda raw: raw.replace(b"valid,", b'valid",', 1).replace(b'the carina."', b"the carina.", 1), "240401.csv"),
    ],
)
def test_a_table_out_of_order_does_not_spill_its_words(root: Path, damage, message: str) -> None:
    """No header line, a quote too many, a quote too few: neither names nor the parser's own message quote a report."""
    (root / TABLE).write_bytes(damage((root / TABLE).read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        build(root)
    said = str(caught.value)
    assert "\n" not in said and not any(word in said for word in ("HEART", "LUNGS", "carina", "Tube"))


def test_missing_columns_and_tables(root: Path) -> None:
    rewrite(root, list(PLUS), [c for c in PLUS_HEADER.split(",") if c != "section_findings"])
    with pytest.raises(DataError, match="column 'section_findings' is missing"):
        build(root)
    (root / TABLE).unlink()
    with pytest.raises(DataError, match=f"no {TABLE} here or below"):
        build(root)


PATH = ROW["path_to_image"]
LABEL_FAULTS = [
    ("[" + label_line(PATH, {}) + "]", "no JSON object"),
    ("{'path_to_image': 1}", "no JSON object"),
    (json.dumps({"path_to_image": 3}), "no path_to_image"),
    (json.dumps({"path_to_image": PATH, "Edema": 1}), "no label 'Enlarged Cardiomediastinum'; the 14 labels"),
    (label_line(PATH, {"Edema": 2}), r"Edema='2'; expected 1, 0, -1 or null \(2, 3: CheXbert's own codes"),
    (label_line(PATH, {"Edema": True}), "Edema='True'; expected"),
    (label_line(PATH, {"No Finding": -1.0}), "No Finding='-1.0'; expected"),
    (label_line(PATH, {"Edema": "the secret report"}), "Edema='the secre'; expected"),
]


@pytest.mark.parametrize(("line", "message"), LABEL_FAULTS)
def test_faults_of_the_labels_are_named_by_line(root: Path, line: str, message: str) -> None:
    lines(root / LABELS, label_line(PLUS[4]["path_to_image"], {}), line)
    with pytest.raises(DataError, match=rf"report_fixed\.json: line 2.*{message}") as caught:
        build(root)
    assert "\n" not in str(caught.value)


def test_broken_label_files(root: Path) -> None:
    lines(root / LABELS, label_line("train/elsewhere.jpg", {}))
    with pytest.raises(DataError, match=r"report_fixed\.json: data row 1, path_to_image='train/elsewhere\.jpg'"):
        build(root)
    (root / LABELS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"report_fixed\.json: cannot be read \(UnicodeDecodeError\)"):
        build(root)
    (root / LABELS).unlink()
    (root / f"{LABELS}.gz").write_bytes(gzip.compress(b"x" * 999)[:-12])
    with pytest.raises(DataError, match=r"report_fixed\.json\.gz: (line 1: no JSON|cannot be read)"):
        build(root)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), st.sampled_from([TABLE, LABELS]))
def test_whatever_a_file_holds_there_are_tables_or_one_line(root: Path, content: bytes, name: str) -> None:
    kept = (root / name).read_bytes()
    try:
        (root / name).write_bytes(kept[: len(kept) // 2] + content + kept[len(kept) // 2 :])
        found = str(build(root).frame.height)
    except DataError as error:
        found = str(error)
    finally:
        (root / name).write_bytes(kept)
    assert "\n" not in found
