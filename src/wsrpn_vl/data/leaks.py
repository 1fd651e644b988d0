"""Guards against leaks between data sets: who of another table takes part in this one.

Within an index, :mod:`wsrpn_vl.data.index` refuses a patient in two splits. Between data sets the same patients and
images come under other file names: Chest ImaGenome's gold set and MS-CXR are MIMIC-CXR patients, most of them of its
training split; RSNA, SIIM-ACR and ChestX-Det pictures are NIH ones.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources.json_files import json_any
from wsrpn_vl.data.sources.tables import csv_frame, out_of_training
from wsrpn_vl.errors import DataError

_PATIENT = ("patient_id", "subject_id", "patientid", "patient id", "deid_patient_id")
_IMAGE = ("image_id", "dicom_id", "imageid", "image index", "file_name", "image", "path", "path_to_image")
_NUMBER = re.compile(r"^p?(\d+)(?:\.0)?$")  # without the letter of MIMIC-CXR and the decimals pandas writes
_SUFFIX = re.compile(r"(?i)\.(dcm|dicom|png|jpe?g)$")
_MIMIC = re.compile(r"(?:^|/)p(\d{8})/s\d+[/.]")  # the path names the patient, whatever images an index holds
_CHEXPERT = re.compile(r"(?i)(patient\d+)/(study\d+)/(view\d+_[a-z]+)(?:\.|$)")


@dataclass(frozen=True)
class Members:
    """Patients and images that a table names; patients as digits alone where they are written ``p10000032``."""

    patients: frozenset[str]
    images: frozenset[str]


def members_of(path: Path | str) -> Members:
    """Patients and images named in an index (``*.parquet``), a CSV, TSV or text table (plain or gzip), or JSON.

    Columns are found by name (subject_id, patient_id, dicom_id, image_id, path and the like), in JSON those of a list
    of objects or of the ``images`` of a COCO file. Paths of MIMIC-CXR and CheXpert name the patient too.
    Raises: DataError if the file cannot be read or names neither.
    """
    path = Path(path)
    patients: set[str] = set()
    images: set[str] = set()
    for frame in [read_index(path).frame] if path.suffix == ".parquet" else _read(path):
        have = {column.casefold(): column for column in frame.columns}
        for name in _values(frame, [have[n] for n in _PATIENT if n in have]):
            patients.add(_NUMBER.sub(r"\1", _stem(name)))
        for name in _values(frame, [have[n] for n in _IMAGE if n in have]):
            patients |= {m[1].lower() for m in (_MIMIC.search(name), _CHEXPERT.search(name)) if m}
            images.add(_image(name))
    patients, images = patients - {""}, images - {""}
    if not patients and not images:
        raise DataError(
            f"{path}: no column of patient or image ids ({', '.join((*_PATIENT[:3], *_IMAGE[:3]))}); name one so"
        )
    return Members(frozenset(patients), frozenset(images))


def overlap(frame: pl.DataFrame, members: Members) -> pl.Series:
    """(n,) bool: images of an index whose patient, or who themselves, are among ``members``.

    All images of a patient count when one of them does. Folders and suffixes of image ids do not.
    """
    images = [name is not None and _image(name) in members.images for name in frame["image_id"]]
    named = frame.select(
        (
            pl.col("patient_id").str.replace(r"^p(\d+)$", "$1").is_in(sorted(members.patients)).fill_null(False)
            | pl.Series(images, dtype=pl.Boolean)
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
        before = frame
        frame, found = out_of_training(frame, overlap(frame, members_of(path)))
        said = f"{found} taken out of training and validation"
        none = "no patient or image in common with training"
        notes.append(f"{Path(path).name}: {none if frame['split'].equals(before['split']) else said}")
    return frame, tuple(notes)


def _read(path: Path) -> list[pl.DataFrame]:
    """The table's columns of ids; one of tabs twice, with quotation marks as such and as letters: some are unbalanced.

    Either reading may lose rows in the other's text, and a patient who is lost leaks.
    """
    names = (*_PATIENT, *_IMAGE)
    if ".json" in path.suffixes:
        return [_objects(path, names)]
    if not (".tsv" in path.suffixes or (".txt" in path.suffixes and "\t" in _head(path))):
        return [csv_frame(path, (), names)]
    found, failed = [], None
    for quote in ('"', None):
        try:
            found.append(csv_frame(path, (), names, separator="\t", quote=quote))
        except DataError as error:
            failed = error
    if failed and not found:
        raise failed
    return found


def _objects(path: Path, names: Sequence[str]) -> pl.DataFrame:
    """Fields of ids of a JSON list of objects, or of a COCO file's images."""
    content = json_any(path)
    items = content.get("images") if isinstance(content, dict) else content
    rows = [i for i in items if isinstance(i, dict)] if isinstance(items, list) else []
    fields = [{str(key).casefold(): str(value) for key, value in row.items() if value is not None} for row in rows]
    return pl.DataFrame({name: [f.get(name) for f in fields] for name in names}, schema=dict.fromkeys(names, pl.String))


def _head(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace").partition("\n")[0]
    except (OSError, EOFError, zlib.error):
        return ""  # what is wrong is said when the table is read


def _values(frame: pl.DataFrame, columns: Sequence[str]) -> set[str]:
    """What the columns hold, with forward slashes."""
    parts = [frame[column].cast(pl.String).drop_nulls().unique() for column in columns]
    return {value.strip().replace("\\", "/") for part in parts for value in part}


def _image(name: str) -> str:
    """An image's id of its path or file; those of CheXpert begin with the patient, its files do not."""
    chexpert = _CHEXPERT.search(name)
    return "_".join(chexpert.groups()).lower() if chexpert else _stem(name)


def _stem(name: str) -> str:
    """An id without folder and suffix."""
    return _SUFFIX.sub("", name.rpartition("/")[2])
