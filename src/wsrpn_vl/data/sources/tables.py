"""What a source returns, and what the sources share: reading CSV files, finding images, splitting by patient."""

from __future__ import annotations

import csv
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

import polars as pl

from wsrpn_vl.data.index import BOX_COLUMNS, BOX_OPTIONAL, LEARNT
from wsrpn_vl.data.pixels import IMAGE_SUFFIXES, image_size, looks_like_image
from wsrpn_vl.errors import DataError, nearest, wordless


@dataclass(frozen=True)
class SourceTables:
    """A data set in the index layout, ready for :func:`wsrpn_vl.data.index.write_index`.

    frame: one row per image found, paths relative to the root; boxes: reference boxes in original pixels, or None;
    missing: images that the tables name and the root does not hold; root: folder that the paths are relative to, where
    that is not the one given to ``build``; text_labels: classes whose labels were mined from the frame's own texts.
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
    root: Path | None = None
    text_labels: tuple[str, ...] = ()


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the non-empty rows of a CSV file, plain or gzip, header included; no BOM, no CRLF.

    Raises: DataError if the file cannot be read as UTF-8 text.
    """
    packed = path.suffix == ".gz"
    try:
        with (gzip.open if packed else open)(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(field.strip() for field in row):
                    yield reader.line_num, [field.strip() for field in row]
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path}: not a whole gzip file; download it again") from None
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
        said = f"column {twice[0]!r}" if is_brief(twice[0]) else "a column"
        raise DataError(f"{path}: {said} appears twice; keep one")
    table = []
    for line, fields in rows:
        if any(fields[len(header) :]):
            raise DataError(f"{path}: line {line} has more fields than the header; quote fields that hold commas")
        padded = fields[: len(header)] + [""] * (len(header) - len(fields))
        table.append((line, dict(zip(header, padded, strict=True))))
    return header, table


def is_brief(text: str) -> bool:
    """Two words at most: a name, not a sentence of a report, as a shifted row or a lost header puts anywhere."""
    return len(text) <= 60 and len(text.split()) <= 2


def find_images(root: Path) -> list[str]:
    """Relative paths (forward slashes, sorted) of the images below ``root``, by suffix, or by content without one.

    Hidden files and folders are left out (``._*.png`` of macOS archives). Links to folders are followed, each folder
    once, so that links in a circle come to an end. Raises: DataError if ``root`` is no folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the data set")
    found: list[Path] = []
    followed = {os.path.realpath(root)}
    for folder, folders, files in os.walk(root, followlinks=True):
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in shown if _is_new(os.path.join(folder, name), followed)]
        found += [Path(folder, name) for name in files if _is_image(Path(folder, name))]
    return sorted(path.relative_to(root).as_posix() for path in found)


def _is_new(folder: str, followed: set[str]) -> bool:
    """Whether it is no link, or one to a folder that no link has led to; that is then noted in ``followed``."""
    if not os.path.islink(folder):
        return True
    target = os.path.realpath(folder)
    new = target not in followed
    followed.add(target)
    return new


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
    pairs = [image_size(root / path) for path in _shown(paths)]
    return [w for w, _ in pairs], [h for _, h in pairs]


UNREADABLE = "image that cannot be read, left out (see the .missing.txt list)"


def readable(root: Path, paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Path -> (width, height) of the stored files, as :func:`sizes`; files whose header is damaged are not in it.

    Raises: DataError, for the first of them, if all are damaged.
    """
    found = {}
    for path in _shown(paths):
        with suppress(DataError):
            found[path] = image_size(root / path)
    if paths and not found:
        image_size(root / paths[0])
    return found


