"""Write a phantom data set: PNG images, the index and its boxes.

``folder/images/<image_id>.png``, ``folder/index.parquet``, ``folder/index.boxes.parquet``, ``folder/phantom.json`` (the
parameters) and ``folder/records/`` (what is known of each block of images, so that an interrupted run goes on where it
stopped). The bytes of every file depend on the parameters alone, not on the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from wsrpn_vl.data.phantom.prior import SITES
from wsrpn_vl.data.phantom.study import MIN_SIZE, PhantomStudy, simulate, studies_of
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.files import replacing, write_text
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.progress import progress as progress_bar

VERSION = 1  # raise whenever the pictures or words of a given seed change
SPLITS = ("train", "val", "test")
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
) -> Path:
    """Write ``images`` simulated radiographs of ``size`` x ``size`` pixels and return the path of ``index.parquet``.

    splits: shares of train, val, test; a patient is in one only. workers: processes. A folder written before with the
    same size, seed and site is continued: its valid images are kept.
    Raises: DataError if a parameter is out of range, or the folder holds a phantom of other parameters.
    """
    folder = Path(folder)
    _check(images, size, seed, site, splits, workers)
    _claim(folder, {"format": "wsrpn-vl phantom", "version": VERSION, "size": size, "seed": seed, "site": site})
    studies = plan(images, seed)
    blocks = [studies[i : i + _BLOCK] for i in range(0, len(studies), _BLOCK)]
    jobs = [(folder, number, block, size, seed, site) for number, block in enumerate(blocks)]
    bar = progress_bar("phantom") if progress else nullcontext(lambda done, total: None)
    finished = 0
    with bar as report:
        for done in _run(jobs, workers):
            finished += done
            report(finished, images)
    records = [
        row for number in range(len(blocks)) for row in json.loads(_record_path(folder, number).read_text("utf-8"))
    ]
    return _write_tables(folder, records[:images], splits)


def _check(images: int, size: int, seed: int, site: str, splits: Sequence[float], workers: int) -> None:
    if images < 1:
        raise DataError(f"phantom: images={images}; ask for at least 1")
    if size < MIN_SIZE:
        raise DataError(f"phantom: size={size}; the smallest size is {MIN_SIZE} pixels")
    if seed < 0:
        raise DataError(f"phantom: seed={seed}; use 0 or a positive number")
    if workers < 1:
        raise DataError(f"phantom: workers={workers}; use at least 1")
    if len(splits) != 3 or min(splits) < 0 or abs(sum(splits) - 1) > 1e-6:
        raise DataError(f"phantom: splits={tuple(splits)}; give three shares (train, val, test) that sum to 1")
    lookup("phantom site", site, SITES, DataError)


def _claim(folder: Path, parameters: dict[str, Any]) -> None:
    """Record the parameters, or make sure that the folder's own are the same."""
    path = folder / "phantom.json"
    if path.exists():
        try:
            known = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise DataError(f"{path}: not valid JSON; delete the folder and write the phantom again") from None
        if known != parameters:
            keys = [k for k in parameters if not isinstance(known, dict) or known.get(k) != parameters[k]]
            raise DataError(
                f"{folder} holds a phantom of another {', '.join(keys) or 'kind'}; choose another folder or delete it"
            )
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "records").mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot create the folder ({error.strerror})") from None
    write_text(path, json.dumps(parameters, indent=1))


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


def _write_block(job: tuple[Path, int, list[tuple[int, int]], int, int, str]) -> int:
    """Write one block's images, then its record; a block whose record and images are whole is left alone."""
    folder, number, block, size, seed, site = job
    if _is_whole(folder, number, block, size):
        return len(block)
    rows = []
    for patient, study in block:
        one = simulate(seed, patient, size, site, study=study)
        _write_png(folder / "images" / f"{one.image_id}.png", one)
        rows.append(_row(one))
    write_text(_record_path(folder, number), json.dumps(rows))
    return len(block)


def _is_whole(folder: Path, number: int, block: list[tuple[int, int]], size: int) -> bool:
    try:
        rows = json.loads(_record_path(folder, number).read_text("utf-8"))
        wanted = [f"p{patient:06d}_s{study}" for patient, study in block]
        if [row["image_id"] for row in rows[: len(block)]] != wanted:
            return False
        for image_id in wanted:
            with Image.open(folder / "images" / f"{image_id}.png") as image:
                if image.size != (size, size) or image.mode != "L":
                    return False
                image.load()
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return False
    return True


def _row(one: PhantomStudy) -> dict[str, Any]:
    return {
        "image_id": one.image_id,
        "patient": int(one.patient_id[1:]),
        "patient_id": one.patient_id,
        "study_id": one.study_id,
        "view": one.view,
        "size": one.image.shape[0],
        "labels": [one.labels[name] for name in OBSERVATIONS],
        "boxes": [[name, *box] for name, box in one.boxes],
        "text": one.report,
        "triples": one.triples,
        "attributes": one.attributes,
    }


def _write_tables(folder: Path, records: Iterable[dict[str, Any]], splits: Sequence[float]) -> Path:
    from wsrpn_vl.data.index import BOX_COLUMNS, write_index  # here, because drawing workers never need the tables

    records = list(records)
    frame = pl.DataFrame(
        {
            "dataset": ["phantom"] * len(records),
            "split": [split_of(r["patient"], splits) for r in records],
            "image_id": [r["image_id"] for r in records],
            "patient_id": [r["patient_id"] for r in records],
            "study_id": [r["study_id"] for r in records],
            "view": [r["view"] for r in records],
            "path": [f"images/{r['image_id']}.png" for r in records],
            "width": pl.Series([r["size"] for r in records], dtype=pl.Int32),
            "height": pl.Series([r["size"] for r in records], dtype=pl.Int32),
            **{
                label_column(name): pl.Series([r["labels"][i] for r in records], dtype=pl.Int8)
                for i, name in enumerate(OBSERVATIONS)
            },
            "text": [r["text"] for r in records],
            "triples": [json.dumps(r["triples"]) for r in records],
        }
    )
    boxes = pl.DataFrame(
        [(r["image_id"], *box, "simulated") for r in records for box in r["boxes"]],
        schema=BOX_COLUMNS,
        orient="row",
    )
    return write_index(
        frame,
        boxes,
        folder / "index.parquet",
        dataset="phantom",
        root=folder,
        classes=OBSERVATIONS,
        box_complete=dict.fromkeys(OBSERVATIONS, True),
        boxed_classes=OBSERVATIONS,
        text_origin="report",
        notes=("simulated chest radiographs; every finding is boxed",),
    )


def _record_path(folder: Path, number: int) -> Path:
    return folder / "records" / f"{number:06d}.json"


def _write_png(path: Path, one: PhantomStudy) -> None:
    with replacing(path) as temporary:
        Image.fromarray(one.image).save(temporary, format="PNG", compress_level=3)
