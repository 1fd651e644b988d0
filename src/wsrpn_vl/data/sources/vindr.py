"""VinDr-CXR as downloaded from PhysioNet (1.0.0) or from Kaggle (VinBigData competition), told apart by their tables.

PhysioNet: ``annotations/annotations_{train,test}.csv`` (boxes) and ``image_labels_{train,test}.csv``; Kaggle:
``train.csv``, its test images have no labels. Images are DICOM files or a converted copy; a resized one needs the
original sizes (``train_meta.csv`` with dim0 and dim1, or width and height, there or in ``train.csv``).

Each training image was read by three radiologists alone: their boxes are kept under their names, and fused into one
reference beside them (:mod:`wsrpn_vl.data.fusion`). The test set is a consensus and stays as it is. There are no
patient ids and no views; the authors state that all are PA.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.fusion import fuse_boxes
from wsrpn_vl.data.index import BOX_COLUMNS
from wsrpn_vl.data.pixels import is_dicom
from wsrpn_vl.data.sources.stored import Stored, find_stored, header_facts, scale_boxes, split_by_hash, with_plain
from wsrpn_vl.data.sources.tables import SourceTables, check_shares, clip_boxes, count_notes, locate
from wsrpn_vl.data.sources.vindr_tables import Readings, read_sizes, read_tables
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import label_column

SIZE_TABLES = ("train_meta.csv", "test_meta.csv")
DISPUTED = {"absent": True, "ignore": False}  # whether a finding without a reference box counts as absent


def build(
    root: Path | str,
    *,
    fuse: str = "cluster",
    fuse_iou: float = 0.0,
    fuse_readers: int = 2,
    labels: str = "majority",
    disputed: str = "ignore",
    val_share: float = 0.15,
    test_share: float = 0.0,
    seed: int = 0,
    size_table: str = "",
    check_files: bool = True,
    approximate: bool = False,
) -> SourceTables:
    """Tables of VinDr-CXR in ``root``.

    fuse, fuse_iou, fuse_readers: see :func:`wsrpn_vl.data.fusion.fuse_boxes`; labels: ``majority`` (1 if most readers
    say so, -1 if fewer, 0 if none) or ``any`` (1 if one does); disputed: ``absent`` (no reference box means no finding)
    or ``ignore`` (evaluation leaves out findings that readers name but do not place together); val_share, test_share:
    of the training images, drawn by a hash of the image id and ``seed`` (test_share only where the test set has no
    labels); size_table: CSV of the original sizes, relative to ``root``; check_files: False makes the index without
    looking for the images; approximate: also label what only roughly is a CheXpert observation.
    Raises: DataError for an unknown option, a missing or broken table, or if no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    policy = lookup("labels", labels, LABELS, DataError)
    complete = lookup("disputed", disputed, DISPUTED, DataError)
    readings = read_tables(root)
    images = _images(readings, policy, approximate)
    stored = _stored(root, readings, images, check_files)
    shares = (val_share, test_share if readings.dataset == "vindr_kaggle" else 0.0, seed)
    frame, classes = _frame(root, readings, images, stored, shares, approximate)
    own, broken = _own_boxes(root, readings, frame, size_table)
    reference = fuse_boxes(own.filter(pl.col("reader").is_not_null()), fuse, iou=fuse_iou, readers=fuse_readers)
    boxes = _boxes(own, reference, fuse)
    notes = (
        "views are PA by the authors' statement; patients are unknown, so train and val may share some",
        *stored.notes,
        *count_notes(
            (own.filter(pl.col("reader").is_not_null()).height, "box of one reader, kept under the reader's name"),
            (reference.height, f"reference box fused from them ({fuse})"),
            (_unplaced(frame, boxes, readings), "finding that most readers name, without a reference box"),
            (broken, "box without area inside its image, left out"),
            (readings.repeats, "row that repeats a box, left out"),
            (readings.mentions, "row of a finding without a box, used for labels alone"),
        ),
    )
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset=readings.dataset,
        classes=classes,
        box_complete={c: complete and c in readings.boxed for c in classes},
        boxed_classes=readings.boxed,
        text_origin="none",
        notes=notes,
        missing=stored.missing,
    )


def _majority(votes: pl.Expr, of: pl.Expr) -> pl.Expr:
    return pl.when(votes * 2 > of).then(1).when(votes > 0).then(-1).otherwise(0).cast(pl.Int8)


def _any(votes: pl.Expr, of: pl.Expr) -> pl.Expr:
    return (votes > 0).cast(pl.Int8)


LABELS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {"majority": _majority, "any": _any}


def _images(readings: Readings, policy: Callable[[pl.Expr, pl.Expr], pl.Expr], approximate: bool) -> pl.DataFrame:
    """One row per image: image_id, part, readers, labels, no_finding (null where readers disagree about it)."""
    said, classes = readings.said, list(readings.classes)
    if approximate:
        parts = _approximations(readings.classes)
        said = said.with_columns(
            pl.max_horizontal(map(label_column, p)).alias(label_column(c)) for c, p in parts.items()
        )
        classes += list(parts)
    names = pl.col("reader").drop_nulls()
    votes, of = pl.col("no_finding"), pl.col("readings")
    counts = said.group_by("image_id", "part", maintain_order=True).agg(
        pl.len().cast(pl.Int32).alias("readings"),
        names.sort_by(names.str.len_bytes(), names).str.join(";").alias("readers"),
        *(pl.col(c).cast(pl.Int32).sum() for c in (*map(label_column, classes), "no_finding")),
    )
    nothing = policy(votes, of) if policy is _majority else votes == of  # "any" finding is one
    return counts.select(
        "image_id",
        "part",
        pl.when(pl.col("readers") != "").then("readers").alias("readers"),
        *(policy(pl.col(c), of).alias(c) for c in map(label_column, classes)),
        nothing.cast(pl.Int8).replace(-1, None).alias("no_finding"),
    )


