"""Write a phantom data set in one of the layouts of :mod:`wsrpn_vl.data.phantom.layouts`.

Beside the layout's own files there is ``folder/.phantom/``: ``phantom.json`` (the parameters) and ``records/`` (what is
known of each block of images, so that an interrupted run goes on where it stopped). The bytes of every file depend on
the parameters alone, not on the number of workers.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from wsrpn_vl.data.phantom.layouts import LAYOUTS
from wsrpn_vl.data.phantom.prior import SITES
from wsrpn_vl.data.phantom.records import HIDDEN, Case, Record, Records, Settings, record_of, record_path, write_rows
from wsrpn_vl.data.phantom.study import check_range, simulate, studies_of
from wsrpn_vl.data.phantom.traps import NO_TRAPS, SPLITS, Traps
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.files import replacing, write_text
from wsrpn_vl.progress import progress as progress_bar

VERSION = 3  # raise whenever the pictures, words or files of a given seed change
_BLOCK = 32  # images per record file and per unit of work


def plan(images: int, seed: int) -> list[tuple[int, int]]:
    """(patient, study) of the first ``images`` images; a longer plan begins with the shorter one."""
    out: list[tuple[int, int]] = []
    patient = 0
    while len(out) < images:
        out += [(patient, study) for study in range(studies_of(seed, patient))]
        patient += 1
    return out[:images]


def split_of(patient: int, splits: Sequence[float]) -> str:
    """Split of a patient: golden-ratio sequence, so that every prefix of patients has about the wanted shares."""
    at = (0.5 + patient * 0.6180339887498949) % 1.0 * sum(splits)
    return SPLITS[0] if at < splits[0] else SPLITS[1] if at < splits[0] + splits[1] else SPLITS[2]


def write_phantom(
    folder: Path | str,
    *,
    images: int,
    size: int = 256,
    seed: int = 0,
    site: str = "A",
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15),
    workers: int = 1,
    progress: bool = True,
    layout: str = "native",
    traps: Traps = NO_TRAPS,
) -> Path:
    """Write ``images`` simulated radiographs of ``size`` x ``size`` pixels.

    splits: shares of train, val, test; a patient is in one only. workers: processes. layout: a key of ``LAYOUTS``;
    every layout holds the same patients. traps: what is wrong on purpose. A folder written before with the same
    parameters is continued: its valid images are kept, more may be asked for, not fewer.
    Returns the path of ``index.parquet``, of the other layouts the folder that a user would have downloaded.
    Raises: DataError if a parameter is out of range, or the folder holds something else: a phantom of other parameters
    or of more images, or files that are no phantom's.
    """
    folder = Path(folder)
    settings = Settings(size, seed, site, (splits[0], splits[1], splits[2]) if len(splits) == 3 else splits, traps)
    _check(images, settings, workers)
    chosen = lookup("phantom layout", layout, LAYOUTS, DataError)
    _claim(folder, {"format": "wsrpn-vl phantom", "version": VERSION, "layout": layout, **asdict(settings)}, images)
    cases = _cases(images, settings)
    blocks = [cases[i : i + _BLOCK] for i in range(0, len(cases), _BLOCK)]
    jobs = [(folder, number, block, layout) for number, block in enumerate(blocks)]
    bar = progress_bar("phantom") if progress else nullcontext(lambda done, total: None)
    finished = 0
    with bar as report:
        report(0, images)  # speed is counted from here
        for done in _run(jobs, workers):
            finished += done
            report(finished, images)
    return chosen.tables(folder, Records(folder, len(blocks), settings), settings)


def _check(images: int, settings: Settings, workers: int) -> None:
    if images < 1:
        raise DataError(f"phantom: images={images}; ask for at least 1")
    check_range(settings.size, seed=settings.seed)
    if workers < 1:
        raise DataError(f"phantom: workers={workers}; use at least 1")
    splits = settings.splits
    if len(splits) != 3 or not min(splits) >= 0 or not abs(sum(splits) - 1) <= 1e-6:  # so that NaN fails
        raise DataError(f"phantom: splits={tuple(splits)}; give three shares (train, val, test) that sum to 1")
    lookup("phantom site", settings.site, SITES, DataError)


def _claim(folder: Path, parameters: dict[str, Any], images: int) -> None:
    """Record the parameters and how many images there are to be, or make sure that the folder's own fit."""
    path = folder / HIDDEN / "phantom.json"
    parameters = json.loads(json.dumps(parameters))  # as they will be read back
    try:
        if path.exists():
            _check_same(folder, path, parameters, images)
        elif folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()):
            raise DataError(f"{folder}: there are files in it that are no phantom's; choose another folder")
        record_path(folder, 0).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot create the folder ({error.strerror})") from None
    write_text(path, json.dumps(parameters | {"images": images}, indent=1))


