"""NIH ChestX-ray14 as downloaded: from NIH Box (flat), Kaggle (nested), mixed, or a resized copy.

Needs ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``, packed or not), ``train_val_list.txt``,
``test_list.txt`` and the images, all anywhere below the root; ``BBox_List_2017.csv`` gives the reference boxes. Copies
often keep the ``.png`` names in the tables over ``.jpg`` files, so images are matched by stem. Boxes are stated in the
1024 pixel frame of the original PNG files and scaled to the stored file. Labelled findings without a box are common on
boxed images, so no class is complete.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.draws import share_of
from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.people import OLDEST, sex_of, years
from wsrpn_vl.data.sources.nih_experts import with_experts
from wsrpn_vl.data.sources.stored import find_stored, with_plain
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    box_frame,
    check_shares,
    count_notes,
    csv_frame,
    locate,
    read_rows,
    refuse_rows,
)
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NIH14, NO_FINDING, label_column

ENTRY_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOX_FILE = "BBox_List_2017.csv"
TRAIN_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"
SEX = ("Patient Gender", "Patient Sex")  # some re-releases say Sex
NAME = r"\d{8}_\d{3}"  # patient and follow-up number
BOX_FRAME = 1024.0  # pixels, both ways

CLASSES = mapping.index_classes("nih")


def build(
    root: Path | str, *, val_share: float = 0.15, seed: int = 0, experts: str = "", check_files: bool = True
) -> SourceTables:
    """Tables of ChestX-ray14 in ``root``.

    Splits are those of NIH's lists; of ``train_val_list.txt`` about ``val_share`` of the patients become ``val``, drawn
    by a hash of the patient id and ``seed``. Images in neither list are in no split. Labels: the 14 native classes, and
    the CheXpert observations of another name as the maximum over their native classes.
    experts: table of Google's radiologists (absolute or relative to ``root``), whose labels then replace the native
    ones where they speak (:mod:`wsrpn_vl.data.sources.nih_experts`); check_files: False makes the index without looking
    for the images.
    Raises: DataError if a table is missing or broken, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share)
    entries = _entries(root)
    splits, strangers = _splits(root, entries, val_share, seed)
    stored = find_stored(
        root,
        entries.select("image_id", "path"),
        check_files=check_files,
        size=int(BOX_FRAME),
        keep=lambda stem: re.fullmatch(NAME, stem) is not None,
        first=(".png",),
    )
    frame = _frame(entries, splits, stored.frame)
    boxes, unplaced = _boxes(root, entries, frame)
    outside = 0 if boxes is None else len(set(boxes["image_id"]) - set(frame.filter(split="test")["image_id"]))
    impossible = entries.filter("impossible").join(frame, on="image_id", how="semi")
    notes = count_notes(
        (unplaced, "box of a missing image, left out"),
        (outside, "boxed image outside the test list"),
        (strangers, "name of the split lists not in the table"),
        (impossible.height, f"age above {OLDEST} or no age, left blank"),
    )
    classes = CLASSES
    if experts:
        frame, classes, read = with_experts(frame, CLASSES, root / experts)
        notes += count_notes((read, "image with labels of Google's radiologists"))
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset="nih",
        classes=classes,
        box_complete=dict.fromkeys(classes, False),
        boxed_classes=() if boxes is None else tuple(c for c in NIH14 if c in set(boxes["label"])),
        text_origin="none",
        notes=(*stored.notes, *notes),
        missing=stored.missing,
    )


def _entries(root: Path) -> pl.DataFrame:
    """Rows of the label table, checked: ids, path, view, age, sex, impossible age, a 0/1 label per class."""
    path = locate(root, *ENTRY_FILES, required="NIH's label table")
    assert path is not None  # required
    required = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
    table = csv_frame(path, required, SEX)
    if not any(table[column].count() for column in SEX):
        raise DataError(f"{path}: neither of the columns {' and '.join(SEX)} has a value; download it again")
    named = pl.col("Image Index").str.contains(rf"^{NAME}\.\w+$").fill_null(False)
    refuse_rows(table, path, "Image Index", ~named, "expected a name such as 00000001_000.png")
    refuse_rows(table, path, "Image Index", pl.col("Image Index").is_duplicated(), "keep one row per image")
    refuse_rows(table, path, "Finding Labels", pl.col("Finding Labels").is_null(), "give a finding, or No Finding")
    patient = pl.col("Image Index").str.head(8)
    stated = pl.col("Patient ID").str.strip_chars_start("0") == patient.str.strip_chars_start("0")
    refuse_rows(table, path, "Patient ID", ~stated.fill_null(False), "not that of the image's name; download it again")
    found = _findings(table["Finding Labels"], path)
    views = {view: parse_view(view) for view in table["View Position"].drop_nulls().unique()}
    # the 2017 table writes 058Y and 011M, and has a few impossible ages
    ages = {text: years(text) for text in table["Patient Age"].drop_nulls().unique()}
    age = pl.col("Patient Age").replace_strict(ages, default=None, return_dtype=pl.Int32)
    sexes = {text: sex_of(text) for column in SEX for text in table[column].drop_nulls().unique()}
    return table.select(
        pl.col("Image Index").str.split(".").list.first().alias("image_id"),
        pl.concat_str(pl.lit("images/"), "Image Index").alias("path"),
        patient.alias("patient_id"),
        pl.col("View Position").replace(views).fill_null("UNK").alias("view"),
        age.alias("age"),
        pl.coalesce(SEX).replace_strict(sexes, default=None, return_dtype=pl.String).alias("sex"),
        (age.is_null() & pl.col("Patient Age").is_not_null()).alias("impossible"),
        (found.list.len() == 0).cast(pl.Int8).alias("no_finding"),
        *(found.list.contains(c).cast(pl.Int8).alias(label_column(c)) for c in NIH14),
    )


