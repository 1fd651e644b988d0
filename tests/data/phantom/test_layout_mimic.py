"""MIMIC-CXR-JPG and CheXpert: labels that follow the words, pictures that are equalised, lists that name every file."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fixtures.layouts import CHEXPERT, CXR, JPG, SIZE, STUDY, names, table
from wsrpn_vl.data.phantom.layouts.base import equalised
from wsrpn_vl.data.sources.mimic import build
from wsrpn_vl.labels import OBSERVATIONS, label_column

Root = Callable[[str], Path]


@pytest.fixture(scope="module")
def mimic(root: Root) -> dict[str, str]:
    """Report text -> study id."""
    with zipfile.ZipFile(root("mimic-cxr-jpg") / CXR / "mimic-cxr-reports.zip") as archive:
        assert all(re.fullmatch(rf"{STUDY}\.txt", name) for name in archive.namelist())
        return {archive.read(name).decode(): Path(name).stem[1:] for name in archive.namelist()}


def test_mimic_reports_are_those_written(mimic: dict[str, str], native: pl.DataFrame) -> None:
    assert set(mimic) == set(native["text"])


def test_mimic_labels_are_what_the_words_state(root: Root, mimic: dict[str, str], native: pl.DataFrame) -> None:
    folder = root("mimic-cxr-jpg") / JPG
    rows = {r["study_id"]: r for r in table(folder / "mimic-cxr-2.0.0-chexpert.csv.gz")}
    values = {v for r in rows.values() for name, v in r.items() if name in OBSERVATIONS}
    assert values <= {"1.0", "0.0", "-1.0", ""} and {"1.0", "0.0", ""} <= values
    assert {r["No Finding"] for r in rows.values()} <= {"1.0", ""}
    for text, triples in native.select("text", "triples").iter_rows():
        stated = json.loads(triples)
        for name in OBSERVATIONS:
            said = {t["polarity"] for t in stated if t["finding"] == name}
            value = rows[mimic[text]][name]
            assert (value == "1.0") == ("positive" in said) and (value == "") == (not said)
    for row in rows.values():
        abnormal = [n for n in OBSERVATIONS if n != "Support Devices" and row[n] in ("1.0", "-1.0")]
        assert not (row["No Finding"] == "1.0" and abnormal)


def test_mimic_test_studies_are_judged_from_the_picture(
    root: Root, mimic: dict[str, str], native: pl.DataFrame
) -> None:
    rows = {r["study_id"]: r for r in table(root("mimic-cxr-jpg") / JPG / "mimic-cxr-2.1.0-test-set-labeled.csv")}
    test = native.filter(pl.col("split") == "test")
    assert set(rows) == {mimic[text] for text in test["text"]}
    for row in test.iter_rows(named=True):
        mine = rows[mimic[row["text"]]]
        assert mine["Airspace Opacity"] == f"{float(row[label_column('Lung Opacity')])}"
        assert mine["Edema"] == f"{float(row[label_column('Edema')])}"


def test_mimic_metadata_tells_view_size_and_shifted_date(root: Root, native: pl.DataFrame) -> None:
    rows = table(root("mimic-cxr-jpg") / JPG / "mimic-cxr-2.0.0-metadata.csv.gz")
    views = {"PA": "postero-anterior", "AP": "antero-posterior"}
    for row in rows:
        assert row["Rows"] == row["Columns"] == str(SIZE)
        assert re.fullmatch(r"2[12]\d\d(0[1-9]|1[0-2])(0[1-9]|1\d|2[0-8])", row["StudyDate"])
        hours, rest = divmod(float(row["StudyTime"]), 10_000)
        assert hours < 24 and rest // 100 < 60 and rest % 100 < 60
        assert row["ViewPosition"] in ("", "PA", "AP")
        assert row["ViewCodeSequence_CodeMeaning"] == views.get(
            row["ViewPosition"], row["ViewCodeSequence_CodeMeaning"]
        )
    told = [r["ViewCodeSequence_CodeMeaning"] for r in rows]
    assert sorted(told) == sorted(views[v] for v in native["view"])


def test_mimic_lists_name_every_image(root: Root) -> None:
    folder = root("mimic-cxr-jpg")
    listed = (folder / JPG / "IMAGE_FILENAMES").read_text().split()
    assert {f"{JPG}/{name}" for name in listed} == {n for n in names(folder) if n.endswith(".jpg")}
    records = table(folder / CXR / "cxr-record-list.csv.gz")
    assert [r["path"] for r in records] == [name.replace(".jpg", ".dcm") for name in listed]
    sums = dict(reversed(line.split(" ", 1)) for line in (folder / JPG / "SHA256SUMS.txt").read_text().splitlines())
    assert sums[listed[0]] == hashlib.sha256((folder / JPG / listed[0]).read_bytes()).hexdigest()


def test_mimic_pictures_are_equalised(root: Root) -> None:
    for path in sorted((root("mimic-cxr-jpg")).rglob("*.jpg"))[:5]:
        with Image.open(path) as image:
            assert image.mode == "L" and image.size == (SIZE, SIZE)
            values = np.asarray(image)
        assert np.abs(np.percentile(values, [25, 50, 75]) - [64, 128, 191]).max() < 24


def test_equalisation_keeps_order_and_spreads_levels() -> None:
    image = np.random.default_rng(0).normal(90, 12, (64, 64)).astype(np.uint8)
    out = equalised(image)
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(out.ravel()[order].astype(int)) >= 0).all() and out.min() == 0 and out.max() == 255
    assert np.array_equal(equalised(np.full((8, 8), 7, np.uint8)), np.full((8, 8), 7))


def test_mimic_is_read_back(root: Root, mimic: dict[str, str], native: pl.DataFrame) -> None:
    """Views (some of them told by another column than ViewPosition), splits, words, and labels as the words state."""
    tables = build(root("mimic-cxr-jpg"))
    assert tables.missing == () and tables.frame.height == native.height
    ours = {row["study_id"]: row for row in tables.frame.iter_rows(named=True)}
    for row in native.iter_rows(named=True):
        mine = ours[mimic[row["text"]]]
        assert all(mine[name] == row[name] for name in ("split", "view", "width", "height", "text"))
        stated = {
            name: {t["polarity"] for t in json.loads(row["triples"]) if t["finding"] == name} for name in OBSERVATIONS
        }
        for name in OBSERVATIONS:
            value = mine[label_column(name)]
            assert (value == 1) == ("positive" in stated[name]) and (value is None) == (not stated[name])
    judged = build(root("mimic-cxr-jpg"), test_labels=True).frame.filter(split="test")
    truth = {mimic[row["text"]]: row for row in native.iter_rows(named=True)}
    for row in judged.iter_rows(named=True):
        assert all(row[label_column(n)] == truth[row["study_id"]][label_column(n)] for n in OBSERVATIONS)


def test_chexpert_tables_name_every_image_and_validation_is_certain(root: Root, native: pl.DataFrame) -> None:
    folder = root("chexpert")
    train, valid = (table(folder / "CheXpert-v1.0-small" / f"{n}.csv") for n in ("train", "valid"))
    test = table(folder / "CheXpert" / "test_labels.csv")
    paths = [r["Path"] for r in train + valid] + [f"CheXpert/{r['Path']}" for r in test]
    assert set(paths) == {n for n in names(folder) if n.endswith(".jpg")}
    counts = dict(native["split"].value_counts().iter_rows())
    assert [len(train), len(valid), len(test)] == [counts["train"], counts["val"], counts["test"]]
    assert {r[c] for r in valid + test for c in CHEXPERT.split(",")} == {"1.0", "0.0"}
    assert {r["Frontal/Lateral"] for r in train + valid} == {"Frontal"}
    assert {r["Sex"] for r in train} <= {"Male", "Female"}
    ages = {row["image_id"]: min(row["age"], 90) for row in native.iter_rows(named=True)}
    assert sorted(int(r["Age"]) for r in train + valid) == sorted(
        ages[row["image_id"]] for row in native.iter_rows(named=True) if row["split"] != "test"
    )
    assert train[0]["Path"].split("/")[2] == "patient00001" and valid[0]["Path"].split("/")[2] == "patient64541"
    for row in valid + test:
        others = [c for c in OBSERVATIONS if c != "Support Devices" and row[c] == "1.0"]
        assert (row["No Finding"] == "1.0") == (not others)
