"""A bare folder of DICOM files, as a hospital exports them: nested as deep as may be, with or without suffix.

Patients, studies and images go by salted hashes of PatientID, StudyInstanceUID and SOPInstanceUID, or of the file's
place below the root where the header has none (stripped headers such as VinDr-CXR's); the identifiers themselves reach
no index, message or output. That is pseudonymisation, not anonymisation: whoever knows an id and the salt can find the
person again, so use a ``salt`` of your own and keep it where the names are kept. A file without a patient has a null
``patient_id``; its study stays in one split.

``path`` must lead to the file, so names of files and folders are in the index as they are. ``hide_names=true`` is for
names that say who it is: the index then points into a hidden folder ``.wsrpn-vl-names`` of links to the files, which is
made below the root, and every message names the link. Only the links know the names; do not pass that folder on.

Left out and counted: other modalities (CT, reports …), other parts of the body, files with several frames, second
copies of an image, pictures that are no DICOM. Broken and truncated files are listed like missing ones. Laterals stay.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from wsrpn_vl.data.pixels import is_dicom
from wsrpn_vl.data.sources.folder import read_labelled
from wsrpn_vl.data.sources.folder_images import Images
from wsrpn_vl.data.sources.stored import split_by_hash
from wsrpn_vl.data.sources.tables import SourceTables, check_shares, count_notes, find_images
from wsrpn_vl.dicom.header import RADIOGRAPHY, DicomFacts, Pseudonyms, pseudonym, read_pseudonyms
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import BY_NAME, label_column
from wsrpn_vl.progress import progress

SALT = "wsrpn-vl"
LINKS = ".wsrpn-vl-names"


@dataclass
class _Film:
    """A file that is kept: path below the root, and what its header says."""

    path: str
    facts: DicomFacts
    image: str
    study: str
    patient: str | None


@dataclass
class _Found:
    """The films of a folder, the files that cannot be read, and how many of the rest there are of each kind."""

    films: list[_Film] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def build(
    root: Path | str,
    *,
    table: str = "",
    name: str = "dicom",
    salt: str = SALT,
    hide_names: bool = False,
    modalities: str = ";".join(filter(None, RADIOGRAPHY)),
    any_part: bool = False,
    splits: bool = True,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
) -> SourceTables:
    """Tables of a folder of DICOM files.

    table: CSV file, relative to ``root``, of labels, words and splits, as the ``folder`` source reads it, by path or
    file name (its ids are not used); salt: of the hashes; hide_names: see above; modalities: kept besides files that
    name none, joined by ``;``; any_part: keep films whose header names another part of the body; splits: draw
    val_share and test_share of the patients (else studies) by a hash of their pseudonym and ``seed``, else none.
    Raises: DataError if there is no chest radiograph, or for a fault in the table.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    allowed = {"", *(word.strip().upper() for word in modalities.split(";"))}
    found = _scan(root, salt, allowed, any_part)
    if not found.films:
        kinds = "; ".join(count_notes(*((n, what) for what, n in found.left.items()), (len(found.broken), "broken")))
        raise DataError(f"{root}: no chest radiograph among its DICOM files ({kinds or 'there are none'})")
    _patients_of_studies(found.films)
    shown = _Names(root, salt) if hide_names else None
    rows, labels, gone, notes = _table(root, table, found, shown)
    films = {film.path: film for film in found.films}
    kept = [films[row["path"]] for row in rows]
    frame = _frame(kept, rows, labels, name)
    if "split" not in rows[0] and splits:
        keys = [film.patient or film.study for film in kept]
        frame = frame.with_columns(split_by_hash(keys, val_share, test_share, seed))
    if shown:
        frame = frame.with_columns(pl.Series("path", [shown.link(film.path, film.image) for film in kept]))
    return SourceTables(
        frame=frame,
        boxes=None,
        dataset=name,
        classes=tuple(labels),
        box_complete=dict.fromkeys(labels, False),
        boxed_classes=(),
        text_origin="report" if frame["text"].count() else "none",
        notes=notes + _left_out(found, frame),
        missing=tuple(shown.link(path, pseudonym("f", path, salt)) if shown else path for path in found.broken) + gone,
        root=shown.folder if shown else None,
    )


def _left_out(found: _Found, frame: pl.DataFrame) -> tuple[str, ...]:
    return count_notes(
        *((n, f"{what}, left out") for what, n in sorted(found.left.items())),
        (len(found.broken), "file that cannot be read, left out (see the .missing.txt list)"),
        (frame["patient_id"].null_count(), "image of a patient unknown"),
    )


