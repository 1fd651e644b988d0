"""Open-I: the 3,955 real reports counted, codes made into labels, hostile XML refused, views from where they are."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from fixtures.openi import ENTRIES, Entry, write_openi, write_picture, write_reports, xml
from fixtures.txv import txv_file
from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import read_index, write_index
from wsrpn_vl.data.mesh import NOT_INDEXED
from wsrpn_vl.data.sources import openi_codes
from wsrpn_vl.data.sources.openi import build
from wsrpn_vl.data.sources.openi_reports import Report, parse, read_reports
from wsrpn_vl.data.sources.tables import SourceTables
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import label_column
from wsrpn_vl.text.sections import describing_text, split_sections
from wsrpn_vl.text.triples import Triple, from_json


@pytest.fixture
def openi(tmp_path: Path) -> Path:
    return write_openi(tmp_path / "openi")


def row(tables: SourceTables, image_id: str) -> dict:
    return tables.frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


@pytest.fixture(scope="module")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("openi")
    (root / "NLMCXR_reports.tgz").symlink_to(txv_file("NLMCXR_reports.tgz"))
    return root


@pytest.fixture(scope="module")
def real(real_root: Path) -> list[Report]:
    return read_reports(real_root)[1]


def test_real_reports_counts(real: list[Report]) -> None:
    """§6.7: sections that are empty, images per report, and how many reports are coded normal."""
    assert len(real) == 3_955 and len({r.study_id for r in real}) == 3_955
    empty = {
        label: sum(label not in r.sections for r in real)
        for label in ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")
    }
    assert empty == {"COMPARISON": 622, "INDICATION": 90, "FINDINGS": 530, "IMPRESSION": 34}
    assert Counter(len(r.images) for r in real) == {0: 104, 1: 446, 2: 3_208, 3: 181, 4: 15, 5: 1}
    assert sum("normal" in r.terms for r in real) == 1_391
    assert sum(any("XXXX" in text for text in r.sections.values()) for r in real) == 3_411
    assert [r.study_id for r in real[:3]] == ["CXR1", "CXR2", "CXR3"]


@pytest.fixture(scope="module")
def real_tables(real_root: Path) -> SourceTables:
    return build(real_root, check_files=False)


def test_real_index(real_tables: SourceTables, real: list[Report]) -> None:
    tables = real_tables
    frame = tables.frame
    assert frame.height == 7_470 and frame["study_id"].n_unique() == 3_851
    assert int((frame["no_finding"] == 1).sum()) == sum(len(r.images) for r in real if r.terms == ("normal",))
    normal = frame.filter(pl.col("no_finding") == 1)
    assert all((normal[label_column(c)] == 0).all() for c in tables.classes)
    unread = frame.filter(pl.col("no_finding").is_null())["study_id"].n_unique()
    silent = set(NOT_INDEXED)
    assert unread == sum(set(r.terms) <= silent for r in real if r.images)
    assert "104 x report without an image, left out" in tables.notes
    coded = sum(any(t.startswith("Pulmonary Atelectasis") for t in r.terms) * len(r.images) for r in real)
    assert int((frame["y_atelectasis"] == 1).sum()) == coded
    splits = frame.group_by("study_id").agg(pl.col("split").n_unique())["split"]
    assert splits.max() == 1 and frame.filter(pl.col("split") == "val").height / 7_470 == pytest.approx(0.15, abs=0.02)


def test_real_sections_come_back_from_the_text(real_tables: SourceTables, real: list[Report]) -> None:
    """The text is written in the look of MIMIC-CXR's reports; its findings and impression are read from it again."""
    texts = dict(real_tables.frame.select("study_id", "text").iter_rows())
    for report in real[::7]:
        if report.study_id not in texts:
            continue
        text, told = texts[report.study_id], report.sections
        if not told.keys() & {"FINDINGS", "IMPRESSION"}:
            assert text is None
            continue
        assert describing_text(text) == " ".join(told[k] for k in ("FINDINGS", "IMPRESSION") if k in told)
        assert split_sections(text).get("indication", "") == told.get("INDICATION", "")


def test_real_views_from_the_tables(tmp_path: Path) -> None:
    """7,469 DICOM headers: PA 3,593, AP 423, lateral 867; the second table adds 1,126 and 256 where those are blank."""
    for name in ("NLMCXR_reports.tgz", "nlmcxr_dicom_metadata.csv.gz", "nlmcxr_tsne_pa.csv.gz"):
        (tmp_path / name).symlink_to(txv_file(name))
    found = Counter(build(tmp_path, check_files=False, labels="none").frame["view"])
    assert (found["AP"], found["PA"], found["LAT"]) == (423, 3_593 + 1_126 + 1, 867 + 256)  # one is in the second alone
    assert sum(found.values()) == 7_470


