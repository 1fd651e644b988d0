"""RSNA Pneumonia Detection Challenge (Kaggle 2018): pneumonia-like opacities boxed on images of NIH ChestX-ray14.

Needs ``stage_2_train_labels.csv`` (patientId, x, y, width, height, Target; several rows for several boxes) and the
images of ``stage_2_train_images`` as DICOM files or converted; ``stage_2_detailed_class_info.csv`` tells normal images
from abnormal ones without opacity. Boxes are top-left and size in the 1024 pixel frame. The challenge's test images
have no labels and are left out, so val and test are drawn here.

``patientId`` names an image. The true patients are NIH's, known only through the organisers' mapping file
(``pneumonia-challenge-dataset-mappings_2018.json``: subset_img_id, img_id), option ``nih_map``.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import BOX_COLUMNS, parse_view
from wsrpn_vl.data.people import sex_of, years
from wsrpn_vl.data.sources.json_files import json_list
from wsrpn_vl.data.sources.stored import find_stored, header_facts, scale_boxes, split_by_hash, with_plain
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    check_shares,
    clip_boxes,
    count_notes,
    csv_frame,
    locate,
    numbers,
    refuse_rows,
)
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import label_column

LABEL_FILE, CLASS_FILE = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
HEADER_FILES = ("stage_2_train_images_dicom_headers.csv", "kaggle_stage_2_train_images_dicom_headers.csv")
FOLDER = "stage_2_train_images"
FRAME = 1024  # pixels, both ways
OPACITY, NORMAL = "Lung Opacity", "Normal"
_CORNERS = ("x", "y", "width", "height")
_HIDDEN = (
    "patients are unknown (patientId names an image; nih_map= tells them), so splits may share some; images are NIH "
    "ChestX-ray14 ones: never train on NIH and test here, or the other way round"
)
_KNOWN = "patients are NIH ChestX-ray14's: leave those of the test split out when training on NIH (exclude)"


def build(
    root: Path | str,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    nih_map: str = "",
    check_files: bool = True,
    approximate: bool = False,
) -> SourceTables:
    """Tables of the RSNA challenge in ``root``.

    val_share, test_share: of the images (of the patients with ``nih_map``), drawn by a hash of the id and ``seed``;
    nih_map: JSON or CSV file with subset_img_id and img_id, absolute or relative to ``root``; check_files: False makes
    the index without looking for the images; approximate: the opacities also count as the observation Pneumonia.
    Raises: DataError if a table is missing or broken, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    rows, path = _label_rows(root)
    images = _images(rows, path).join(_normal(root, rows, path), on="image_id", how="left", maintain_order="left")
    if nih_map:
        images = images.join(_nih(root, nih_map, images), on="image_id", how="left", maintain_order="left")
    base = path.parent.relative_to(root).as_posix()
    folder = FOLDER if base == "." else f"{base}/{FOLDER}"
    expected = images.select("image_id", path=pl.concat_str(pl.lit(f"{folder}/"), "image_id", pl.lit(".dcm")))
    stored = find_stored(root, expected, check_files=check_files, size=FRAME, first=(".dcm", ".dicom"))
    frame = stored.frame.join(images, on="image_id", how="left", maintain_order="left")
    frame = frame.hstack(_facts(root, frame, look=check_files))
    key = pl.coalesce("patient_id", "image_id") if nih_map else pl.col("image_id")
    keys = frame.select(key).to_series().to_list()
    frame = with_plain(frame.with_columns(split_by_hash(keys, val_share, test_share, seed)), "rsna")
    boxes, broken = clip_boxes(scale_boxes(_boxes(rows), stored.frame, FRAME), frame)
    classes = mapping.classes_of("rsna", OPACITY, "rsna.csv", approximate=approximate)
    frame = frame.with_columns(pl.col("target").alias(label_column(c)) for c in classes).drop("target")
    notes = count_notes((broken, "box without area inside its image, left out"))
    return SourceTables(
        frame=frame,
        boxes=boxes.select(*BOX_COLUMNS, "kind"),
        dataset="rsna",
        classes=classes,
        box_complete={c: c == OPACITY for c in classes},
        boxed_classes=(OPACITY,),
        text_origin="none",
        notes=(_KNOWN if nih_map else _HIDDEN, *stored.notes, *notes),
        missing=stored.missing,
    )


def _label_rows(root: Path) -> tuple[pl.DataFrame, Path]:
    """Rows of the label table, checked, and its path."""
    path = locate(root, LABEL_FILE, required="RSNA's labels")
    assert path is not None  # required
    frame = csv_frame(path, ("patientId", *_CORNERS, "Target"))
    refuse_rows(frame, path, "patientId", pl.col("patientId").is_null(), "give a value")
    frame = numbers(numbers(frame, path, _CORNERS), path, ("Target",), pl.Int8)
    refuse_rows(frame, path, "Target", ~pl.col("Target").is_in([0, 1]).fill_null(False), "use 0 or 1")
    given = pl.sum_horizontal(pl.col(c).is_not_null() for c in _CORNERS)
    wrong = given != pl.when(pl.col("Target") == 1).then(4).otherwise(0)
    refuse_rows(frame, path, "Target", wrong, "1 needs x, y, width and height, 0 has none of them")
    both = pl.col("Target").min().over("patientId") != pl.col("Target").max().over("patientId")
    refuse_rows(frame, path, "patientId", both, "this image has Target 0 and 1; download the file again")
    return frame.rename({"patientId": "image_id"}), path


