"""Tables of VinDr-CXR, from PhysioNet or from Kaggle, in one form: who read an image, said what, and boxed what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.sources.tables import csv_frame, locate, numbers, refuse_rows
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NO_FINDING, label_column

BOX_TRAIN, BOX_TEST = "annotations_train.csv", "annotations_test.csv"
LABEL_TRAIN, LABEL_TEST = "image_labels_train.csv", "image_labels_test.csv"
KAGGLE = "train.csv"
KAGGLE_NAMES = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration",
    "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis",
)  # fmt: skip
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other disease")  # classes said of the image, never boxed
_CORNERS = {"x_min": "x1", "y_min": "y1", "x_max": "x2", "y_max": "y2"}


@dataclass(frozen=True)
class Readings:
    """What was read. base: folder that holds ``train/``; boxed, classes: index classes with boxes, and all;

    said: one row per image and reader (null: consensus): image_id, part (train or test), reader, a 0/1 column per
    class, no_finding; marks: image_id, reader, label, x1, y1, x2, y2 in original pixels, source; sizes: image_id,
    width, height of the originals where the table states them; repeats: rows that say a box again; mentions: rows of a
    finding without a box.
    """

    dataset: str
    base: Path
    boxed: tuple[str, ...]
    classes: tuple[str, ...]
    said: pl.DataFrame
    marks: pl.DataFrame
    sizes: pl.DataFrame | None
    repeats: int
    mentions: int


def read_tables(root: Path) -> Readings:
    """Tables of whichever release lies in ``root``: PhysioNet's if its box table is there, else Kaggle's.

    Raises: DataError if there is neither, or for the first fault in them.
    """
    boxes = locate(root, BOX_TRAIN)
    if boxes is not None:
        return _physionet(boxes)
    table = locate(root, KAGGLE)
    if table is None:
        raise DataError(
            f"{root}: neither {BOX_TRAIN} (PhysioNet) nor {KAGGLE} (Kaggle) here or below; put VinDr-CXR's tables there"
        )
    return _kaggle(table)


def own_classes() -> tuple[str, ...]:
    """Index classes of VinDr's own 27 findings, the boxed ones first."""
    return tuple(dict.fromkeys(n.cls for n in mapping.table("vindr") if n.fit != "off"))


def _physionet(train: Path) -> Readings:
    folder, classes = train.parent, own_classes()
    test, label_train, label_test = (_beside(folder, name) for name in (BOX_TEST, LABEL_TRAIN, LABEL_TEST))
    said = pl.concat([_label_table(label_train, classes, "train"), _label_table(label_test, classes, "test")])
    both = said.group_by("image_id").agg(pl.col("part").n_unique()).filter(pl.col("part") > 1).sort("image_id")
    if both.height:
        raise DataError(f"{label_test}: image {both['image_id'][0]!r} is in {LABEL_TRAIN} too; download them again")
    parts = [_marks(train, "train"), _marks(test, "test")]
    for path, part, rows in zip((train, test), ("train", "test"), parts, strict=True):
        known = said.filter(part=part)["image_id"].unique()
        strange = ~pl.col("image_id").is_in(known.implode())
        refuse_rows(rows, path, "image_id", strange, "no such image in the table of image labels; download both again")
    base = folder.parent if folder.name == "annotations" else folder
    return _readings("vindr", base, classes, said, pl.concat(parts))


def _beside(folder: Path, name: str) -> Path:
    path = locate(folder, name, required="VinDr-CXR's table")
    assert path is not None  # required
    return path


def _kaggle(path: Path) -> Readings:
    rows = _marks(path, "train")
    refuse_rows(rows, path, "rad_id", pl.col("rad_id").is_null(), "name the reader")
    competition = {c for name in KAGGLE_NAMES for c in mapping.classes_of("vindr", name, KAGGLE)}
    classes = tuple(c for c in own_classes() if c in competition or c in set(rows["classes"].explode()))
    said = rows.group_by("image_id", "reader", maintain_order=True).agg(
        *(pl.col("classes").list.contains(c).any().cast(pl.Int8).alias(label_column(c)) for c in classes),
        (pl.col("classes").list.len() == 0).any().cast(pl.Int8).alias("no_finding"),
        part=pl.lit("train"),
    )
    mixed = said.filter((pl.col("no_finding") == 1) & pl.any_horizontal(pl.col(label_column(c)) == 1 for c in classes))
    if mixed.height:
        image_id, reader = mixed.row(0)[:2]
        raise DataError(f"{path}: image {image_id!r}, reader {reader}: a finding and no finding; download it again")
    return _readings("vindr_kaggle", path.parent, classes, said, rows)


def _readings(dataset: str, base: Path, classes: tuple[str, ...], said: pl.DataFrame, rows: pl.DataFrame) -> Readings:
    findings = rows.filter(pl.col("classes").list.len() > 0)
    boxes = findings.filter(pl.col("x1").is_not_null()).select(
        "image_id", "reader", pl.col("classes").list.first().alias("label"), *_CORNERS.values(), "source"
    )
    marks = boxes.unique(maintain_order=True)
    sizes = rows.select("image_id", "width", "height").drop_nulls().unique("image_id", maintain_order=True)
    return Readings(
        dataset=dataset,
        base=base,
        boxed=tuple(c for c in classes if c not in GLOBAL),
        classes=classes,
        said=said,
        marks=marks,
        sizes=sizes if sizes.height else None,
        repeats=boxes.height - marks.height,
        mentions=findings.height - boxes.height,
    )


