"""CheXpert Plus (Chambon et al., 2024): CheXpert's images as PNG or DICOM, with their reports.

Reads ``df_chexpert_plus_240401.csv`` (or the one ``df_chexpert_plus_*.csv``), the images anywhere below the root, and
one of ``chexbert_labels/{report,findings,impression}_fixed.json`` (JSON lines by ``path_to_image``). The table says
``.jpg`` over files that end otherwise, so an image is known by patient, study and view. Line ends are written as the
two characters ``\\n``; findings are often blank. Race, ethnicity, language, insurance, body-mass index and death are
left out unless asked for: training has no use for them, and an index travels further than the table it came from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from wsrpn_vl.data import mapping
from wsrpn_vl.data.sources.chexpert import PEOPLE, VAL_SPLITS, finish, place, with_ids, with_splits
from wsrpn_vl.data.sources.json_files import json_lines
from wsrpn_vl.data.sources.tables import SourceTables, check_shares, count_notes, csv_frame, folders_below, refuse_rows
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import NO_FINDING, label_column

TABLE = "df_chexpert_plus_240401.csv"
CLASSES = mapping.index_classes("chexpert_plus")
LABELS = {"report": "report_fixed.json", "findings": "findings_fixed.json", "impression": "impression_fixed.json"}
TEXTS = {"sections": ("section_findings", "section_impression"), "report": ("report",)}
DEMOGRAPHICS = ("race", "ethnicity", "interpreter_needed", "insurance_type", "recent_bmi", "deceased")
_PEOPLE = dict(zip(("sex", "age", "frontal_lateral", "ap_pa"), PEOPLE, strict=True))
_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_COLUMNS = {label_column(c): c for c in CLASSES} | {"no_finding": NO_FINDING}


def build(
    root: Path | str,
    *,
    labels: str = "report",
    text: str = "sections",
    val: str = "official",
    val_share: float = 0.05,
    seed: int = 0,
    demographics: bool = False,
    measure: bool = False,
) -> SourceTables:
    """Tables of CheXpert Plus in ``root``.

    labels: CheXbert's labels of the whole ``report``, of its ``findings`` or ``impression``, or ``none``; or the name
    of another such file (``….json``). text: ``sections`` joins findings and impression under their headers, as
    MIMIC-CXR's reports have them; ``report`` takes the whole report. val, val_share, seed, measure: as for
    :func:`wsrpn_vl.data.sources.chexpert.build`.
    demographics: also take the protected columns :data:`DEMOGRAPHICS` that the table has.
    Raises: DataError if table, labels or all images are missing, or a row is broken; no report is ever quoted.
    """
    root = Path(root)
    lookup("val", val, VAL_SPLITS, DataError)
    lookup("text", text, TEXTS, DataError)
    if ".json" not in labels:
        lookup("labels", labels, dict.fromkeys((*LABELS, "none")), DataError)
    check_shares(val_share=val_share)
    path = _table(root)
    table = _rows(path, TEXTS[text], demographics)
    table, unlabelled, strangers = _labelled(
        table, None if labels == "none" else _label_file(path.parent, root, labels)
    )
    table = with_splits(table, val, val_share, seed).with_columns(_text(TEXTS[text]).alias("text"))
    frame, missing, counted = place(table, root, root)
    frame, odd = finish(frame.drop(TEXTS[text]), "chexpert_plus", root, measure)
    file = LABELS.get(labels, labels)
    notes = count_notes(
        (unlabelled, f"image without a line in {file}, not labelled"),
        (strangers, f"line of {file} without an image in the table"),
        (frame["text"].null_count(), "image without words"),
    )
    return SourceTables(
        frame=frame,
        boxes=None,
        dataset="chexpert_plus",
        classes=CLASSES,
        box_complete=dict.fromkeys(CLASSES, False),
        boxed_classes=(),
        text_origin="report" if frame["text"].count() else "none",
        notes=(*counted, *odd, *notes),
        missing=missing,
        text_labels=() if labels == "none" else CLASSES,  # mined from the same reports
    )


def _table(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds {TABLE}")
    for folder in folders_below(root):
        found = sorted(p for p in folder.glob("df_chexpert_plus_*.csv*") if p.name.endswith((".csv", ".csv.gz")))
        if len(found) > 1 and not (folder / TABLE).is_file():
            raise DataError(f"{folder}: several tables ({', '.join(p.name for p in found)}); keep one")
        if found:
            return folder / TABLE if (folder / TABLE).is_file() else found[0]
    raise DataError(f"{root}: no {TABLE} here or below; put the table of CheXpert Plus there")


def _rows(path: Path, texts: tuple[str, ...], demographics: bool) -> pl.DataFrame:
    """The table's rows: ids, ``said``, ``split``, people, the columns of words, and the protected ones if asked for."""
    further = DEMOGRAPHICS if demographics else ()
    frame = csv_frame(path, ("path_to_image", "split", *texts), (*_PEOPLE, "deid_patient_id", *further))
    frame = with_ids(frame, path, "path_to_image", quoted=False)
    other = pl.col("deid_patient_id").str.to_lowercase() != pl.col("patient_id")
    mend = "not the patient of path_to_image; download the table again"
    refuse_rows(frame, path, "deid_patient_id", other, mend, quoted=False)
    split = pl.col("split").str.to_lowercase().replace_strict(_SPLITS, default=None, return_dtype=pl.String)
    refuse_rows(frame, path, "split", split.is_null(), "use train, valid or test", quoted=False)
    return (
        frame.with_columns(split, *(_words(name) for name in texts))
        .drop("deid_patient_id")
        .rename({"path_to_image": "said", **_PEOPLE})
    )


