"""The tables of MIMIC-CXR-JPG: one row per image from metadata and split, one row of labels per study.

Columns are selected by name. Source: data format reference §1.3 to §1.6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.sources.tables import count_notes, csv_frame, locate, numbers, refuse_rows
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS, label_column

METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv"
LABELS = {"chexpert": "mimic-cxr-2.0.0-chexpert.csv", "negbio": "mimic-cxr-2.0.0-negbio.csv"}
LABELLERS = {"chexpert": ("chexpert",), "negbio": ("negbio",), "both": ("chexpert", "negbio"), "none": ()}
TEST_LABELS = "mimic-cxr-2.1.0-test-set-labeled.csv"
RECORDS = "cxr-record-list.csv"
SPLIT_WORDS = {"train": "train", "validate": "val", "test": "test"}
LABEL_COLUMNS = (*(label_column(name) for name in OBSERVATIONS), "no_finding")

_VIEW, _CODE, _EXAM = "ViewPosition", "ViewCodeSequence_CodeMeaning", "PerformedProcedureStepDescription"
_PROCEDURE = "ProcedureCodeSequence_CodeMeaning"
_IDS = ("dicom_id", "subject_id", "study_id")
_RENAMED = {"dicom_id": "image_id", "subject_id": "patient_id"}
_FORMS = {"dicom_id": r"^[0-9a-f]{8}(-[0-9a-f]{8}){4}$", "subject_id": r"^\d{8}$", "study_id": r"^\d{8}$"}
# a lateral decubitus is a frontal view of somebody who lies on the side; obliques and swimmer's views are neither
_NEITHER = re.compile(r"DECUB|OBLI|LORDOT|AXIAL|SWIMMER|\b[LR]LD\b|\b[LR][AP]O\b")
# an examination's name tells the view only if it names a single one and nothing but the chest
_EXAM_WORDS = {"CHEST", "CXR", "RADIOGRAPH", "PORTABLE", "PORT", "ONLY", "SINGLE", "VIEW", "UPRIGHT", "ERECT", "SUPINE"}
_EXAM_WORDS |= {"PRE", "OP", "PREOP", "AP", "PA", "LAT", "LATERAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR"}


def read_images(root: Path) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """All images of the metadata table, the table's path, and notes.

    Columns: image_id, patient_id, study_id, split, view, view_from (which column told the view, null: none),
    view_position (as written), width, height, study_datetime (ISO, in the patient's shifted time), study_order (1 = the
    patient's first study of the table).
    Raises: DataError if a table is missing or broken, an image appears twice, or the tables contradict each other.
    """
    path = locate(root, METADATA, required="the metadata table of MIMIC-CXR-JPG")
    further = (_EXAM, "StudyDate", "StudyTime", _PROCEDURE, _CODE)
    raw = csv_frame(path, (*_IDS, _VIEW, "Rows", "Columns"), further)
    raw = numbers(_checked(raw, path), path, ("Rows", "Columns"), pl.Int32)
    for name in ("Rows", "Columns"):
        refuse_rows(raw, path, name, pl.col(name).is_null() | (pl.col(name) < 1), "expected a number of pixels")
    raw = _with_views(_with_times(raw, path))
    raw = raw.rename(_RENAMED | {"Columns": "width", "Rows": "height", _VIEW: "view_position"})
    frame, notes = _with_splits(raw, path, root)
    undated = int((raw["StudyDate"].is_not_null() & raw["study_datetime"].is_null()).sum())
    notes += count_notes(
        (undated, "image whose date or time of study is no such thing, left blank"),
        (_derived(frame, _CODE), f"image without {_VIEW}, its view taken from {_CODE}"),
        (_derived(frame, _EXAM), f"image without {_VIEW}, its view taken from the name of the examination"),
    )
    columns = ("image_id", "patient_id", "study_id", "split", "view", "view_from", "view_position", "width", "height")
    return frame.select(*columns, "study_datetime", "study_order"), path, notes + _twins(path)


def read_records(root: Path) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """As :func:`read_images`, from the DICOM project's list alone: ids; neither split, view, size nor time."""
    path = locate(root, RECORDS, required="the list of the DICOM project, or the tables of MIMIC-CXR-JPG")
    frame = _checked(csv_frame(path, _IDS), path).rename(_RENAMED)
    unknown = {"view_from": pl.String, "view_position": pl.String, "width": pl.Int32, "height": pl.Int32}
    unknown |= {"study_datetime": pl.String, "study_order": pl.Int32}
    blank = (pl.lit(None, dtype=dtype).alias(name) for name, dtype in unknown.items())
    frame = frame.with_columns(pl.lit("").alias("split"), pl.lit("UNK").alias("view"), *blank)
    return frame, path, ("no tables of MIMIC-CXR-JPG here: no split, view, size, date or label",)


def read_labels(root: Path, labels: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """study_id and :data:`LABEL_COLUMNS` of each study a labeller read: ``chexpert``, ``negbio``, ``both`` or ``none``.

    ``both``: what the two agree on; a class on which they differ is null.
    Raises: DataError if a table is missing or broken, or names a study twice.
    """
    tables, notes = [], ()
    for labeller in lookup("labels", labels, LABELLERS, DataError):
        path = locate(root, LABELS[labeller], required="the labels of MIMIC-CXR-JPG, or give labels=none")
        tables.append(_label_table(path))
        notes += _twins(path)
    if not tables:
        blank = {"study_id": pl.String} | dict.fromkeys(LABEL_COLUMNS, pl.Int8)
        return pl.DataFrame(schema=blank), ("labels=none: no image has a label",)
    if len(tables) == 1:
        return tables[0], notes
    joined = tables[0].join(tables[1], on="study_id", how="full", suffix=":2", coalesce=True, maintain_order="left")
    same = {name: pl.col(name).eq_missing(pl.col(f"{name}:2")) for name in LABEL_COLUMNS}
    differing = int(joined.select(pl.sum_horizontal((~s).sum() for s in same.values())).item())
    agreed = joined.select("study_id", *(pl.when(s).then(pl.col(name)).alias(name) for name, s in same.items()))
    return agreed, notes + count_notes((differing, "label on which CheXpert and NegBio differ, left blank"))


def with_test_labels(root: Path, frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with a radiologist's labels in place of a labeller's, for the studies of the test split that have them.

    Raises: DataError if the table (version 2.1.0 alone has it) is missing or broken.
    """
    path = locate(root, TEST_LABELS, required="the radiologist's labels of version 2.1.0, or leave test_labels out")
    judged = _label_table(path)
    test = frame.filter(split="test")["study_id"].unique()
    used = judged.filter(pl.col("study_id").is_in(test.implode()))
    joined = frame.join(used.with_columns(judged=True), on="study_id", how="left", suffix=":2", maintain_order="left")
    by_hand = pl.col("judged").fill_null(False)
    chosen = (pl.when(by_hand).then(f"{name}:2").otherwise(name).alias(name) for name in LABEL_COLUMNS)
    notes = count_notes(
        (used.height, "study of the test split with the labels of a radiologist"),
        (len(test) - used.height, "study of the test split with the labels of a labeller"),
        (judged.height - used.height, f"study of {path.name} that the test split of this index does not have"),
    )
    return joined.with_columns(chosen).select(frame.columns), notes


def _twins(path: Path) -> tuple[str, ...]:
    """A note if a table lies there unpacked and packed; the unpacked one is read."""
    packed = path.with_name(f"{path.name}.gz")
    return (f"{path.name} is read, {packed.name} beside it is not",) if packed.is_file() else ()


def _checked(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """``frame`` with ids of the right form; ``p10000001`` and ``s50000001`` lose their letters."""
    if frame.height == 0:
        raise DataError(f"{path}: the table has no rows; download it again")
    frame = frame.with_columns(
        pl.col(name).str.strip_prefix(letter) for name, letter in (("subject_id", "p"), ("study_id", "s"))
    )
    for name in _IDS:
        bad = pl.col(name).is_null() | ~pl.col(name).str.contains(_FORMS[name])
        refuse_rows(frame, path, name, bad, "not an id of MIMIC-CXR; download the table again")
    refuse_rows(
        frame, path, "dicom_id", ~pl.col("dicom_id").is_first_distinct(), "this image appears twice; keep one row"
    )
    return frame


def _with_times(raw: pl.DataFrame, path: Path) -> pl.DataFrame:
    """study_datetime and study_order. Times are numbers that lost their leading zeros: 80556.875 is 08:05:56.875."""
    raw = numbers(raw, path, ("StudyTime",))
    clock = (pl.col("StudyTime") * 1000).round().cast(pl.Int64, strict=False).cast(pl.String).str.zfill(9)
    stamp = pl.concat_str(pl.col("StudyDate"), clock.str.slice(0, 6), pl.lit("."), clock.str.slice(6))
    raw = raw.with_columns(stamp.str.to_datetime("%Y%m%d%H%M%S%.3f", strict=False, time_unit="ms").alias("stamp"))
    first = pl.col("stamp").min().over("study_id")
    return raw.with_columns(
        first.rank("dense").over("subject_id").cast(pl.Int32).alias("study_order"),
        pl.col("stamp").dt.strftime("%Y-%m-%dT%H:%M:%S.%3f").alias("study_datetime"),
    )


def _with_views(raw: pl.DataFrame) -> pl.DataFrame:
    """view and view_from, worked out once for each set of words; the first column that tells anything counts."""
    words = raw.select(_VIEW, _CODE, _EXAM, _PROCEDURE).unique()
    told = [_view(*row) for row in words.iter_rows()]
    views = words.with_columns(
        pl.Series("view", [view for view, _ in told], dtype=pl.String),
        pl.Series("view_from", [origin for _, origin in told], dtype=pl.String),
    )
    return raw.join(views, on=[_VIEW, _CODE, _EXAM, _PROCEDURE], how="left", nulls_equal=True, maintain_order="left")


def _view(position: str | None, code: str | None, exam: str | None, procedure: str | None) -> tuple[str, str | None]:
    if position:
        return _plain_view(position), _VIEW
    if code:
        return _plain_view(code), _CODE
    told = {view for text in (exam, procedure) if (view := _exam_view(text)) != "UNK"}
    return (told.pop(), _EXAM) if len(told) == 1 else ("UNK", None)


def _plain_view(text: str) -> str:
    return "UNK" if _NEITHER.search(text.upper()) else parse_view(text)


def _exam_view(text: str | None) -> str:
    words = re.findall(r"[A-Z]+", (text or "").upper().replace("O-", "O"))
    return parse_view(text) if _EXAM_WORDS.issuperset(words) else "UNK"


def _derived(frame: pl.DataFrame, origin: str) -> int:
    return frame.filter((pl.col("view_from") == origin) & (pl.col("view") != "UNK")).height


def _with_splits(frame: pl.DataFrame, metadata: Path, root: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    path = locate(root, SPLIT, required="the official split of MIMIC-CXR-JPG")
    split = _checked(csv_frame(path, (*_IDS, "split")), path)
    known = pl.col("split").is_in(list(SPLIT_WORDS))
    refuse_rows(split, path, "split", ~known.fill_null(False), f"expected {', '.join(SPLIT_WORDS)}; download it again")
    split = split.rename(_RENAMED).with_columns(pl.col("split").replace_strict(SPLIT_WORDS))
    joined = frame.join(split, on="image_id", how="left", suffix=":2", maintain_order="left")
    for name in ("patient_id", "study_id"):
        other = pl.col(f"{name}:2")
        refuse_rows(joined, metadata, name, pl.col(name) != other, f"{path.name} says another; use one release")
    apart = joined.filter(pl.col("split").is_null())
    strangers = split.join(frame, on="image_id", how="anti").height
    notes = count_notes(
        (apart["study_id"].n_unique(), "study of the metadata not in the split table, in no split"),
        (apart.height, "image of the metadata not in the split table, in no split"),
        (strangers, "image of the split table not in the metadata, left out"),
    )
    return joined.with_columns(pl.col("split").fill_null("")), notes + _twins(path)


def _label_table(path: Path) -> pl.DataFrame:
    natives = _natives(path)
    raw = csv_frame(path, ("study_id", *natives)).with_columns(pl.col("study_id").str.strip_prefix("s"))
    other = pl.col("study_id").is_null() | ~pl.col("study_id").str.contains(_FORMS["study_id"])
    refuse_rows(raw, path, "study_id", other, "not a study of MIMIC-CXR; download the table again")
    refuse_rows(
        raw, path, "study_id", ~pl.col("study_id").is_first_distinct(), "this study appears twice; keep one row"
    )
    raw = numbers(raw, path, natives)
    for name in natives:
        refuse_rows(raw, path, name, ~pl.col(name).is_in([1.0, 0.0, -1.0]), "expected 1.0, 0.0, -1.0 or nothing")
    named = (pl.col(native).cast(pl.Int8).alias(column) for native, column in zip(natives, LABEL_COLUMNS, strict=True))
    return raw.select("study_id", *named).with_columns(pl.col("no_finding").replace(-1, None))


def _natives(path: Path) -> Sequence[str]:
    """What the table calls the observations and No Finding, in the order of :data:`LABEL_COLUMNS`."""
    try:
        header = pl.read_csv(path, n_rows=0, infer_schema=False, glob=False).columns
    except (OSError, pl.exceptions.PolarsError):
        header = []  # what is wrong is said when the table is read
    have = {name.removeprefix("\ufeff").strip().casefold() for name in header}
    spellings = {name: [n.native for n in mapping.table("mimic") if n.cls == name] for name in OBSERVATIONS}
    named = [next((s for s in spellings[o] if s.casefold() in have), o) for o in OBSERVATIONS]
    return (*named, NO_FINDING)
