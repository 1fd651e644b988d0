"""ChestX-ray14's released tables as they are, and the labels that Google's radiologists gave a part of them."""

from __future__ import annotations

import gzip
import json
from importlib import resources
from pathlib import Path

import polars as pl
import pytest

from fixtures.nih import write_nih
from fixtures.txv import txv_file
from wsrpn_vl.data.sources import SourceTables
from wsrpn_vl.data.sources.nih import CLASSES, build
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NIH8, label_column


@pytest.fixture
def nih(tmp_path: Path) -> Path:
    return write_nih(tmp_path / "nih")


def row(frame: pl.DataFrame, image_id: str) -> dict:
    return frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


EXPERTS = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],Fracture,Pneumothorax,Airspace opacity,Nodule or mass,"
    "Set Id"
)


def write_experts(path: Path, *rows: str) -> None:
    """With CRLF, as it is downloaded."""
    path.write_bytes("".join(f"{line}\r\n" for line in (EXPERTS, *rows)).encode())


def test_radiologists_overrule_the_reports_where_they_speak(nih: Path) -> None:
    """Image 9_000 has an infiltration by the report, so an opacity; the experts see none, but a broken rib."""
    row_of = "00000009_000.png,Infiltration,0,9,70,M,PA,2682,2749,0.143,0.143,YES,NO,NO,YES,test"
    write_experts(nih / "experts.csv", row_of, row_of.replace("00000009_000", "00000777_000"))
    tables, plain = build(nih, experts="experts.csv"), build(nih)
    read, other = row(tables.frame, "00000009_000"), row(tables.frame, "00000007_000")
    names = ("fracture", "pneumothorax", "lung_opacity", "lung_lesion", "infiltration", "nodule")
    assert [read[f"y_{name}"] for name in names] == [1, 0, 0, 1, 1, 0]
    assert [other[f"y_{name}"] for name in names] == [None, 1, 0, 0, 0, 0]
    assert (read["expert_set"], other["expert_set"]) == ("test", None)
    assert tables.classes == (*CLASSES, "Fracture") and set(tables.box_complete) == set(tables.classes)
    unread = pl.col("image_id") != "00000009_000"
    assert tables.frame.filter(unread).select(plain.frame.columns).equals(plain.frame.filter(unread))
    assert any(note.startswith("1 x image with labels of Google's radiologists") for note in tables.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",YES,NO,NO,YES,", ",YES,NO,PERHAPS,YES,", "Airspace opacity='PERHAPS': use YES or NO"),
        ("00000009_000.png", "9.png", "Image Index='9.png'.*expected a name"),
        ("00000009_000", "00000777_000", "none of its 1 images is in the index"),
        ("Nodule or mass", "Nodule", "column 'Nodule or mass' is missing"),
    ],
)
def test_faulty_expert_tables_are_named(nih: Path, old: str, new: str, message: str) -> None:
    write_experts(nih / "e.csv", "00000009_000.png,Mass,0,9,70,M,PA,2682,2749,0.143,0.143,YES,NO,NO,YES,test")
    text = (nih / "e.csv").read_text()
    assert old in text
    (nih / "e.csv").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        build(nih, experts="e.csv")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> SourceTables:
    """The released tables; the lists, which the package has not, put the patients with boxes into the test set."""
    root = tmp_path_factory.mktemp("nih-tables")
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"):
        (root / name).write_bytes(gzip.decompress(txv_file(f"{name}.gz").read_bytes()))
    names = [line.partition(",")[0] for line in (root / "Data_Entry_2017_v2020.csv").read_text().splitlines()[1:]]
    boxed = {line[:8] for line in (root / "BBox_List_2017.csv").read_text().splitlines()[1:]}
    (root / "train_val_list.txt").write_text("\n".join(n for n in names if n[:8] not in boxed))
    (root / "test_list.txt").write_text("\n".join(n for n in names if n[:8] in boxed))
    (root / "experts.csv").write_bytes(
        gzip.decompress(txv_file("google2019_nih-chest-xray-labels.csv.gz").read_bytes())
    )
    return build(root, check_files=False, experts="experts.csv")


def test_the_real_label_table(real: SourceTables) -> None:
    """Images per label as counted in the released table; pneumothorax without the images that experts read again."""
    said = json.loads((resources.files("wsrpn_vl.data") / "published" / "nih.json").read_text())
    counted = {
        "Infiltration": 19894, "Effusion": 13317, "Atelectasis": 11559, "Nodule": 6331, "Mass": 5782,
        "Pneumothorax": 5302, "Consolidation": 4667, "Pleural_Thickening": 3385, "Cardiomegaly": 2776,
        "Emphysema": 2516, "Edema": 2303, "Fibrosis": 1686, "Pneumonia": 1431, "Hernia": 227,
    }  # fmt: skip
    assert said["positives"] == counted and said["images"] == real.frame.height == 112_120
    got = {c: real.frame[label_column(c)].sum() for c in counted if c != "Pneumothorax"}
    assert got == {c: n for c, n in counted.items() if c != "Pneumothorax"}
    assert real.frame["patient_id"].n_unique() == said["patients"] == 30_805
    assert dict(real.frame["view"].value_counts().rows()) == said["views"]
    assert real.frame["no_finding"].sum() == said["no_finding"] == 60_361


def test_the_real_boxes_leave_findings_out(real: SourceTables) -> None:
    """984 boxes on 880 images of 726 patients; 721 of the 1,705 labels of the eight classes there have none."""
    assert real.boxes is not None
    boxed = set(real.boxes["image_id"])
    assert (real.boxes.height, len(boxed), len({i[:8] for i in boxed})) == (984, 880, 726)
    said = json.loads((resources.files("wsrpn_vl.data") / "published" / "nih.json").read_text())
    assert dict(real.boxes.group_by("label").len().rows()) == said["boxes"]
    boxless = labelled_pairs(real, NIH8) - set(real.boxes.select("image_id", "label").rows())
    assert (len(boxless), len({image_id for image_id, _ in boxless})) == (721, 521)
    assert real.boxes.select(pl.max_horizontal("x2", "y2").max()).item() <= 1024


def labelled_pairs(tables: SourceTables, classes: tuple[str, ...]) -> set[tuple[str, str]]:
    """(image, class) pairs of boxed images labelled 1 in the released table, 1,705 of them."""
    assert tables.boxes is not None
    boxed = set(tables.boxes["image_id"])
    table = pl.read_csv(txv_file("Data_Entry_2017_v2020.csv.gz"), columns=["Image Index", "Finding Labels"])
    pairs = {
        (name[:12], label)
        for name, labels in table.rows()
        if name[:12] in boxed
        for label in labels.split("|")
        if label in classes
    }
    assert len(pairs) == 1_705
    return pairs


def test_the_real_labels_of_the_experts(real: SourceTables) -> None:
    """Positives of 4,376 images: fracture 186, pneumothorax 238, airspace opacity 2,166, nodule or mass 605."""
    read = real.frame.filter(pl.col("expert_set").is_not_null())
    assert dict(read["expert_set"].value_counts().rows()) == {"val": 2_414, "test": 1_962}
    columns = ("y_fracture", "y_pneumothorax", "y_lung_opacity", "y_lung_lesion")
    assert [read[c].sum() for c in columns] == [186, 238, 2_166, 605]
    assert real.frame["y_fracture"].count() == read.height == 4_376
