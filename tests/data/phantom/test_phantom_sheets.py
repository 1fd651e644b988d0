"""Contact sheets: what is on them, and that real images are chosen by label with no look at a box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.nih import write_nih
from wsrpn_vl.data.phantom import sheets
from wsrpn_vl.data.phantom.sheets import contact_sheet
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.errors import DataError

SIZE = 64


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_sheet_has_a_row_of_each_finding(tmp_path: Path) -> None:
    one = pixels(contact_sheet(tmp_path / "one.png", size=SIZE, findings=("Edema",), columns=2))
    two = pixels(contact_sheet(tmp_path / "two.png", size=SIZE, findings=("Edema", "No Finding"), columns=2))
    lower = pixels(contact_sheet(tmp_path / "more.png", size=SIZE, findings=("Edema",), columns=2, rows=2))
    assert one.shape[1] == two.shape[1] and two.shape[0] == 2 * one.shape[0]
    assert np.array_equal(two[: len(one)], one)
    assert one.shape[0] < lower.shape[0] < two.shape[0]
    again = contact_sheet(tmp_path / "again.png", size=SIZE, findings=("Edema",), columns=2)
    assert np.array_equal(pixels(again), one)
    other = contact_sheet(tmp_path / "other.png", size=SIZE, findings=("Edema",), columns=2, seed=1)
    assert not np.array_equal(pixels(other), one)


def test_boxes_are_drawn_on_demand_and_change_nothing_else(tmp_path: Path) -> None:
    plain = pixels(contact_sheet(tmp_path / "plain.png", size=SIZE, findings=("Cardiomegaly",), columns=1))
    boxed = pixels(contact_sheet(tmp_path / "boxed.png", size=SIZE, findings=("Cardiomegaly",), columns=1, boxes=True))
    changed = np.abs(plain - boxed).max(2) > 30
    assert plain.shape == boxed.shape and 20 < changed.sum() < 0.5 * SIZE * SIZE
    coloured = np.ptp(boxed, axis=2) > 20
    assert coloured.any() and not (np.ptp(plain, axis=2) > 20).any()


@pytest.mark.parametrize("indexed", [False, True])
def test_real_images_are_of_the_label_and_have_the_fewest_others(tmp_path: Path, indexed: bool) -> None:
    root = write_nih(tmp_path / "nih")
    if indexed:
        build_index("nih", root, root)
    real = sheets._Real(root, seed=0)
    words = [text for _, text in real.tiles("Pleural Effusion", 9, SIZE)]
    assert {text.split()[0] for text in words} == {
        "00000006_000", "00000006_001", "00000008_000", "00000009_001"
    }  # fmt: skip
    assert words[0].startswith("00000006_000")  # nothing but an effusion
    assert {text.split()[0] for _, text in real.tiles("No Finding", 9, SIZE)} == {
        "00000002_000", "00000005_000", "00000006_002", "00000010_001"
    }  # fmt: skip
    assert list(real.tiles("Fracture", 9, SIZE)) == []  # not among NIH's labels
    assert len(list(real.tiles("No Finding", 2, SIZE))) == 2


def test_real_rows_follow_the_phantom(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih")
    alone = pixels(contact_sheet(tmp_path / "a.png", size=SIZE, findings=("Edema",), columns=2))
    beside = pixels(contact_sheet(tmp_path / "b.png", size=SIZE, findings=("Edema",), columns=2, beside=root))
    assert np.array_equal(beside[: len(alone)], alone) and len(beside) == 2 * len(alone)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"findings": ("Edma",)}, "unknown observation 'Edma'; did you mean 'Edema'"),
        ({"columns": 0}, "give at least 1"),
        ({"findings": ("Edema",), "size": 3}, "size=3; the smallest"),
        ({"findings": ("Edema",), "seed": -3}, "seed=-3; use 0"),
        ({"site": "Z", "findings": ("Edema",)}, "unknown phantom site 'Z'"),
    ],
)
def test_a_wrong_wish_is_one_line(tmp_path: Path, options: dict, words: str) -> None:
    wishes: dict = {"size": SIZE} | options
    with pytest.raises(DataError, match=words) as caught:
        contact_sheet(tmp_path / "sheet.png", **wishes)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_folder_without_a_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Data_Entry_2017_v2020.csv"):
        contact_sheet(tmp_path / "out" / "sheet.png", findings=("Edema",), beside=tmp_path)


def test_only_a_png_name_is_taken_and_that_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("sheet.txt", "sheet", "folder.png"):
        with pytest.raises(DataError, match=r"give a name that ends in \.png"):
            contact_sheet(tmp_path / name, findings=("Edma",))