def _findings(said: pl.Series, path: Path) -> pl.Series:
    """Lists of classes; the few hundred combinations are parsed once each."""
    known = {}
    for text in said.unique(maintain_order=True):
        row = (said.index_of(text) or 0) + 1
        names = [name for name in text.split("|") if name != NO_FINDING]
        place = f"{path}: data row {row}, Finding Labels"
        known[text] = sorted({c for name in names for c in mapping.classes_of("nih", name, place)})
    return said.replace_strict(known, return_dtype=pl.List(pl.String))


def _splits(root: Path, entries: pl.DataFrame, val_share: float, seed: int) -> tuple[dict[str, str], int]:
    """Image id -> split, and how many listed names the table lacks."""
    train, test = (_listed(root, name) for name in (TRAIN_LIST, TEST_LIST))
    if both := sorted(train & test):
        raise DataError(f"{root}: {both[0]!r} is in {TRAIN_LIST} and in {TEST_LIST}; download the lists again")
    drawn = {patient: share_of(patient, seed) < val_share for patient in {image_id[:8] for image_id in train}}
    splits = dict.fromkeys(test, "test")
    splits |= {image_id: "val" if drawn[image_id[:8]] else "train" for image_id in train}
    return splits, len(splits.keys() - set(entries["image_id"]))


def _listed(root: Path, name: str) -> set[str]:
    """Image ids of a list, one file name to a line."""
    path = locate(root, name, required="NIH's split list")
    assert path is not None  # required
    names = set()
    for line, fields in read_rows(path):
        if not re.fullmatch(rf"{NAME}(\.\w+)?", fields[0]):
            raise DataError(f"{path}: line {line} is no name such as 00000001_000.png; download the list again")
        names.add(fields[0].partition(".")[0])
    if not names:
        raise DataError(f"{path}: the list is empty; download it again")
    return names


def _frame(entries: pl.DataFrame, splits: dict[str, str], stored: pl.DataFrame) -> pl.DataFrame:
    frame = stored.join(entries.drop("path"), on="image_id", how="left", maintain_order="left").drop("impossible")
    split = [splits.get(image_id, "") for image_id in frame["image_id"]]
    frame = with_plain(frame.with_columns(pl.Series("split", split, dtype=pl.String)), "nih")
    return mapping.with_observations(frame, NIH14)[0]


def _boxes(root: Path, entries: pl.DataFrame, frame: pl.DataFrame) -> tuple[pl.DataFrame | None, int]:
    """Boxes in pixels of the stored files, and how many belong to missing images; None without a box list.

    Read by position: the header's bracket is cut by its commas, and some copies end every row with more of them.
    """
    path = locate(root, BOX_FILE)
    if path is None:
        return None, 0
    known = set(entries["image_id"])
    size = {row[0]: row[1:] for row in frame.select("image_id", "width", "height").iter_rows()}
    rows, unplaced = [], 0
    listed = list(read_rows(path))[1:]
    if not listed:
        raise DataError(f"{path}: the list has no boxes; download it again")
    for line, fields in listed:
        image_id, said = Path(fields[0]).stem, fields[1] if len(fields) > 1 else ""
        if image_id not in known:
            raise DataError(
                f"{path}: line {line}, image {fields[0]!r} is not in the label table; use lists of one release"
            )
        label = next(iter(mapping.classes_of("nih", said, f"{path}: line {line}")))
        try:
            x, y, w, h = (float(v) for v in fields[2:6])
            if not all(map(math.isfinite, (x, y, w, h))):
                raise ValueError
        except ValueError:
            raise DataError(f"{path}: line {line} needs four numbers x, y, w, h in fields 3 to 6; correct it") from None
        if image_id not in size:
            unplaced += 1
            continue
        sx, sy = (extent / BOX_FRAME for extent in size[image_id])
        rows.append((image_id, label, x * sx, y * sy, (x + w) * sx, (y + h) * sy, BOX_FILE))
    return box_frame(rows), unplaced
