"""PadChest: the label table of 160,861 images and 16-bit PNG files.

Needs ``PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv`` (plain or ``.gz``) and the images anywhere below the
root: in the numbered folders 0 to 54 of the zip files, or in one folder; matched by stem, so that resized copies with
another suffix work. Words such as ``None`` and ``nan`` are blanks. The finding names of the table are written with and
without a space before them. The known broken PNG files are not listed here: ``wsrpn-vl prepare`` and ``doctor`` find
broken files of any data set.

``Labels`` is meant as the full list of what the report says, so that a finding it does not name is absent (0). That
does not hold where a sentence of the report has no label, or the report says ``unchanged`` and leaves the old findings
unsaid, or the list names nothing but ``exclude`` or ``suboptimal study``; absent findings stay blank there. A name that
suggests an observation without saying it (costophrenic angle blunting: an effusion?) leaves that one uncertain, -1.
``Report`` is stemmed Spanish without accents: an English encoder cannot use it, so it is left out unless asked for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.people import OLDEST
from wsrpn_vl.data.pixels import IMAGE_SUFFIXES
from wsrpn_vl.data.sources import padchest_words as words
from wsrpn_vl.data.sources.stored import Stored, find_stored, split_by_hash
from wsrpn_vl.data.sources.tables import (
    SourceTables,
    check_shares,
    count_notes,
    csv_frame,
    locate,
    numbers,
    refuse_rows,
)
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import label_column
from wsrpn_vl.text.triples import Triple, to_json

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
SENTENCES = "LabelsLocalizationsBySentence"
VIEWS = {"PA": "PA", "L": "LAT", "AP": "AP", "AP_HORIZONTAL": "AP", "UNK": "UNK", "COSTAL": "UNK", "EXCLUDE": "UNK"}
NOT_CHEST = ("COSTAL", "EXCLUDE")  # films of the ribs; obliques and other views
METHODS = {"physician": "Physician", "rnn_model": "RNN_model"}
_REQUIRED = ("ImageID", "PatientID", "StudyID", "Projection", "MethodLabel", "Labels")
_YEARS = ("StudyDate_DICOM", "PatientBirth")
_OPTIONAL = ("ImageDir", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", SENTENCES, "Report")


def build(
    root: Path | str,
    *,
    method: str = "all",
    views: str = "chest",
    blank: str = "negative",
    text: str = "none",
    approximate: bool = False,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    check_files: bool = True,
) -> SourceTables:
    """Tables of PadChest in ``root``.

    method: ``physician`` keeps the images that a physician labelled; views: ``chest`` leaves out the projections
    COSTAL and EXCLUDE, ``all`` keeps them with view UNK; blank: a finding that is not named is 0 (``negative``) or
    blank (``null``); text: ``none`` or ``report``; approximate: take approximate names too (pseudonodule is a lung
    lesion); val_share, test_share: of the patients, drawn by a hash of their id and ``seed``, as there is no official
    split; check_files: false takes every image of the table as ``<ImageDir>/<ImageID>`` without looking for it.
    Raises: DataError if the table is missing or broken, names an unknown finding, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    for option, value, known in (
        ("method", method, ("all", "physician")),
        ("views", views, ("chest", "all")),
        ("blank", blank, ("negative", "null")),
        ("text", text, ("none", "report")),
    ):
        lookup(f"{option} of source 'padchest':", value, dict.fromkeys(known), DataError)
    path = locate(root, TABLE, required="PadChest's label table")
    assert path is not None
    whole = read_labels(path, blank=blank, approximate=approximate)
    frame = whole if method == "all" else whole.filter(pl.col("label_method") == METHODS["physician"])
    chosen = frame if views == "all" else frame.filter(~pl.col("projection").is_in(NOT_CHEST))
    if chosen.is_empty():
        raise DataError(f"{path}: no image left with method={method} and views={views}; take more of them")
    stored, packed = _find(root, chosen, whole, check_files)
    here = chosen.join(stored.frame, on="image_id", how="inner", maintain_order="left")
    here = here.with_columns(split_by_hash(here["patient_id"].to_list(), val_share, test_share, seed))
    spanish = ("the text is stemmed Spanish",) if text == "report" else ()
    if text == "none":
        here = here.with_columns(pl.lit(None, dtype=pl.String).alias("text"))
    classes = mapping.index_classes("padchest", approximate=approximate)
    return SourceTables(
        frame=here.drop("_listed", "_whole", "_odd_age", "_dir", "_file"),
        boxes=None,
        dataset="padchest",
        classes=classes,
        box_complete=dict.fromkeys(classes, False),
        boxed_classes=(),
        text_origin="none" if text == "none" else "report",
        notes=(*_notes(whole, frame, chosen, here), *stored.notes, *packed, *spanish),
        missing=stored.missing,
    )


