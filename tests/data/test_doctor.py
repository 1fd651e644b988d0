"""The doctor finds what is planted, says how to mend it, and finds nothing in a sound data set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from fixtures.nih import write_nih
from wsrpn_vl.data.doctor import Check, diagnose
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.dicom import read

NAMES = [
    "index",
    "files",
    "missing",
    "readable",
    "sizes",
    "published",
    "views",
    "patients",
    "duplicates",
    "labels",
    "text",
    "boxes",
    "decoders",
    "devices",
    "disk",
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom large enough that every class has a positive image in training."""
    return write_phantom(tmp_path_factory.mktemp("sound"), images=120, size=64, progress=False)


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    shutil.copytree(sound.parent, tmp_path / "copy")
    return tmp_path / "copy"


def checks(folder: Path, **options: Any) -> dict[str, Check]:
    found = diagnose(folder / "index.parquet", progress=False, **options)
    return {check.name: check for check in found}


def files_of(folder: Path, split: str) -> list[Path]:
    frame = read_index(folder / "index.parquet").frame
    return [folder / path for path in frame.filter(pl.col("split") == split)["path"]]


def bad(found: dict[str, Check]) -> list[str]:
    for check in found.values():
        assert bool(check.mend) != check.ok, check
    return [name for name, check in found.items() if not check.ok]


def test_a_sound_data_set_passes(sound: Path) -> None:
    found = checks(sound.parent)
    assert list(found) == NAMES
    assert bad(found) == []
    assert "120 images" in found["index"].detail and "all 120 files" in found["files"].detail
    frame = read_index(sound).frame
    train = frame.filter(pl.col("split") == "train")["y_edema"]
    counts = f"train {(train == 1).sum()}/{(train == 0).sum()}/{(train == -1).sum()}/{train.null_count()}"
    assert counts in next(line for line in found["labels"].detail.splitlines() if line.startswith("Edema"))
    distinct = frame["text"].n_unique()
    assert found["text"].detail.startswith(f"100.0% of images have text (origin: report), {distinct} distinct")


def test_boxes_are_never_opened(folder: Path) -> None:
    boxes_path(folder / "index.parquet").write_bytes(b"closed")
    assert bad(checks(folder)) == []
    boxes_path(folder / "index.parquet").unlink()
    assert bad(checks(folder)) == ["boxes"]


def test_missing_files_are_counted(folder: Path) -> None:
    for path in files_of(folder, "test")[:3]:
        path.unlink()
    found = checks(folder)
    assert bad(found) == ["files"]
    assert found["files"].detail.startswith("3 of 120 files are not in")


def test_a_moved_root_can_be_given(folder: Path) -> None:
    shutil.move(folder / "images", folder.parent / "images")
    assert "120 of 120 files" in checks(folder)["files"].detail
    assert bad(checks(folder, root=folder.parent)) == []


def test_broken_and_resized_images_are_found(folder: Path) -> None:
    broken, resized = files_of(folder, "train")[:2]
    broken.write_bytes(broken.read_bytes()[:300])
    with Image.open(resized) as image:
        image.resize((32, 48)).save(resized)
    found = checks(folder)
    assert bad(found) == ["readable", "sizes"]
    assert "1 of 120 sampled cannot be read" in found["readable"].detail and broken.name in found["readable"].detail
    assert f"{resized.name} is 32x48, the index says 64x64" in found["sizes"].detail
    assert len(found["readable"].detail.splitlines()) == 1


def test_the_same_file_in_two_splits_is_found(folder: Path) -> None:
    train, test = files_of(folder, "train"), files_of(folder, "test")
    shutil.copy(train[1], train[0])  # twice in one split is no leak
    assert bad(checks(folder)) == []
    shutil.copy(train[5], test[0])
    found = checks(folder)
    assert bad(found) == ["duplicates"]
    assert f"{train[5].name} (train)" in found["duplicates"].detail
    assert f"{test[0].name} (test)" in found["duplicates"].detail


def test_equal_length_and_end_are_not_yet_a_duplicate(folder: Path) -> None:
    """Two long files that differ in their first byte alone."""
    for number, path in enumerate((files_of(folder, "train")[0], files_of(folder, "test")[0])):
        path.write_bytes(bytes([number]) + bytes(10_000))
    assert checks(folder, sample=0)["duplicates"].ok


def test_a_broken_index_is_said_and_the_machine_still_examined(tmp_path: Path) -> None:
    (tmp_path / "index.parquet").write_text("no")
    found = checks(tmp_path)
    assert list(found) == ["index", "decoders", "devices", "disk"] and bad(found) == ["index"]
    assert "not a readable Parquet file" in found["index"].detail
    assert [c.name for c in diagnose(None)] == ["decoders", "devices", "disk"]


def test_classes_without_positives_and_unknown_patients_are_found(tmp_path: Path) -> None:
    picture = Image.new("L", (8, 8))
    for number in range(4):
        picture.putpixel((0, 0), number)
        picture.save(tmp_path / f"{number}.png")
    rows = ["path,split,Edema,Mass", "0.png,train,1,0", "1.png,train,0,", "2.png,val,1,1", "3.png,test,-1,0"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    build_index("folder", tmp_path, tmp_path)
    found = checks(tmp_path)
    assert bad(found) == ["patients", "labels"]
    assert "Mass: train 0/1/0/1, val 1/0/0/0, test 0/1/0/0" in found["labels"].detail
    assert "4 of 4 images have no patient_id" in found["patients"].detail
    assert found["labels"].mend.startswith("nothing to learn Mass from")
    assert found["boxes"].detail.startswith("no boxes")


def test_notes_and_missing_text_are_told(tmp_path: Path) -> None:
    write_nih(tmp_path)
    (tmp_path / "images" / "00000012_001.png").unlink()
    build_index("nih", tmp_path, tmp_path)
    found = checks(tmp_path)
    assert "1 x image of the table missing" in found["index"].detail
    assert found["text"].detail == "no text; captions are made from labels"


def test_a_missing_decoder_matters_only_where_it_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "decoders", lambda: {"JPEG-LS": False, "RLE": True})
    found = checks(folder)
    assert found["decoders"].ok and "without a decoder: JPEG-LS" in found["decoders"].detail
    path = files_of(folder, "train")[0]
    path.write_bytes(bytes(128) + b"DICM")
    found = checks(folder)
    assert bad(found) == ["readable", "decoders"] and "wsrpn-vl[dicom]" in found["decoders"].mend


def test_too_little_space_is_said(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """120 images of 224 * 224 bytes and 1 GB to spare: 1.0056 GB wanted; of 0.5 GB free, 0.5 are lacking."""
    usage = shutil.disk_usage(sound.parent)._replace(free=2**29)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = checks(sound.parent)
    assert bad(found) == ["disk"] and found["disk"].mend.startswith("free 0.5 GB")


def test_real_subset_is_sound(real_data: Path, tmp_path: Path) -> None:
    build_index("nih", real_data / "nih-subset", tmp_path)
    assert bad(checks(tmp_path, sample=40)) == []
