"""Labels that Google's radiologists gave 4,376 images of ChestX-ray14 (Majkowska et al., Radiology 2020).

Their table repeats NIH's columns and adds ``Fracture``, ``Pneumothorax``, ``Airspace opacity``, ``Nodule or mass`` (YES
or NO) and ``Set Id`` (val or test). NIH's own labels were read off reports by a program.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.data.sources.tables import csv_frame, refuse_rows
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import label_column

OBSERVED = {
    "Fracture": "Fracture",
    "Pneumothorax": "Pneumothorax",
    "Airspace opacity": "Lung Opacity",
    "Nodule or mass": "Lung Lesion",
}


def read_experts(path: Path) -> pl.DataFrame:
    """image_id, expert_set, and the label (1 or 0) of each observation that the experts looked for.

    Raises: DataError if the table cannot be read, says anything but YES and NO, or names an image twice.
    """
    frame = csv_frame(path, ("Image Index", *OBSERVED), ("Set Id",))
    named = pl.col("Image Index").str.contains(r"^\d{8}_\d{3}\.\w+$").fill_null(False)
    refuse_rows(frame, path, "Image Index", ~named, "expected a name such as 00000001_000.png")
    refuse_rows(frame, path, "Image Index", pl.col("Image Index").is_duplicated(), "keep one row per image")
    for column in OBSERVED:
        said = pl.col(column).str.to_uppercase().is_in(["YES", "NO"]).fill_null(False)
        refuse_rows(frame, path, column, ~said, "use YES or NO")
    return frame.select(
        pl.col("Image Index").str.split(".").list.first().alias("image_id"),
        pl.col("Set Id").alias("expert_set"),
        *((pl.col(c).str.to_uppercase() == "YES").cast(pl.Int8).alias(label_column(o)) for c, o in OBSERVED.items()),
    )


def with_experts(
    frame: pl.DataFrame, classes: tuple[str, ...], path: Path
) -> tuple[pl.DataFrame, tuple[str, ...], int]:
    """``frame`` with the experts' word on their images, its classes then, and how many images that are.

    An observation NIH has no label for is null (not mentioned) elsewhere. NIH's native ``Infiltration``, ``Nodule`` and
    ``Mass`` stay as they were: the experts did not look for these. Column ``expert_set`` is null elsewhere.
    Raises: DataError as :func:`read_experts`, or if no image is common.
    """
    told = read_experts(path)
    columns = [label_column(o) for o in OBSERVED.values()]
    joined = frame.join(told, on="image_id", how="left", maintain_order="left", suffix="_expert")
    read = joined["expert_set"].count() if told["expert_set"].count() else frame.join(told, on="image_id").height
    if not read:
        raise DataError(f"{path}: none of its {told.height:,} images is in the index; give a table of ChestX-ray14")
    native = [c for c in columns if c in frame.columns]
    joined = joined.with_columns(pl.coalesce(f"{c}_expert", c).alias(c) for c in native)
    joined = joined.drop(f"{c}_expert" for c in native)
    return joined, (*classes, *(o for o in OBSERVED.values() if o not in classes)), read