def _words(name: str) -> pl.Expr:
    """A column of words with real line ends, null where it has none."""
    lines = pl.col(name).str.replace_all(r"\r\n|\\r\\n|\\n", "\n").str.strip_chars()
    return pl.when(~lines.str.to_lowercase().is_in(["", "nan"])).then(lines).alias(name)


def _text(columns: tuple[str, ...]) -> pl.Expr:
    """One text: a lone column as it is, several under headers; a header that the words already have is not repeated."""
    if len(columns) == 1:
        return pl.col(columns[0])
    parts = []
    for column in columns:
        header = column.removeprefix("section_").upper()
        words = pl.col(column).str.replace(rf"(?i)^{header}\s*:\s*", "")
        parts.append(pl.when(words != "").then(pl.concat_str(pl.lit(f"{header}: "), words)))
    joined = pl.concat_str(parts, separator="\n\n", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _label_file(folder: Path, root: Path, labels: str) -> Path:
    name = LABELS.get(labels, labels)
    for place_ in (folder / "chexbert_labels", *folders_below(root)):
        for path in (place_ / name, place_ / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataError(f"{root}: no chexbert_labels/{name}; put it there, or give labels=FILE or labels=none")


def _labelled(table: pl.DataFrame, path: Path | None) -> tuple[pl.DataFrame, int, int]:
    """``table`` with its label columns, the number of images without labels, and of labels without an image."""
    rows = {} if path is None else _read_labels(path)
    values = pl.DataFrame(
        [(key, *row) for key, row in rows.items()],
        schema={"image_id": pl.String, **dict.fromkeys(_COLUMNS, pl.Int8)},
        orient="row",
    )
    known = set(table["image_id"])
    joined = table.join(values, on="image_id", how="left", maintain_order="left")
    return joined, 0 if path is None else len(known - rows.keys()), len(rows.keys() - known)


def _read_labels(path: Path) -> dict[str, tuple[int | None, ...]]:
    """Image id -> labels in the order of ``_COLUMNS``."""
    paths, labels = [], []
    for number, entry in json_lines(path):
        if not isinstance(entry.get("path_to_image"), str):
            raise DataError(f"{path}: line {number}: no path_to_image; download the file again")
        paths.append(entry["path_to_image"])
        labels.append(tuple(_label(entry, name, f"{path}: line {number}") for name in _COLUMNS.values()))
    table = pl.DataFrame({"path_to_image": paths}, schema={"path_to_image": pl.String})
    said = with_ids(table, path, "path_to_image")
    return dict(zip(said["image_id"], labels, strict=True))


def _label(entry: dict[str, Any], name: str, place_: str) -> int | None:
    if name not in entry:
        raise DataError(f"{place_}: no label {name!r}; the 14 labels of CheXbert are expected by name")
    value = entry[name]
    allowed = (0, 1) if name == NO_FINDING else (0, 1, -1)
    if value is None or value != value:  # NaN, as pandas writes a blank
        return None
    if type(value) not in (int, float) or value not in allowed:
        raise DataError(
            f"{place_}, {name}={str(value)[:9]!r}; expected 1, 0, -1 or null (2, 3: CheXbert's own codes; convert them)"
        )
    return int(value)