def test_every_real_code_has_its_place_in_the_table(real: list[Report]) -> None:
    terms = {term for report in real for term in report.terms}
    assert len({term.strip() for term in terms}) > 1_700
    for term in terms:
        openi_codes.classes_of(term, "test")
    known = {name.native.split("/")[0].lower() for name in mapping.table("openi")}
    assert {term.split("/")[0].strip().lower() for term in terms if "  " not in term} <= known


@pytest.mark.parametrize(("packed", "dicom"), [(True, False), (False, True), (True, True)])
def test_every_layout_gives_the_same_tables(openi: Path, tmp_path: Path, packed: bool, dicom: bool) -> None:
    wanted, got = build(openi), build(write_openi(tmp_path / "other", packed=packed, dicom=dicom))
    own = ["path", "view"] if dicom else ["path"]
    assert got.frame.drop(own).equals(wanted.frame.drop(own))
    assert all((tmp_path / "other" / path).is_file() for path in got.frame["path"])
    assert wanted.frame["width"].to_list() == [40] * 7


def test_labels_and_text(openi: Path) -> None:
    tables = build(openi)
    assert tables.frame["image_id"].to_list() == [image for e in ENTRIES for image in e.images]  # by number: 10 last
    first, second, third = (
        row(tables, i) for i in ("CXR1_1_IM-0001-3001", "CXR2_IM-0652-1001", "CXR3_IM-0100-82592001")
    )
    assert first["no_finding"] == 1 and all(first[label_column(c)] == 0 for c in tables.classes)
    assert (second["no_finding"], second["y_atelectasis"], second["y_cardiomegaly"]) == (0, 1, 1)
    assert (third["y_lung_opacity"], third["y_cardiomegaly"]) == (1, 0)
    assert from_json(second["triples"]) == (*(Triple("Atelectasis", "left base", ("mild",)), Triple("Cardiomegaly")),)
    assert from_json(third["triples"]) == (Triple("Lung Opacity", "right upper lobe", ("patchy",)),)
    for image in ("CXR4_IM-0007-1001", "CXR10_IM-0002-1001"):  # not indexed; only unsatisfactory
        assert row(tables, image)["no_finding"] is None and row(tables, image)["y_cardiomegaly"] is None
    assert row(tables, "CXR4_IM-0007-1001")["text"] is None
    assert describing_text(second["text"]) == "Streaky left base, XXXX atelectasis. Large heart."
    assert describing_text(row(tables, "CXR10_IM-0002-1001")["text"]) == "Rotated. Lungs < normal & clear."
    assert (first["study_id"], first["patient_id"]) == ("CXR1", None)
    assert any("CC BY-NC-ND" in note for note in tables.notes)
    assert "1 x report without an image, left out" in tables.notes


def test_a_code_that_only_suggests_a_finding_leaves_it_uncertain(openi: Path) -> None:
    codes = ("Costophrenic Angle/right/blunted", "Deformity/ribs", "Fractures, Bone/ribs")
    write_reports(openi, {"1.xml": xml(replace(ENTRIES[0], terms=codes))})
    got = row(build(openi), "CXR1_1_IM-0001-3001")
    assert (got["y_pleural_effusion"], got["y_fracture"], got["y_edema"], got["no_finding"]) == (-1, 1, 0, 0)
    assert row(build(openi, approximate=True), "CXR1_1_IM-0001-3001")["y_pleural_effusion"] == 1


def test_a_broken_image_is_listed_and_left_out(openi: Path) -> None:
    wanted = build(openi)
    (openi / "NLMCXR_png" / "CXR2_IM-0652-1001.png").write_bytes(b"<html>")
    tables = build(openi)
    assert tables.missing == ("NLMCXR_png/CXR2_IM-0652-1001.png",)
    assert "1 x image that cannot be read, left out (see the .missing.txt list)" in tables.notes
    assert tables.frame.equals(wanted.frame.filter(pl.col("image_id") != "CXR2_IM-0652-1001"))


