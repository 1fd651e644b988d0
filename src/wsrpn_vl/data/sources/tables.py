"""What a source returns, and what the sources share: reading CSV files, finding images, splitting by patient."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import BOX_COLUMNS
from wsrpn_vl.data.pixels import IMAGE_SUFFIXES, image_size, looks_like_image
from wsrpn_vl.errors import DataError


@dataclass(frozen=True)
class SourceTables:
    """A data set in the index layout, ready for :func:`wsrpn_vl.data.index.write_index`.

    frame: one row per image found, paths relative to the root; boxes: reference boxes in original pixels, or None;
    missing: images that the tables name and the root does not hold.
    """

    frame: pl.DataFrame
    boxes: pl.DataFrame | None
    dataset: str
    classes: tuple[str, ...]
    box_complete: dict[str, bool]
    boxed_classes: tuple[str, ...]
    text_origin: str
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the non-empty rows of a CSV file, header included; BOM and CRLF are taken off.

    Raises: DataError if the file cannot be read as UTF-8 text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(field.strip() for field in row):
                    yield reader.line_num, [field.strip() for field in row]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put the file there") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a UTF-8 CSV file ({error}); save it as such") from None


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """(column names, (line number, row) pairs) of a CSV file with a header; short rows are filled with ``""``.

    Raises: DataError if the file is empty, names a column twice, or has a row longer than its header.
    """
    rows = read_rows(path)
    header = next(rows, (0, []))[1]
    if not header:
        raise DataError(f"{path}: the file is empty; it needs a header line")
    while header and not header[-1]:
        header.pop()  # trailing commas
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise DataError(f"{path}: column {twice[0]!r} appears twice; keep one")
    table = []
    for line, fields in rows:
        if any(fields[len(header) :]):
            raise DataError(f"{path}: line {line} has more fields than the header; quote fields that hold commas")
        padded = fields[: len(header)] + [""] * (len(header) - len(fields))
        table.append((line, dict(zip(header, padded, strict=True))))
    return header, table


def find_images(root: Path) -> list[str]:
    """Relative paths (forward slashes, sorted) of the images below ``root``, by suffix, or by content without one.

    Hidden files and folders are left out (``._*.png`` of macOS archives). Raises: DataError if ``root`` is no folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the data set")
    found: list[Path] = []
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in files if _is_image(Path(folder, name))]
    return sorted(path.relative_to(root).as_posix() for path in found)


def _is_image(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return False
    suffix = path.suffix.lower()
    bare = not suffix or suffix[1:].isdigit()  # DICOM files are often named by a UID: 1.2.840.10
    return suffix in IMAGE_SUFFIXES or (bare and looks_like_image(path))


def sizes(root: Path, paths: Iterable[str]) -> tuple[list[int], list[int]]:
    """Widths and heights of the stored files, from their headers; shows a progress bar on a terminal.

    Raises: DataError for the first file that is no image.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = track(list(paths), "image sizes", console=console, transient=True, disable=not console.is_terminal)
    pairs = [image_size(root / path) for path in shown]
    return [w for w, _ in pairs], [h for _, h in pairs]


def share_of(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on the key alone: SHA-1, so never on the order or number of patients."""
    return int.from_bytes(hashlib.sha1(f"{seed}/{key}".encode()).digest()[:8], "big") / 2**64


def box_frame(rows: Iterable[tuple]) -> pl.DataFrame:
    """Boxes table of (image_id, label, x1, y1, x2, y2, source) rows."""
    return pl.DataFrame(list(rows), schema=BOX_COLUMNS, orient="row")


def check_shares(**shares: float) -> None:
    """Raises: DataError if a share is negative, or they leave nothing for training."""
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        said = ", ".join(f"{name}={value}" for name, value in shares.items())
        raise DataError(f"{said}; give shares of at least 0 that leave something for training")


def count_notes(*counted: tuple[int, str]) -> tuple[str, ...]:
    """``"3 x <what>"`` for each count that is not 0."""
    return tuple(f"{count:,} x {what}" for count, what in counted if count)
