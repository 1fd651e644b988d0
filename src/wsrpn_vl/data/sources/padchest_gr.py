"""PadChest-GR: 4,555 frontal radiographs of PadChest with a sentence and boxes for each finding.

Needs ``grounded_reports_20240819.json``, ``master_table.csv`` (plain, ``.gz`` or ``.csv.zip``) and the 16-bit PNG files
anywhere below the root (``Padchest_GR_files/PadChest_GR/``). They come as ``PadChest_GR.zip.001`` to ``.037``, pieces
of one zip file that have to be joined first. Views are stated only by PadChest's own label table; it is read if it lies
below the root too. All images are in PadChest as well: leave them out of a PadChest training set.

Boxes are corners as fractions of width and height. Up to two readers boxed each sentence: ``boxes`` is the reference,
``extra_boxes`` the second reader's. Negative sentences have no boxes, and may lack the keys. The file's own finding
names are PadChest's; one that PadChest's table does not know is an error unless ``unknown=skip``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.people import OLDEST
from wsrpn_vl.data.sources import padchest
from wsrpn_vl.data.sources import padchest_words as words
from wsrpn_vl.data.sources.json_files import json_list
from wsrpn_vl.data.sources.stored import Stored, find_stored, image_stem
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    box_frame,
    clip_boxes,
    count_notes,
    csv_frame,
    locate,
    numbers,
    refuse_rows,
)
from wsrpn_vl.errors import DataError, first_line, lookup
from wsrpn_vl.files import BROKEN_ZIP
from wsrpn_vl.labels import label_column
from wsrpn_vl.text.layout import mimic_look
from wsrpn_vl.text.triples import Triple, to_json

REPORTS, MASTER, PART = "grounded_reports_20240819.json", "master_table.csv", "PadChest_GR.zip.001"
SECOND = "second"  # reader of extra_boxes
SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
_REQUIRED = ("StudyID", "PatientID", "split")
_OPTIONAL = ("study_is_benchmark", "PatientAge", "PatientSex_DICOM")


@dataclass
class _Study:
    """One study of the JSON file. held: class -> boxes of its sentences."""

    image_id: str
    file: str
    study_id: str
    earlier: str  # image of the study before, which comes along in a folder of its own
    sentences: list[str] = field(default_factory=list)
    triples: list[Triple] = field(default_factory=list)
    boxes: list[tuple] = field(default_factory=list)  # (class, reader, phrase, x1, y1, x2, y2), fractions
    present: set[str] = field(default_factory=set)
    suggested: set[str] = field(default_factory=set)  # classes that approximate names alone speak of
    abnormal: bool = False
    whole: bool = True  # each positive sentence says what it found
    strange: int = 0  # names that nobody knows


def build(
    root: Path | str,
    *,
    complete: str = "benchmark",
    extra_boxes: str = "reader",
    blank: str = "negative",
    unknown: str = "error",
    approximate: bool = False,
) -> SourceTables:
    """Tables of PadChest-GR in ``root``, with the official splits.

    complete: ``benchmark``: in a study marked ``study_is_benchmark`` no box means no finding, except for a finding that
    has a sentence and no box; ``none``: it never does; extra_boxes: ``reader`` keeps the second reader's boxes under
    that reader's name, ``reference`` adds them to the reference, ``none`` leaves them out; blank: a finding without a
    positive sentence is 0 (``negative``) or blank (``null``); unknown: ``error`` or ``skip`` names of no table.
    Raises: DataError naming the study, sentence and field of the first fault, or if no image is found.
    """
    root = Path(root)
    for option, value, known in (
        ("complete", complete, ("benchmark", "none")),
        ("extra_boxes", extra_boxes, ("reader", "reference", "none")),
        ("blank", blank, ("negative", "null")),
        ("unknown", unknown, ("error", "skip")),
    ):
        lookup(f"{option} of source 'padchest_gr':", value, dict.fromkeys(known), DataError)
    studies = _studies(root, unknown == "skip", approximate)
    stored, packed = _find(root, studies)
    found = set(stored.frame["image_id"])
    here = [study for study in studies if study.image_id in found]
    classes = mapping.index_classes("padchest", approximate=approximate)
    frame = _frame(here, stored.frame, classes, 0 if blank == "negative" else None, extra_boxes)
    frame = _with_tables(root, frame, _master(root))
    boxes, vanished = clip_boxes(_boxes(here, frame, extra_boxes), frame)
    boxed = set(boxes["label"])
    notes = count_notes(
        (frame["patient_id"].null_count(), f"study not in {MASTER}, in no split"),
        (sum(not s.whole for s in here), "study with a positive sentence without a known label, no label is 0"),
        (sum(s.strange for s in here), "unknown finding name, left out"),
        (vanished, "box without area inside its image, left out"),
    )
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset="padchest_gr",
        classes=classes,
        box_complete={c: complete == "benchmark" and c in boxed for c in classes},
        boxed_classes=tuple(c for c in classes if c in boxed),
        text_origin="report",
        notes=stored.notes + packed + notes,
        missing=stored.missing,
    )


def _studies(root: Path, skip: bool, approximate: bool) -> list[_Study]:
    path = locate(root, REPORTS, required="PadChest-GR's reports")
    assert path is not None
    studies, seen = [], set()
    for number, item in enumerate(json_list(path), start=1):
        place = f"{path}: study {number}"
        item = _typed(item, dict, place, "a study with StudyID, ImageID and findings")
        name = _typed(item.get("ImageID"), str, f"{place}, ImageID", "a file name")
        study = _Study(
            image_id=image_stem(name),
            file=name,
            study_id=_typed(item.get("StudyID"), str, f"{place}, StudyID", "text"),
            earlier=image_stem(str(item.get("PreviousImageID") or "")),
        )
        if not study.image_id or study.image_id in seen:
            raise DataError(f"{place}, ImageID={name!r}: empty, or in the file twice; download it again")
        seen.add(study.image_id)
        findings = _typed(item.get("findings") or [], list, f"{place}, findings", "a list")
        for at, finding in enumerate(findings, start=1):
            where = f"{place}, finding {at}"
            _add(study, _typed(finding, dict, where, "an object with sentence_en"), where, skip, approximate)
        studies.append(study)
    return studies


def _typed(value: Any, kind: type, place: str, what: str) -> Any:
    if not isinstance(value, kind):
        raise DataError(f"{place}: expected {what}; download the file again")
    return value


def _add(study: _Study, finding: dict, place: str, skip: bool, approximate: bool) -> None:
    """One sentence: its words, labels, triples and boxes."""
    sentence = " ".join(_typed(finding.get("sentence_en") or "", str, f"{place}, sentence_en", "text").split())
    if sentence:
        study.sentences.append(sentence if sentence.endswith((".", "?", "!")) else f"{sentence}.")
    lists = {
        name: words.names_of(_typed(finding.get(name) or [], list, f"{place}, {name}", "a list"), f"{place}, {name}")
        for name in ("labels", "locations")
    }
    names = [name for name in lists["labels"] if name and name.lower() != words.NORMAL]
    locs = [name.removeprefix("loc ") for name in lists["locations"] if name]
    boxes = [(None, box) for box in _corners(finding.get("boxes"), f"{place}, boxes")]
    boxes += [(SECOND, box) for box in _corners(finding.get("extra_boxes"), f"{place}, extra_boxes")]
    positive = finding.get("abnormal")
    positive = (
        bool(names or boxes) if positive is None else _typed(positive, bool, f"{place}, abnormal", "true or false")
    )
    known, held = [], set()
    for name in names:
        try:
            bare = words.split_side(name)[0]
            held |= set(mapping.classes_of("padchest", bare, f"{place}, labels", approximate=approximate))
        except DataError:
            if not skip:
                raise
            study.strange += 1
        else:
            known.append(name)
    if positive:
        study.present |= held
        bare = [words.split_side(name)[0] for name in known]
        study.suggested |= mapping.doubtful("padchest", bare, f"{place}, labels", approximate=approximate)
        study.boxes += [(cls, reader, sentence or None, *box) for cls in sorted(held) for reader, box in boxes]
    study.abnormal |= positive
    study.whole &= not positive or bool(known)
    triples = words.triples_of(known, locs, "padchest", f"{place}, labels")
    study.triples += triples if positive else (replace(triple, polarity="negative") for triple in triples)


def _corners(boxes: Any, place: str) -> list[tuple[float, ...]]:
    """Corners as fractions of the image; a little outside is left to clipping."""
    out = []
    for box in _typed(boxes or [], list, place, "a list of boxes"):
        numeric = isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)
        if not numeric or not all(-0.5 <= v <= 1.5 for v in box):
            raise DataError(f"{place}: expected x1, y1, x2, y2 as fractions from 0 to 1; download the file again")
        out.append(tuple(float(v) for v in box))
    return out


def _master(root: Path) -> pl.DataFrame:
    """One row per study: split, patient_id, benchmark, age, sex."""
    path = locate(root, MASTER) or locate(root, f"{MASTER}.zip", required="the splits and patients of PadChest-GR")
    assert path is not None
    table = csv_frame(path, _REQUIRED, _OPTIONAL, content=_unzipped(path) if path.suffix == ".zip" else None)
    for column in _REQUIRED:
        refuse_rows(table, path, column, pl.col(column).is_null(), "give a value; download the file again")
    unknown = ~pl.col("split").str.to_lowercase().is_in(list(SPLITS))
    refuse_rows(table, path, "split", unknown, "expected train, validation or test; correct it")
    for column in ("split", "PatientID"):
        several = pl.col(column).n_unique().over("StudyID") > 1
        refuse_rows(table, path, "StudyID", several, f"the study has more than one {column}; download the file again")
    table = numbers(table, path, ["PatientAge"])
    return table.unique("StudyID", keep="first", maintain_order=True).select(
        pl.col("StudyID").alias("study_id"),
        pl.col("split").str.to_lowercase().replace_strict(SPLITS),
        pl.col("PatientID").alias("patient_id"),
        pl.col("study_is_benchmark").str.to_lowercase().is_in(["true", "1", "1.0"]).fill_null(False).alias("benchmark"),
        pl.when(pl.col("PatientAge").is_between(0, OLDEST))
        .then(pl.col("PatientAge").floor())
        .cast(pl.Int32)
        .alias("age"),
        pl.when(pl.col("PatientSex_DICOM").is_in(["M", "F"])).then("PatientSex_DICOM").alias("sex"),
    )


def _unzipped(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.rpartition("/")[2] == MASTER]
            return archive.read(names[0])
    except (IndexError, *BROKEN_ZIP) as error:
        raise DataError(f"{path}: no readable {MASTER} inside ({first_line(error)}); download it again") from None


def _find(root: Path, studies: Sequence[_Study]) -> tuple[Stored, tuple[str, ...]]:
    """The images that are there, and how to join the pieces that the others lie in."""
    expected = pl.DataFrame({"image_id": [s.image_id for s in studies], "path": [s.file for s in studies]})
    earlier = {s.earlier for s in studies} - set(expected["image_id"])
    part = locate(root, PART)
    mend = "unpack the images"
    if part is not None:
        whole = part.with_suffix("").name
        mend = f"in {part.parent} join the pieces and unpack them: cat {whole}.0* > {whole} && unzip {whole}"
    stored = find_stored(
        root, expected, check_files=True, keep=lambda stem: stem not in earlier, first=(".png",), mend=mend
    )
    return stored, (f"missing images: {mend}",) if part is not None and stored.missing else ()


def _frame(
    studies: list[_Study], stored: pl.DataFrame, classes: Sequence[str], zero: int | None, extra: str
) -> pl.DataFrame:
    """Index columns of the studies, without split, person and view; ``_placed``: each positive finding has a box."""
    labels = {label_column(c): pl.Series([_label(s, c, zero) for s in studies], dtype=pl.Int8) for c in classes}
    texts = [mimic_look([("FINDINGS", " ".join(s.sentences))]) or None for s in studies]
    who = [SECOND if extra == "reader" and any(box[1] for box in s.boxes) else None for s in studies]
    placed = [s.present <= {box[0] for box in s.boxes if not box[1] or extra == "reference"} for s in studies]
    frame = pl.DataFrame(
        {
            "dataset": ["padchest_gr"] * len(studies),
            "image_id": [s.image_id for s in studies],
            "study_id": [s.study_id for s in studies],
            "text": pl.Series(texts, dtype=pl.String),
            "triples": [to_json(dict.fromkeys(s.triples)) for s in studies],
            **labels,
            "no_finding": pl.Series([int(not s.abnormal) for s in studies], dtype=pl.Int8),
            "readers": pl.Series(who, dtype=pl.String),
            "_placed": placed,
        }
    )
    return frame.join(stored, on="image_id", how="left", maintain_order="left")


def _label(study: _Study, cls: str, zero: int | None) -> int | None:
    if cls in study.present:
        return 1
    return -1 if cls in study.suggested else zero if study.whole else None


def _with_tables(root: Path, frame: pl.DataFrame, master: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with split, patient, age, sex, view and ``boxes_read``."""
    frame = frame.join(master, on="study_id", how="left", maintain_order="left")
    frame = frame.join(_views(root), on="image_id", how="left", maintain_order="left")
    return frame.select(
        pl.exclude("_placed", "benchmark", "split", "view"),
        pl.col("split").fill_null(""),
        pl.col("view").fill_null("UNK"),
        (pl.col("benchmark").fill_null(False) & pl.col("_placed")).alias("boxes_read"),
    )