def _notes(whole: pl.DataFrame, frame: pl.DataFrame, chosen: pl.DataFrame, here: pl.DataFrame) -> tuple[str, ...]:
    people = whole.group_by("study_id").agg(pl.col("patient_id").n_unique())
    return count_notes(
        (whole.height - frame.height, "image that no physician labelled, left out"),
        (frame.height - chosen.height, f"image of another part ({', '.join(NOT_CHEST)}), left out"),
        (people.filter(pl.col("patient_id") > 1).height, "study with two patient ids, kept apart as two patients"),
        (here.filter(~pl.col("_listed")).height, "image without a list of findings, all labels blank"),
        (here.filter("_listed", ~pl.col("_whole")).height, "image whose list is not the whole report, no label is 0"),
        (here.filter("_odd_age").height, f"age below 0 or above {OLDEST}, left blank"),
    )


def read_labels(path: Path, *, blank: str = "negative", approximate: bool = False) -> pl.DataFrame:
    """The label table as index columns without ``path``, ``width``, ``height`` and split: one row per image.

    Further: ``label_method`` and ``projection`` as in the file; ``_listed``: has a list of findings; ``_whole``: the
    list is the whole report; ``_odd_age``; ``_dir``, ``_file``: ImageDir and ImageID.
    Raises: DataError naming the row of the first fault.
    """
    table = csv_frame(path, _REQUIRED, _OPTIONAL)
    table = table.with_columns(pl.all().replace(["nan", "None", "NaN"], None))
    for column in ("ImageID", "PatientID", "StudyID", "Projection", "MethodLabel"):
        refuse_rows(
            table, path, column, pl.col(column).is_null(), "give a value; download the file again", quoted=False
        )
    odd_name = pl.col("ImageID").str.contains(r"[/\\]") | ~pl.col("ImageID").is_first_distinct()
    refuse_rows(table, path, "ImageID", odd_name, "not a file name of its own; download the file again", quoted=False)
    for column, known in (("Projection", VIEWS), ("MethodLabel", METHODS)):
        unknown = ~pl.col(column).str.to_uppercase().is_in([name.upper() for name in known])
        refuse_rows(table, path, column, unknown, f"expected one of {', '.join(known)}; correct it", quoted=False)
    born = numbers(table.with_columns(pl.col("StudyDate_DICOM").str.slice(0, 4)), path, _YEARS, pl.Int32, quoted=False)
    age = born["StudyDate_DICOM"] - born["PatientBirth"]
    odd = ~age.is_between(0, OLDEST).fill_null(True)
    label = _labels(table, path, blank, approximate)
    return table.select(
        pl.lit("padchest").alias("dataset"),
        pl.col("ImageID").str.replace(rf"(?i)({'|'.join(map(re.escape, IMAGE_SUFFIXES))})$", "").alias("image_id"),
        pl.col("PatientID").alias("patient_id"),
        pl.col("StudyID").alias("study_id"),
        pl.col("Projection").str.to_uppercase().replace_strict(VIEWS).alias("view"),
        pl.col("Report").alias("text"),
        label,
        age.set(odd, None).alias("age"),
        pl.when(pl.col("PatientSex_DICOM").is_in(["M", "F"])).then("PatientSex_DICOM").alias("sex"),
        pl.col("MethodLabel").alias("label_method"),
        pl.col("Projection").str.to_uppercase().alias("projection"),
        odd.alias("_odd_age"),
        pl.col("ImageDir").alias("_dir"),
        pl.col("ImageID").alias("_file"),
    ).unnest("labels")


