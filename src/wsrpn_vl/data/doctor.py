"""Is the data fit for use, and the machine? Everything that can be known before an hour of training is lost.

The boxes are not opened: only that their file is there is reported.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from wsrpn_vl.data import audit
from wsrpn_vl.data.broken import broken_path, read_broken
from wsrpn_vl.data.index import SPLITS, Index, boxes_path, read_index
from wsrpn_vl.data.pixels import image_size, is_dicom, read_image
from wsrpn_vl.data.sources import missing_path
from wsrpn_vl.errors import DataError
from wsrpn_vl.progress import progress as work

T = TypeVar("T")
_TAIL = 4096  # bytes compared before whole files are
_SPARE = 2**30  # bytes that a run needs beside its image cache
_CACHED = 224 * 224  # bytes of one cached image


@dataclass(frozen=True)
class Check:
    """One finding. detail: what was seen, may have several lines; mend: what to do, empty when ``ok``."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def diagnose(
    index_path: Path | str | None,
    *,
    root: Path | str | None = None,
    sample: int = 200,
    progress: bool = True,
    against: Sequence[Path | str] = (),
) -> list[Check]:
    """All checks of an index and of this machine; without an index those of the machine alone.

    root: folder of the images when it is not the recorded one; sample: how many images are decoded and measured;
    progress: show bars on a terminal; against: indexes, or tables of ids, that this data set may overlap with. Faults
    become checks that are not ok; nothing is raised for them.
    """
    if index_path is None:
        return [_decoders(False), _devices(), _disk(Path.cwd(), 0)]
    try:
        index = read_index(index_path)
    except DataError as error:
        bad = Check("index", False, str(error), "mend the table as said, or make the index again")
        return [bad, _decoders(False), _devices(), _disk(Path(index_path).parent, 0)]
    folder = Path(root) if root else index.root
    there, files = _files(index, folder)
    drawn = sorted(random.Random(0).sample(there, min(sample, len(there))))
    rows = {row["path"]: row for row in index.frame.select("path", "width", "height").iter_rows(named=True)}
    return [
        Check("index", True, _summary(index)),
        files,
        _missing(index),
        *_images(folder, [rows[path] for path in drawn], progress),
        _published(index),
        _views(index),
        _patients(index),
        *(_overlap(index, other) for other in against),
        _duplicates(index, folder, set(there), progress),
        _labels(index),
        _texts(index),
        _boxes(index),
        _decoders(any(_quietly(is_dicom, folder / path) for path in drawn)),
        _devices(),
        _disk(index.path.parent, index.frame.height),
    ]


def _summary(index: Index) -> str:
    counts = index.frame["split"].value_counts().rows()
    parts = [f"{dict(counts)[s]:,} {s or 'in no split'}" for s in SPLITS if s in dict(counts)]
    lines = [f"{index.dataset}: {index.frame.height:,} images ({', '.join(parts)}), {len(index.classes)} classes"]
    return "\n".join([*lines, *index.notes])


def _files(index: Index, folder: Path) -> tuple[list[str], Check]:
    paths = index.frame["path"].to_list()
    there = [path for path in paths if (folder / path).is_file()]
    if len(there) == len(paths):
        return there, Check("files", True, f"all {len(paths):,} files are in {folder}")
    gone = next(path for path in paths if not (folder / path).is_file())
    detail = f"{len(paths) - len(there):,} of {len(paths):,} files are not in {folder}, first {gone}"
    return there, Check("files", False, detail, "set data.root, bring the files back, or make the index again")


def _missing(index: Index) -> Check:
    """Images that the tables name and the folder lacked, and those that `prepare` could not read."""
    listed = missing_path(index.path)
    gone = len(listed.read_text("utf-8").splitlines()) if listed.is_file() else 0
    broken = read_broken(index.path)
    parts = []
    if gone:
        parts.append(f"{gone:,} images of the tables were not there when the index was made ({listed.name})")
    if broken:
        parts.append(f"{len(broken):,} images cannot be read and are left out ({broken_path(index.path).name})")
    return Check("missing", True, "\n".join(parts) or "no image of the tables is missing or known to be broken")


