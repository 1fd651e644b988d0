"""Scene graphs of Chest ImaGenome, read out of ``scene_graph.zip`` without unpacking it, by several processes.

The archive's list of 243,310 members is read once; each process then reads its members by their place in the file.
Unpacked folders (``scene_graph/``, also nested twice) are read as well. Members that are no scene graph (folders,
``__MACOSX/._*``) are left out.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from wsrpn_vl.data.scene_graphs import Member, Tally, Wish, read_chunk
from wsrpn_vl.data.sources.tables import folders_below, locate
from wsrpn_vl.errors import DataError, first_line
from wsrpn_vl.files import BROKEN_ZIP
from wsrpn_vl.progress import progress

ZIP, FOLDER, SUFFIX = "scene_graph.zip", "scene_graph", "_SceneGraph.json"
_CHUNK = 512  # graphs per unit of work: 20 MB of JSON
_ALONE = 4_096  # fewer graphs than this are not worth starting processes
_BROKEN = 20, 0.01  # more broken graphs than both mean a broken download


@dataclass(frozen=True)
class Archive:
    """Scene graphs in a zip file or a folder, by image id."""

    path: Path
    members: dict[str, Member]


def find_graphs(root: Path) -> Archive | None:
    """The scene graphs in ``root`` or below: the zip file, else an unpacked folder; None if there are none.

    Raises: DataError for a zip file that cannot be read.
    """
    if path := locate(root, ZIP):
        return Archive(path, _members(path))
    for folder in folders_below(root):
        for place in (folder, folder / FOLDER, folder / FOLDER / FOLDER):
            if next(place.glob(f"[!.]*{SUFFIX}"), None):
                names = sorted(p.name for p in place.glob(f"[!.]*{SUFFIX}"))
                return Archive(place, {n.removesuffix(SUFFIX): Member(n.removesuffix(SUFFIX), n) for n in names})
    return None


def _members(path: Path) -> dict[str, Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except BROKEN_ZIP as error:
        raise DataError(f"{path}: not a whole zip file ({first_line(error)}); download it again") from None
    out: dict[str, Member] = {}
    for info in infos:
        name = info.filename.rpartition("/")[2]
        if name.endswith(SUFFIX) and not name.startswith(".") and not info.flag_bits & 1:
            image_id = name.removesuffix(SUFFIX)
            place = info.header_offset, info.compress_size, info.compress_type, info.CRC
            out[image_id] = Member(image_id, info.filename, *place)
    if not out:
        raise DataError(f"{path}: no member is a scene graph (*{SUFFIX}); download it again")
    return out


def read_graphs(archive: Archive, images: Sequence[str], wish: Wish, workers: int) -> Tally:
    """Words (and region boxes) of the graphs of ``images``, in their order; shows progress.

    workers: processes; 0: one per core, and none for few graphs. A graph that cannot be read is listed as broken.
    Raises: DataError if many are, or for an attribute that the mapping does not know.
    """
    parts_of = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    chunks = [tuple(archive.members[i] for i in part) for part in parts_of]
    wishes = [replace(wish, boxed=wish.boxed.intersection(part)) for part in parts_of]
    jobs = [(archive.path, chunk, own) for chunk, own in zip(chunks, wishes, strict=True)]
    parts: dict[int, Tally] = {}
    with progress("scene graphs", "graphs") as report:
        for number, part in _run(jobs, workers if workers or len(images) > _ALONE else 1):
            parts[number] = part
            report(sum(len(chunks[n]) for n in parts), len(images))
    whole = Tally()
    for number in range(len(jobs)):
        whole.add(parts.pop(number))
    few, share = _BROKEN
    if whole.broken and (not whole.reads or len(whole.broken) > max(few, share * len(images))):
        more = f"{len(whole.broken):,} of {len(images):,} scene graphs cannot be read, the first is {whole.broken[0]}"
        raise DataError(f"{archive.path}: {more}; download the archive again")
    return whole


def _run(jobs: list[tuple[Path, tuple[Member, ...], Wish]], workers: int) -> Iterator[tuple[int, Tally]]:
    if workers == 1 or len(jobs) == 1:
        yield from ((number, read_chunk(job)) for number, job in enumerate(jobs))
        return
    # spawn: a forked child would inherit whatever threads the caller's libraries have started
    with ProcessPoolExecutor(workers or None, mp_context=get_context("spawn")) as pool:
        waiting: dict[Future[Tally], int] = {pool.submit(read_chunk, job): n for n, job in enumerate(jobs)}
        try:
            for future in as_completed(waiting):
                yield waiting.pop(future), future.result()
        except BrokenProcessPool:
            raise DataError(f"{jobs[0][0]}: a process that read it died; use workers=1") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
