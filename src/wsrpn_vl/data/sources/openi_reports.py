"""Open-I's report files: XML in a folder or in the archive that they are downloaded in, read one at a time.

The parser is expat without external entities, and a document type declaration is refused before any entity of it could
be expanded: the real files have none.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from wsrpn_vl.data.sources.tables import folders_below, locate
from wsrpn_vl.errors import DataError, first_line

ARCHIVE, FOLDER = "NLMCXR_reports.tgz", "ecgen-radiology"
LARGEST = 2**20  # bytes of one report; the real ones have fewer than 20,000
SECTIONS = ("INDICATION", "COMPARISON", "FINDINGS", "IMPRESSION")


@dataclass(frozen=True)
class Report:
    """One report. study_id: ``CXR1``; sections: label -> text, in :data:`SECTIONS`' order; terms: MeSH major codes;
    images: (id, caption) of its images."""

    study_id: str
    sections: dict[str, str]
    terms: tuple[str, ...]
    images: tuple[tuple[str, str], ...]


def read_reports(root: Path) -> tuple[Path, list[Report]]:
    """Where the reports are, and all of them by number.

    Raises: DataError if there are none, one is broken, or two have one id.
    """
    folder = next((f for f in folders_below(root) if any(f.glob("[!.]*.xml"))), None) if root.is_dir() else None
    path = folder or locate(root, ARCHIVE, required=f"the reports (or the folder {FOLDER} unpacked from it)")
    assert path is not None
    reports: dict[str, Report] = {}
    for name, content in _from_folder(path) if folder else _from_archive(path):
        report = parse(content, f"{path}: {name}")
        if report.study_id in reports:
            raise DataError(f"{path}: {name}: a second report {report.study_id!r}; keep one")
        reports[report.study_id] = report
    if not reports:
        raise DataError(f"{path}: no .xml file inside; download it again")
    return path, sorted(reports.values(), key=lambda r: (int("0" + re.sub(r"\D", "", r.study_id)[:18]), r.study_id))


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("[!.]*.xml")):
        try:
            with path.open("rb") as file:
                yield path.name, file.read(LARGEST + 1)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isfile() and name.lower().endswith(".xml") and not name.startswith("."):
                    file = archive.extractfile(member)
                    yield name, file.read(LARGEST + 1) if file else b""
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path}: not a readable archive ({first_line(error)}); download it again") from None


def parse(content: bytes, place: str) -> Report:
    """One report. place: file for the message. Raises: DataError if it is broken, too large, or no report."""
    root = _tree(content, place)
    study = next((e.get("id", "").strip() for e in root.iter("uId")), "")
    if not study:
        raise DataError(f"{place}: no uId with an id, so not a report of Open-I; remove it")
    told = {(e.get("Label") or "").strip().upper(): _text(e) for e in root.iter("AbstractText")}
    order = [*SECTIONS, *(label for label in told if label and label not in SECTIONS)]
    images = []
    for element in root.iter("parentImage"):
        image_id = element.get("id", "").strip()
        if not image_id or "/" in image_id or "\\" in image_id:
            raise DataError(f"{place}: parentImage id={image_id!r} is no file name; download it again")
        images.append((image_id, " ".join(_text(e) for e in element.iter("caption"))))
    return Report(
        study_id=study,
        sections={label: told[label] for label in order if told.get(label)},
        terms=tuple(text for e in root.iter("major") if (text := _text(e))),
        images=tuple(images),
    )


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _tree(content: bytes, place: str) -> Element:
    if len(content) > LARGEST:
        raise DataError(f"{place}: larger than {LARGEST:,} bytes, so no report of Open-I; remove it")

    def refuse(*_: object) -> None:
        raise DataError(
            f"{place}: holds a document type declaration, which no report of Open-I does; download it again"
        )

    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError, AssertionError) as error:
        raise DataError(f"{place}: not a readable XML file ({first_line(error)}); download it again") from None
