"""`wsrpn-vl prepare`: the whole store at once, in processes; broken files listed and left out."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fixtures.pixels import picture_index, write_pictures
from fixtures.small import small_config, small_phantom
from wsrpn_vl.checkpoint import save_checkpoint
from wsrpn_vl.cli import app
from wsrpn_vl.config import DataConfig
from wsrpn_vl.data import runners, shards
from wsrpn_vl.data import store as store_module
from wsrpn_vl.data.broken import broken_path, read_broken, without_broken, write_broken
from wsrpn_vl.data.dataset import RadiographDataset, open_index, select_rows
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.pixels import load_square
from wsrpn_vl.data.prepare import prepare
from wsrpn_vl.data.shards import Done, Job
from wsrpn_vl.data.store import PixelStore, store_folder
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.predictions import read_predictions
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.serve.batch import complete_run

SIZE = 32


@pytest.fixture
def index(tmp_path: Path) -> Path:
    names = write_pictures(tmp_path / "images", 40)
    return picture_index(tmp_path / "images", names, tmp_path / "index.parquet")


def run(index: Path, **options):
    return prepare(index, **{"size": SIZE, "workers": 1, "progress": False, **options})


def never(*args: object) -> None:
    pytest.fail("decoded again")


def test_processes_give_what_one_gives_and_training_decodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_phantom(tmp_path / "data", images=24)
    done = prepare(path, size=48, workers=2, progress=False)
    assert (done.images, done.decoded, done.broken, done.listed, done.notes) == (24, 24, {}, None, ())
    two = {p.name: p.read_bytes() for p in done.folder.glob("*.u8")}
    shutil.rmtree(done.folder)
    prepare(path, size=48, workers=1, progress=False)
    assert {p.name: p.read_bytes() for p in done.folder.glob("*.u8")} == two
    monkeypatch.setattr(shards, "load_square", never)
    table = read_index(path)
    config = DataConfig(image_size=48, channels=1)
    for split in ("train", "val", "test"):
        frame = select_rows(table, config, split)
        data = RadiographDataset(table, frame, config)
        for i, name in enumerate(frame["path"]):
            square, (width, height) = load_square(table.root / name, 48)
            assert np.array_equal((data[i].image[0] * 255).round().numpy(), square)
            assert (data[i].letterbox.width, data[i].letterbox.height) == (width, height) == (64, 64)
    assert prepare(path, size=48, workers=2, progress=False).decoded == 0


def test_an_interrupted_run_goes_on_where_it_stopped(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after 17 images: a line that says how to go on, nothing lost, nothing done twice, no list written.

    The 20th, which is not the last of its shard, takes until the run is told to stop.
    """
    seen: list[str] = []
    told: list[Callable[[], bool]] = []

    def told_to_stop(job: Job, stopped: Callable[[], bool]) -> Done:
        told.append(stopped)
        return shards.decode(job, stopped)

    def slow(path: Path, size: int):
        seen.append(path.name)
        for _ in range(10**6 if len(seen) == 20 else 0):  # not for ever, should it never be told
            if told[-1]():
                break
            os.sched_yield()
        return load_square(path, size)

    def report(done: int, total: int) -> None:
        if done >= 17:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "load_square", slow)
        patch.setattr(runners, "decode", told_to_stop)
        patch.setattr("wsrpn_vl.data.prepare.progress_bar", lambda name: _Bar(report))
        with pytest.raises(KeyboardInterrupt, match="what is decoded is kept, and the same command goes on"):
            run(index, progress=True)
    assert 17 <= len(seen) <= 20 and len(set(seen)) == len(seen) and not broken_path(index).exists()
    assert run(index).decoded == 40 - len(seen)


class _Bar:
    def __init__(self, report) -> None:
        self.report = report

    def __enter__(self):
        return self.report

    def __exit__(self, *error: object) -> None:
        return None


def test_progress_counts_every_image_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PixelStore.open(read_index(index), read_index(index).frame[:10], SIZE)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr("wsrpn_vl.data.prepare.progress_bar", lambda name: _Bar(lambda *at: seen.append(at)))
    run(index, progress=True)
    assert seen[0] == (10, 40) and seen[-1] == (40, 40) and seen == sorted(seen)


