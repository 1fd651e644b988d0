"""The folder tree that MIMIC-CXR and MIMIC-CXR-JPG share: ``files/p10/p10000001/s50000001/<dicom id>.jpg`` or ``.dcm``.

Reports unpacked from their archive lie in the same tree, ``files/p10/p10000001/s50000001.txt``. Source: data format
reference §1.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data.sources.tables import folders_below
from wsrpn_vl.errors import DataError, lookup

SUFFIXES = {"jpg": ".jpg", "dicom": ".dcm", "text": ".txt"}
_GROUP = re.compile(r"p\d\d")
_PROBED = 20  # subjects with folders of studies looked into, per group, to learn what a tree holds


@dataclass(frozen=True)
class Tree:
    """A folder that holds ``files/p10`` and so on; kinds: which of :data:`SUFFIXES` it holds."""

    folder: Path
    kinds: frozenset[str]


def trees(root: Path) -> list[Tree]:
    """Trees in ``root`` and at most 4 folders below it, nearest first. Raises: DataError if ``root`` is no folder."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the data set")
    return [Tree(folder, _kinds(groups)) for folder in folders_below(root) if (groups := _groups(folder))]


def image_tree(root: Path, kind: str, beside: Path | None) -> Tree | None:
    """The tree with images of ``kind`` (``jpg``, ``dicom``, or ``auto``: JPEG before DICOM); None if there is none.

    beside: folder that wins where several hold such images. Raises: DataError for an unknown kind.
    """
    kinds = lookup("images", kind, {"auto": ("jpg", "dicom"), "jpg": ("jpg",), "dicom": ("dicom",)}, DataError)
    found = sorted(trees(root), key=lambda tree: tree.folder != beside)
    for wanted in kinds:
        for tree in found:
            if wanted in tree.kinds:
                return Tree(tree.folder, frozenset({wanted}))
    return None


def listing(folder: Path, kind: str) -> pl.Series:
    """Paths below ``folder`` (``files/p10/…``) of the files of a kind: every folder of the tree is listed once."""
    suffix = SUFFIXES[kind]
    walk = _reports(folder) if kind == "text" else _images(folder)
    return pl.Series("path", (path for path in walk if path.lower().endswith(suffix)), dtype=pl.String)


def image_path(kind: str) -> pl.Expr:
    """``files/p10/p10000001/s50000001/<dicom id>.jpg`` of patient_id, study_id, image_id."""
    patient = pl.col("patient_id")
    return pl.format(
        f"files/p{{}}/p{{}}/s{{}}/{{}}{SUFFIXES[kind]}",
        patient.str.slice(0, 2),
        patient,
        pl.col("study_id"),
        pl.col("image_id"),
    ).alias("path")


def _images(folder: Path) -> Iterator[str]:
    for subject, at in _subjects(folder):
        for study in _entries(subject):
            if study.name.startswith("s") and study.is_dir():
                yield from (f"{at}/{study.name}/{entry.name}" for entry in _entries(study.path))


def _reports(folder: Path) -> Iterator[str]:
    for subject, at in _subjects(folder):
        yield from (f"{at}/{entry.name}" for entry in _entries(subject))


def _subjects(folder: Path) -> Iterator[tuple[str, str]]:
    """(path, path below ``folder``) of the subjects' folders."""
    for group in _groups(folder):
        for entry in _entries(group):
            if entry.name.startswith("p") and entry.is_dir():
                yield entry.path, f"files/{group.name}/{entry.name}"


def _groups(folder: Path) -> list[Path]:
    found = (e for e in _entries(folder / "files") if _GROUP.fullmatch(e.name) and e.is_dir())
    return sorted(Path(entry.path) for entry in found)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What a folder holds, without hidden files (``._*`` of macOS); nothing if it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
    return []


def _kinds(groups: list[Path]) -> frozenset[str]:
    held: set[str] = set()
    for group in groups:
        probed = 0
        for subject in _entries(group):
            inside = _entries(subject.path)
            studies = [entry for entry in inside if entry.is_dir()]
            held.update(Path(entry.name).suffix.lower() for entry in inside)
            held.update(Path(file.name).suffix.lower() for study in studies for file in _entries(study.path))
            probed += bool(studies)  # reports may lie in a tree of which only a few subjects have images
            if probed == _PROBED:
                break
    return frozenset(kind for kind, suffix in SUFFIXES.items() if suffix in held)
