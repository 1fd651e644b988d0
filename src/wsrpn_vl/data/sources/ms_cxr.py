"""MS-CXR as a test set of phrases and their boxes on MIMIC-CXR images (Boecking et al. 2022, PhysioNet).

ROOT is the folder of ``MS_CXR_Local_Alignment_v1.1.0.csv`` (or 1.0.0, or the COCO JSON); the images are those of
MIMIC-CXR-JPG, below ROOT or in ``images``, which may hold the boxed ones alone. Every image is in ``test``. A boxed
class is positive; the others have MIMIC-CXR's labels where its tables lie beside the images, and are unknown otherwise.
A phrase with several boxes keeps them all: group the boxes by image and ``phrase``. Only some findings were boxed, so
no class is complete. Source: data format reference §6.3.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.sources import mimic_boxes, mimic_files, mimic_tables
from wsrpn_vl.data.sources.tables import SourceTables, boxed_among, count_notes, existing, locate, refuse_rows
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS, label_column

CLASSES = OBSERVATIONS
BOXED = mapping.index_classes("ms_cxr")
_PATH = r"files/p\d\d/p(\d{8})/s(\d{8})/[^/]+$"


def build(root: Path | str, *, images: str = "", labels: str = "chexpert") -> SourceTables:
    """Tables of MS-CXR in ``root``.

    images: folder of MIMIC-CXR-JPG (or of the DICOM project, or of copies in the same tree), empty: ``root``; labels:
    ``chexpert``, ``negbio``, ``both`` or ``none``, of the findings without a box. The text of an image is its phrases.
    Raises: DataError if the boxes are missing or broken, or no image is found.
    """
    path = mimic_boxes.find_boxes("ms_cxr", Path(root), "")
    if path is None:
        raise DataError(f"{root}: no {mimic_boxes.FILES['ms_cxr'][0]} here or below; put the boxes of MS-CXR there")
    drawn = mimic_boxes.read_boxes("ms_cxr", path)
    place = Path(images) if images else Path(root)
    frame, absent = _present(place, _frame(drawn, path))
    frame, more = _with_views(place, frame)
    boxes, notes = mimic_boxes.place_boxes(drawn, frame, "MS-CXR")
    frame, labelled = _with_labels(place, frame, boxes, labels)
    phrases = boxes.unique(["image_id", "label", "phrase"]).height
    people = frame["patient_id"].n_unique()
    counted = f"{frame.height:,} images of {people:,} patients, {boxes.height:,} boxes of {phrases:,} phrases"
    unseen = count_notes((len(absent), "image with boxes missing (see the .missing.txt list)"))
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset="ms_cxr",
        classes=CLASSES,
        box_complete=dict.fromkeys(CLASSES, False),
        boxed_classes=boxed_among(CLASSES, boxes),
        text_origin="report",
        notes=(counted, *unseen, *notes, *more, *labelled),
        missing=absent,
        root=place,
    )


def _frame(drawn: pl.DataFrame, path: Path) -> pl.DataFrame:
    """One row per image with boxes, in the order of the file."""
    elsewhere = ~pl.col("path").str.contains(_PATH).fill_null(False)
    refuse_rows(drawn, path, "path", elsewhere, "expected files/p1x/p…/s…/….jpg", quoted=False)
    size = ("image_width", "image_height")
    frame = drawn.group_by("image_id", maintain_order=True).agg(
        pl.col("path").first(),
        *(pl.col(c).first().cast(pl.Int32).alias(c.removeprefix("image_")) for c in size),
        pl.col("phrase").drop_nulls().unique(maintain_order=True).str.strip_chars_end(".").str.join(". ").alias("text"),
        pl.col(*size).n_unique().name.suffix("_said"),
    )
    for name in size:
        several = pl.col(f"{name}_said") > 1
        refuse_rows(frame, path, "image_id", several, f"more than one {name}; download the file again", quoted=False)
    ids = pl.col("path").str.extract_groups(_PATH)
    return frame.select(
        pl.lit("ms_cxr").alias("dataset"),
        pl.lit("test").alias("split"),
        "image_id",
        ids.struct[0].alias("patient_id"),
        ids.struct[1].alias("study_id"),
        "path",
        "width",
        "height",
        pl.when(pl.col("text") != "").then("text").alias("text"),
        pl.lit(None, dtype=pl.String).alias("triples"),
        pl.lit(True).alias("boxes_read"),
    )


def _present(place: Path, frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with the paths of the images that are there, and those of the others."""
    tree = mimic_files.image_tree(place, "auto", None)
    if tree is None:
        raise DataError(f"{place}: no images below a folder files/p10 to p19; give images=FOLDER of MIMIC-CXR-JPG")
    at = tree.folder.relative_to(place).as_posix()
    rule = mimic_files.image_path(next(iter(tree.kinds)))
    frame = frame.with_columns(rule).with_columns(
        pl.format("{}{}", pl.lit("" if at == "." else f"{at}/"), "path").alias("path")
    )
    found = existing(place, frame["path"])
    here = frame.filter(pl.col("path").is_in(sorted(found)))
    if here.height == 0:
        raise DataError(f"{place}: none of the {frame.height:,} images with boxes is there; download them")
    return here, tuple(path for path in frame["path"] if path not in found)


def _with_views(place: Path, frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with view and size from MIMIC-CXR-JPG's metadata where that is there."""
    if locate(place, mimic_tables.METADATA) is None:
        return frame.with_columns(pl.lit("UNK").alias("view")), (f"no {mimic_tables.METADATA}: views are unknown",)
    known = mimic_tables.read_images(place)[0].select(
        "image_id", "view", "view_from", "study_datetime", pl.col("width", "height").name.suffix(":2")
    )
    joined = frame.join(known, on="image_id", how="left", maintain_order="left")
    strangers = joined["view"].null_count()
    notes = count_notes((strangers, "image with boxes that the metadata does not have, its view is unknown"))
    sizes = (pl.coalesce(f"{name}:2", name).alias(name) for name in ("width", "height"))
    return joined.with_columns(pl.col("view").fill_null("UNK"), *sizes).drop("width:2", "height:2"), notes


def _with_labels(
    place: Path, frame: pl.DataFrame, boxes: pl.DataFrame, labels: str
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with labels: 1 where there is a box, else those of the study."""
    files = lookup("labels", labels, mimic_tables.LABELLERS, DataError)
    absent = [mimic_tables.LABELS[name] for name in files if locate(place, mimic_tables.LABELS[name]) is None]
    table, notes = mimic_tables.read_labels(place, "none" if absent else labels)
    if absent or labels == "none":
        notes = (f"no {absent[0] if absent else 'labels wanted'}: findings without a box are unknown",)
    joined = frame.join(table, on="study_id", how="left", maintain_order="left")
    for name in BOXED:
        column, drawn = label_column(name), boxes.filter(label=name)["image_id"].implode()
        joined = joined.with_columns(
            pl.when(pl.col("image_id").is_in(drawn)).then(1).otherwise(column).cast(pl.Int8).alias(column)
        )
    abnormal = pl.col("image_id").is_in(boxes["image_id"].implode())
    return joined.with_columns(pl.when(~abnormal).then("no_finding").alias("no_finding")), notes
