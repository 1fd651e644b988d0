"""NIH ChestX-ray14 as downloaded: from NIH Box (flat), Kaggle (nested), mixed, or a resized copy.

Needs ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``), ``train_val_list.txt``, ``test_list.txt`` and the
images anywhere below the root; ``BBox_List_2017.csv`` gives the reference boxes. Copies often keep the ``.png`` names
in the tables over ``.jpg`` files, so images are matched by stem. Boxes are stated in the 1024 pixel frame of the
original PNG files and scaled to the stored file. Labelled findings without a box are common on boxed images, so no
class is complete.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    box_frame,
    check_shares,
    count_notes,
    find_images,
    read_rows,
    read_table,
    share_of,
    sizes,
)
from wsrpn_vl.errors import DataError, nearest
from wsrpn_vl.labels import NIH14, NO_FINDING, label_column

ENTRY_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOX_FILE = "BBox_List_2017.csv"
TRAIN_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"
BOX_FRAME = 1024.0  # pixels, both ways
OLDEST = 120  # years; the 2017 table has a few impossible ages

CLASSES = mapping.index_classes("nih")


def build(root: Path | str, *, val_share: float = 0.15, seed: int = 0) -> SourceTables:
    """Tables of ChestX-ray14 in ``root``.

    Splits are those of NIH's lists; of ``train_val_list.txt`` about ``val_share`` of the patients become ``val``, drawn
    by a hash of the patient id and ``seed``. Images in neither list are in no split. Labels: the 14 native classes, and
    the CheXpert observations of another name as the maximum over their native classes.
    Raises: DataError if a table is missing or broken, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share)
    found, repeats = _files(root)
    entries = _entries(root)
    splits, strangers = _splits(root, entries, val_share, seed)
    here = [e for e in entries if e["image_id"] in found]
    missing = tuple(e["name"] for e in entries if e["image_id"] not in found)
    if not here:
        raise DataError(f"{root}: none of the table's {len(entries):,} images is there; unpack the images")
    paths = [found[e["image_id"]] for e in here]
    widths, heights = sizes(root, paths)
    frame = _frame(here, splits, paths, widths, heights)
    boxes, unplaced = _boxes(root, entries, frame)
    outside = 0 if boxes is None else len(set(boxes["image_id"]) - set(frame.filter(split="test")["image_id"]))
    notes = count_notes(
        (len(missing), "image of the table missing (see the .missing.txt list)"),
        (unplaced, "box of a missing image, left out"),
        (outside, "boxed image outside the test list"),
        (strangers, "name of the split lists not in the table"),
        (len(found.keys() - {e["image_id"] for e in entries}), "image file not in the table, left out"),
        (repeats, "image stored twice, the .png or the first by path is used"),
        (sum(e["impossible"] for e in here), f"age above {OLDEST}, left blank"),
    )
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset="nih",
        classes=CLASSES,
        box_complete=dict.fromkeys(CLASSES, False),
        boxed_classes=() if boxes is None else tuple(c for c in NIH14 if c in set(boxes["label"])),
        text_origin="none",
        notes=notes,
        missing=missing,
    )


def _files(root: Path) -> tuple[dict[str, str], int]:
    """Stem -> relative path of the images, and how many further copies there are."""
    found: dict[str, str] = {}
    paths = [p for p in find_images(root) if re.fullmatch(r"\d{8}_\d{3}", Path(p).stem)]
    for path in sorted(paths, key=lambda p: (Path(p).suffix.lower() != ".png", p)):
        found.setdefault(Path(path).stem, path)
    return found, len(paths) - len(found)


def _entries(root: Path) -> list[dict]:
    path = next((root / name for name in ENTRY_FILES if (root / name).is_file()), None)
    if path is None:
        raise DataError(f"{root}: no {' or '.join(ENTRY_FILES)}; put NIH's label table there")
    header, rows = read_table(path)
    sex = "Patient Sex" if "Patient Sex" in header else "Patient Gender"
    for name in ("Image Index", "Finding Labels", "Patient ID", "Patient Age", sex, "View Position"):
        if name not in header:
            raise DataError(f"{path}: column {name!r} is missing{nearest(name, header)}")
    entries = []
    for line, row in rows:
        name = row["Image Index"]
        image_id = Path(name).stem
        if not re.fullmatch(r"\d{8}_\d{3}", image_id):
            raise DataError(f"{path}: line {line}, Image Index={name!r}; expected a name such as 00000001_000.png")
        if row["Patient ID"].lstrip("0") != image_id[:8].lstrip("0"):
            stated = row["Patient ID"]
            raise DataError(f"{path}: line {line}, Patient ID={stated!r} is not that of {name!r}; download it again")
        years = row["Patient Age"].rstrip("Y")  # the 2017 table writes 058Y
        age = int(years) if years.isdigit() else None
        entries.append(
            {
                "name": name,
                "image_id": image_id,
                "positive": _findings(row["Finding Labels"], path, line),
                "age": age if age is not None and age <= OLDEST else None,
                "impossible": age is not None and age > OLDEST,
                "sex": row[sex] or None,
                "view": parse_view(row["View Position"]),
            }
        )
    return entries