def _shown(paths: Iterable[str]) -> Iterable[str]:
    """``paths``, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(list(paths), "image sizes", console=console, transient=True, disable=not console.is_terminal)


def boxed_among(classes: Sequence[str], boxes: pl.DataFrame | None) -> tuple[str, ...]:
    """Those of ``classes`` that a box is of, in their order."""
    held = set() if boxes is None else set(boxes["label"])
    return tuple(name for name in classes if name in held)


def box_frame(rows: Iterable[tuple], *further: str) -> pl.DataFrame:
    """Boxes table of (image_id, label, x1, y1, x2, y2, source, …) rows; further: optional columns that follow."""
    schema = BOX_COLUMNS | {name: BOX_OPTIONAL[name] for name in further}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def check_shares(**shares: float) -> None:
    """Raises: DataError if a share is negative, or they leave nothing for training."""
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        said = ", ".join(f"{name}={value}" for name, value in shares.items())
        raise DataError(f"{said}; give shares of at least 0 that leave something for training")


def count_notes(*counted: tuple[int, str]) -> tuple[str, ...]:
    """``"3 x <what>"`` for each count that is not 0."""
    return tuple(f"{count:,} x {what}" for count, what in counted if count)


OUT = "taken out of train and val, in no split now"


def out_of_training(frame: pl.DataFrame, who: pl.Expr | pl.Series) -> tuple[pl.DataFrame, str]:
    """``frame`` whose images of ``train`` and ``val`` where ``who`` holds are in no split, and how many these were.

    The count is worded ``12 patients (34 images)``.
    """
    learnt = who & pl.col("split").is_in(LEARNT)
    hit = frame.filter(learnt)
    found = f"{hit['patient_id'].drop_nulls().n_unique():,} patients ({hit.height:,} images)"
    return frame.with_columns(pl.when(learnt).then(pl.lit("")).otherwise("split").alias("split")), found


@overload
def locate(root: Path, *names: str, required: Literal[""] = "") -> Path | None: ...
@overload
def locate(root: Path, *names: str, required: str) -> Path: ...
def locate(root: Path, *names: str, required: str = "") -> Path | None:
    """The first of ``names`` (or the same with ``.gz``) in ``root`` or at most 4 folders below; nearest to it wins.

    Folders that hold images by the thousand are not searched (``files/p10``, ``images_001``, more than 500 entries).
    required: what the file is, for the message. Raises: DataError when it is required and not there.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the data set")
    for folder in folders_below(root):
        for name in names:
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
    if required:
        raise DataError(f"{root}: no {' or '.join(names)} (or .gz) here or below; put {required} there")
    return None


def folders_below(root: Path) -> Iterator[Path]:
    """``root`` and the folders at most 4 below it, nearest first; those of :func:`locate` alone."""
    level = [root]
    for depth in range(5):
        yield from level
        level = [child for folder in level for child in _subfolders(folder)] if depth < 4 else []


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        found = list(islice(entries, 501))
    if len(found) > 500:
        return []
    names = sorted(e.name for e in found if e.is_dir() and not e.name.startswith("."))
    return [folder / name for name in names if not re.fullmatch(r"p\d\d|images?_\d+|scene_graph", name)]


