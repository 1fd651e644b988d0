"""Shards: files of letterboxed images that are written once, whole, and never changed.

``<key>.u8`` holds n images of size x size bytes end to end, then JSON with one list per field of :data:`FIELDS`, then
16 bytes: ``WSPX``, CRC-32 and length of the JSON. Name and content depend on the files alone, so that two processes
that make the same shard make the same file. A shard appears by renaming: one that is there is whole, and whatever is
killed leaves only a temporary name behind.

No torch here: worker processes start quickly and stay small.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from wsrpn_vl.data.pixels import load_square
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import replacing

try:
    import fcntl
except ImportError:  # Windows: two processes may do the same work, with the same result
    fcntl = None

FIELDS = ("path", "bytes", "mtime_ns", "width", "height")
SUFFIX = ".u8"
_END = struct.Struct("<4sIQ")
_MAGIC = b"WSPX"
_PAUSE = 0.1  # seconds between looks at a lock that another process holds


@dataclass(frozen=True)
class Job:
    """Images that go into one shard. files: (path below root, bytes, time of change in ns) as found beforehand."""

    folder: Path
    root: Path
    size: int
    files: tuple[tuple[str, int, int], ...]
    wait: bool = False

    @property
    def target(self) -> Path:
        """The shard's path."""
        text = "\n".join(f"{name}\0{count}\0{time_ns}" for name, count, time_ns in self.files)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}{SUFFIX}"


@dataclass(frozen=True)
class Done:
    """What became of a job. decoded: images read by it; broken: (path, reason) of those that cannot be;
    busy: another process is at it."""

    job: Job
    decoded: int = 0
    broken: tuple[tuple[str, str], ...] = ()
    busy: bool = False


class _NothingToKeep(Exception):
    """No image of the shard could be read."""


def decode(job: Job, stopped: Callable[[], bool] = lambda: False) -> Done:
    """Read the job's images and write its shard, unless another process has done it or is at it.

    With ``job.wait`` the other process is waited for. Once ``stopped()`` says so, the images read so far are kept.
    Raises: OSError when the shard cannot be written.
    """
    with _claimed(job, stopped) as mine:
        if not mine:
            return Done(job, busy=True)
        found = read_records(job.target, job.size)
        if found is None:
            return _write(job, stopped)
        there = set(found["path"])
    rest = tuple(file for file in job.files if file[0] not in there)  # broken, or the other was interrupted
    return decode(replace(job, files=rest), stopped) if rest else Done(job)


def _write(job: Job, stopped: Callable[[], bool]) -> Done:
    rows: list[tuple] = []
    broken: list[tuple[str, str]] = []
    with suppress(_NothingToKeep), replacing(job.target) as temporary, temporary.open("wb") as file:
        for name, count, time_ns in job.files:
            if stopped():
                break
            try:
                square, (width, height) = load_square(job.root / name, job.size)
            except DataError as error:
                broken.append((name, str(error)))
                continue
            file.write(square.tobytes())  # not through a memory map: a full disk is then an error, not a bus error
            rows.append((name, count, time_ns, width, height))
        if not rows:
            raise _NothingToKeep
        _finish(file, rows)
    return Done(job, len(rows), tuple(broken))


def _finish(file: IO[bytes], rows: list[tuple]) -> None:
    columns = zip(*rows, strict=True)
    record = json.dumps({field: list(values) for field, values in zip(FIELDS, columns, strict=True)}).encode()
    file.write(record + _END.pack(_MAGIC, zlib.crc32(record), len(record)))
    file.flush()
    os.fsync(file.fileno())  # before the renaming, or a power cut could leave a whole name without content


def read_records(path: Path, size: int) -> dict[str, list] | None:
    """The record of a shard, one list per field; None when it is absent or damaged."""
    try:
        with path.open("rb") as file:
            end = file.seek(-_END.size, os.SEEK_END)
            magic, crc, length = _END.unpack(file.read())
            file.seek(end - length)
            record = file.read(length)
        if magic != _MAGIC or zlib.crc32(record) != crc:
            return None
        found = json.loads(record)
        return found if len(found["path"]) * size * size + length == end else None
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def read_square(path: Path, slot: int, size: int) -> np.ndarray:
    """(size, size) uint8, the image at ``slot`` of a shard. Raises: OSError; ValueError when the shard is too short.

    The file is opened for each image, which costs microseconds beside the reading and keeps no file open: a large set
    has more shards than a process may have open files or maps, and loader processes have nothing to share.
    """
    return np.fromfile(path, np.uint8, size * size, offset=slot * size * size).reshape(size, size)


@contextmanager
def _claimed(job: Job, stopped: Callable[[], bool]) -> Iterator[bool]:
    """Whether the shard is this process's to make. Locks go with the process that holds them, however that ends.

    Where there are no locks everything is: then two processes may do the same work, with the same result.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield True
        return
    path = job.target.with_suffix(".lock")
    with path.open("w") as file:
        mine = _lock(file, job.wait, stopped)
        try:
            yield mine
        finally:
            if mine:
                path.unlink(missing_ok=True)


def _lock(file: IO[str], wait: bool, stopped: Callable[[], bool]) -> bool:
    assert fcntl is not None
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not wait or stopped():
                return False
            time.sleep(_PAUSE)
        except OSError:  # a file system without locks
            return True