def test_labels_from_the_words_and_none(openi: Path) -> None:
    read = build(openi, labels="labeler")
    assert row(read, "CXR2_IM-0652-1001")["y_atelectasis"] == 1 and row(read, "CXR1_1_IM-0001-3001")["no_finding"] == 1
    assert any(t.finding == "Atelectasis" for t in from_json(row(read, "CXR2_IM-0652-1001")["triples"]))
    assert row(read, "CXR4_IM-0007-1001")["triples"] is None
    assert read.text_labels == read.classes and build(openi).text_labels == ()
    bare = build(openi, labels="none")
    assert bare.classes == () and bare.frame["no_finding"].null_count() == 7
    with pytest.raises(DataError, match=r"unknown labels of source 'openi': 'mash'; did you mean 'mesh'"):
        build(openi, labels="mash")


CODES = [
    ("Opacity/lung/base/left", ("Lung Opacity",)),
    ("Cardiac Shadow", ()),
    ("Cardiac Shadow/enlarged/mild", ("Cardiomegaly",)),
    ("Thickening/pleura/apex/bilateral", ("Pleural Other",)),
    ("thoracic  vertebrae/degenerative", ()),
    ("Hydropneumothorax/left", ("Pneumothorax", "Pleural Effusion")),
    ("normal", ()),
]


@pytest.mark.parametrize(("code", "classes"), CODES)
def test_codes(code: str, classes: tuple[str, ...]) -> None:
    assert openi_codes.classes_of(code, "test") == classes


PLACED = [
    ("Cicatrix/lung/apex/bilateral", "bilateral apices"),
    ("Opacity/lung/right", "right lung"),
    ("Opacity/lung/lingula/left", "lingula"),
    ("Pleural Effusion/bilateral/small", "bilateral"),
    ("Fractures, Bone/ribs/right/posterior", "right rib"),
    ("Nodule", ""),
]


@pytest.mark.parametrize(("code", "place"), PLACED)
def test_places_of_codes(code: str, place: str) -> None:
    assert openi_codes.triples_of([code], "test")[0].location == place


def test_a_report_is_not_normal_and_abnormal_at_once() -> None:
    with pytest.raises(DataError, match="report CXR9: coded as normal and as Cardiomegaly"):
        openi_codes.labels_of(["normal", "Cardiomegaly"], "report CXR9")
    assert openi_codes.labels_of(["Scoliosis"], "x") == (frozenset(), 0)
    assert openi_codes.labels_of([], "x") == (None, None)


def test_views(openi: Path, tmp_path: Path) -> None:
    """From the caption of a lone image, from the headers of DICOM files, from a table; a pair's caption says none."""
    views = dict(build(openi).frame.select("image_id", "view").iter_rows())
    assert views["CXR2_IM-0652-1001"] == "AP" and {v for i, v in views.items() if i[:4] != "CXR2"} == {"UNK"}
    dicom = build(write_openi(tmp_path / "dicom", dicom=True))
    assert row(dicom, "CXR1_1_IM-0001-4001")["view"] == "LAT" and row(dicom, "CXR1_1_IM-0001-3001")["view"] == "PA"
    table = openi / "mine.csv"
    table.write_text(
        "imageid,View Position\nCXR1_1_IM-0001-3001,PA\nCXR1_1_IM-0001-4001,LARGE LATERAL\nCXR3_IM-0100-82592001,\n"
    )
    told = build(openi, view_table="mine.csv")
    assert row(told, "CXR1_1_IM-0001-4001")["view"] == "LAT" and row(told, "CXR3_IM-0100-82592001")["view"] == "UNK"
    table.write_text("imageid,position\nCXR1_1_IM-0001-3001,PA\n")
    with pytest.raises(DataError, match=r"mine\.csv: no View Position or tsne-view"):
        build(openi, view_table="mine.csv")
    with pytest.raises(DataError, match=r"other\.csv: no such file"):
        build(openi, view_table="other.csv")


def test_missing_stray_and_double_images(openi: Path) -> None:
    write_picture(openi, "CXR1_1_IM-0001-3001", dicom=True)
    write_picture(openi, "CXR999_IM-0001-1001")
    (openi / "NLMCXR_png" / "._CXR2_IM-0652-1001.png").write_bytes(b"macOS")
    (openi / "NLMCXR_png" / "CXR3_IM-0100-82592002.png").unlink()
    tables = build(openi)
    assert row(tables, "CXR1_1_IM-0001-3001")["path"] == "NLMCXR_png/CXR1_1_IM-0001-3001.png"
    assert tables.missing == ("NLMCXR_png/CXR3_IM-0100-82592002.png",) and tables.frame.height == 6
    for note in ("1 x image of the reports missing", "1 x image file that no report names", "1 x image stored twice"):
        assert any(told.startswith(note) for told in tables.notes)
    shutil.rmtree(openi / "NLMCXR_png")
    shutil.rmtree(openi / "NLMCXR_dcm")
    with pytest.raises(DataError, match="none of the 7 images of the reports is there; unpack NLMCXR_png"):
        build(openi)