def test_broken_files_are_listed_left_out_and_tried_again(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cut-off PNG, an empty file and one that is not there: 37 of 40 images remain, and the index is not touched."""
    root = tmp_path / "images"
    (root / "0003.png").write_bytes((root / "0003.png").read_bytes()[:45])
    (root / "0004.png").write_bytes(b"")
    (root / "0005.png").unlink()
    before = index.read_bytes()
    done = run(index)
    assert (done.images, done.decoded, done.listed) == (40, 37, tmp_path / "index.broken.txt")
    assert list(done.broken) == ["0003.png", "0004.png", "0005.png"] and index.read_bytes() == before
    lines = done.listed.read_text().splitlines()
    assert lines[0].startswith("# ") and [line.split("\t")[0] for line in lines[1:]] == list(done.broken)
    assert "empty file" in done.broken["0004.png"] and "no such image" in done.broken["0005.png"]
    assert str(root) not in done.listed.read_text()

    config = DataConfig(image_size=SIZE, classes=["Edema"])
    with caplog.at_level(logging.WARNING):
        table = open_index(index, config)
    assert [record.getMessage() for record in caplog.records] == [
        f"3 of 40 images cannot be read and are left out: {done.listed}"
    ]
    assert table.frame.height == 37 and table.content_hash == read_index(index).content_hash
    for split, whole in (("train", 14), ("val", 13), ("test", 13)):
        assert len(RadiographDataset(table, select_rows(table, config, split), config)) == whole - 1

    write_pictures(tmp_path / "good", 40)
    for name in done.broken:
        shutil.copy(tmp_path / "good" / name, root / name)
    again = run(index)
    assert (again.decoded, again.broken, again.listed) == (3, {}, None) and not broken_path(index).exists()
    assert open_index(index, config).frame.height == 40


def test_broken_files_do_not_depend_on_the_number_of_workers(index: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "0011.png").write_bytes(b"no picture")
    one = run(index)
    shutil.rmtree(one.folder)
    two = run(index, workers=2)
    assert two.broken == one.broken and list(two.broken) == ["0011.png"] and two.decoded == one.decoded == 39


def test_views_left_out_keep_their_place_in_the_list(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "images", 4)
    index = picture_index(tmp_path / "images", names, tmp_path / "index.parquet", view=["PA", "LAT", "PA", "LAT"])
    for name in names[2:]:
        (tmp_path / "images" / name).write_bytes(b"")
    assert list(run(index).broken) == names[2:]
    shutil.copy(tmp_path / "images" / names[0], tmp_path / "images" / names[2])
    done = run(index, frontal_only=True)
    assert (done.images, done.broken) == (2, {}) and list(read_broken(index)) == [names[3]]


def test_without_a_list_nothing_is_left_out(index: Path) -> None:
    table = read_index(index)
    assert without_broken(table) is table
    write_broken(index, {"elsewhere.png": "of another index\nof this name"})
    assert read_broken(index) == {"elsewhere.png": "of another index of this name"}
    assert without_broken(table).frame.equals(table.frame)
    broken_path(index).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"index\.broken\.txt: cannot be read; delete it"):
        without_broken(table)


def test_a_size_that_the_index_has_wrong_is_told(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "images", 3)
    sizes = {"width": [40, 41, None], "height": [20, 20, None]}
    index = picture_index(tmp_path / "images", names, tmp_path / "index.parquet", **sizes)
    (note,) = run(index).notes
    assert note.startswith("1 images have another size than the index says, first 0001.png (40x20, not 41x20)")


def test_a_wrong_root_lists_nothing(index: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"moved: none of the 40 images .*--root"):
        run(index, root=tmp_path / "moved")
    shutil.move(tmp_path / "images", tmp_path / "moved")
    with pytest.raises(DataError, match=r"images: none of the 40 images .*--root"):
        run(index)
    assert not broken_path(index).exists() and not (tmp_path / store_module.FOLDER).exists()
    assert run(index, root=tmp_path / "moved").decoded == 40
    config = DataConfig(image_size=SIZE, root=str(tmp_path / "moved"))
    table = open_index(index, config)
    assert store_folder(table, SIZE).is_dir() and len(PixelStore.open(table, table.frame, SIZE)) == 40


def test_nothing_readable_is_an_error(index: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"index\.parquet: no image can be read; the first: .*empty file"):
        run(index)
    assert not broken_path(index).exists()


@pytest.mark.parametrize("options", [{"size": 31}, {"size": 4097}, {"workers": 0}])
def test_numbers_out_of_range_are_one_line(index: Path, options: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"prepare: size=\d+, workers=\d+; use"):
        run(index, **options)


def command(*arguments: object):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_the_verb_tells_the_space_beforehand_and_the_folder_last(index: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "0001.png").write_bytes(b"")
    result = command(index, "--size", SIZE, "--workers", 1)
    assert result.exit_code == 0, result.output
    folder = store_folder(read_index(index), SIZE)
    assert "40 images to decode to 32x32 (0 are there); needs 49 kB" in result.stderr
    assert "39 of 40 images" in result.stdout and "1 cannot be read" in result.stdout
    assert result.stdout.splitlines()[-1] == str(folder)
    again = json.loads(command(index, "--size", SIZE, "--workers", 1, "--json").stdout)
    assert (again["path"], again["images"], again["decoded"]) == (str(folder), 40, 0) and "0001.png" in again["broken"]


def test_the_verb_refuses_too_small_a_disk_in_one_line(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    result = command(index, "--size", 224)
    assert result.exit_code == 2 and not (index.parent / store_module.FOLDER).exists()
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ") and "decoded images need 2.0 MB, 1 kB are free; free space" in line


def test_the_verb_says_how_to_go_on(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(path: Path, size: int):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "load_square", stopped)
    result = command(index, "--size", SIZE, "--workers", 1)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "error: interrupted; what is decoded is kept, and the same command goes on"


def test_prediction_and_evaluation_leave_the_same_images_out(tmp_path: Path) -> None:
    """So neither asks the other for them."""
    path = small_phantom(tmp_path / "data", images=32)
    table, config = read_index(path), small_config(path)
    tests = select_rows(table, config.data, "test")["path"]
    (table.root / tests[0]).write_bytes(b"")
    run_folder = tmp_path / "run"
    state = build_detector(config, 384).state_dict()
    save_checkpoint(run_folder / "checkpoints" / "best", state, config, {"text_dim": 384, "step": 1, "epoch": 0})
    with pytest.raises(DataError, match="wsrpn-vl prepare"):
        complete_run(run_folder, "test", "cpu")
    prepare(path, size=64, workers=1, progress=False)
    complete_run(run_folder, "test", "cpu")
    predicted = read_predictions(run_folder / "predictions" / "test" / "predictions.parquet").predictions
    assert len(predicted) == len(tests) - 1
    results = json.loads((run_folder / "results" / "test.json").read_text())
    assert results["truth"]["images"] == len(tests) - 1


def test_two_trainings_prepare_the_same_store(index: Path) -> None:
    """An image of one run's split is there for the other's, and for `prepare`."""
    table = read_index(index)
    PixelStore.open(table, table.frame.filter(table.frame["split"] == "train"), SIZE)
    assert run(index).decoded == 40 - 14


def test_images_of_a_sixteen_bit_file_and_a_jpeg_lie_side_by_side(tmp_path: Path) -> None:
    names = [*write_pictures(tmp_path / "images", 1), "deep.png", "photo.jpg"]
    Image.fromarray(np.full((10, 10), 51 * 257, np.uint16)).save(tmp_path / "images" / "deep.png")
    Image.new("RGB", (900, 300), (204, 204, 204)).save(tmp_path / "images" / "photo.jpg")
    index = picture_index(tmp_path / "images", names, tmp_path / "index.parquet")
    run(index)
    images = PixelStore.open(read_index(index), read_index(index).frame, SIZE)
    assert [images[i][0][SIZE // 2, SIZE // 2] for i in range(3)] == [1, 51, 204]
    assert [images[i][1] for i in range(3)] == [(40, 20), (10, 10), (900, 300)]