def _scan(root: Path, salt: str, allowed: set[str], any_part: bool) -> _Found:
    found, seen = _Found(), set()
    paths = find_images(root)
    with progress("reading headers", "files") as report:
        for i, path in enumerate(paths):
            report(i, len(paths))
            try:
                if not is_dicom(root / path):
                    found.left["picture that is no DICOM file"] += 1
                    continue
                facts, names = read_pseudonyms(root / path, salt)
            except (DataError, OSError):  # said once, in the list of broken files
                found.broken.append(path)
                continue
            why = _why_not(facts, allowed, any_part) or ("second copy of an image" if names.image in seen else "")
            if why:
                found.left[why] += 1
            elif not facts.complete:
                found.broken.append(path)
            else:
                found.films.append(_film(path, facts, names, salt))
                seen |= {names.image} - {None}
        report(len(paths), len(paths))
    return found


def _why_not(facts: DicomFacts, allowed: set[str], any_part: bool) -> str:
    """What a file is instead of a chest radiograph; "" if it is one as far as its header says."""
    if facts.modality not in allowed:
        return f"{facts.modality.replace('?', 'unknown')} object"
    if not facts.width or not facts.height:
        return "object without an image"
    if facts.frames > 1:
        return "file with several frames"
    return "" if facts.chest or any_part else "film of another part of the body"


def _film(path: str, facts: DicomFacts, names: Pseudonyms, salt: str) -> _Film:
    image, study = names.image or pseudonym("i", path, salt), names.study or pseudonym("s", path, salt)
    return _Film(path, facts, image, study, names.patient)


def _patients_of_studies(films: Sequence[_Film]) -> None:
    """A study of one named patient is that patient's, also in the files that do not name anybody."""
    named: dict[str, set[str]] = {}
    for film in films:
        if film.patient:
            named.setdefault(film.study, set()).add(film.patient)
    for film in films:
        if film.patient is None and len(named.get(film.study, ())) == 1:
            (film.patient,) = named[film.study]


class _Names:
    """Links of neutral names to files: ``<root>/.wsrpn-vl-names/<hash of the salt>/<hash>.dcm``."""

    def __init__(self, root: Path, salt: str) -> None:
        self.root, self.folder = root, root / LINKS / pseudonym("n", "", salt)

    def link(self, path: str, name: str) -> str:
        """Make the link and return its name. Raises: DataError if the root cannot be written to."""
        link, temporary = self.folder / f"{name}.dcm", self.folder / f".{name}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                temporary.unlink()
            try:
                temporary.symlink_to(os.path.relpath(self.root / path, self.folder))
            except OSError:  # not allowed to everybody on Windows
                os.link(self.root / path, temporary)
            os.replace(temporary, link)
        except OSError as error:
            raise DataError(
                f"{self.root}: hide_names needs to write links below it ({error.strerror}); allow that, or copy the "
                "files under other names"
            ) from None
        return link.name


def _table(
    root: Path, table: str, found: _Found, shown: _Names | None
) -> tuple[list[dict], dict[str, list[int | None]], tuple[str, ...], tuple[str, ...]]:
    """Rows (path; text, split and view where a table says them), labels per class, names without a file, notes."""
    paths = [film.path for film in found.films]
    if not table:
        return [{"path": path} for path in paths], {}, (), ()
    try:
        rows, labels, gone, notes = read_labelled(root / table, Images(root, paths))
    except DataError as error:
        if shown is None:
            raise
        masked = re.sub(r"'[^']*'", "'…'", str(error))  # what a table says may be a file's name
        raise DataError(masked) from None
    if not rows:
        raise DataError(f"{root / table}: none of its {len(gone):,} images is a film below {root}; correct the paths")
    labels = {c: labels[c] for c in BY_NAME if c in labels}
    notes = count_notes(
        (len(gone), "image of the table that is no film here (see the .missing.txt list)"),
        (len(paths) - len(rows), "film not in the table, left out"),
    ) + tuple(note for note in notes if note.startswith("columns not used"))
    gone = tuple(pseudonym("f", said, shown.folder.name) for said in gone) if shown else gone
    return rows, labels, gone, notes


def _frame(
    films: Sequence[_Film], rows: Sequence[dict], labels: dict[str, list[int | None]], dataset: str
) -> pl.DataFrame:
    columns = {
        "dataset": [dataset] * len(films),
        "split": [row.get("split", "") for row in rows],
        "image_id": [film.image for film in films],
        "patient_id": [film.patient for film in films],
        "study_id": [film.study for film in films],
        "view": [row.get("view", film.facts.view) for film, row in zip(films, rows, strict=True)],
        "path": [film.path for film in films],
        "text": [row.get("text") for row in rows],
        "triples": [None] * len(films),
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_columns(
        pl.Series("width", [film.facts.width for film in films], dtype=pl.Int32),
        pl.Series("height", [film.facts.height for film in films], dtype=pl.Int32),
        *(pl.Series(label_column(c), values, dtype=pl.Int8) for c, values in labels.items()),
    )
