"""The pixel store: every image of a data set letterboxed to one size, decoded once, whoever asks first.

It lies in ``pixel_cache/<size>-<key>`` beside the index, one folder per root folder, size and version of the rendering,
and is a heap of shards (:mod:`wsrpn_vl.data.shards`) that together say which file each image came from. Training,
prediction and ``wsrpn-vl prepare`` all read what is there and add what is not, so any subset of the index (a split, the
first thousand rows, another index over the same files) finds its images, and labels, words and splits may change.

What is checked, and when: a shard records path, bytes and time of change of each file; on every opening these are
compared with the file as it is now. A file that differs is decoded again and the newer image used. A file that is no
longer there keeps its image. Content is not compared: a file changed in place with its time set back goes unnoticed.

Why shards and not one large file: they can be written by any number of processes, of one machine or several, with no
order between them; each is whole once it has its name, so nothing is repaired after a kill; and they are made by
renaming, so no reader meets half an image.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from wsrpn_vl.data.index import Index
from wsrpn_vl.data.pixels import RENDERING, load_square
from wsrpn_vl.data.runners import Runner, threads
from wsrpn_vl.data.shards import FIELDS, SUFFIX, Job, read_records, read_square
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import size_text, write_text

Progress = Callable[[int, int], None]

FOLDER = "pixel_cache"
_IMAGES = 256  # of a shard at most: some seconds of work, and few enough files
_SHARE = 16  # a small set is cut into so many shards, so that there is work for several processes
_BYTES = 2**26  # of a shard at most
_RECORD = 200  # bytes of the record of one image
_LEFT = 86400.0  # age in seconds of a temporary file or lock that nobody can still be using
_CHUNK = 2000  # files that one thread looks up at a time
_DTYPES = {"path": pl.String, **dict.fromkeys(FIELDS[1:], pl.Int64)}


@dataclass(frozen=True)
class PixelStore:
    """Letterboxed images of some rows, read from shards or, without a cache, from the files themselves.

    root: folder of the images; names: (n,) paths below it; size: side; shards: their paths; where: (n, 2) shard and
    place in it; shapes: (n, 2) width and height of the original images. ``store[i]``: letterboxed (size, size) uint8
    and (width, height), from which :class:`~wsrpn_vl.boxes.Letterbox` leads back to pixels of the original.
    """

    root: Path
    names: tuple[str, ...]
    size: int
    shards: tuple[Path, ...] = ()
    where: np.ndarray | None = None
    shapes: np.ndarray | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """(n,) files of the images."""
        return tuple(self.root / name for name in self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[np.ndarray, tuple[int, int]]:
        if self.where is None or self.shapes is None:
            return load_square(self.root / self.names[i], self.size)
        shard = self.shards[self.where[i, 0]]
        try:
            pixels = read_square(shard, int(self.where[i, 1]), self.size)
        except (OSError, ValueError) as error:
            raise DataError(f"{shard}: gone or damaged since the start ({error}); start again, it is remade") from None
        return pixels, (int(self.shapes[i, 0]), int(self.shapes[i, 1]))

    @classmethod
    def open(
        cls, index: Index, frame: pl.DataFrame, size: int, cache: bool = True, progress: Progress | None = None
    ) -> PixelStore:
        """The images of ``frame``; with ``cache`` those that the store lacks are decoded into it first.

        Raises: DataError for an image that cannot be read, or a store that cannot be written.
        """
        names = tuple(frame["path"].to_list())
        if not cache:
            return cls(index.root, names, size)
        folder = store_folder(index, size)
        found = look_up(folder, index.root, names, size)
        if found.missing:
            mend = "free space or permit writing there, or set data.cache=false"
            broken = fill(folder, index.root, found, size, threads(min(4, os.cpu_count() or 1)), mend, progress, True)
            if broken:
                hint = f"`wsrpn-vl prepare {index.path}` lists such files, and they are then left out"
                raise DataError(f"{broken[0][1]}; {hint}")
            found = look_up(folder, index.root, names, size)
        table = found.table
        if table.height != len(names):
            raise DataError(f"{index.root}: images changed while they were read; start again when nothing changes them")
        where, shapes = table.select("shard", "slot").to_numpy(), table.select("width", "height").to_numpy()
        return cls(index.root, names, size, found.shards, where.astype(np.int32), shapes.astype(np.int32))


@dataclass(frozen=True)
class Found:
    """What a store has of some files. table: ``path``, ``shard``, ``slot``, ``width``, ``height`` in the order asked
    for, those it lacks left out; files: (path, bytes, time) as they are now, -1 where there is none; there: whether the
    store has each."""

    shards: tuple[Path, ...]
    table: pl.DataFrame
    files: tuple[tuple[str, int, int], ...]
    there: np.ndarray

    @property
    def missing(self) -> int:
        """How many images are still to be decoded."""
        return int((~self.there).sum())


def store_folder(index: Index, size: int) -> Path:
    """Folder of the store for the images of ``index`` at ``size``."""
    key = hashlib.sha256(f"{index.root.resolve()}\0{size}\0{RENDERING}".encode()).hexdigest()[:16]
    return index.path.parent / FOLDER / f"{size}-{key}"


def look_up(folder: Path, root: Path, names: Sequence[str], size: int) -> Found:
    """Which of the images the store has, of the files as they are now."""
    wanted = pl.DataFrame(
        [list(names), *_states(root, names)], schema={"path": pl.String, "bytes_now": pl.Int64, "mtime_now": pl.Int64}
    ).with_row_index("row")
    shards, table = _catalogue(folder, size)
    same = (pl.col("bytes") == pl.col("bytes_now")) & (pl.col("mtime_ns") == pl.col("mtime_now"))
    usable = wanted.join(table, on="path").filter(same | (pl.col("bytes_now") < 0))
    usable = usable.sort("row", "mtime_ns", "shard", "slot").unique("row", keep="last", maintain_order=True)
    there = np.zeros(len(names), bool)
    there[usable["row"].to_numpy()] = True
    files = tuple(wanted.drop("row").iter_rows())
    return Found(shards, usable.select("path", "shard", "slot", "width", "height"), files, there)


def fill(
    folder: Path,
    root: Path,
    found: Found,
    size: int,
    run: Runner,
    mend: str,
    progress: Progress | None = None,
    strict: bool = False,
) -> list[tuple[str, str]]:
    """Decode what is missing into the store; returns (path, reason) of the images that cannot be read.

    strict: end with the first such image; mend: what to do when the store cannot be written, for the message.
    Raises: DataError when the disk is too small or the store cannot be written.
    """
    jobs, total = _jobs(folder, root, found, size), len(found.files)
    done, broken, busy = total - found.missing, [], []
    if progress:
        progress(done, total)
    try:
        _check_space(folder, bytes_needed(found.missing, size), mend)
        _begin(folder, root, size)
        for wait in (False, True):  # what another process is at comes last
            with closing(run([replace(job, wait=wait) for job in (busy if wait else jobs)])) as results:
                for result in results:
                    if result.busy:
                        busy.append(result.job)
                        continue
                    broken += result.broken
                    if strict and broken:
                        return broken
                    done += len(result.job.files)
                    if progress:
                        progress(done, total)
    except OSError as error:
        raise DataError(f"{folder}: cannot keep decoded images ({error.strerror or error}); {mend}") from None
    return broken


def bytes_needed(images: int, size: int) -> int:
    """Disk space of so many images."""
    return images * (size * size + _RECORD)


def _catalogue(folder: Path, size: int) -> tuple[tuple[Path, ...], pl.DataFrame]:
    """The whole shards of a store, and a row for each of their images."""
    shards, tables = [], [pl.DataFrame(schema=_DTYPES | {"shard": pl.Int32, "slot": pl.UInt32})]
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        record = read_records(path, size)
        if record is not None:
            rows = pl.DataFrame({field: record[field] for field in FIELDS}, schema=_DTYPES)
            slots = pl.int_range(pl.len(), dtype=pl.UInt32)
            tables.append(rows.with_columns(shard=pl.lit(len(shards), pl.Int32), slot=slots))
            shards.append(path)
    return tuple(shards), pl.concat(tables)


def _states(root: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bytes and (n,) time of change in ns of files, -1 where there is none."""
    base = os.path.join(root, "")

    def look(begin: int) -> list[tuple[int, int]]:
        out = []
        for name in names[begin : begin + _CHUNK]:
            try:
                state = os.stat(base + name)
                out.append((state.st_size, state.st_mtime_ns))
            except OSError:
                out.append((-1, -1))
        return out

    with ThreadPoolExecutor(8) as pool:  # network drives answer slowly, but many at a time
        states = [one for chunk in pool.map(look, range(0, len(names), _CHUNK)) for one in chunk]
    both = np.array(states, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _jobs(folder: Path, root: Path, found: Found, size: int) -> list[Job]:
    """Missing images in blocks of the rows asked for. Blocks do not depend on what is there already, so that two
    processes with the same rows have the same blocks and do each only once."""
    n = len(found.files)
    step = max(1, min(_IMAGES, _BYTES // (size * size), -(-n // _SHARE)))
    jobs = []
    for begin in range(0, n, step):
        rows = range(begin, min(begin + step, n))
        files = tuple(found.files[i] for i in rows if not found.there[i])
        if files:
            jobs.append(Job(folder, root, size, files))
    return jobs


def _begin(folder: Path, root: Path, size: int) -> None:
    """Make the folder, say in it what it is, and clear what was killed long ago."""
    about = folder / "store.json"
    if not about.exists():
        facts = {"format": "wsrpn-vl pixel store", "rendering": RENDERING, "root": str(root.resolve()), "size": size}
        write_text(about, json.dumps(facts, indent=1) + "\n")
    for path in (*folder.glob(".*.tmp"), *folder.glob("*.lock")):
        with suppress(OSError):  # another process may clear it too
            if time.time() - path.stat().st_mtime > _LEFT:
                path.unlink()


def _check_space(folder: Path, wanted: int, mend: str) -> None:
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < wanted:
        raise DataError(f"{folder}: decoded images need {size_text(wanted)}, {size_text(free)} are free; {mend}")
