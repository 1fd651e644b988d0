"""A bare folder of DICOM files: who belongs together, what is left out, and that nobody can be recognised."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pydicom
import pytest
import torch
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from typer.testing import CliRunner

from fixtures.dicom import dataset, identity_window, save, stored
from fixtures.small import small_config
from wsrpn_vl.checkpoint import save_checkpoint
from wsrpn_vl.cli import app
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.sources import SOURCES, build_index, missing_path
from wsrpn_vl.data.sources.dicom import LINKS
from wsrpn_vl.dicom.header import VIEW_TAGS
from wsrpn_vl.errors import DataError
from wsrpn_vl.model.registry import build_detector

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length")
PICTURE = stored(12)


def film(
    path: Path, patient: str | None = "", study: str | None = None, image: str | None = None, **elements: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds = dataset(PICTURE, 12, **identity_window(12), **elements)
    for name, value in (("PatientID", patient), ("StudyInstanceUID", study), ("SOPInstanceUID", image)):
        if value is None:
            ds.pop(name, None)
        else:
            setattr(ds, name, value)
    return save(path, ds)


def indexed(root: Path, **options: Any) -> Index:
    return read_index(build_index("dicom", root, root.parent / "out" / "index.parquet", **options))


def by_path(index: Index) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in index.frame.iter_rows(named=True)}


def test_ids_follow_the_headers(tmp_path: Path) -> None:
    root = tmp_path / "export"
    film(root / "a" / "1.dcm", "P1", "1.1", "1.1.1", ViewPosition="PA", Modality="DX")
    film(root / "a" / "2.dcm", "P1", "1.1", "1.1.2", ViewPosition="LL", Modality="DX")
    film(root / "b" / "deep" / "IM01", " P1", "1.2", "1.2.1", Modality="CR", ProtocolName="Thorax ap")
    film(root / "b" / "1.2.3.45", "P2", "1.3", "1.3.1")
    film(root / "c.dicom", "", "1.4", "1.4.1")
    film(root / "d.dicom", None, None, None)
    (root / "DICOMDIR").write_bytes((root / "c.dicom").read_bytes())
    rows = by_path(indexed(root))
    assert {path: row["view"] for path, row in rows.items()} == {
        "a/1.dcm": "PA", "a/2.dcm": "LAT", "b/deep/IM01": "AP", "b/1.2.3.45": "UNK", "c.dicom": "UNK", "d.dicom": "UNK",
    }  # fmt: skip
    patients = [rows[p]["patient_id"] for p in ("a/1.dcm", "a/2.dcm", "b/deep/IM01", "b/1.2.3.45")]
    assert patients[0] == patients[1] == patients[2] != patients[3]
    assert rows["c.dicom"]["patient_id"] is rows["d.dicom"]["patient_id"] is None
    studies = {path: row["study_id"] for path, row in rows.items()}
    assert studies["a/1.dcm"] == studies["a/2.dcm"] and len(set(studies.values())) == 5
    assert len({row["image_id"] for row in rows.values()}) == 6
    assert all((row["width"], row["height"], row["dataset"]) == (64, 48, "dicom") for row in rows.values())
    assert "2 x image of a patient unknown" in indexed(root).notes


def test_hashes_depend_on_the_id_and_the_salt_and_not_on_the_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        film(tmp_path / name / f"{name}.dcm", "P1", "1.1", "1.1.1")
        film(tmp_path / name / "bare.dcm", None, None, None)
    one, two = (by_path(indexed(tmp_path / n)) for n in ("one", "two"))
    other = by_path(indexed(tmp_path / "one", salt="ours alone"))
    for column in ("patient_id", "study_id", "image_id"):
        assert one["one.dcm"][column] == two["two.dcm"][column] != other["one.dcm"][column]
    assert one["bare.dcm"]["image_id"] == two["bare.dcm"]["image_id"] != other["bare.dcm"]["image_id"]


def test_patients_stay_in_one_split_and_so_do_studies_of_nobody(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for patient in range(40):
        for image in range(3):
            name = f"P{patient}" if patient % 2 else ""
            film(root / f"{patient}" / f"{image}.dcm", name, f"1.{patient}", f"1.{patient}.{image}")
    film(root / "1" / "unsigned.dcm", "", "1.1", "1.1.9")  # of a study whose patient the other files name
    frame = indexed(root, val_share=0.25, test_share=0.25).frame
    for column in ("patient_id", "study_id"):
        groups = frame.filter(pl.col(column).is_not_null()).group_by(column).agg(pl.col("split").n_unique())
        assert groups["split"].max() == 1
    assert set(frame["split"]) == {"train", "val", "test"}
    odd = frame.filter(pl.col("path") == "1/unsigned.dcm")
    assert odd["patient_id"][0] == frame.filter(pl.col("path") == "1/0.dcm")["patient_id"][0]
    again = indexed(root, val_share=0.25, test_share=0.25).frame
    assert again.equals(frame) and set(indexed(root, splits=False).frame["split"]) == {""}
    assert not indexed(root, val_share=0.25, test_share=0.25, seed=1).frame["split"].equals(frame["split"])


def test_what_is_no_chest_radiograph_is_counted(tmp_path: Path) -> None:
    root = tmp_path / "export"
    film(root / "film.dcm", "P", "1.1", "1.1.1", Modality="DX", BodyPartExamined="CHEST")
    film(root / "copy.dcm", "P", "1.1", "1.1.1", Modality="DX")
    film(root / "hand.dcm", "P", "1.2", "1.2.1", Modality="DX", BodyPartExamined="HAND")
    film(root / "ct1.dcm", "P", "1.3", "1.3.1", Modality="CT")
    film(root / "ct2.dcm", "P", "1.3", "1.3.2", Modality="CT")
    film(root / "many.dcm", "P", "1.4", "1.4.1", Modality="CR", NumberOfFrames=2)
    report = dataset(PICTURE, 12, Modality="DX")
    del report.PixelData, report.Rows, report.Columns
    save(root / "empty.dcm", report)
    from PIL import Image

    Image.new("L", (4, 4)).save(root / "logo.png")
    (root / "readme.txt").write_text("nothing to see")
    index = indexed(root)
    assert index.frame["path"].to_list() == ["copy.dcm"]  # the first by name of the two
    assert sorted(index.notes) == sorted([
        "1 x second copy of an image, left out",
        "1 x film of another part of the body, left out",
        "2 x CT object, left out",
        "1 x file with several frames, left out",
        "1 x object without an image, left out",
        "1 x picture that is no DICOM file, left out",
    ])  # fmt: skip
    wider = indexed(root, modalities="DX;CT", any_part=True)
    assert wider.frame["path"].to_list() == ["copy.dcm", "ct1.dcm", "ct2.dcm", "hand.dcm"]


def test_broken_files_are_listed_and_not_fatal(tmp_path: Path) -> None:
    root = tmp_path / "export"
    whole = film(root / "whole.dcm", "P", "1.1", "1.1.1").read_bytes()
    (root / "cut.dcm").write_bytes(whole[:-3000])
    (root / "empty.dcm").write_bytes(b"")
    (root / "noise.dcm").write_bytes(b"<html>404</html>")
    index = indexed(root)
    assert index.frame["path"].to_list() == ["whole.dcm"]
    assert "3 x file that cannot be read, left out (see the .missing.txt list)" in index.notes
    assert missing_path(index.path).read_text().split() == ["cut.dcm", "empty.dcm", "noise.dcm"]


def test_nothing_to_index_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / "export"
    film(root / "ct.dcm", Modality="CT")
    with pytest.raises(DataError, match=r"no chest radiograph among its DICOM files \(1 x CT object\)"):
        indexed(root)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="there are none"):
        indexed(tmp_path / "void")
    with pytest.raises(DataError, match="no such folder"):
        indexed(tmp_path / "gone")


def test_a_table_brings_labels_words_and_splits_but_no_ids(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for name in ("a", "b", "c"):
        film(root / f"{name}.dcm", name, f"1.{name == 'a'}", None)
    film(root / "ct.dcm", "d", "1.9", "1.9.1", Modality="CT")
    (root / "labels.csv").write_text(
        "image,patient_id,split,text,Edema,Pneumonia\n"
        "a.dcm,Muster,train,Small effusion.,1,0\nb,Muster,test,,-1,\n"
        "ct.dcm,Muster,test,,0,0\ngone.dcm,Muster,val,,0,0\n"
    )
    index = indexed(root, table="labels.csv")
    rows = by_path(index)
    assert list(rows) == ["a.dcm", "b.dcm"] and index.classes == ("Edema", "Pneumonia")
    assert (rows["a.dcm"]["split"], rows["a.dcm"]["text"], rows["a.dcm"]["y_edema"]) == ("train", "Small effusion.", 1)
    assert (rows["b.dcm"]["split"], rows["b.dcm"]["y_edema"], rows["b.dcm"]["y_pneumonia"]) == ("test", -1, None)
    assert "Muster" not in set(index.frame["patient_id"]) and rows["a.dcm"]["patient_id"] != rows["b.dcm"]["patient_id"]
    assert "2 x image of the table that is no film here (see the .missing.txt list)" in index.notes
    assert "1 x film not in the table, left out" in index.notes and index.text_origin == "report"


def test_hidden_names_lead_to_the_files_and_nothing_says_them(tmp_path: Path) -> None:
    root = tmp_path / "export"
    film(root / "Muster_Erika" / "1961-07-14.dcm", "P", "1.1", "1.1.1")
    film(root / "Muster_Erika" / "bare.dcm", None, None, None)
    (root / "Muster_Erika" / "broken.dcm").write_bytes(b"")
    (root / "labels.csv").write_text("image,Edema\n1961-07-14.dcm,1\nMuster_Max.dcm,1\n")
    index = indexed(root, hide_names=True)
    said = index.frame.write_csv() + str(index) + missing_path(index.path).read_text()
    assert "Muster" not in said and "1961" not in said
    for path in index.frame["path"]:
        assert np.allclose(read_image(index.root / path), PICTURE / 4095, atol=1e-6)
    assert (index.root / missing_path(index.path).read_text().strip()).is_symlink()
    assert index.root.parent == root / LINKS and indexed(root, hide_names=True).frame.equals(index.frame)
    plain = by_path(indexed(root))  # the links are not found as files of their own
    assert list(plain) == ["Muster_Erika/1961-07-14.dcm", "Muster_Erika/bare.dcm"]
    table = indexed(root, hide_names=True, table="labels.csv")
    assert "Muster" not in missing_path(table.path).read_text() and table.frame["y_edema"].to_list() == [1]
    (root / "labels.csv").write_text("image,Edema\nMuster_Erika/1961-07-14.dcm,1\n1961-07-14.dcm,1\n")
    with pytest.raises(DataError, match="named a second time") as caught:
        indexed(root, hide_names=True, table="labels.csv")
    assert "Muster" not in str(caught.value) and "1961" not in str(caught.value)


def test_names_that_cannot_be_hidden_are_one_line(tmp_path: Path) -> None:
    film(tmp_path / "export" / "a.dcm", "P")
    (tmp_path / "export" / LINKS).write_text("in the way")
    with pytest.raises(DataError, match="hide_names needs to write links below it"):
        indexed(tmp_path / "export", hide_names=True)


# --- privacy -----------------------------------------------------------------------------------------------------

SECRETS = ("zuckermandel", "friedlinde", "47118150815", "19230417", "041726.815")
_BY_KIND: dict[str, Any] = {
    "PN": "Zuckermandel^Friedlinde", "LO": "ZUCKERMANDEL 47118150815", "SH": "Z47118150815", "ST": "Friedlinde, St.",
    "LT": "Zuckermandel's daughter", "UT": "Friedlinde Zuckermandel", "UC": "Zuckermandel", "UR": "http://zuckermandel",
    "AE": "ZUCKERMANDEL", "DA": "19230417", "TM": "041726.815", "DT": "19230417041726.815", "IS": "471181508",
    "UI": "1.2.47118150815", "CS": "ZUCKERMANDEL", "AS": "099Y",
}  # fmt: skip
_NEEDED = {"PhotometricInterpretation", "ViewPosition", "Modality", "BodyPartExamined", "VOILUTFunction"}
_NEEDED |= {"NumberOfFrames", "PresentationLUTShape", "SpecificCharacterSet", "SOPClassUID", "DirectoryRecordType"}


def speaking(path: Path, number: int, **elements: Any) -> Path:
    """A film in which every text, name, date, time and identifier of the dictionary says who it is."""
    ds = dataset(PICTURE, 12, **identity_window(12))
    inner = Dataset()
    inner.PatientName, inner.PatientID, inner.StudyDate = _BY_KIND["PN"], _BY_KIND["LO"], _BY_KIND["DA"]
    for tag, (kind, *_) in DicomDictionary.items():
        name = keyword_for_tag(tag)
        if not name or name in _NEEDED or not 0x0008 <= tag >> 16 <= 0x0040 or "Retired" in name:
            continue
        if kind in _BY_KIND:
            ds.add_new(tag, kind, _BY_KIND[kind])
        elif kind == "SQ" and name not in ("ModalityLUTSequence", "VOILUTSequence", "ViewCodeSequence"):
            ds.add_new(tag, kind, Sequence([inner]))
    ds.SOPInstanceUID, ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.47118150815.{number}", "Zuckermandel"
    ds.ProtocolName, ds.Modality, ds.ViewPosition = "ZUCKERMANDEL CHEST PA", "DX", ""
    ds.add_new(0x00091010, "LO", "Zuckermandel")  # a private element
    for name, value in elements.items():
        setattr(ds, name, value)
    return save(path, ds)


def spoken(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text.casefold()]


def everything_below(folder: Path) -> str:
    """Names and bytes of all files, and the tables and pictures decoded."""
    parts = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        parts += [str(path.relative_to(folder)), path.read_bytes().decode("latin-1")]
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
            parts += [str(frame.to_dicts()), str(pl.read_parquet_metadata(path))]
        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                parts.append(str(image.info))
    return "\n".join(parts)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    root = tmp_path / "export"
    root.mkdir()
    speaking(root / "film1.dcm", 1)
    speaking(root / "film2.dcm", 2, PhotometricInterpretation="RGB")  # read with a warning
    speaking(root / "film3", 3, PhotometricInterpretation="ZUCKERMANDEL")  # cannot be read
    speaking(root / "ct.dcm", 4, Modality="ZUCKERMANDEL")
    speaking(root / "cut.dcm", 5)
    (root / "cut.dcm").write_bytes((root / "cut.dcm").read_bytes()[:3000])
    raw = (root / "film1.dcm").read_bytes()
    assert all(secret in raw.decode("latin-1").casefold() for secret in SECRETS)
    assert len(pydicom.dcmread(root / "film1.dcm", stop_before_pixels=True)) > 1000
    return root


def test_no_identifier_reaches_the_index_or_a_message(
    export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "made"
    calls = [
        ("index", "dicom", export, "--out", out / "index.parquet"),
        ("index", "dicom", export, "hide_names=true", "--out", out / "hidden.parquet", "--json"),
        ("doctor", out / "index.parquet"),
        ("doctor", out / "index.parquet", "--json"),
    ]
    said = ""
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        for call in calls:
            result = CliRunner().invoke(app, [str(word) for word in call])
            said += result.output + result.stderr
    said += "".join(str(complaint.message) for complaint in complaints)
    assert "patient unknown" not in said and "1 x unknown object" in said
    assert read_index(out / "index.parquet").frame["view"].to_list() == ["PA"] * 3
    said += caplog.text + "".join(capfd.readouterr()) + everything_below(out)
    assert not spoken(said) and "film1.dcm" in said


def test_no_identifier_reaches_predictions_and_overlays(
    export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = small_config(tmp_path / "index.parquet")
    torch.manual_seed(0)
    state = build_detector(config, 384).state_dict()
    save_checkpoint(tmp_path / "run" / "checkpoints" / "best", state, config, {"text_dim": 384, "step": 1, "epoch": 0})
    out, films = tmp_path / "made", [export / "film1.dcm", export / "film2.dcm"]
    words = [
        "predict",
        tmp_path / "run",
        *films,
        "--out",
        out,
        "--overlays",
        "-1",
        "--heatmaps",
        "-1",
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(app, [*map(str, words), "--min-score", "0"])
    assert result.exit_code == 0, result.output
    made = everything_below(out)
    refused = CliRunner().invoke(
        app, ["predict", str(tmp_path / "run"), str(export / "film3"), "--out", str(out / "x")]
    )
    assert refused.exit_code == 2 and "of an unknown kind" in refused.output
    said = result.output + refused.output + caplog.text + "".join(capfd.readouterr())
    assert (out / "overlays" / "film1.png").is_file() and "read as MONOCHROME2" in caplog.text
    assert not spoken(made + said)


def test_the_source_is_listed() -> None:
    assert "dicom" in SOURCES and "ViewPosition" in VIEW_TAGS
