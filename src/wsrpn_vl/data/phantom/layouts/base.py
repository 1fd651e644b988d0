"""What a layout is, and what several layouts share: pixels as bytes, ids, labels read from words, tidy files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsrpn_vl.data.phantom.records import Case, Record, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.files import replacing
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.text.labeler import label_of, no_finding

ALPHABETICAL = tuple(sorted((*OBSERVATIONS, NO_FINDING)))  # column order of MIMIC's label tables
README = "Simulated chest radiographs in the layout of {}. No patient is shown, and no original file is included."


def _no_extra(study: PhantomStudy, case: Case) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk.

    files: a study's own files, relative path (forward slashes) -> bytes; a pure function, called in the workers;
    tables: writes whatever describes the whole set into the folder and returns the path to tell the user;
    extra: what ``tables`` will need of a study besides its record, as plain JSON values.
    """

    files: Callable[[PhantomStudy, Case], dict[str, bytes]]
    tables: Callable[[Path, Records, Settings], Path]
    extra: Callable[[PhantomStudy, Case], dict[str, Any]] = _no_extra


def png(image: np.ndarray) -> bytes:
    """(h, w) uint8 as a grey PNG file; lightly compressed, because the noise hardly compresses."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def jpeg(image: np.ndarray) -> bytes:
    """(h, w) uint8 as a grey JPEG file of quality 95."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="JPEG", quality=95)
    return out.getvalue()


def equalised(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation of a (h, w) uint8 image, as MIMIC-CXR-JPG and CheXpert were made (OpenCV's rule)."""
    counts = np.bincount(image.ravel(), minlength=256)
    below = counts.cumsum()
    first = below[np.flatnonzero(counts)[0]]
    if first == image.size:
        return image
    table = np.rint((below - first) * (255.0 / (image.size - first)))
    return np.clip(table, 0, 255).astype(np.uint8)[image]


def number_id(number: int, case: Case, purpose: str, digits: int = 7) -> int:
    """An id below 10**digits that differs for every number of one data set, and looks drawn at random."""
    key = f"{case.settings.seed}/{case.settings.site}/{purpose}"
    offset = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return (number * 6_180_339 + offset) % 10**digits  # 6180339 shares no factor with a power of ten


def labels_of_words(record: Record) -> dict[str, int | None]:
    """What a report labeller gives: 1, 0, -1 (uncertain), None (not mentioned), ``No Finding`` 1 or None.

    One label per observation out of several statements, and ``No Finding`` blocked by anything but a device, as the
    CheXpert labeller does (Irvin et al., AAAI 2019). Nothing is inferred for a parent. Words that state nothing leave
    all blank. Labels flipped by ``label_noise`` are flipped here too.
    """
    stated: dict[str, set[str]] = {}
    for triple in record.triples:
        stated.setdefault(triple["finding"], set()).add(triple["polarity"])
    out: dict[str, int | None] = {name: label_of(stated.get(name, ())) for name in OBSERVATIONS}
    for name in filter(None, str(record.attributes.get("flipped", "")).split(";")):
        out[name] = record.given[name]
    out[NO_FINDING] = no_finding(out)
    return out


def label_text(value: int | None) -> str:
    """``1.0``, ``0.0``, ``-1.0`` or blank."""
    return "" if value is None else f"{float(value)}"


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], *, delimiter: str = ",") -> Path:
    """A table with LF line ends; a name ending in ``.gz`` is compressed, without a time stamp."""
    with replacing(path) as temporary, _opened(temporary, path.suffix == ".gz") as file:
        table = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    return path


@contextmanager
def _opened(path: Path, compressed: bool) -> Iterator[io.TextIOBase]:
    with path.open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text
            return
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
        with packed, io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
            yield text


def write_zip(path: Path, members: Iterable[tuple[str, str]]) -> Path:
    """A zip archive of texts; the same members give the same bytes."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, text)
    return path


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """One LF-ended line each."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def write_sums(root: Path) -> None:
    """``SHA256SUMS.txt`` of everything below ``root``, as PhysioNet has it."""
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and not _own(p))
    write_lines(root / "SHA256SUMS.txt", (f"{_sha256(root / name)} {name}" for name in names))


def _own(path: Path) -> bool:
    return path.name == "SHA256SUMS.txt" or path.name.startswith(".")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