def csv_frame(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    separator: str = ",",
    quote: str | None = '"',
    content: bytes | None = None,
) -> pl.DataFrame:
    """Columns of a CSV file (plain or gzip) as stripped strings, null where blank; missing optional ones are null.

    Column names are matched whatever their case and order; others are left out. BOM and CRLF are taken off.
    content: the table itself, where ``path`` is an archive that holds it.
    Raises: DataError if the file cannot be read, names a column twice, or lacks a required one.
    """
    try:
        frame = pl.read_csv(
            path if content is None else content,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            glob=False,
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put it there") from None
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        mend = "save it as UTF-8" if "utf-8" in str(error) else "download it again"
        raise DataError(f"{path}: not a readable CSV file ({wordless(error)}); {mend}") from None
    have: dict[str, str] = {}
    for column in frame.columns:
        key = column.removeprefix("\ufeff").strip().casefold()
        if key in have and key in {name.casefold() for name in (*required, *optional)}:
            raise DataError(f"{path}: column {key!r} appears twice; keep one")
        have.setdefault(key, column)
    for name in required:
        if name.casefold() not in have:
            # without its header line, or with a stray quote, a table of reports has words for names
            near = nearest(name, (column for column in have if len(column) <= 80 and column.isprintable()))
            near = near if near.startswith("; did you mean") else "; the first line must name the columns"
            raise DataError(f"{path}: column {name!r} is missing{near}")
    chosen = []
    for name in (*required, *optional):
        column = have.get(name.casefold())
        value = pl.lit(None, dtype=pl.String) if column is None else pl.col(column).str.strip_chars()
        chosen.append(pl.when(value != "").then(value).alias(name))
    return frame.select(chosen)


def refuse_rows(frame: pl.DataFrame, path: Path, column: str, bad: pl.Expr, mend: str, *, quoted: bool = True) -> None:
    """Raises: DataError for the first data row (1 = the row after the header) where ``bad`` holds, and how many do.

    quoted: name the value; false for tables of reports, where a shifted row holds words in any column.
    """
    rows = frame.select(bad.fill_null(False).arg_true()).to_series()
    if len(rows):
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        said = f"={frame[column][rows[0]]!r:.80}" if quoted else ""
        raise DataError(f"{path}: data row {rows[0] + 1}, {column}{said}{more}: {mend}")


def numbers(
    frame: pl.DataFrame, path: Path, columns: Sequence[str], dtype: Any = pl.Float64, *, quoted: bool = True
) -> pl.DataFrame:
    """``frame`` with text columns as numbers, null where blank; whole numbers may be written ``691.0``.

    quoted: as for :func:`refuse_rows`.
    Raises: DataError for a value that is no finite number, or no whole one where ``dtype`` is an integer.
    """
    whole = dtype.is_integer()
    for column in columns:
        value = pl.col(column).cast(pl.Float64, strict=False)
        bad = pl.col(column).is_not_null() & ~value.is_finite().fill_null(False)
        if whole:
            bad = bad | (value != value.round()).fill_null(False) | (value.abs() > 2**53).fill_null(False)
        mend = f"expected a {'whole ' if whole else ''}number; download the file again"
        refuse_rows(frame, path, column, bad, mend, quoted=quoted)
        if whole and dtype != pl.Int64:
            fits = frame.select(
                value.cast(pl.Int64, strict=False).cast(dtype, strict=False).is_null() & value.is_not_null()
            )
            mend = "the number is too large; correct it"
            refuse_rows(frame, path, column, pl.lit(fits.to_series()), mend, quoted=quoted)
        frame = frame.with_columns(value.cast(pl.Int64).cast(dtype) if whole else value)
    return frame


def clip_boxes(boxes: pl.DataFrame, frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Boxes of the images of ``frame`` clipped to them, and how many of them vanished by that (no area left).

    boxes: at least image_id, x1, y1, x2, y2 in original pixels; those of other images are left out without counting.
    """
    sized = boxes.join(frame.select("image_id", "width", "height"), on="image_id", how="inner", maintain_order="left")
    clipped = sized.with_columns(
        *(pl.col(c).clip(0, pl.col("width").fill_null(float("inf"))) for c in ("x1", "x2")),
        *(pl.col(c).clip(0, pl.col("height").fill_null(float("inf"))) for c in ("y1", "y2")),
    )
    kept = clipped.filter((pl.col("x2") > pl.col("x1")) & (pl.col("y2") > pl.col("y1"))).drop("width", "height")
    return kept, sized.height - kept.height


def existing(root: Path, paths: Iterable[str]) -> set[str]:
    """Those of the relative ``paths`` that are files below ``root``; each folder is listed once."""
    wanted: dict[str, list[str]] = {}
    for path in paths:
        wanted.setdefault(path.rpartition("/")[0], []).append(path)
    found: set[str] = set()
    for folder, members in wanted.items():
        try:
            with os.scandir(root / folder) as entries:
                names = {entry.name for entry in entries if entry.is_file()}
        except OSError:
            continue
        found.update(path for path in members if path.rpartition("/")[2] in names)
    return found