def _views(root: Path) -> pl.DataFrame:
    """image_id and view from PadChest's label table, if it is there."""
    path = locate(root, padchest.TABLE)
    if path is None:
        return pl.DataFrame(schema={"image_id": pl.String, "view": pl.String})
    table = csv_frame(path, ("ImageID", "Projection")).drop_nulls().unique("ImageID", keep="first")
    return table.select(
        pl.col("ImageID").str.replace(r"\.[^.]*$", "").alias("image_id"),
        pl.col("Projection").str.to_uppercase().replace_strict(padchest.VIEWS, default="UNK").alias("view"),
    )


def _boxes(studies: Iterable[_Study], frame: pl.DataFrame, extra: str) -> pl.DataFrame:
    """Boxes in pixels of the stored images."""
    size = {row[0]: row[1:] for row in frame.select("image_id", "width", "height").iter_rows()}
    rows = []
    for study in studies:
        width, height = size[study.image_id]
        for cls, reader, phrase, x1, y1, x2, y2 in study.boxes:
            if reader is None or extra != "none":
                who = reader if extra == "reader" else None
                pixels = (x1 * width, y1 * height, x2 * width, y2 * height)
                rows.append((study.image_id, cls, *pixels, REPORTS, who, phrase))
    corners = ("image_id", "label", "reader", "x1", "y1", "x2", "y2")  # two sentences may share one finding's box
    return box_frame(rows, "reader", "phrase").unique(corners, keep="first", maintain_order=True)
