"""Reports of MIMIC-CXR by study, from whichever form of them is there.

In the order they are looked for: ``mimic-cxr-reports.zip``; the same unpacked (``files/p10/p10000001/s50000001.txt``);
``mimic_cxr_sectioned.csv`` (``study,impression,findings,last_paragraph,comparison``; put together again with the
headers of those sections, so that it is read like a report); ``mimic_cxr_000.csv`` and so on, of two columns without a
header, whose text is the one section that labels come from. Source: data format reference §1.9.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from wsrpn_vl.data.sources import mimic_files
from wsrpn_vl.data.sources.tables import count_notes, csv_frame, locate
from wsrpn_vl.errors import DataError, first_line, wordless
from wsrpn_vl.files import BROKEN_ZIP

ARCHIVE, SECTIONED = "mimic-cxr-reports.zip", "mimic_cxr_sectioned.csv"
PARTS = ("mimic_cxr_000.csv", "mimic_cxr_00.csv", "mimic_cxr_0.csv")
_MEMBER = re.compile(r"(?:^|/)s(\d+)\.txt$")
_BATCH = 20_000  # reports; more would hold every text twice, as Python's and as the table's


@dataclass(frozen=True)
class Reports:
    """frame: study_id, text (null: the report is empty), one row per study found; notes about what was found."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()


def read_reports(root: Path, where: str, studies: pl.Series) -> Reports:
    """Reports of ``studies``, as they are written, with line ends ``\\n``.

    where: file or folder (also relative to ``root``); empty: look for them in ``root`` and below; ``none``: no reports.
    Raises: DataError if what was given is not there, or what is there cannot be read.
    """
    if where == "none":
        return Reports(_frame(()), ("reports=none: no image has words",))
    place = root
    if where:
        place = next((p for p in (root / where, Path(where)) if p.exists()), None)
        if place is None:
            raise DataError(f"reports={where!r}: no such file or folder; give {ARCHIVE} or where it was unpacked")
    wanted = frozenset(studies)
    rows = _from_file(place, wanted) if place.is_file() else _from_folder(place, wanted)
    if rows is None:
        if where:
            raise DataError(f"{place}: no reports there; give {ARCHIVE}, the folder above files/p10, or {SECTIONED}")
        return Reports(_frame(()), (f"no reports found (put {ARCHIVE} below the root, or give reports=FILE)",))
    found = pl.concat([_frame(()), *_batches(rows)])
    frame = found.unique("study_id", keep="first", maintain_order=True)
    bare = pl.col("text").str.contains(r"\S")
    frame = frame.with_columns(pl.when(bare).then("text"))
    notes = count_notes(
        (len(wanted) - frame.height, "study without a report"),
        (frame["text"].null_count(), "report that is empty"),
        (found.height - frame.height, "report stored twice, the first is used"),
    )
    return Reports(frame, notes)


def _batches(rows: Iterator[tuple[str, str]]) -> Iterator[pl.DataFrame]:
    while batch := list(islice(rows, _BATCH)):
        yield _frame(batch)


def _frame(rows: Sequence[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"study_id": pl.String, "text": pl.String}, orient="row")


def _from_folder(folder: Path, wanted: frozenset[str]) -> Iterator[tuple[str, str]] | None:
    if archive := locate(folder, ARCHIVE):
        return _from_file(archive, wanted)
    tree = next((t for t in mimic_files.trees(folder) if "text" in t.kinds), None)
    if tree is not None:
        return _from_tree(tree.folder, wanted)
    if table := locate(folder, SECTIONED, *PARTS):
        return _from_file(table, wanted)
    return None


def _from_file(path: Path, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    if path.suffix == ".zip":
        return _from_archive(path, wanted)
    if ".csv" not in path.suffixes:
        raise DataError(f"{path}: not a form of reports that is known; give {ARCHIVE}, its folder, or {SECTIONED}")
    return _from_parts(path, wanted) if _number(path) is not None else _from_sections(path, wanted)


def _from_archive(path: Path, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Members in the order in which they lie in the file, which is read from front to back."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(info, study) for info in archive.infolist() if (study := _study(info.filename)) in wanted]
            for info, study in sorted(members, key=lambda member: member[0].header_offset):
                yield study, _decoded(archive.read(info))
    except BROKEN_ZIP as error:
        raise DataError(f"{path}: not a readable archive ({first_line(error)}); download it again") from None


def _study(name: str) -> str:
    """Study of a file ``…/s50000001.txt``; empty for any other, such as ``__MACOSX/…/._s50000001.txt``."""
    found = _MEMBER.search(name)
    return found[1] if found and not name.startswith("__MACOSX/") else ""


def _from_tree(folder: Path, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    for name in mimic_files.listing(folder, "text"):
        if (study := _study(name)) in wanted:
            try:
                yield study, _decoded((folder / name).read_bytes())
            except OSError as error:
                raise DataError(f"{folder / name}: cannot be read ({error.strerror}); unpack it again") from None


def _decoded(data: bytes) -> str:
    """UTF-8, of which the corpus's ASCII is a part; else Latin-1, which reads any bytes."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n") if "\r" in text else text


def _from_sections(path: Path, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    names = ("findings", "impression", "last_paragraph", "comparison")
    frame = csv_frame(path, ("study", *names))
    for study, *sections in frame.iter_rows():
        if (study := (study or "").removeprefix("s")) in wanted:
            yield study, _report(dict(zip(names, sections, strict=True)))


def _report(sections: dict[str, str | None]) -> str:
    lines = {name: re.sub(r"\s*\n\s*", "\n ", text) for name, text in sections.items() if text}
    if not lines.keys() & {"findings", "impression"} and "last_paragraph" in lines:
        return f" {lines['last_paragraph']}\n"
    kept = [(name, lines[name]) for name in ("comparison", "findings", "impression") if name in lines]
    return "".join(f"\n {name.upper()}:  {text}\n " for name, text in kept)


def _from_parts(path: Path, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    """All parts beside ``path``."""
    numbered = {number: p for p in path.parent.iterdir() if (number := _number(p)) is not None}
    for _, part in sorted(numbered.items()):
        try:
            frame = pl.read_csv(part, has_header=False, infer_schema=False, glob=False)
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{part}: not a readable CSV file ({wordless(error)}); make it again") from None
        if frame.width != 2:
            raise DataError(f"{part}: {frame.width} columns, expected study and text without a header; make it again")
        for study, text in frame.iter_rows():
            if (study := (study or "").strip("\ufeff ").removeprefix("s")) in wanted:
                yield study, text or ""


def _number(path: Path) -> int | None:
    found = re.fullmatch(r"mimic_cxr_(\d+)\.csv(\.gz)?", path.name)
    return int(found[1]) if found else None
