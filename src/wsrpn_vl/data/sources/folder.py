"""Any folder of radiographs, with or without a CSV table.

Table: the only CSV file in the folder besides ``boxes.csv``, or the one named. Columns: ``path`` or ``image``; optional
``image_id``, ``split``, ``patient_id``, ``study_id``, ``view``; the words in one of ``text``, ``report``,
``report_text``, ``caption``; one column per class (1, 0, -1 uncertain, blank not mentioned); and ``labels``, the
findings present joined by ``|``: where it is filled in, the other findings named anywhere in that column are absent,
and a class's own column has the last word.
``boxes.csv``: ``path``, ``image`` or ``image_id``; ``label``; ``x1, y1, x2, y2`` or ``x, y, w, h`` in pixels of the
stored image.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from wsrpn_vl.data.index import SPLITS, parse_view
from wsrpn_vl.data.pixels import IMAGE_SUFFIXES, is_dicom
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    box_frame,
    check_shares,
    count_notes,
    find_images,
    read_table,
    share_of,
    sizes,
)
from wsrpn_vl.errors import DataError, nearest
from wsrpn_vl.labels import BY_NAME, NO_FINDING, label_column, slug

BOX_FILE = "boxes.csv"
_PATH = ("path", "image")
_TEXT = ("text", "report", "report_text", "caption")
_PLAIN = (*_PATH, *_TEXT, "image_id", "split", "patient_id", "study_id", "view", "labels")
_CLASSES = {slug(name): name for name in BY_NAME}
_SPLIT_WORDS = {"validate": "val", "validation": "val", "valid": "val", "training": "train", "testing": "test"}
_VALUES = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1, "": None}
_BOX_FORMS = (("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"))


def build(
    root: Path | str,
    *,
    table: str = "",
    name: str = "",
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    box_complete: bool = False,
) -> SourceTables:
    """Tables of a folder of images.

    table: CSV file, relative to ``root`` (empty: the only one there; none: the index has no labels and no splits);
    name: data set name (empty: the folder's); val_share, test_share: of the patients (else studies, else images), drawn
    by a hash of their id and ``seed``, used when the table has no ``split``; box_complete: no box means no finding.
    Raises: DataError naming file, line and column of the first fault.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    images = _Images(root, find_images(root))
    if not images.paths:
        raise DataError(f"{root}: no PNG, JPEG or DICOM file below this folder; give the folder of the images")
    path = _table_path(root, table)
    if path is None:
        rows, labels = [{"path": p, "image_id": _bare(p)} for p in images.paths], {}
        notes: tuple[str, ...] = ("no table in the folder: no labels, no splits",)
        missing: tuple[str, ...] = ()
        _plain_ids(rows)
    else:
        rows, labels, missing, notes = _read(path, images)
        if not rows:
            raise DataError(f"{path}: none of its {len(missing):,} images is below {root}; correct the paths")
        if "split" not in rows[0]:
            _split(rows, val_share, test_share, seed)
    boxes, boxed, unplaced = _boxes(root / BOX_FILE, images, rows, missing)
    notes += count_notes((unplaced, "box of an image that is missing or not in the table, left out"))
    classes = tuple(c for c in BY_NAME if c in labels or c in boxed)
    dataset = name or root.resolve().name
    frame = _frame(root, rows, {c: labels.get(c, [None] * len(rows)) for c in classes}, dataset)
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset=dataset,
        classes=classes,
        box_complete={c: box_complete and c in boxed for c in classes},
        boxed_classes=tuple(c for c in classes if c in boxed),
        text_origin="report" if frame["text"].count() else "none",
        notes=notes,
        missing=missing,
    )


