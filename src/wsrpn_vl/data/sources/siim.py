"""SIIM-ACR Pneumothorax Segmentation (Kaggle 2019): pneumothoraces outlined on images of NIH ChestX-ray14.

Needs ``train-rle.csv`` (``ImageId, EncodedPixels``, a blank before the second name; up to 10 rows per image, united;
``-1`` for none) and the images: ``dicom-images-train/<study>/<series>/<image>.dcm`` as downloaded, or any flat or
converted copy. Masks lie in a 1024 pixel frame, run-length coded (:mod:`wsrpn_vl.data.rle`); their boxes are scaled to
the stored files. The challenge's test images have no labels and are left out, so val and test are drawn here.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import BOX_COLUMNS
from wsrpn_vl.data.rle import MODES, decode_siim, mask_boxes, run_boxes, siim_runs
from wsrpn_vl.data.sources.stored import find_stored, header_facts, scale_boxes, split_by_hash, with_plain
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    box_frame,
    check_shares,
    clip_boxes,
    count_notes,
    csv_frame,
    locate,
    refuse_rows,
)
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import label_column

TABLES = ("train-rle.csv", "stage_2_train.csv")
FOLDER = "dicom-images-train"
FRAME = 1024  # pixels, both ways
CLASS = "Pneumothorax"
LEAK = (
    "patients are unknown, so splits may share some; images are NIH ChestX-ray14 ones under new names: never train on "
    "NIH and test here, or the other way round"
)


def build(
    root: Path | str,
    *,
    boxes: str = "component",
    min_area: float = 100.0,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    check_files: bool = True,
) -> SourceTables:
    """Tables of the SIIM-ACR challenge in ``root``.

    boxes: ``component`` (one per connected part of an image's mask) or ``union`` (one around all of it); min_area: area
    in pixels of the 1024 frame below which the box of a part is a slip of the pen and left out (never an image's
    largest); val_share, test_share: of the images, drawn by a hash of the image id (of a study with several images, the
    first one's) and ``seed``; check_files: False makes the index without looking for the images.
    Raises: DataError if the table is missing or broken, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    lookup("boxes", boxes, dict.fromkeys(MODES), DataError)
    rows, path = _rows(root)
    images = rows.group_by("image_id", maintain_order=True).agg(label=pl.col("positive").max().cast(pl.Int8))
    expected = images.select("image_id", path=pl.concat_str(pl.lit(f"{FOLDER}/"), "image_id", pl.lit(".dcm")))
    stored = find_stored(root, expected, check_files=check_files, size=FRAME, first=(".dcm", ".dicom"))
    frame = stored.frame.join(images, on="image_id", how="left", maintain_order="left")
    frame = frame.with_columns(
        pl.Series("study_id", [_study(p) for p in frame["path"]], dtype=pl.String),
        *header_facts(root, frame["path"].to_list(), look=check_files),
    )
    first = pl.col("image_id").min().over("study_id")
    keys = frame.select(pl.when(pl.col("study_id").is_null()).then("image_id").otherwise(first)).to_series().to_list()
    frame = frame.with_columns(split_by_hash(keys, val_share, test_share, seed)).rename({"label": label_column(CLASS)})
    drawn = box_frame(_mask_boxes(rows, frame, path, boxes), "kind")
    area = (pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1"))
    whole = drawn.filter((area >= min_area) | (area == area.max().over("image_id")))
    placed, broken = clip_boxes(scale_boxes(whole, stored.frame, FRAME), frame)
    spread = rows.filter("positive").group_by("image_id").len()
    notes = count_notes(
        (spread.filter(pl.col("len") > 1).height, "image with several mask rows, united"),
        (drawn.height - whole.height, f"part of a mask of less than {min_area:g} pixels, left out"),
        (broken, "box without area inside its image, left out"),
    )
    return SourceTables(
        frame=with_plain(frame, "siim"),
        boxes=placed.select(*BOX_COLUMNS, "kind"),
        dataset="siim",
        classes=mapping.index_classes("siim"),
        box_complete={CLASS: True},
        boxed_classes=(CLASS,),
        text_origin="none",
        notes=(LEAK, *stored.notes, *notes),
        missing=stored.missing,
    )


def _rows(root: Path) -> tuple[pl.DataFrame, Path]:
    """image_id, EncodedPixels, positive; and the table's path."""
    path = locate(root, *TABLES, required="SIIM-ACR's masks")
    assert path is not None  # required
    frame = csv_frame(path, ("ImageId", "EncodedPixels"))
    if frame.is_empty():
        raise DataError(f"{path}: the table has no rows; download it again")
    for column in ("ImageId", "EncodedPixels"):
        refuse_rows(frame, path, column, pl.col(column).is_null(), "give a value (-1 for no pneumothorax)")
    frame = frame.with_columns(positive=pl.col("EncodedPixels") != "-1")
    both = pl.col("positive").any().over("ImageId") & ~pl.col("positive")
    refuse_rows(frame, path, "ImageId", both, "this image has masks and -1; download the file again")
    return frame.rename({"ImageId": "image_id"}).with_row_index("row", offset=1), path


def _study(path: str) -> str | None:
    """The study's id, which is the name of the second folder above a file as downloaded; None in other copies."""
    folders = PurePosixPath(path).parts[:-1]
    two = folders[-2:]
    return two[0] if len(two) == 2 and all(re.fullmatch(r"\d+(\.\d+){3,}", name) for name in two) else None


def _mask_boxes(rows: pl.DataFrame, frame: pl.DataFrame, path: Path, mode: str) -> list[tuple]:
    """(image_id, class, xyxy in the original frame, source, kind) of each image's united masks."""
    here = rows.filter("positive").join(frame.select("image_id"), on="image_id", how="semi", maintain_order="left")
    found = []
    for (image_id,), group in here.group_by("image_id", maintain_order=True):
        texts = [(f"{path}: data row {n}, EncodedPixels", t) for n, t in group.select("row", "EncodedPixels").rows()]
        if len(texts) == 1:  # most images; no need to fill a picture for them
            place, text = texts[0]
            boxes = run_boxes(siim_runs(text, FRAME, FRAME, place), FRAME, FRAME, mode)
        else:
            masks = [decode_siim(text, FRAME, FRAME, place) for place, text in texts]
            boxes = mask_boxes(np.logical_or.reduce(masks), mode)
        found += [(image_id, CLASS, *box, path.name.removesuffix(".gz"), "mask") for box in boxes]
    return found
