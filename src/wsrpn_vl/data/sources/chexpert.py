"""CheXpert v1.0 as downloaded: full size, ``-small``, under another name, or in the batches of the full download.

Needs ``train.csv``; reads ``valid.csv`` and, from CheXlocalize, ``test_labels.csv`` (``groundtruth.csv``) where they
are. Paths in the tables begin with the name that the folder once had, and batches keep no ``train`` folder, so an image
is known by what cannot change: patient, study and view file, of whatever suffix. Labels are of the study, copied to
each image: read from the report by a labeller in ``train.csv`` (1, 0, -1 uncertain, blank not mentioned), given by
radiologists (1, 0) in the others. Nothing is boxed; see the source ``chexlocalize``.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.draws import share_of
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    check_shares,
    count_notes,
    csv_frame,
    find_images,
    locate,
    numbers,
    refuse_rows,
    sizes,
)
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import NO_FINDING, label_column

CLASSES = mapping.index_classes("chexpert")
TEST_FILES = ("test_labels.csv", "groundtruth.csv")
VAL_SPLITS = {"official": "", "share": ""}
OLDEST = 120  # years
_KEY = r"(?i)(patient\d+)[/\\]+(study\d+)[/\\]+(view\d+_(?:frontal|lateral))\.\w+$"
_DICOM = (".dcm", ".dicom")  # slower to read than a picture of the same image
PEOPLE = ("Sex", "Age", "Frontal/Lateral", "AP/PA")  # test_labels.csv has none of them
_SEXES = {"male": "M", "female": "F"}


def build(
    root: Path | str,
    *,
    val: str = "official",
    val_share: float = 0.05,
    seed: int = 0,
    measure: bool = False,
    check_files: bool = True,
) -> SourceTables:
    """Tables of CheXpert in ``root`` (the folder with ``train.csv``, or one up to four above it).

    val: ``official`` (the default) keeps ``valid.csv`` as ``val``, and the test labels as ``test``; ``share`` makes
    about ``val_share`` of the training patients ``val``, drawn by a hash of the patient id and ``seed``, and all that
    radiologists labelled ``test``, as papers did while the test set was hidden. measure: read width and height of
    each image (minutes for all), else they are null. check_files: false takes the tables' word for what is there.
    Raises: DataError if ``train.csv`` is missing or a table broken, or no image is found.
    """
    root = Path(root)
    lookup("val", val, VAL_SPLITS, DataError)
    check_shares(val_share=val_share)
    train = locate(root, "train.csv", required="CheXpert's label table")
    tables, notes = [read_labels(train, "train")], ()
    for split, names in (("val", ("valid.csv",)), ("test", TEST_FILES)):
        path = locate(train.parent, *names) or locate(root, *names)
        if path is not None:
            tables.append(read_labels(path, split))
        elif split == "val":
            notes = ("no valid.csv: the images that radiologists labelled are missing",)
    table = with_splits(pl.concat(tables), val, val_share, seed)
    if check_files:
        frame, missing, counted = place(table, root, train.parent)
    else:
        folder = train.parent.relative_to(root).as_posix()
        frame, missing, counted = table.with_columns(path=_stated(folder)), (), ()
    frame, odd = finish(frame, "chexpert", root, measure)
    return SourceTables(
        frame=frame,
        boxes=None,
        dataset="chexpert",
        classes=CLASSES,
        box_complete=dict.fromkeys(CLASSES, False),
        boxed_classes=(),
        text_origin="none",
        notes=notes + counted + odd,
        missing=missing,
    )


def read_labels(path: Path, split: str) -> pl.DataFrame:
    """A label table as strings and labels: ``said`` (path), ids, ``split``, :data:`PEOPLE`, labels of the classes.

    Raises: DataError for a missing column, a path that names no image, or a label other than 1, 0, -1 and blank.
    """
    own = {name: label_column(name) for name in CLASSES} | {NO_FINDING: "no_finding"}
    frame = csv_frame(path, ("Path", *own), PEOPLE)
    frame = with_ids(frame, path, "Path").with_columns(split=pl.lit(split))
    return label_values(frame, path, tuple(own)).rename({"Path": "said", **own})


def with_ids(frame: pl.DataFrame, path: Path, column: str, *, quoted: bool = True) -> pl.DataFrame:
    """``frame`` with ``patient_id``, ``study_id`` and ``image_id`` from the paths in ``column``.

    quoted: as for :func:`wsrpn_vl.data.sources.tables.refuse_rows`.

    Raises: DataError for a path that does not end like ``patient00001/study1/view1_frontal.jpg``.
    """
    parts = [pl.col(column).str.extract(_KEY, group).str.to_lowercase() for group in (1, 2, 3)]
    refuse_rows(
        frame,
        path,
        column,
        pl.col(column).str.contains(_KEY).fill_null(False).not_(),
        "expected a path such as train/patient00001/study1/view1_frontal.jpg",
        quoted=quoted,
    )
    return frame.with_columns(
        patient_id=parts[0],
        study_id=pl.concat_str(parts[:2], separator="_"),
        image_id=pl.concat_str(parts, separator="_"),
    )


def label_values(frame: pl.DataFrame, path: Path, names: tuple[str, ...]) -> pl.DataFrame:
    """Label columns as Int8; ``No Finding`` is never uncertain. Raises: DataError for another value."""
    frame = numbers(frame, path, names, pl.Int8)
    for name in names:
        known, said = ([1, 0], "1, 0") if name == NO_FINDING else ([1, 0, -1], "1, 0, -1 (uncertain)")
        refuse_rows(frame, path, name, ~pl.col(name).is_in(known), f"use {said} or blank (not mentioned)")
    return frame


def with_splits(frame: pl.DataFrame, val: str, val_share: float, seed: int) -> pl.DataFrame:
    """``split`` as :func:`build` says, from ``train``, ``val`` and ``test`` as the files have it."""
    if val == "official":
        return frame
    patients = frame.filter(split="train")["patient_id"].unique()
    held = [patient for patient in patients if share_of(patient, seed) < val_share]
    own = pl.when(pl.col("patient_id").is_in(held)).then(pl.lit("val")).otherwise(pl.lit("train"))
    return frame.with_columns(split=pl.when(pl.col("split") == "train").then(own).otherwise(pl.lit("test")))


def place(table: pl.DataFrame, root: Path, first: Path) -> tuple[pl.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """Rows of ``table`` whose image is below ``root`` with its ``path``, the missing ones' names, and notes.

    first: folder whose images are preferred where there are copies.
    Raises: DataError if none is there.
    """
    found, repeats = files(root, first)
    paths = pl.DataFrame(list(found.items()), schema={"image_id": pl.String, "path": pl.String}, orient="row")
    frame = table.join(paths, on="image_id", how="left", maintain_order="left")
    missing = tuple(frame.filter(pl.col("path").is_null())["said"])
    frame = frame.filter(pl.col("path").is_not_null())
    if frame.is_empty():
        raise DataError(f"{root}: none of the tables' {len(missing):,} images is there; unpack the images below it")
    extra = len(found.keys() - set(table["image_id"]))
    return (
        frame,
        missing,
        count_notes(
            (len(missing), "image of the tables missing (see the .missing.txt list)"),
            (extra, "image file not in the tables, left out"),
            (repeats, "image stored twice, one is used (pictures before DICOM, then by path)"),
        ),
    )


def files(root: Path, first: Path) -> tuple[dict[str, str], int]:
    """Image id -> relative path of the images below ``root``, and how many further copies there are."""
    inside = "" if first == root else f"{first.relative_to(root).as_posix()}/"
    found: dict[str, str] = {}
    count = 0
    for path in sorted(find_images(root), key=lambda p: (not p.startswith(inside), p.lower().endswith(_DICOM), p)):
        if key := re.search(_KEY, path):
            count += 1
            found.setdefault("_".join(key.groups()).lower(), path)
    return found, count - len(found)


def finish(frame: pl.DataFrame, dataset: str, root: Path, measure: bool) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The index's columns from those of :func:`read_labels` and ``path``, and notes on odd values.

    A frontal image whose ``AP/PA`` says ``LL`` or ``RL`` contradicts itself and is of unknown view. Age 0 and sex
    ``Unknown`` become null: no newborn is in the data set.
    """
    side = pl.col("Frontal/Lateral").str.to_lowercase().fill_null(pl.col("image_id").str.extract(r"_([a-z]+)$"))
    beam = pl.col("AP/PA").str.to_uppercase()
    age = pl.col("Age").cast(pl.Float64, strict=False).floor()
    age = pl.when(age.is_between(1, OLDEST)).then(age).cast(pl.Int32)
    sex = pl.col("Sex").str.to_lowercase().replace_strict(_SEXES, default=None, return_dtype=pl.String)
    odd = (
        ((side == "frontal") & ~beam.is_in(["AP", "PA"]), "frontal image whose AP/PA is neither, view unknown"),
        (age.is_null() & pl.col("Age").is_not_null(), f"age 0, above {OLDEST} or no number, left blank"),
        (sex.is_null() & pl.col("Sex").is_not_null(), "sex neither Male nor Female, left blank"),
    )
    notes = count_notes(*((frame.select(where.sum()).item(), what) for where, what in odd))
    frame = frame.with_columns(
        dataset=pl.lit(dataset),
        view=pl.when(side == "lateral").then(pl.lit("LAT")).when(beam.is_in(["AP", "PA"])).then(beam),
        age=age,
        sex=sex,
        text=pl.lit(None, dtype=pl.String) if "text" not in frame.columns else pl.col("text"),
        triples=pl.lit(None, dtype=pl.String),
        width=pl.lit(None, dtype=pl.Int32),
        height=pl.lit(None, dtype=pl.Int32),
    ).with_columns(pl.col("view").fill_null("UNK"))
    if measure:
        widths, heights = sizes(root, frame["path"])
        frame = frame.with_columns(width=pl.Series(widths, dtype=pl.Int32), height=pl.Series(heights, dtype=pl.Int32))
    return frame.drop("said", *PEOPLE), notes


def _stated(folder: str) -> pl.Expr:
    """Path below the root by the table's word: its last four parts, in the table's folder."""
    tail = pl.col("said").str.replace_all(r"\\", "/").str.extract(r"([^/]+/[^/]+/[^/]+/[^/]+)$")
    return tail if folder == "." else pl.concat_str(pl.lit(f"{folder}/"), tail)