def _marks(path: Path, part: str) -> pl.DataFrame:
    """Rows of a box table, checked: image_id, reader, class_name, classes (index classes, empty: no finding), corners.

    The consensus of the test set has no reader, whatever column a copy keeps.
    """
    frame = csv_frame(path, ("image_id", "class_name", *_CORNERS), ("rad_id", "class_id", "width", "height"))
    if frame.is_empty():
        raise DataError(f"{path}: the table has no rows; download it again")
    for column in ("image_id", "class_name"):
        refuse_rows(frame, path, column, pl.col(column).is_null(), "give a value")
    frame = numbers(frame, path, (*_CORNERS, "width", "height"))
    _check_ids(frame, path)
    names = _index_names(frame, path)
    reader = pl.col("rad_id") if part == "train" else pl.lit(None, dtype=pl.String)
    frame = frame.with_columns(
        classes=pl.col("class_name").replace_strict(names, return_dtype=pl.List(pl.String)),
        reader=reader,
        source=pl.lit(path.name.removesuffix(".gz")),
    )
    given = pl.sum_horizontal(pl.col(c).is_not_null() for c in _CORNERS)
    refuse_rows(frame, path, "class_name", ~given.is_in([0, 4]), "give all four corners, or none")
    healthy = pl.col("classes").list.len() == 0
    refuse_rows(frame, path, "class_name", healthy & (given > 0), "a row without a finding cannot have a box")
    return frame.rename(_CORNERS)


def _check_ids(frame: pl.DataFrame, path: Path) -> None:
    """A class name has one class_id throughout, if any: columns that slipped against each other show there."""
    pairs = frame.select("class_name", "class_id").drop_nulls().unique(maintain_order=True)
    for column, other in (("class_name", "class_id"), ("class_id", "class_name")):
        twice = pairs.group_by(column, maintain_order=True).len().filter(pl.col("len") > 1)
        if twice.height:
            value = twice[column][0]
            raise DataError(f"{path}: {column}={value!r} goes with more than one {other}; download the file again")


def _index_names(frame: pl.DataFrame, path: Path) -> dict[str, list[str]]:
    """Spelling -> the index class; an empty list for no finding."""
    names = {}
    for name in frame["class_name"].unique(maintain_order=True):
        if name.casefold() == NO_FINDING.casefold():
            names[name] = []
            continue
        row = frame["class_name"].index_of(name)
        names[name] = list(mapping.classes_of("vindr", name, f"{path}: data row {(row or 0) + 1}, class_name"))
    return names


def _label_table(path: Path, classes: tuple[str, ...], part: str) -> pl.DataFrame:
    """Image labels: image_id, reader, a 0/1 column per class, no_finding, part."""
    natives: dict[str, list[str]] = {}
    for name in mapping.table("vindr"):
        if name.fit != "off":
            natives.setdefault(name.cls, []).append(name.native)
    spelled = sorted({native for names in natives.values() for native in names})
    frame = csv_frame(path, ("image_id", NO_FINDING), ("rad_id", *spelled))
    refuse_rows(frame, path, "image_id", pl.col("image_id").is_null(), "give a value")
    present = [name for name in (*spelled, NO_FINDING) if frame[name].count()]
    frame = numbers(frame, path, present)
    columns = []
    for column in present:
        bad = pl.col(column).is_null() | ~pl.col(column).is_in([0.0, 1.0])
        refuse_rows(frame, path, column, bad, "use 0 or 1")
    for name in classes:
        parts = [pl.col(native) for native in natives[name] if native in present]
        if not parts:
            raise DataError(f"{path}: column {natives[name][0]!r} is missing; download the file again")
        columns.append(pl.max_horizontal(parts).cast(pl.Int8).alias(label_column(name)))
    reader = pl.col("rad_id") if part == "train" else pl.lit(None, dtype=pl.String)
    if part == "train":
        refuse_rows(frame, path, "rad_id", pl.col("rad_id").is_null(), "name the reader")
    keys = frame.select("image_id", reader.alias("reader"))
    if keys.is_duplicated().any():
        row = frame.filter(keys.is_duplicated())["image_id"][0]
        raise DataError(f"{path}: image {row!r} has two rows of one reader; download the file again")
    return frame.select(
        "image_id",
        reader.alias("reader"),
        *columns,
        pl.col(NO_FINDING).cast(pl.Int8).alias("no_finding"),
        part=pl.lit(part),
    )


def read_sizes(paths: Sequence[Path]) -> pl.DataFrame:
    """image_id, width, height of the originals, from the size tables of a resized copy.

    They have columns width and height, or dim0 (height) and dim1 (width). Raises: DataError if not.
    """
    frames = []
    for path in paths:
        frame = csv_frame(path, ("image_id",), ("width", "height", "dim0", "dim1"))
        pair = ("width", "height") if frame["width"].count() else ("dim1", "dim0")
        frame = numbers(frame, path, pair, pl.Int32)
        for column in pair:
            bad = pl.col(column).is_null() | (pl.col(column) < 1)
            refuse_rows(frame, path, column, bad, "give the original size as width and height, or dim0 and dim1")
        frames.append(frame.select("image_id", width=pair[0], height=pair[1]))
    return pl.concat(frames).unique("image_id", maintain_order=True)