def _labels(table: pl.DataFrame, path: Path, blank: str, approximate: bool) -> pl.Series:
    """Struct of the label columns, ``no_finding``, ``triples``, ``_listed`` and ``_whole``, one row per image.

    Each distinct cell is read once: there are five times fewer of them than images.
    """
    keys = ["Labels", SENTENCES]
    cells = table.select(*keys).with_row_index("row").group_by(keys, maintain_order=True).agg(pl.col("row").first())
    read = [_cell(names, told, f"{path}: data row {row + 1}", approximate) for names, told, row in cells.iter_rows()]
    names = pl.List(pl.String)
    schema = {"found": names, "doubtful": names, "no_finding": pl.Int8, "triples": pl.String, "_listed": pl.Boolean}
    facts = pl.DataFrame(read, schema=schema | {"_whole": pl.Boolean}, orient="row")
    zero = pl.when(pl.col("_whole")).then(0) if blank == "negative" else pl.lit(None)
    columns = [
        pl.when(pl.col("found").list.contains(c))
        .then(1)
        .when(pl.col("doubtful").list.contains(c))
        .then(-1)
        .otherwise(zero)
        .cast(pl.Int8)
        .alias(label_column(c))
        for c in mapping.index_classes("padchest", approximate=approximate)
    ]
    facts = pl.concat([cells.select(keys), facts.with_columns(columns).drop("found", "doubtful")], how="horizontal")
    joined = table.select(keys).join(facts, on=keys, how="left", nulls_equal=True, maintain_order="left")
    return joined.drop(keys).to_struct("labels")


def _cell(labels: str | None, by_sentence: str | None, place: str, approximate: bool) -> tuple:
    """(classes, doubtful classes, no finding, triples, has a list, the list is whole) of one image."""
    if labels is None:
        return [], [], None, None, False, False
    names = words.names_of(words.read_list(labels, f"{place}, Labels"), f"{place}, Labels")
    findings = [name for name in names if name and name != words.NORMAL and name not in words.SILENT]
    bare = [words.split_side(name)[0] for name in findings]
    held = {
        c for name in bare for c in mapping.classes_of("padchest", name, f"{place}, Labels", approximate=approximate)
    }
    doubtful = mapping.doubtful("padchest", bare, f"{place}, Labels", approximate=approximate)
    normal = words.NORMAL in names and not findings and "" not in names
    whole = "" not in names and (normal or (bool(findings) and "unchanged" not in names))
    no_finding = 1 if normal else 0 if findings else None
    triples = _triples(findings, by_sentence, place)
    return sorted(held), sorted(doubtful), no_finding, _json(triples) if triples or whole else None, True, whole


_json = lru_cache(maxsize=65536)(to_json)  # of five lists of triples four are the same as another


def _triples(findings: list[str], by_sentence: str | None, place: str) -> tuple[Triple, ...]:
    """Triples by sentence; findings that no sentence names follow without a place."""
    triples: dict[Triple, None] = {}
    if by_sentence is not None:
        for names, locs in words.sentences(words.read_list(by_sentence, f"{place}, {SENTENCES}")):
            triples |= dict.fromkeys(words.triples_of(names, locs, "padchest", f"{place}, {SENTENCES}"))
    told = {triple.finding for triple in triples}
    for name in findings:
        single = words.triples_of([name], (), "padchest", f"{place}, Labels")
        triples |= dict.fromkeys(triple for triple in single if triple.finding not in told)
    return tuple(triples)


def _find(
    root: Path, chosen: pl.DataFrame, everyone: pl.DataFrame, check_files: bool
) -> tuple[Stored, tuple[str, ...]]:
    """The images that are there, and a note of the zip files that the others lie in."""
    packed = [f"{n}.zip" for n in range(55) if (root / f"{n}.zip").is_file()]
    mend = f"unpack {', '.join(packed)}" if packed else "unpack the images"
    where = pl.concat_str([pl.col("_dir"), pl.col("_file")], separator="/", ignore_nulls=True)
    left_out = set(everyone["image_id"]) - set(chosen["image_id"])
    stored = find_stored(
        root,
        chosen.select("image_id", where.alias("path")),
        check_files=check_files,
        keep=lambda stem: stem not in left_out,
        first=(".png",),
        mend=mend,
    )
    return stored, (f"missing images may lie in zip files: {mend}",) if packed and stored.missing else ()