def _images(rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    images = rows.group_by("image_id", maintain_order=True).agg(pl.col("Target").first().alias("target"))
    if images.is_empty():
        raise DataError(f"{path}: the table has no rows; download it again")
    return images


def _normal(root: Path, rows: pl.DataFrame, label_path: Path) -> pl.DataFrame:
    """image_id and no_finding: 1 for normal images, 0 with an opacity, null for other abnormal ones or if untold."""
    positive = rows.select("image_id", no_finding=pl.when(pl.col("Target") == 1).then(0).cast(pl.Int8)).unique()
    path = locate(root, CLASS_FILE)
    if path is None:
        return positive
    frame = csv_frame(path, ("patientId", "class"))
    if frame.is_empty():
        raise DataError(f"{path}: the table has no rows; download it again")
    for column in ("patientId", "class"):
        refuse_rows(frame, path, column, pl.col(column).is_null(), "give a value")
    kinds = {}
    for name in frame["class"].unique(maintain_order=True):
        row = (frame["class"].index_of(name) or 0) + 1
        named = mapping.classes_of("rsna", name, f"{path}: data row {row}, class")
        kinds[name] = 0 if named else 1 if " ".join(name.split()).casefold() == NORMAL.casefold() else None
    told = frame.select("patientId", "class", kind=pl.col("class").replace_strict(kinds, return_dtype=pl.Int8)).join(
        positive, left_on="patientId", right_on="image_id", how="left", maintain_order="left"
    )
    # null: the image has no row in the label table (Kaggle's test images), or no opacity
    clash = (pl.col("no_finding") == 0) & (pl.col("kind") != 0).fill_null(True)
    known = pl.col("patientId").is_in(rows["image_id"].unique().implode())
    clash = clash | (known & pl.col("no_finding").is_null() & (pl.col("kind") == 0).fill_null(False))
    refuse_rows(told, path, "class", clash, f"contradicts {label_path.name}; use tables of one stage")
    return told.select(image_id="patientId", no_finding="kind").unique("image_id", maintain_order=True)


def _nih(root: Path, nih_map: str, images: pl.DataFrame) -> pl.DataFrame:
    """image_id, patient_id (NIH's 8 digits) and nih_image of a mapping file."""
    path = root / nih_map  # an absolute path stays as it is
    if path.suffix.lower() == ".json":
        items = json_list(path)
        keys = ("subset_img_id", "img_id")
        if not all(isinstance(item, dict) and all(isinstance(item.get(k), str) for k in keys) for item in items):
            raise DataError(f"{path}: an item lacks subset_img_id or img_id; download the file again")
        frame = pl.DataFrame([[item[k] for k in keys] for item in items], schema=keys, orient="row")
    else:
        frame = csv_frame(path, ("subset_img_id", "img_id"))
    bad = ~pl.col("img_id").str.contains(r"^\d{8}_\d{3}(\.png)?$").fill_null(False)
    refuse_rows(frame, path, "img_id", bad, "expected a name of NIH ChestX-ray14 such as 00000001_000.png")
    image = pl.col("img_id").str.strip_suffix(".png")
    frame = frame.select(image_id="subset_img_id", patient_id=image.str.head(8), nih_image=image)
    refuse_rows(frame, path, "image_id", pl.col("image_id").is_duplicated(), "appears twice; keep one row per image")
    if (without := images.join(frame, on="image_id", how="anti")).height:
        raise DataError(f"{path}: image {without['image_id'][0]!r} is not in it; give the mapping of the whole set")
    return frame


def _facts(root: Path, frame: pl.DataFrame, *, look: bool) -> pl.DataFrame:
    """view, age, sex: from the table of DICOM headers where there is one, else from the files."""
    path = locate(root, *HEADER_FILES)
    if path is None:
        return header_facts(root, frame["path"].to_list(), look=look)
    told = csv_frame(path, ("PatientID",), ("ViewPosition", "PatientAge", "PatientSex"))
    told = told.unique("PatientID", maintain_order=True)
    joined = frame.select("image_id").join(
        told, left_on="image_id", right_on="PatientID", how="left", maintain_order="left"
    )
    return pl.DataFrame(
        {
            "view": [parse_view(value) for value in joined["ViewPosition"]],
            "age": pl.Series([years(value) for value in joined["PatientAge"]], dtype=pl.Int32),
            "sex": pl.Series([sex_of(value) for value in joined["PatientSex"]], dtype=pl.String),
        }
    )


def _boxes(rows: pl.DataFrame) -> pl.DataFrame:
    """All boxes, xyxy in the original frame."""
    x, y, w, h = (pl.col(c) for c in _CORNERS)
    return rows.filter(pl.col("Target") == 1).select(
        "image_id",
        x1=x,
        y1=y,
        x2=x + w,
        y2=y + h,
        label=pl.lit(OPACITY),
        source=pl.lit(LABEL_FILE),
        kind=pl.lit("lesion"),
    )