def _images(folder: Path, rows: Sequence[dict], progress: bool) -> list[Check]:
    """Decode and measure the sampled images."""
    broken, sizes = [], []
    for row in _bar(rows, "images", progress):
        path = folder / row["path"]
        try:
            image = read_image(path)
            if image_size(path) != image.shape[::-1]:
                raise DataError(f"{path}: header and pixels differ in size; copy it again")
        except DataError as error:
            broken.append(str(error))
            continue
        if row["width"] is not None and (row["width"], row["height"]) != image.shape[::-1]:
            stored, said = "x".join(map(str, image.shape[::-1])), f"{row['width']}x{row['height']}"
            sizes.append(f"{row['path']} is {stored}, the index says {said}")
    number = f"{len(rows):,} sampled"
    return [
        Check("readable", not broken, f"{len(broken)} of {number} cannot be read: {broken[0]}", "replace these files")
        if broken
        else Check("readable", True, f"{number} images decode"),
        Check("sizes", False, f"{len(sizes)} of {number}: {sizes[0]}", "make the index again, so that boxes are scaled")
        if sizes
        else Check("sizes", True, f"{number} images have the size the index says"),
    ]


def _published(index: Index) -> Check:
    """Counts beside those published. Fewer may be a part of the data set on purpose; more cannot be right."""
    rows = audit.counts(index)
    if not rows:
        return Check("published", True, f"no published counts of {index.dataset!r} are known here")
    listed = [f"{' '.join(filter(None, (r.scope, r.what)))} {r.here:,} of {r.published:,}" for r in rows]
    other = audit.differing(rows)
    if not other:
        return Check("published", True, f"all {len(rows)} counts are the published ones\n{'; '.join(listed)}")
    images = next((r for r in rows if r.what == "images" and not r.scope), rows[0])
    more = [r for r in rows if r.here > r.published and r.what in ("images", "studies", "patients") and not r.scope]
    detail = f"{images.here / images.published:.1%} of the images published\n{'; '.join(listed)}"
    if more:
        return Check("published", False, detail, "more than the data set has; do not mix releases or folders")
    if images.here == images.published:
        names = ", ".join(f"{r.scope} {r.what}".strip() for r in other[:4])
        detail = f"all images are there, but {len(other)} counts differ ({names})\n{'; '.join(listed)}"
    return Check("published", True, detail)


def _views(index: Index) -> Check:
    counts = dict(index.frame["view"].value_counts(sort=True).iter_rows())
    return Check("views", True, ", ".join(f"{view} {n:,} ({n / index.frame.height:.1%})" for view, n in counts.items()))


def _overlap(index: Index, other: Path | str) -> Check:
    try:
        with work("comparing pictures", "images") as report:
            found = audit.overlap_with(index, other, report)
    except DataError as error:
        return Check(f"against {Path(other).name}", False, str(error), "give an index or a table of ids")
    name = f"against {found.other}"
    if not found.images:
        return Check(name, True, f"no patient or image in common ({found.how})")
    detail = f"{found.images:,} images in common ({found.how}), first {', '.join(found.examples)}"
    if not found.leaking:
        return Check(name, True, f"{detail}; none is learnt from on one side and judged on at the other")
    mend = f"make the index again with --exclude {other}, or give both the same splits"
    return Check(name, False, f"{detail}; {found.leaking:,} leak between training and testing", mend)


def _patients(index: Index) -> Check:
    """A patient in two splits is refused on reading; what is left is not to know the patients."""
    used = index.frame.filter(pl.col("split") != "")
    unknown = used["patient_id"].null_count()
    if unknown and used["split"].n_unique() > 1:
        detail = f"{unknown:,} of {used.height:,} images have no patient_id; their leakage cannot be ruled out"
        return Check("patients", False, detail, "add patient ids to the source and make the index again")
    known = used["patient_id"].drop_nulls().n_unique()
    return Check("patients", True, f"{known:,} patients, none in two splits")