class _Images:
    """The files of a folder, found by relative path, by file name, or by either with another suffix or none."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root, self.paths, self._known = root.resolve(), paths, set(paths)
        self._loose: dict[str, list[str]] = {}
        for path in paths:
            name = PurePosixPath(path).name
            for key in {_bare(path), name, _bare(name)}:
                self._loose.setdefault(key, []).append(path)

    def find(self, said: str, place: str) -> str | None:
        """Relative path of what a table says; None if there is no such file. Raises: DataError if several fit."""
        said = said.replace("\\", "/")
        if Path(said).is_absolute():
            if not Path(said).resolve().is_relative_to(self.root):
                raise DataError(f"{place}: {said!r} lies outside {self.root}; give paths relative to the folder")
            said = Path(said).resolve().relative_to(self.root).as_posix()
        said = PurePosixPath(said).as_posix()
        if said in self._known:
            return said
        fits = self._loose.get(said) or self._loose.get(_bare(said), [])
        fits = [path for path in fits if _bare(path) == _bare(said)] or fits
        if len(fits) > 1:
            raise DataError(
                f"{place}: {said!r} may be {fits[0]!r} or {fits[1]!r}; give the path relative to the folder"
            )
        return fits[0] if fits else None


@dataclass(frozen=True)
class _Columns:
    """Which column of a table is what: plain and class columns by their own name or spelling."""

    plain: dict[str, str]
    classes: dict[str, str]
    unused: tuple[str, ...]


def _table_path(root: Path, table: str) -> Path | None:
    if table:
        return root / table
    tables = sorted(p for p in root.glob("*.csv") if p.name != BOX_FILE and not p.name.startswith("."))
    if len(tables) > 1:
        names = ", ".join(p.name for p in tables)
        raise DataError(f"{root}: several CSV files ({names}); name one with table=")
    return tables[0] if tables else None


def _columns(header: list[str], path: Path) -> _Columns:
    plain, classes, unused = {}, {}, []
    for column in filter(None, header):
        kind, key = (plain, column.lower()) if column.lower() in _PLAIN else (classes, _CLASSES.get(slug(column), ""))
        if not key:
            close = difflib.get_close_matches(slug(column), _CLASSES, n=1, cutoff=0.85)
            if close:
                raise DataError(
                    f"{path}: column {column!r} is no class; did you mean {_CLASSES[close[0]]!r}? rename or remove it"
                )
            unused.append(column)
        elif key in kind:
            raise DataError(f"{path}: columns {kind[key]!r} and {column!r} say the same; keep one")
        else:
            kind[key] = column
    for names, wanted in ((_PATH, True), (_TEXT, False)):
        have = [n for n in names if n in plain]
        if len(have) > 1 or (wanted and not have):
            raise DataError(
                f"{path}: the table needs {'' if wanted else 'at most '}one of the columns {', '.join(names)}"
            )
    return _Columns(plain, classes, tuple(unused))


def _read(
    path: Path, images: _Images
) -> tuple[list[dict], dict[str, list[int | None]], tuple[str, ...], tuple[str, ...]]:
    """Rows with a file, their labels per class, the names without a file, and notes."""
    header, table = read_table(path)
    columns = _columns(header, path)
    plain = columns.plain
    where = next(plain[n] for n in _PATH if n in plain)
    text = next((plain[n] for n in _TEXT if n in plain), None)
    rows, values, listed, missing, seen = [], [], [], [], set()
    for line, cells in table:
        place = f"{path}: line {line}"
        if not cells[where]:
            raise DataError(f"{place}, {where} is blank; give the image's path")
        values_here = {c: _value(cells[column], place, column) for c, column in columns.classes.items()}
        present = _present(cells[plain["labels"]], place) if "labels" in plain else None
        found = images.find(cells[where], place)
        if found is None:
            missing.append(cells[where])
            continue
        if found in seen:
            raise DataError(f"{place}, {where}: {found!r} is named a second time; keep one row per image")
        seen.add(found)
        row = {"path": found, "image_id": _bare(found), "text": cells[text] or None if text else None}
        row |= {n: cells[plain[n]] or None for n in ("patient_id", "study_id") if n in plain}
        if "image_id" in plain:
            row["image_id"] = cells[plain["image_id"]]
        if "split" in plain:
            row["split"] = _split_word(cells[plain["split"]], place)
        if "view" in plain:
            row["view"] = parse_view(cells[plain["view"]])
        rows.append(row)
        values.append(values_here)
        listed.append(present)
    if "image_id" not in plain:
        _plain_ids(rows)
    notes = count_notes(
        (len(missing), "image of the table missing (see the .missing.txt list)"),
        (len(images.paths) - len(rows), "image file not in the table, left out"),
    )
    if columns.unused:
        notes += (f"columns not used: {', '.join(columns.unused)}",)
    return rows, _merge(values, listed, columns.classes), tuple(missing), notes


def _merge(
    values: list[dict[str, int | None]], listed: list[frozenset[str] | None], own: Iterable[str]
) -> dict[str, list[int | None]]:
    """Labels per class from the class columns, filled up from the lists of findings."""
    named = frozenset().union(*(present for present in listed if present))
    labels = {}
    for name in {*own, *named}:
        column = []
        for value, present in zip(values, listed, strict=True):
            known = value.get(name)
            if known is None and present is not None and name in named:
                known = int(name in present)
            column.append(known)
        labels[name] = column
    return labels


def _value(cell: str, place: str, column: str) -> int | None:
    if cell not in _VALUES:
        raise DataError(f"{place}, {column}={cell!r}; use 1, 0, -1 (uncertain) or blank (not mentioned)")
    return _VALUES[cell]


def _present(cell: str, place: str) -> frozenset[str] | None:
    """Findings listed in a cell; None if the cell is blank."""
    if not cell:
        return None
    names = [name.strip() for name in cell.split("|")]
    found = set()
    for name in names:
        if slug(name) == slug(NO_FINDING):
            continue
        if slug(name) not in _CLASSES:
            raise DataError(f"{place}, labels: finding {name!r} is unknown{nearest(name, [*BY_NAME, NO_FINDING])}")
        found.add(_CLASSES[slug(name)])
    if found and len(found) < len(names) and any(slug(name) == slug(NO_FINDING) for name in names):
        raise DataError(f"{place}, labels={cell!r} names a finding and {NO_FINDING}; keep one of them")
    return frozenset(found)


def _split_word(cell: str, place: str) -> str:
    word = _SPLIT_WORDS.get(cell.lower(), cell.lower())
    if word not in SPLITS:
        raise DataError(f"{place}, split={cell!r}; use train, val, test or blank")
    return word


def _split(rows: list[dict], val_share: float, test_share: float, seed: int) -> None:
    for row in rows:
        key = row.get("patient_id") or row.get("study_id") or row["image_id"]
        at = share_of(key, seed)
        row["split"] = "test" if at < test_share else "val" if at < test_share + val_share else "train"


def _bare(path: str) -> str:
    """Without the suffix, if it is one of an image; a DICOM file may be called 1.2.840.10."""
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else path


def _plain_ids(rows: list[dict]) -> None:
    """Where two paths differ in their suffix alone, the suffix stays in the id."""
    times = Counter(row["image_id"] for row in rows)
    for row in rows:
        if times[row["image_id"]] > 1:
            row["image_id"] = row["path"]


def _frame(root: Path, rows: list[dict], labels: dict[str, list[int | None]], dataset: str) -> pl.DataFrame:
    paths = [row["path"] for row in rows]
    widths, heights = sizes(root, paths)
    columns = {
        "dataset": [dataset] * len(rows),
        "split": [row.get("split", "") for row in rows],
        "image_id": [row["image_id"] for row in rows],
        "patient_id": [row.get("patient_id") for row in rows],
        "study_id": [row.get("study_id") for row in rows],
        "view": [row["view"] if "view" in row else _view(root / row["path"]) for row in rows],
        "path": paths,
        "text": [row.get("text") for row in rows],
        "triples": [None] * len(rows),
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_columns(
        pl.Series("width", widths, dtype=pl.Int32),
        pl.Series("height", heights, dtype=pl.Int32),
        *(pl.Series(label_column(c), values, dtype=pl.Int8) for c, values in labels.items()),
    )


def _view(path: Path) -> str:
    """The view a DICOM file states; unknown for pictures."""
    if not is_dicom(path):
        return "UNK"
    from wsrpn_vl.dicom.read import dicom_view

    return dicom_view(path)


def _boxes(
    path: Path, images: _Images, rows: list[dict], missing: tuple[str, ...]
) -> tuple[pl.DataFrame | None, frozenset[str], int]:
    """Boxes, the classes they name, and how many belong to images without a row; None without a box file."""
    if not path.is_file():
        return None, frozenset(), 0
    header, table = read_table(path)
    names = {column.lower(): column for column in header}
    where = next((names[n] for n in ("image_id", *_PATH) if n in names), None)
    form = next((f for f in _BOX_FORMS if all(n in names for n in f)), None)
    if where is None or form is None or "label" not in names:
        raise DataError(f"{path}: needs path, image or image_id; label; and x1, y1, x2, y2 or x, y, w, h")
    by_path = {row["path"]: row["image_id"] for row in rows}
    ids, gone = set(by_path.values()), {key for name in missing for key in (name, _bare(name))}
    out, unplaced = [], 0
    for line, cells in table:
        place = f"{path}: line {line}"
        label = _CLASSES.get(slug(cells[names["label"]]))
        if label is None:
            raise DataError(
                f"{place}, label={cells[names['label']]!r} is unknown{nearest(cells[names['label']], BY_NAME)}"
            )
        try:
            a, b, c, d = (float(cells[names[n]]) for n in form)
        except ValueError:
            raise DataError(f"{place} needs numbers in {', '.join(form)}; correct it") from None
        said = cells[where]
        found = None if said in ids and where == names.get("image_id") else images.find(said, place)
        image_id = by_path.get(found or "", said)
        if image_id not in ids:
            if found is None and said not in gone:
                raise DataError(f"{place}, {where}={said!r}: no such image; correct the name or delete the line")
            unplaced += 1
            continue
        corners = (a, b, c, d) if form[0] == "x1" else (a, b, a + c, b + d)
        out.append((image_id, label, *corners, BOX_FILE))
    return box_frame(out), frozenset(box[1] for box in out), unplaced