def _check_same(folder: Path, path: Path, parameters: dict[str, Any], images: int) -> None:
    try:
        known = json.loads(path.read_text("utf-8"))
        there = known.pop("images", 0)
        mine, theirs = _flat(parameters), _flat(known)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path}: broken; delete the folder and write the phantom again") from None
    if names := [name for name in mine if theirs.get(name) != mine[name]]:
        raise DataError(f"{folder} holds a phantom of another {', '.join(names)}; choose another folder or delete it")
    if there > images:
        raise DataError(f"{folder} is for {there} images; ask for at least as many, choose another folder or delete it")


def _flat(parameters: dict[str, Any]) -> dict[str, Any]:
    rest = dict(parameters)
    return rest.pop("traps") | rest


def _cases(images: int, settings: Settings) -> list[Case]:
    """The planned images with their split and the patient's place in it."""
    out: list[Case] = []
    before: Counter[str] = Counter()
    for patient, study in plan(images, settings.seed):
        split = split_of(patient, settings.splits)
        if study == 0:
            before[split] += 1
        out.append(Case(patient, study, split, before[split] - 1, settings))
    return out


def _run(jobs: list[tuple], workers: int) -> Iterator[int]:
    """Number of images of each finished block, in any order."""
    if workers == 1 or len(jobs) == 1:
        yield from map(_write_block, jobs)
        return
    # spawn: a forked child would inherit whatever threads the caller's libraries have started
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        waiting: list[Future[int]] = [pool.submit(_write_block, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                "phantom: a worker process died; guard the script with `if __name__ == '__main__':` or use workers=1"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_block(job: tuple[Path, int, list[Case], str]) -> int:
    """Write one block's images, then its record; a block whose record and files are whole is left alone."""
    folder, number, cases, name = job
    if _is_whole(folder, number, cases):
        return len(cases)
    layout = LAYOUTS[name]
    records: list[Record] = []
    sums: list[dict[str, int]] = []
    for case in cases:
        s = case.settings
        one = simulate(s.seed, case.patient, s.size, s.site, study=case.study, traps=s.traps, split=case.split)
        files = layout.files(one, case)
        for relative, data in files.items():
            _write_bytes(folder / relative, data)
        records.append(record_of(one, case, layout.extra(one, case)))
        sums.append({relative: zlib.crc32(data) for relative, data in files.items()})
    write_text(record_path(folder, number), write_rows(records, sums))
    return len(cases)


def _is_whole(folder: Path, number: int, cases: list[Case]) -> bool:
    try:
        rows = json.loads(record_path(folder, number).read_text("utf-8"))
        if [row["case"] for row in rows] != [[case.patient, case.study, case.split, case.rank] for case in cases]:
            return False
        return all(
            zlib.crc32((folder / name).read_bytes()) == value for row in rows for name, value in row["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_bytes(path: Path, data: bytes) -> None:
    """Only if it differs: whole files keep their time stamp."""
    if path.exists() and path.read_bytes() == data:
        return
    with replacing(path) as temporary:
        temporary.write_bytes(data)