def test_a_report_keeps_its_split_when_others_go(openi: Path, tmp_path: Path) -> None:
    whole = dict(build(openi, val_share=0.3, test_share=0.3).frame.select("image_id", "split").iter_rows())
    few = build(write_openi(tmp_path / "few", entries=ENTRIES[1:3]), val_share=0.3, test_share=0.3).frame
    assert dict(few.select("image_id", "split").iter_rows()).items() <= whole.items() and len(set(whole.values())) > 1


def test_the_index_can_be_written_and_read(openi: Path, tmp_path: Path) -> None:
    tables = build(openi)
    path = write_index(
        tables.frame,
        None,
        tmp_path / "index.parquet",
        dataset=tables.dataset,
        root=openi,
        classes=tables.classes,
        box_complete=tables.box_complete,
        boxed_classes=(),
        text_origin=tables.text_origin,
    )
    assert read_index(path).frame.height == 7


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><eCitation>&b;</eCitation>'
)
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><eCitation>&a;</eCitation>'
HOSTILE = [
    (BOMB, "document type declaration"),
    (OUTSIDE, "document type declaration"),
    (BOMB.decode().replace("1.0", "1.0", 1).encode("utf-16"), "document type declaration"),
    (b"<eCitation>" + b"<a>" * 50_000, "not a readable XML file"),
    (b"<eCitation>" + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</eCitation>", "no uId"),
    (b" " * (2**20 + 1), "larger than"),
    (b"", "not a readable XML file"),
    (b"<html>sign in</html>", "no uId"),
    (xml(ENTRIES[0])[:-40], "not a readable XML file"),
    (xml(ENTRIES[0]).replace(b"utf-8", b"utf-99"), "not a readable XML file"),
    (xml(ENTRIES[0]).replace(b'id="CXR1_1_IM-0001-3001"', b'id="../../x"'), r"parentImage id='\.\./\.\./x'"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_hostile_and_broken_files_are_refused(openi: Path, content: bytes, message: str) -> None:
    write_reports(openi, {"77.xml": content})
    with pytest.raises(DataError, match=rf"77\.xml: .*{message}") as caught:
        build(openi)
    assert "\n" not in str(caught.value) and "hostname" not in str(caught.value)
    assert "Clear lungs" not in str(caught.value)


def test_repeats_are_named(openi: Path) -> None:
    write_reports(openi, {"77.xml": xml(ENTRIES[0])})
    with pytest.raises(DataError, match=r"77\.xml: a second report 'CXR1'"):
        build(openi)
    write_reports(openi, {"77.xml": xml(Entry(77, ENTRIES[1].images, ("normal",)))})
    with pytest.raises(DataError, match="image 'CXR2_IM-0652-1001' is named twice"):
        build(openi)


def test_an_unknown_code_is_named(openi: Path) -> None:
    write_reports(openi, {"77.xml": xml(Entry(77, (), ("Cardiomegali/mild",)))})
    with pytest.raises(
        DataError, match=r"report CXR77: MeSH heading 'Cardiomegali' is unknown; did you mean 'cardiomegaly'"
    ):
        build(openi)


def test_broken_archives_and_no_reports(tmp_path: Path) -> None:
    root = write_openi(tmp_path / "openi", packed=True)
    archive = root / "NLMCXR_reports.tgz"
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>", whole[:30] + bytes(30) + whole[60:]):
        archive.write_bytes(content)
        with pytest.raises(
            DataError, match=r"NLMCXR_reports\.tgz: not a readable archive|no \.xml file inside|NLMCXR_reports"
        ):
            build(root)
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w:gz").close()
    archive.write_bytes(out.getvalue())
    with pytest.raises(DataError, match=r"no \.xml file inside"):
        build(root)
    archive.unlink()
    with pytest.raises(DataError, match=r"put the reports \(or the folder ecgen-radiology unpacked from it\) there"):
        build(root)
    with pytest.raises(DataError, match="no such folder"):
        build(tmp_path / "nowhere")


def test_a_report_without_its_optional_parts() -> None:
    bare = parse(
        b'<eCitation><uId id="CXR5"/><AbstractText Label="NOTE">  Two\n words </AbstractText></eCitation>', "x"
    )
    assert bare == Report("CXR5", {"NOTE": "Two words"}, (), ())
    assert re.fullmatch(r"CXR\d+", bare.study_id)
