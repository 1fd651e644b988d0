"""Decode a whole data set once, in parallel, before anything is trained: ``wsrpn-vl prepare``.

The images go into the pixel store (:mod:`wsrpn_vl.data.store`) that training and prediction read. What is there is
kept: an interrupted run goes on where it stopped, several may work at once, and a second run over the same files only
looks. Decoding is the bound, so processes share nothing but the work.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from wsrpn_vl.data.broken import read_broken, write_broken
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.runners import processes
from wsrpn_vl.data.store import Found, bytes_needed, fill, look_up, store_folder
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import size_text
from wsrpn_vl.progress import progress as progress_bar

_MEND = "free space, or make pixel_cache a link to a larger disk"


@dataclass(frozen=True)
class Prepared:
    """What a run of :func:`prepare` left behind.

    folder: the store; images: of the index that were asked for; decoded: how many of these came into the store;
    seconds: it took for them; bytes: size of all; broken: path -> reason of those that cannot be read; listed: the file
    that names them; notes: what else is worth knowing.
    """

    folder: Path
    images: int
    decoded: int
    seconds: float
    bytes: int
    broken: dict[str, str]
    listed: Path | None
    notes: tuple[str, ...]


def prepare(
    index_path: Path | str,
    *,
    size: int = 224,
    workers: int = 2,
    root: Path | str = "",
    frontal_only: bool = False,
    progress: bool = True,
) -> Prepared:
    """Letterbox the images of an index to ``size`` x ``size`` uint8 and keep them beside it.

    workers: processes; root: folder of the images when it is not the recorded one (``data.root``); frontal_only: leave
    lateral views out, as training does by default. The space needed is told beforehand. Images that cannot be read are
    listed in ``<index>.broken.txt`` and left out from then on (:mod:`wsrpn_vl.data.broken`).
    Raises: DataError when no image is there or none can be read, or the disk is too small or cannot be written;
    KeyboardInterrupt that says how to go on.
    """
    if not 32 <= size <= 4096 or workers < 1:
        raise DataError(f"prepare: size={size}, workers={workers}; use a size of 32 to 4096 and at least 1 worker")
    index = read_index(index_path)
    index = replace(index, root=Path(root)) if root else index
    frame = index.frame.filter(pl.col("view") != "LAT") if frontal_only else index.frame
    names, folder = frame["path"].to_list(), store_folder(index, size)
    found = look_up(folder, index.root, names, size)
    if not names or (found.missing and all(count < 0 for _, count, _ in found.files)):
        raise DataError(f"{index.root}: none of the {len(names)} images of {index.path} is there; give --root")
    began = time.monotonic()
    broken = _decode(folder, index, found, size, workers, progress) if found.missing else {}
    if len(broken) == len(names):
        raise DataError(f"{index.path}: no image can be read; the first: {next(iter(broken.values()))}")
    after = look_up(folder, index.root, names, size)
    others = set(index.frame["path"]) - set(names)
    known = {name: reason for name, reason in read_broken(index.path).items() if name in others}
    return Prepared(
        folder,
        len(names),
        found.missing - after.missing,
        time.monotonic() - began,
        bytes_needed(len(names) - after.missing, size),
        broken,
        write_broken(index.path, known | broken),
        _notes(frame, after, broken),
    )


def _decode(folder: Path, index: Index, found: Found, size: int, workers: int, progress: bool) -> dict[str, str]:
    """Path -> reason of the images that cannot be read."""
    kept, need = len(found.files) - found.missing, size_text(bytes_needed(found.missing, size))
    if progress:
        print(
            f"prepare: {found.missing} images to decode to {size}x{size} ({kept} are there); needs {need} in {folder}",
            file=sys.stderr,
        )
    bar = progress_bar("prepare") if progress else nullcontext(None)
    try:
        with bar as report:
            broken = fill(folder, index.root, found, size, processes(workers), _MEND, report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; what is decoded is kept, and the same command goes on") from None
    return {name: reason.removeprefix(f"{index.root / name}: ") for name, reason in broken}


def _notes(frame: pl.DataFrame, after: Found, broken: dict[str, str]) -> tuple[str, ...]:
    notes = []
    if changed := after.missing - len(broken):
        notes.append(f"{changed} files changed meanwhile; run prepare again")
    both = frame.select("path", "width", "height").join(after.table, on="path", suffix="_file")
    other = both.filter((pl.col("width") != pl.col("width_file")) | (pl.col("height") != pl.col("height_file")))
    if other.height:
        name, width, height, *_, w, h = other.row(0)
        notes.append(
            f"{other.height} images have another size than the index says, first {name} ({w}x{h}, not {width}x{height})"
            "; make the index again, so that boxes are scaled"
        )
    return tuple(notes)