def _duplicates(index: Index, folder: Path, there: set[str], progress: bool) -> Check:
    """The same bytes in two splits. Only files of equal length and equal end are read whole."""
    used = index.frame.filter((pl.col("split") != "") & pl.col("path").is_in(sorted(there)))
    split = dict(used.select("path", "split").iter_rows())

    def across(groups: Iterable[list[str]]) -> list[list[str]]:
        return [g for g in groups if len({split[path] for path in g}) > 1]

    groups = across(_grouped(split, lambda path: (folder / path).stat().st_size))
    candidates = [path for group in groups for path in group]
    groups = across(_grouped(_bar(candidates, "file ends", progress), lambda path: _tail(folder / path)))
    candidates = [path for group in groups for path in group]
    groups = across(_grouped(_bar(candidates, "file contents", progress), lambda path: _sha256(folder / path)))
    if groups:
        first = ", ".join(f"{path} ({split[path]})" for path in sorted(groups[0]))
        detail = f"{len(groups):,} images are in more than one split, first {first}"
        return Check("duplicates", False, detail, "keep one copy of each, or put the copies into one split")
    return Check("duplicates", True, f"no file is in two splits ({len(split):,} compared)")


def _grouped(paths: Iterable[str], key: Callable[[str], T]) -> list[list[str]]:
    groups: dict[T, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return list(groups.values())


def _tail(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - _TAIL))
        return length, file.read()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _labels(index: Index) -> Check:
    """Positives, negatives and uncertain per class and split; a class to be learnt needs positives in ``train``."""
    if not index.classes:
        return Check("labels", True, "no labels: this index is for prediction only")
    lines, empty = [], []
    splits, found = audit.label_counts(index)
    for name, parts in found.items():
        cells = []
        for split, counts in zip(splits, parts, strict=True):
            cells.append(f"{split or 'none'} {'/'.join(f'{n:,}' for n in counts)}")
            if split == "train" and not counts[0]:
                empty.append(name)
        lines.append(f"{name}: {', '.join(cells)}")
    detail = "\n".join(["per split: present/absent/uncertain/blank", *lines])
    mend = f"nothing to learn {', '.join(empty)} from; leave them out of data.classes" if empty else ""
    return Check("labels", not empty, detail, mend)


def _texts(index: Index) -> Check:
    texts = index.frame["text"].drop_nulls()
    if index.text_origin == "none":
        return Check("text", True, "no text; captions are made from labels")
    if texts.is_empty():
        return Check(
            "text", False, f"text_origin is {index.text_origin!r}, yet no image has text", "make the index again"
        )
    repeats = texts.value_counts(sort=True)
    share = len(texts) / index.frame.height
    detail = (
        f"{share:.1%} of images have text (origin: {index.text_origin}), {repeats.height:,} distinct; "
        f"the commonest stands at {repeats['count'][0]:,} images"
    )
    return Check("text", True, detail)


def _boxes(index: Index) -> Check:
    path = boxes_path(index.path)
    if path.is_file():
        return Check("boxes", True, f"{path.name} is there, for evaluation only; not opened")
    if index.boxed_classes:
        return Check("boxes", False, f"{path.name} is missing", "bring it back or make the index again")
    return Check("boxes", True, "no boxes: detection cannot be evaluated on this index")


def _decoders(needed: bool) -> Check:
    from wsrpn_vl.dicom.read import decoders

    have = decoders()
    lack = [name for name, available in have.items() if not available]
    if not lack:
        return Check("decoders", True, f"DICOM: {'; '.join(have)}")
    mend = 'pip install "wsrpn-vl[dicom]"' if needed else ""
    return Check("decoders", not needed, f"DICOM without a decoder: {'; '.join(lack)}", mend)


def _devices() -> Check:
    import torch

    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("Apple GPU (mps)")
    cores = f"{os.cpu_count()} CPU cores"
    return Check("devices", True, f"torch {torch.__version__}: {', '.join([*found, cores])}")


def _disk(folder: Path, images: int) -> Check:
    existing = next((p for p in (folder.absolute(), *folder.absolute().parents) if p.exists()), Path("/"))
    free, wanted = shutil.disk_usage(existing).free, _SPARE + images * _CACHED
    detail = f"{free / 2**30:.1f} GB free in {existing}"
    if free >= wanted:
        return Check("disk", True, detail)
    return Check("disk", False, detail, f"free {(wanted - free) / 2**30:.1f} GB, or write runs elsewhere")


def _quietly(test: Callable[[Path], bool], path: Path) -> bool:
    try:
        return test(path)
    except DataError:
        return False


def _bar(items: Sequence[T], what: str, progress: bool) -> Iterable[T]:
    """``items``, with a progress bar when standard error is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, what, console=console, transient=True, disable=not (progress and console.is_terminal))
