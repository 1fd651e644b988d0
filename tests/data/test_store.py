"""The pixel store: every image decoded once, whoever asks; what is on disk is checked, not trusted."""

from __future__ import annotations

import dataclasses
import os
import pickle
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.pixels import picture_index, write_pictures
from wsrpn_vl.data import shards, store
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.pixels import load_square
from wsrpn_vl.data.store import PixelStore, fill, look_up, store_folder, threads
from wsrpn_vl.errors import DataError

SIZE = 32
COUNT = 40


@pytest.fixture
def index(tmp_path: Path) -> Index:
    names = write_pictures(tmp_path / "images", COUNT)
    return read_index(picture_index(tmp_path / "images", names, tmp_path / "index.parquet"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file has been decoded."""
    counts: Counter[str] = Counter()

    def counted(path: Path, size: int):
        counts[path.name] += 1
        return load_square(path, size)

    monkeypatch.setattr(shards, "load_square", counted)
    return counts


def opened(index: Index, rows: slice | list[int] = slice(None), size: int = SIZE) -> PixelStore:
    return PixelStore.open(index, index.frame[rows], size)


def check(images: PixelStore) -> None:
    """Image i is i + 1 everywhere on its content, which is half the square."""
    for i, name in enumerate(images.names):
        pixels, shape = images[i]
        assert shape == (40, 20) and set(np.unique(pixels)) == {0, int(name[:4]) + 1}


def shard_files(index: Index, size: int = SIZE) -> list[Path]:
    return sorted(store_folder(index, size).glob("*.u8"))


def test_any_rows_in_any_order_are_what_the_files_give_and_each_is_decoded_once(
    index: Index, decoded: Counter[str]
) -> None:
    for rows in ([3, 1, 2], [39, 0, 3, 17], list(range(COUNT)), [5, 5 + 1], list(range(COUNT - 1, -1, -1))):
        images = opened(index, rows)
        assert images.names == tuple(f"{i:04d}.png" for i in rows)
        check(images)
        direct = PixelStore.open(index, index.frame[rows], SIZE, cache=False)
        assert all(np.array_equal(images[i][0], direct[i][0]) for i in range(len(rows)))
    assert set(decoded.values()) == {1} and len(decoded) == COUNT
    assert not list(store_folder(index, SIZE).glob("*.lock"))


def test_changed_labels_splits_and_rows_decode_nothing(index: Index, decoded: Counter[str], tmp_path: Path) -> None:
    opened(index)
    names = index.frame["path"].to_list()[::-1][:30]
    other = read_index(
        picture_index(tmp_path / "images", names, tmp_path / "second.parquet", y_edema=[1] * 30, split=["train"] * 30)
    )
    decoded.clear()
    check(opened(other))
    assert not decoded


def test_a_changed_file_is_decoded_again_and_it_alone(index: Index, decoded: Counter[str]) -> None:
    opened(index)
    decoded.clear()
    Image.fromarray(np.full((30, 30), 250, np.uint8)).save(index.root / "0007.png")
    images = opened(index)
    pixels, shape = images[7]
    assert shape == (30, 30) and pixels.min() == 250 and decoded == {"0007.png": 1}
    check(opened(index, [6, 8]))
    opened(index)
    assert decoded == {"0007.png": 1}


def test_a_file_with_another_time_is_decoded_again(index: Index, decoded: Counter[str]) -> None:
    opened(index, [0, 1])
    os.utime(index.root / "0001.png", ns=(1, 1))
    check(opened(index, [0, 1]))
    assert decoded == {"0000.png": 1, "0001.png": 2}


def test_a_file_that_is_gone_keeps_its_image(index: Index, decoded: Counter[str]) -> None:
    opened(index)
    (index.root / "0004.png").unlink()
    check(opened(index))
    assert decoded["0004.png"] == 1


def test_another_root_and_another_size_have_their_own_images(index: Index, tmp_path: Path) -> None:
    """The same table over other files: nothing of the first is shown for the second."""
    opened(index, [0])
    write_pictures(tmp_path / "other", 1, width=20, height=40)
    pixels, shape = opened(dataclasses.replace(index, root=tmp_path / "other"), [0])[0]
    assert shape == (20, 40) and pixels.max() == 1
    assert opened(index, [0], 48)[0][0].shape == (48, 48) and opened(index, [0])[0][0].shape == (SIZE, SIZE)


@pytest.mark.parametrize("damage", ["short", "empty", "record", "other size"])
def test_a_damaged_shard_is_made_again(index: Index, decoded: Counter[str], damage: str) -> None:
    opened(index)
    path = shard_files(index)[0]
    content = path.read_bytes()
    altered = content.replace(b'"width": [40', b'"width": [41')  # a record that can still be read
    path.write_bytes(
        {"short": content[:-1], "empty": b"", "record": altered, "other size": content[SIZE * SIZE :]}[damage]
    )
    before = sum(decoded.values())
    check(opened(index))
    assert path.read_bytes() == content
    assert sum(decoded.values()) - before == content.count(b".png")


def test_what_is_written_depends_on_the_files_alone(index: Index, tmp_path: Path) -> None:
    """Made in one go or row by row backwards, the store tells the same; made twice, it is the same byte for byte."""
    opened(index)
    first = {path.name: path.read_bytes() for path in shard_files(index)}
    second = dataclasses.replace(index, path=tmp_path / "again" / "index.parquet")
    opened(second)
    assert {path.name: path.read_bytes() for path in shard_files(second)} == first
    third = dataclasses.replace(index, path=tmp_path / "rows" / "index.parquet")
    for i in range(COUNT - 1, -1, -1):
        opened(third, [i])
    check(opened(third))


def test_two_at_once_share_the_work(index: Index, decoded: Counter[str]) -> None:
    """Both have every image in the end, and none was decoded twice: shards are claimed, and the other's waited for."""
    names = index.frame["path"].to_list()
    folder = store_folder(index, SIZE)
    ready = threading.Barrier(2)

    def work() -> None:
        found = look_up(folder, index.root, names, SIZE)
        assert found.missing == COUNT
        ready.wait()
        assert fill(folder, index.root, found, SIZE, threads(2), "") == []

    both = [threading.Thread(target=work) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert set(decoded.values()) == {1} and len(decoded) == COUNT
    decoded.clear()
    check(opened(index))
    assert not decoded


def test_what_another_process_is_at_is_waited_for(index: Index, decoded: Counter[str]) -> None:
    """A shard that is locked is left to its owner; when the owner gives up, it is made after all."""
    fcntl = pytest.importorskip("fcntl")
    names = index.frame["path"].to_list()
    folder = store_folder(index, SIZE)
    folder.mkdir(parents=True)
    found = look_up(folder, index.root, names, SIZE)
    first = store._jobs(folder, index.root, found, SIZE)[0]
    seen: list[int] = []
    with first.target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert shards.decode(first).busy and not decoded

        def report(done: int, total: int) -> None:
            seen.append(done)
            if done == COUNT - len(first.files):  # all but the locked one
                assert not set(decoded) & {name for name, *_ in first.files}
                fcntl.flock(lock, fcntl.LOCK_UN)

        assert fill(folder, index.root, found, SIZE, threads(2), "", report) == []
    assert seen[0] == 0 and seen[-1] == COUNT and set(decoded.values()) == {1} and len(decoded) == COUNT


def test_without_locks_the_store_is_still_right(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "fcntl", None)
    check(opened(index))


def test_a_kill_between_shards_keeps_the_finished_ones(index: Index, decoded: Counter[str]) -> None:
    """The run ends with a shard half written: only a temporary name is left of it, and only its images are missing."""
    names = index.frame["path"].to_list()
    folder = store_folder(index, SIZE)
    found = look_up(folder, index.root, names, SIZE)
    jobs = store._jobs(folder, index.root, found, SIZE)
    for job in jobs[:3]:
        shards.decode(job)
    (folder / f".{jobs[3].target.name}.4711.tmp").write_bytes(b"half")
    kept = sum(len(job.files) for job in jobs[:3])
    assert sum(decoded.values()) == kept
    check(opened(index))
    assert sum(decoded.values()) == COUNT


def test_an_interrupted_shard_keeps_what_is_decoded(index: Index, decoded: Counter[str]) -> None:
    names = index.frame["path"].to_list()
    folder = store_folder(index, SIZE)
    job = dataclasses.replace(
        store._jobs(folder, index.root, look_up(folder, index.root, names, SIZE), SIZE)[0],
        files=look_up(folder, index.root, names, SIZE).files,
    )
    done = shards.decode(job, lambda: sum(decoded.values()) == 5)
    assert done.decoded == 5 and look_up(folder, index.root, names, SIZE).missing == COUNT - 5
    again = shards.decode(job)  # the same job, by a process that has not seen the interruption
    assert again.decoded == COUNT - 5 and set(decoded.values()) == {1}
    check(opened(index))


def test_what_was_killed_long_ago_is_cleared(index: Index) -> None:
    opened(index, [0])
    old, new = (store_folder(index, SIZE) / f".{name}.u8.1.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    opened(index, [1])
    assert new.exists() and not old.exists()


def test_an_unreadable_image_is_named_with_the_mend(index: Index) -> None:
    (index.root / "0003.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0003\.png.*wsrpn-vl prepare .*index\.parquet"):
        opened(index)
    check(opened(index, [0, 1, 2, 4]))
    moved = dataclasses.replace(index, root=index.root.parent / "moved")
    with pytest.raises(DataError, match=r"moved.*data\.root"):
        opened(moved)
    assert not shard_files(moved)


def test_a_store_that_cannot_be_written_names_the_mend(index: Index) -> None:
    (index.path.parent / store.FOLDER).write_text("in the way")
    with pytest.raises(DataError, match=r"pixel_cache.*cannot keep decoded images .*data\.cache=false"):
        opened(index)
    assert PixelStore.open(index, index.frame, SIZE, cache=False)[0][0].shape == (SIZE, SIZE)


def test_too_small_a_disk_is_told_before_anything_is_written(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    need = store.bytes_needed(COUNT, SIZE)

    def free(count: int) -> None:
        monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": count}))

    free(need - 1)
    with pytest.raises(DataError, match=r"need 49 kB, .* are free; .*data\.cache=false"):
        opened(index)
    assert not (index.path.parent / store.FOLDER).exists()
    free(need)
    opened(index)
    free(0)
    check(opened(index))  # nothing is missing, nothing is needed


def test_a_store_that_vanishes_meanwhile_is_named(index: Index) -> None:
    images = opened(index)
    for path in shard_files(index):
        path.unlink()
    with pytest.raises(DataError, match="gone or damaged since the start"):
        images[0]


def test_a_store_is_small_to_send_and_keeps_no_file_open(index: Index) -> None:
    """Loader processes get a copy: tables, no pixels."""
    images = opened(index, size=256)
    sent = pickle.dumps(images)
    assert len(sent) < 256 * 256
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    copy = pickle.loads(sent)
    check(copy)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after <= before


def test_blocks_do_not_depend_on_what_is_there(index: Index) -> None:
    """So two processes with the same rows cut them alike, whenever they start; large images make short shards."""
    names = index.frame["path"].to_list()
    folder = store_folder(index, SIZE)
    whole = store._jobs(folder, index.root, look_up(folder, index.root, names, SIZE), SIZE)
    shards.decode(whole[2])
    rest = store._jobs(folder, index.root, look_up(folder, index.root, names, SIZE), SIZE)
    assert rest == whole[:2] + whole[3:]
    many = store.Found((), index.frame, tuple(("x", 1, 1) for _ in range(10_000)), np.zeros(10_000, bool))
    assert {len(job.files) for job in store._jobs(folder, index.root, many, 224)} == {256, 10_000 % 256}
    assert max(len(job.files) for job in store._jobs(folder, index.root, many, 4096)) == 4
