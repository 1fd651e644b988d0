"""Any folder of radiographs, with or without a CSV table or a COCO detection file.

Table: the only CSV file in the folder besides ``boxes.csv``, or the one named. Columns: ``path`` or ``image``; optional
``image_id``, ``split``, ``patient_id``, ``study_id``, ``view``; the words in one of ``text``, ``report``,
``report_text``, ``caption``; one column per class (1, 0, -1 uncertain, blank not mentioned); and ``labels``, the
findings present joined by ``|``: where it is filled in, the other findings named anywhere in that column are absent,
and a class's own column has the last word.
``boxes.csv``: ``path``, ``image`` or ``image_id``; ``label``; ``x1, y1, x2, y2`` or ``x, y, w, h`` in pixels of the
stored image. ``boxes.json`` may stand for it: a COCO file, whose boxes are scaled from the stated to the stored size.
Without a CSV table the COCO files in the folder (or its ``annotations``) are table and boxes in one; of several, the
names say the splits. Their categories label the images: present, and with ``box_complete=true`` else absent.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import SPLITS, parse_view
from wsrpn_vl.data.pixels import is_dicom
from wsrpn_vl.data.sources.coco_json import Coco, coco_files, read_coco
from wsrpn_vl.data.sources.folder_boxes import BOX_FILE, read_boxes
from wsrpn_vl.data.sources.folder_images import Images, bare
from wsrpn_vl.data.sources.stored import split_by_hash
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    check_shares,
    count_notes,
    find_images,
    is_brief,
    read_table,
    sizes,
)
from wsrpn_vl.errors import DataError, nearest
from wsrpn_vl.labels import BY_NAME, NO_FINDING, label_column, slug

_PATH = ("path", "image")
_TEXT = ("text", "report", "report_text", "caption")
_PLAIN = (*_PATH, *_TEXT, "image_id", "split", "patient_id", "study_id", "view", "labels")
_CLASSES = {slug(name): name for name in BY_NAME}
_SPLIT_WORDS = {"validate": "val", "validation": "val", "valid": "val", "training": "train", "testing": "test"}
_Labels = dict[str, list[int | None]]  # class -> label of each row
_VALUES = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1, "": None}


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

    table: CSV or COCO file, relative to ``root`` (empty: the only CSV file there, else the COCO files; none: the index
    has no labels and no splits);
    name: data set name (empty: the folder's); val_share, test_share: of the patients (else studies, else images), drawn
    by a hash of their id and ``seed``, used when the table has no ``split``; box_complete: no box means no finding.
    Raises: DataError naming file, line and column of the first fault.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    images = Images(root, find_images(root))
    if not images.paths:
        raise DataError(f"{root}: no PNG, JPEG or DICOM file below this folder; give the folder of the images")
    coco, rows, labels, missing, notes = _read_all(root, table, images, box_complete)
    if labels is not None and "split" not in rows[0]:
        _split(rows, val_share, test_share, seed)
    boxes, boxed, left_out = read_boxes(root, coco, images, rows, missing)
    labels = labels or {}
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
        notes=notes + left_out,
        missing=missing,
    )


def _read_all(
    root: Path, table: str, images: Images, complete: bool
) -> tuple[Coco | None, list[dict], _Labels | None, tuple[str, ...], tuple[str, ...]]:
    """The COCO files that are the table, and what :func:`read_labelled` returns; labels None: there is no table."""
    path = None if table.endswith(".json") else _table_path(root, table)
    sheets = [root / table] if table.endswith(".json") else coco_files(root) if path is None else []
    if path is None and not sheets:
        rows = [{"path": p, "image_id": bare(p)} for p in images.paths]
        _plain_ids(rows)
        return None, rows, None, (), ("no table in the folder: no labels, no splits",)
    coco = read_coco(sheets, images.find, root) if sheets else None
    rows, labels, missing, notes = _coco_rows(coco, images, complete) if coco else read_labelled(path or root, images)
    if not rows:
        raise DataError(f"{path or sheets[0]}: none of its {len(missing):,} images is below {root}; correct the paths")
    return coco, rows, labels, missing, notes


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


def read_labelled(path: Path, images: Images) -> tuple[list[dict], _Labels, tuple[str, ...], tuple[str, ...]]:
    """Rows with a file, their labels per class, the names without a file, and notes.

    A row is a dict of path, image_id, text and whatever else of split, view and ids the table has.
    Raises: DataError for the first fault, with file and line.
    """
    header, table = read_table(path)
    columns = _columns(header, path)
    plain = columns.plain
    where = next(plain[n] for n in _PATH if n in plain)
    text = next((plain[n] for n in _TEXT if n in plain), None)
    shown = text is None  # in a shifted row, words of a report lie in any column
    rows, values, listed, missing, seen = [], [], [], [], set()
    for line, cells in table:
        place = f"{path}: line {line}"
        if not cells[where]:
            raise DataError(f"{place}, {where} is blank; give the image's path")
        values_here = {c: _value(cells[column], place, column, shown) for c, column in columns.classes.items()}
        present = _present(cells[plain["labels"]], place, shown) if "labels" in plain else None
        found = images.find(cells[where], place)
        if found is None:
            missing.append(cells[where])
            continue
        if found in seen:
            raise DataError(f"{place}, {where}: {found!r} is named a second time; keep one row per image")
        seen.add(found)
        row = {"path": found, "image_id": bare(found), "text": cells[text] or None if text else None}
        row |= {n: cells[plain[n]] or None for n in ("patient_id", "study_id") if n in plain}
        if "image_id" in plain:
            row["image_id"] = cells[plain["image_id"]]
        if "split" in plain:
            row["split"] = _split_word(cells[plain["split"]], place, shown)
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
        names = [name for name in columns.unused if is_brief(name)]  # a lost line end puts a report into the header
        more = [] if len(names) == len(columns.unused) else [f"{len(columns.unused) - len(names)} of longer names"]
        notes += (f"columns not used: {', '.join(names + more)}",)
    return rows, _merge(values, listed, columns.classes), tuple(missing), notes


def _coco_rows(
    coco: Coco, images: Images, complete: bool
) -> tuple[list[dict], _Labels, tuple[str, ...], tuple[str, ...]]:
    """As :func:`read_labelled`, of COCO files."""
    rows = [{"image_id": bare(row["path"]), **row} for row in coco.rows]
    _plain_ids(rows)
    absent = 0 if complete else None
    labels = {c: [1 if c in present else absent for present in coco.present] for c in coco.classes}
    notes = count_notes(
        (len(coco.missing), "image of the table missing (see the .missing.txt list)"),
        (len(images.paths) - len(rows), "image file not in the table, left out"),
    )
    return rows, labels, tuple(coco.missing), notes


def _merge(values: list[dict[str, int | None]], listed: list[frozenset[str] | None], own: Iterable[str]) -> _Labels:
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


def _value(cell: str, place: str, column: str, shown: bool) -> int | None:
    if cell not in _VALUES:
        raise DataError(f"{place}, {column}{_said(cell, shown)}; use 1, 0, -1 (uncertain) or blank (not mentioned)")
    return _VALUES[cell]


def _said(cell: str, shown: bool) -> str:
    return f"={cell!r}" if shown and is_brief(cell) else ""


def _present(cell: str, place: str, shown: bool) -> frozenset[str] | None:
    """Findings listed in a cell; None if the cell is blank."""
    if not cell:
        return None
    names = [name.strip() for name in cell.split("|")]
    found = set()
    for name in names:
        if slug(name) == slug(NO_FINDING):
            continue
        if slug(name) not in _CLASSES:
            brief = shown and is_brief(name)
            said = f"{name!r} is unknown{nearest(name, [*BY_NAME, NO_FINDING])}" if brief else "is unknown"
            raise DataError(f"{place}, labels: finding {said}")
        found.add(_CLASSES[slug(name)])
    if found and len(found) < len(names) and any(slug(name) == slug(NO_FINDING) for name in names):
        raise DataError(f"{place}, labels{_said(cell, shown)} names a finding and {NO_FINDING}; keep one of them")
    return frozenset(found)


def _split_word(cell: str, place: str, shown: bool) -> str:
    word = _SPLIT_WORDS.get(cell.lower(), cell.lower())
    if word not in SPLITS:
        raise DataError(f"{place}, split{_said(cell, shown)}; use train, val, test or blank")
    return word


def _split(rows: list[dict], val_share: float, test_share: float, seed: int) -> None:
    keys = [row.get("patient_id") or row.get("study_id") or row["image_id"] for row in rows]
    for row, split in zip(rows, split_by_hash(keys, val_share, test_share, seed), strict=True):
        row["split"] = split


def _plain_ids(rows: list[dict]) -> None:
    """Where two paths differ in their suffix alone, the suffix stays in the id."""
    times = Counter(row["image_id"] for row in rows)
    for row in rows:
        if times[row["image_id"]] > 1:
            row["image_id"] = row["path"]


def _frame(root: Path, rows: list[dict], labels: _Labels, dataset: str) -> pl.DataFrame:
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
