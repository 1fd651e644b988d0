"""The written data set: same bytes for any number of workers, continued after interruption, patients kept apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.phantom.study import simulate
from wsrpn_vl.data.phantom.traps import Traps
from wsrpn_vl.data.phantom.writer import plan, split_of, write_phantom
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column

SIZE = 64
IMAGES = 70  # three blocks, the last one not full


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "a"
    path = write_phantom(folder, images=IMAGES, size=SIZE, seed=2, progress=False)
    assert path == folder / "index.parquet"
    return folder


def test_two_workers_write_the_bytes_of_one(written: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "b", images=IMAGES, size=SIZE, seed=2, workers=2, progress=False)
    one, two = digest(written / "images"), digest(tmp_path / "b" / "images")
    assert len(one) == IMAGES and one == two
    assert digest(written / ".phantom") == digest(tmp_path / "b" / ".phantom")
    a, b = (read_index(f / "index.parquet").frame for f in (written, tmp_path / "b"))
    assert a.equals(b)


def test_a_written_folder_holds_images_index_and_boxes(written: Path) -> None:
    shown = {p.name for p in written.iterdir() if not p.name.startswith(".")}
    assert shown == {"images", "index.parquet", "index.boxes.parquet"}
    assert {p.suffix for p in (written / "images").iterdir()} == {".png"}


def test_index_and_boxes_are_what_was_simulated(written: Path) -> None:
    index = read_index(written / "index.parquet")
    boxes = pl.read_parquet(boxes_path(written / "index.parquet"))
    assert index.frame.height == IMAGES
    assert tuple(index.classes) == OBSERVATIONS
    assert index.text_origin == "report" and all(index.box_complete[c] for c in OBSERVATIONS)
    for row in index.frame.head(12).iter_rows(named=True):
        patient, study = int(row["image_id"][1:7]), int(row["image_id"].split("_s")[1])
        one = simulate(2, patient, SIZE, study=study)
        with Image.open(written / row["path"]) as image:
            assert np.array_equal(np.asarray(image), one.image)
        assert {c: row[label_column(c)] for c in OBSERVATIONS} == one.given_labels
        assert row["text"] == one.report and json.loads(row["triples"]) == json.loads(json.dumps(one.triples))
        assert {name: row[name] for name in one.attributes} == one.attributes
        mine = boxes.filter(pl.col("image_id") == row["image_id"])
        got = sorted(zip(mine["label"], mine["x1"], mine["y1"], mine["x2"], mine["y2"], strict=True))
        assert got == sorted((name, *box) for name, box in one.boxes)
    assert set(boxes["source"]) == {"simulated"} and boxes.schema["visibility"] == pl.Float64


def test_a_patient_is_in_one_split_and_shares_are_kept(written: Path) -> None:
    frame = read_index(written / "index.parquet").frame
    assert frame.group_by("patient_id").agg(pl.col("split").n_unique().alias("n"))["n"].max() == 1
    assert frame["study_id"].n_unique() > frame["patient_id"].n_unique()
    share = {s: np.mean([split_of(p, (0.7, 0.15, 0.15)) == s for p in range(1000)]) for s in ("train", "val", "test")}
    assert share == pytest.approx({"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.01)


def test_an_interrupted_run_is_continued(written: Path, tmp_path: Path) -> None:
    """Whole images stay as they are; missing and broken ones are made again, with the same bytes."""
    folder = tmp_path / "c"
    write_phantom(folder, images=40, size=SIZE, seed=2, progress=False)
    files = sorted((folder / "images").iterdir())
    kept, missing, broken = files[0], files[34], files[36]
    stamp = kept.stat().st_mtime_ns
    missing.unlink()
    broken.write_bytes(broken.read_bytes()[:200])
    write_phantom(folder, images=IMAGES, size=SIZE, seed=2, progress=False)
    assert kept.stat().st_mtime_ns == stamp
    assert digest(folder / "images") == digest(written / "images")
    assert read_index(folder / "index.parquet").frame.equals(read_index(written / "index.parquet").frame)


def test_a_longer_plan_begins_with_the_shorter() -> None:
    assert plan(200, 3)[:50] == plan(50, 3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 9}, "seed"),
        ({"layout": "nih"}, "layout"),
        ({"traps": Traps(label_noise=0.1)}, "label_noise"),
        ({"splits": (0.5, 0.3, 0.2)}, "splits"),
    ],
)
def test_other_parameters_in_the_same_folder_are_refused(written: Path, changes: dict, named: str) -> None:
    before = digest(written)
    with pytest.raises(DataError, match=f"another {named}"):
        write_phantom(written, **({"images": 4, "size": SIZE, "seed": 2, "progress": False} | changes))
    assert digest(written) == before


def test_fewer_images_than_the_folder_is_for_are_refused(written: Path) -> None:
    """Else surplus images would stay, or be lost."""
    before = digest(written)
    with pytest.raises(DataError, match=f"is for {IMAGES} images; ask for at least as many"):
        write_phantom(written, images=IMAGES - 1, size=SIZE, seed=2, progress=False)
    assert digest(written) == before


def test_files_that_are_not_a_phantoms_are_left_alone(tmp_path: Path) -> None:
    """A real data set of that layout, for example."""
    (tmp_path / ".DS_Store").write_text("")
    table = tmp_path / "Data_Entry_2017_v2020.csv"
    table.write_text("real")
    with pytest.raises(DataError, match="no phantom's; choose another folder"):
        write_phantom(tmp_path, images=1, size=SIZE, layout="nih", progress=False)
    assert table.read_text() == "real" and not (tmp_path / ".phantom").exists()
    table.unlink()
    write_phantom(tmp_path, images=1, size=SIZE, layout="nih", progress=False)


@pytest.mark.parametrize("broken", ["[", "[]", "{}", '{"traps": 1}'])
def test_broken_parameters_are_named(broken: str, tmp_path: Path) -> None:
    (tmp_path / ".phantom").mkdir()
    (tmp_path / ".phantom" / "phantom.json").write_text(broken)
    with pytest.raises(DataError, match=r"phantom\.json: broken; delete the folder"):
        write_phantom(tmp_path, images=1, size=SIZE, progress=False)


def test_traps_are_in_the_table_and_the_notes(tmp_path: Path) -> None:
    traps = Traps(wrong_report=0.5, label_noise=0.3)
    index = read_index(write_phantom(tmp_path, images=30, size=SIZE, traps=traps, progress=False))
    assert "wrong_report=0.5" in index.notes[-1] and "label_noise=0.3" in index.notes[-1]
    wrong = index.frame.filter(pl.col("report_kind") == "wrong")
    assert 5 < wrong.height < 25 and (wrong["report_of"] != wrong["image_id"]).all()
    noisy = index.frame.filter(pl.col("flipped") != "")
    assert noisy.height and set(noisy["split"]) <= {"train", "val"}
    for row in noisy.iter_rows(named=True):
        one = simulate(0, int(row["image_id"][1:7]), SIZE, study=int(row["image_id"][-1]))
        for name in row["flipped"].split(";"):
            assert row[label_column(name)] == 1 - one.labels[name]


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"size": 10},
        {"seed": -1},
        {"workers": 0},
        {"splits": (0.5, 0.1, 0.1)},
        {"splits": (float("nan"), 0.5, 0.5)},
        {"site": "Q"},
        {"layout": "q"},
    ],
)
def test_a_wrong_parameter_writes_nothing(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        write_phantom(tmp_path / "d", **({"images": 2, "size": SIZE, "progress": False} | wrong))
    assert not (tmp_path / "d").exists()


def test_no_temporary_file_is_left(written: Path) -> None:
    assert not [p for p in written.rglob("*") if p.name.endswith(".tmp")]