def _findings(text: str, path: Path, line: int) -> frozenset[str]:
    names = [name for name in text.split("|") if name != NO_FINDING]
    return frozenset(cls for name in names for cls in mapping.classes_of("nih", name, f"{path}: line {line}"))


def _splits(root: Path, entries: list[dict], val_share: float, seed: int) -> tuple[dict[str, str], int]:
    """Image id -> split, and how many listed names the table lacks."""
    listed = {}
    for name in (TRAIN_LIST, TEST_LIST):
        if not (root / name).is_file():
            raise DataError(f"{root / name}: no such file; put NIH's split list there")
        listed[name] = {Path(fields[0]).stem for _, fields in read_rows(root / name)}
    if both := sorted(listed[TRAIN_LIST] & listed[TEST_LIST]):
        raise DataError(f"{root}: {both[0]!r} is in {TRAIN_LIST} and in {TEST_LIST}; download the lists again")
    splits = dict.fromkeys(listed[TEST_LIST], "test")
    for image_id in listed[TRAIN_LIST]:
        splits[image_id] = "val" if share_of(image_id[:8], seed) < val_share else "train"
    return splits, len(splits.keys() - {e["image_id"] for e in entries})


def _frame(
    entries: list[dict], splits: dict[str, str], paths: list[str], widths: list[int], heights: list[int]
) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "dataset": ["nih"] * len(entries),
            "split": [splits.get(e["image_id"], "") for e in entries],
            "image_id": [e["image_id"] for e in entries],
            "patient_id": [e["image_id"][:8] for e in entries],
            "study_id": pl.Series([None] * len(entries), dtype=pl.String),
            "view": [e["view"] for e in entries],
            "path": paths,
            "width": pl.Series(widths, dtype=pl.Int32),
            "height": pl.Series(heights, dtype=pl.Int32),
            **{label_column(c): pl.Series([int(c in e["positive"]) for e in entries], dtype=pl.Int8) for c in NIH14},
            "text": pl.Series([None] * len(entries), dtype=pl.String),
            "triples": pl.Series([None] * len(entries), dtype=pl.String),
            "age": pl.Series([e["age"] for e in entries], dtype=pl.Int32),
            "sex": pl.Series([e["sex"] for e in entries], dtype=pl.String),
        }
    )
    return mapping.with_observations(frame, NIH14)[0]


def _boxes(root: Path, entries: list[dict], frame: pl.DataFrame) -> tuple[pl.DataFrame | None, int]:
    """Boxes in pixels of the stored files, and how many belong to missing images; None without a box list.

    Read by position: the header's bracket is cut by its commas, and some copies end every row with more of them.
    """
    path = root / BOX_FILE
    if not path.is_file():
        return None, 0
    known = {e["image_id"] for e in entries}
    size = {row[0]: row[1:] for row in frame.select("image_id", "width", "height").iter_rows()}
    rows, unplaced = [], 0
    for line, fields in list(read_rows(path))[1:]:
        image_id, said = Path(fields[0]).stem, fields[1] if len(fields) > 1 else ""
        if image_id not in known:
            raise DataError(
                f"{path}: line {line}, image {fields[0]!r} is not in the label table; use lists of one release"
            )
        label = next(iter(mapping.classes_of("nih", said, f"{path}: line {line}")))
        try:
            x, y, w, h = (float(v) for v in fields[2:6])
        except ValueError:
            raise DataError(f"{path}: line {line} needs four numbers x, y, w, h in fields 3 to 6; correct it") from None
        if image_id not in size:
            unplaced += 1
            continue
        sx, sy = (extent / BOX_FRAME for extent in size[image_id])
        rows.append((image_id, label, x * sx, y * sy, (x + w) * sx, (y + h) * sy, BOX_FILE))
    return box_frame(rows), unplaced
