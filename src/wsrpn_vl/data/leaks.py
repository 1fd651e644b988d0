"""Guards against leaks between data sets: who of another table takes part in this one.

Within an index, :mod:`wsrpn_vl.data.index` refuses a patient in two splits. Between data sets the same patients and
images come under other file names: Chest ImaGenome's gold set and MS-CXR are MIMIC-CXR patients, most of them of its
training split; RSNA, SIIM-ACR and ChestX-Det pictures are NIH ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import read_index
from wsrpn_vl.errors import DataError, first_line

_PATIENT = ("patient_id", "subject_id", "patientid", "patient id", "deid_patient_id")
_IMAGE = ("image_id", "dicom_id", "imageid", "image index", "file_name", "image", "path")
_SUFFIX = r"(?i)\.(dcm|dicom|png|jpe?g)$"


@dataclass(frozen=True)
class Members:
    """Patients and images that a table names; patients as digits alone where they are written ``p10000032``."""

    patients: frozenset[str]
    images: frozenset[str]


def members_of(path: Path | str) -> Members:
    """Patients and images named in an index (``*.parquet``), or in a CSV, TSV or text table, plain or gzip.

    Columns are found by name (subject_id, patient_id, dicom_id, image_id, path and the like).
    Raises: DataError if the file cannot be read or names neither.
    """
    path = Path(path)
    frame = read_index(path).frame if path.suffix == ".parquet" else _read(path)
    have = {column.removeprefix("\ufeff").strip().casefold(): column for column in frame.columns}
    patients = _ids(frame, [have[n] for n in _PATIENT if n in have])
    images = _ids(frame, [have[n] for n in _IMAGE if n in have])
    if not patients and not images:
        raise DataError(
            f"{path}: no column of patient or image ids ({', '.join((*_PATIENT[:3], *_IMAGE[:3]))}); name one so"
        )
    return Members(frozenset(patients), frozenset(images))


def overlap(frame: pl.DataFrame, members: Members) -> pl.Series:
    """(n,) bool: images of an index whose patient, or who themselves, are among ``members``.

    All images of a patient count when one of them does.
    """
    named = frame.select(
        (
            pl.col("patient_id").str.replace(r"^p(\d+)$", "$1").is_in(sorted(members.patients)).fill_null(False)
            | pl.col("image_id").is_in(sorted(members.images))
        ).alias("named"),
        "patient_id",
    )
    patients = named.filter("named")["patient_id"].drop_nulls().unique()
    return named.select(pl.col("named") | pl.col("patient_id").is_in(patients.implode()).fill_null(False)).to_series()


def take_out(frame: pl.DataFrame, exclude: Sequence[Path | str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with the patients and images named in the tables taken out of ``train`` and ``val``, and notes.

    They stay in the index without a split. Raises: DataError as :func:`members_of`.
    """
    notes = []
    for path in exclude:
        common = overlap(frame, members_of(path))
        learnt = common & frame["split"].is_in(["train", "val"])
        hit = frame.filter(learnt)
        frame = frame.with_columns(pl.when(learnt).then(pl.lit("")).otherwise("split").alias("split"))
        patients = hit["patient_id"].drop_nulls().n_unique()
        found = f"{patients:,} patients ({hit.height:,} images) taken out of training and validation"
        notes.append(f"{Path(path).name}: {found if hit.height else 'no patient or image in common with training'}")
    return frame, tuple(notes)


def _read(path: Path) -> pl.DataFrame:
    try:
        tabs = ".tsv" in path.suffixes or (".txt" in path.suffixes and "\t" in _head(path))
        return pl.read_csv(
            path,
            separator="\t" if tabs else ",",
            quote_char=None if tabs else '"',
            infer_schema=False,
            glob=False,
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a table or an index of those to leave out") from None
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: not a readable table ({first_line(error)}); give CSV, TSV or an index") from None


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4096).decode("utf-8", "replace").partition("\n")[0]


def _ids(frame: pl.DataFrame, columns: Sequence[str]) -> set[str]:
    out: set[str] = set()
    for column in columns:
        for value in frame[column].cast(pl.String).drop_nulls().unique():
            name = re.sub(_SUFFIX, "", value.strip().replace("\\", "/").rpartition("/")[2])
            out.add(name.removeprefix("p") if re.fullmatch(r"p?\d+", name) else name)
    return out - {""}
