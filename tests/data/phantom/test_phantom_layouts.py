"""Every layout: the files and headers of the data set it stands for, over the same simulated patients."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fixtures.layouts import EXPECTED, IMAGES, JPG, digest, names, table, text_of, write
from wsrpn_vl.data.phantom.layouts import LAYOUTS

Root = Callable[[str], Path]

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # VinDr's hash in place of an identifier


def test_every_layout_is_described_here() -> None:
    assert set(EXPECTED) == set(LAYOUTS)


@pytest.mark.parametrize("layout", EXPECTED)
def test_the_folder_holds_what_the_data_set_holds(root: Root, layout: str) -> None:
    tables, pattern, per_image = EXPECTED[layout]
    found = names(root(layout))
    images = found - set(tables)
    assert set(tables) <= found and len(images) == per_image * IMAGES
    assert all(re.fullmatch(pattern, name) for name in images)
    for name, header in tables.items():
        if header is not None:
            text = text_of(root(layout) / name)
            assert text.split("\n")[0] == header and "\r" not in text and text.endswith("\n")


def test_nothing_is_written_beside_the_folder(root: Root) -> None:
    folders = [root(layout) for layout in LAYOUTS]
    assert {p.name for p in folders[0].parent.iterdir()} == set(LAYOUTS)
    assert not [p for folder in folders for p in folder.rglob("*") if p.name.endswith(".tmp")]


def test_every_layout_has_the_same_patients(root: Root, native: pl.DataFrame) -> None:
    patients, images = native["patient_id"].n_unique(), native.height
    mimic = table(root("mimic-cxr-jpg") / JPG / "mimic-cxr-2.0.0-split.csv.gz")
    assert len({r["subject_id"] for r in mimic}) == patients and len(mimic) == images
    chexpert = [name.split("/")[-3] for name in names(root("chexpert")) if name.endswith(".jpg")]
    assert len(set(chexpert)) == patients and len(chexpert) == images
    nih = table(root("nih") / "Data_Entry_2017_v2020.csv")
    assert len({r["Patient ID"] for r in nih}) == patients and len(nih) == images
    assert len({name.split("/")[0] for name in names(root("dicom"))}) == patients
    split = [{"validate": "val"}.get(r["split"], r["split"]) for r in mimic]
    assert sorted(split) == sorted(native["split"])


@pytest.mark.parametrize("layout", ["chest-imagenome", "vindr"])
def test_two_workers_write_the_bytes_of_one(root: Root, layout: str, tmp_path: Path) -> None:
    write(tmp_path / layout, layout, workers=2)
    assert digest(tmp_path / layout) == digest(root(layout))


def test_missing_and_broken_files_are_made_again(root: Root, tmp_path: Path) -> None:
    folder = tmp_path / "vindr"
    write(folder, "vindr", images=20)
    files = sorted(folder.rglob("*.dicom"))
    kept, stamp = files[2], files[2].stat().st_mtime_ns
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:300])
    write(folder, "vindr")
    assert digest(folder) == digest(root("vindr")) and kept.stat().st_mtime_ns == stamp