def _approximations(classes: tuple[str, ...]) -> dict[str, list[str]]:
    """Observation -> VinDr's classes that roughly say it."""
    out: dict[str, list[str]] = {}
    for name in mapping.table("vindr"):
        own = mapping.classes_of("vindr", name.native, "vindr.csv")[0]
        if name.fit == "off" and own in classes:
            out.setdefault(name.cls, []).append(own)
    return out


def _stored(root: Path, readings: Readings, images: pl.DataFrame, check_files: bool) -> Stored:
    base = readings.base.relative_to(root).as_posix()
    folder = "" if base == "." else f"{base}/"
    path = pl.concat_str(pl.lit(folder), "part", pl.lit("/"), "image_id", pl.lit(".dicom"))
    return find_stored(
        root, images.select("image_id", path.alias("path")), check_files=check_files, first=(".dicom", ".dcm")
    )


def _frame(
    root: Path,
    readings: Readings,
    images: pl.DataFrame,
    stored: Stored,
    shares: tuple[float, float, int],
    approximate: bool,
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    val, test, seed = shares
    joined = stored.frame.join(images, on="image_id", how="left", maintain_order="left")
    facts = header_facts(root, joined["path"].to_list(), look=joined["width"].null_count() == 0)
    drawn = split_by_hash(joined["image_id"].to_list(), val, test, seed)
    split = pl.when(pl.col("part") == "test").then(pl.lit("test")).otherwise(drawn)
    frame = joined.with_columns(split.alias("split"), facts["age"], facts["sex"]).drop("part")
    classes = (*readings.classes, *(_approximations(readings.classes) if approximate else ()))
    return mapping.with_observations(with_plain(frame, readings.dataset, view="PA"), classes)


def _own_boxes(root: Path, readings: Readings, frame: pl.DataFrame, size_table: str) -> tuple[pl.DataFrame, int]:
    """Boxes as drawn, in pixels of the stored files and inside them, and how many vanished by that."""
    boxes = readings.marks.join(frame.select("image_id"), on="image_id", how="semi", maintain_order="left")
    if frame["width"].null_count() or is_dicom(root / frame["path"][0]):
        return clip_boxes(boxes, frame)
    named = [root / size_table] if size_table else [locate(root, name) for name in SIZE_TABLES]
    tables = [path for path in named if path is not None]
    original = read_sizes(tables) if tables else readings.sizes
    if original is None:
        _refuse_resized(root, boxes, frame)
        return clip_boxes(boxes, frame)
    if (without := boxes.join(original, on="image_id", how="anti")).height:
        place = ", ".join(path.name for path in tables) or "the table"
        raise DataError(f"{root}: {place} has no original size of image {without['image_id'][0]!r}; complete it")
    return clip_boxes(scale_boxes(boxes, frame, original), frame)


def _refuse_resized(root: Path, boxes: pl.DataFrame, frame: pl.DataFrame) -> None:
    """Without original sizes, converted images must be of full size. Raises: DataError if boxes show that not."""
    joined = boxes.join(frame.select("image_id", "width", "height"), on="image_id", how="left", maintain_order="left")
    beyond = joined.filter((pl.col("x2") > pl.col("width") + 1) | (pl.col("y2") > pl.col("height") + 1))
    if beyond.height:
        raise DataError(
            f"{root}: a box of {beyond['image_id'][0]!r} (and {beyond.height - 1:,} more) leaves its image, so this is "
            f"a resized copy; put {SIZE_TABLES[0]} with image_id, dim0 (original height), dim1 (width) there"
        )


def _boxes(own: pl.DataFrame, reference: pl.DataFrame, fuse: str) -> pl.DataFrame:
    source = own.filter(pl.col("reader").is_not_null())["source"].unique()
    fused = reference.with_columns(
        pl.lit(None, dtype=pl.String).alias("reader"),
        pl.lit(f"{source[0]}, {fuse}" if len(source) else "").alias("source"),
    )
    columns = [*BOX_COLUMNS, pl.lit("lesion").alias("kind"), "reader"]
    return pl.concat([fused.select(columns), own.select(columns)])


def _unplaced(frame: pl.DataFrame, boxes: pl.DataFrame, readings: Readings) -> int:
    """(image, class) pairs with label 1 and no reference box."""
    columns = {label_column(c): c for c in readings.boxed}
    pairs = frame.select("image_id", *columns).unpivot(index="image_id", variable_name="label").filter(value=1)
    pairs = pairs.with_columns(pl.col("label").replace_strict(columns))
    placed = boxes.filter(pl.col("reader").is_null())
    return pairs.join(placed, on=["image_id", "label"], how="anti").height
