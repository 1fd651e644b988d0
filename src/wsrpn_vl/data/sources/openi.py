"""Open-I, the chest radiographs and reports of Indiana University: the only fully open report corpus with images.

Needs the reports, ``NLMCXR_reports.tgz`` as downloaded or the folder ``ecgen-radiology`` unpacked from it, and the
images anywhere below the root: ``NLMCXR_png`` (``CXR1_1_IM-0001-3001.png``) or ``NLMCXR_dcm``
(``1/1_IM-0001-3001.dcm``); the PNG file is used where both are there. One row per image that a report names.

No patient is told from another, so the split is by report, by a hash of its id. The words removed to hide identities
are ``XXXX``; they stay in the text. A report says "PA and lateral" of its two images and not which is which, so views
come from a table of DICOM headers (``nlmcxr_dicom_metadata.csv``: ``View Position``; where that is blank,
``nlmcxr_tsne_pa.csv``: ``tsne-view``), from the DICOM files themselves, or from the words above a single image.
Reports and images are under CC BY-NC-ND 4.0: changed copies must not be passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.pixels import is_dicom
from wsrpn_vl.data.sources import openi_codes
from wsrpn_vl.data.sources.openi_reports import Report, read_reports
from wsrpn_vl.data.sources.stored import image_stem, split_by_hash, with_plain
from wsrpn_vl.data.sources.tables import (
    UNREADABLE,
    SourceTables,
    check_shares,
    count_notes,
    csv_frame,
    find_images,
    locate,
    readable,
)
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS, label_column
from wsrpn_vl.text.layout import mimic_look
from wsrpn_vl.text.triples import Triple, to_json

PUBLISHED = "NLMCXR_png"
LICENCE = "reports and images are under CC BY-NC-ND 4.0: do not pass on changed copies"
VIEW_TABLES = {"nlmcxr_dicom_metadata.csv": "View Position", "nlmcxr_tsne_pa.csv": "tsne-view"}
_NAME = re.compile(r"(?:CXR)?(\d+)_(?:\d+_)?(IM-[\d-]+)")
_MANY = re.compile(r"\b(?:LAT|LATERAL|[23]V?|TWO|THREE)\b")  # a caption of several images


def build(
    root: Path | str,
    *,
    labels: str = "mesh",
    view_table: str = "",
    approximate: bool = False,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    check_files: bool = True,
) -> SourceTables:
    """Tables of Open-I in ``root``.

    labels: ``mesh``: the indexers' codes (a finding that is not coded is 0, one that a code only suggests -1);
    ``labeler``: read from the report by :mod:`wsrpn_vl.text.labeler`; ``none``; view_table: CSV file with the image's
    id in ``imageid`` and its view in ``View Position`` or ``tsne-view`` (empty: look for both files below the root);
    approximate: take approximate codes too; val_share, test_share: of the reports, drawn by a hash of their id and
    ``seed``; check_files: false takes every image for ``NLMCXR_png/<id>.png`` without looking for it.
    Raises: DataError if the reports are missing or broken, a code is unknown, or no image is found.
    """
    root = Path(root)
    check_shares(val_share=val_share, test_share=test_share)
    lookup("labels of source 'openi':", labels, dict.fromkeys(("mesh", "labeler", "none")), DataError)
    source, reports = read_reports(root)
    named = _named(source, reports)
    stored = _stored(root, named) if check_files else _Stored({row.image_id: row.published for row in named})
    if not stored.paths:
        raise DataError(f"{root}: none of the {len(named):,} images of the reports is there; unpack {PUBLISHED}.tgz")
    extents = readable(root, list(stored.paths.values())) if check_files else {}
    here = [row for row in named if row.image_id in stored.paths]
    broken = [row for row in here if check_files and stored.paths[row.image_id] not in extents]
    here = [row for row in here if row not in broken]
    paths = [stored.paths[row.image_id] for row in here]
    facts, classes = _facts(reports, labels, approximate, str(source))
    frame = pl.DataFrame(
        {"image_id": [r.image_id for r in here], "study_id": [r.study_id for r in here], "path": paths}
    )
    sizes = [extents.get(path, (None, None)) for path in paths]
    frame = frame.join(facts, on="study_id", how="left", maintain_order="left").with_columns(
        pl.Series("width", [width for width, _ in sizes], dtype=pl.Int32),
        pl.Series("height", [height for _, height in sizes], dtype=pl.Int32),
        _views(root, here, paths if check_files else [], view_table),
        split_by_hash([r.study_id for r in here], val_share, test_share, seed),
    )
    return SourceTables(
        frame=with_plain(frame, "openi"),
        boxes=None,
        dataset="openi",
        classes=classes,
        box_complete=dict.fromkeys(classes, False),
        boxed_classes=(),
        text_origin="report",
        notes=(*_notes(named, reports, stored, frame, len(broken)), LICENCE),
        text_labels=classes if labels == "labeler" else (),
        missing=tuple(row.published for row in named if row in broken or row.image_id not in stored.paths),
    )


@dataclass(frozen=True)
class _Named:
    """An image as its report names it. alone: the report has no other."""

    image_id: str
    study_id: str
    caption: str
    alone: bool

    @property
    def published(self) -> str:
        """Where the PNG file is published."""
        return f"{PUBLISHED}/{self.image_id}.png"


@dataclass(frozen=True)
class _Stored:
    """paths: image id -> file; how many files no report names, and how many are further copies."""

    paths: dict[str, str]
    strangers: int = 0
    repeats: int = 0


def _notes(
    named: Sequence[_Named], reports: Sequence[Report], stored: _Stored, frame: pl.DataFrame, broken: int
) -> tuple[str, ...]:
    return count_notes(
        (len(named) - frame.height - broken, "image of the reports missing (see the .missing.txt list)"),
        (broken, UNREADABLE),
        (sum(not report.images for report in reports), "report without an image, left out"),
        (stored.strangers, "image file that no report names, left out"),
        (stored.repeats, "image stored twice, the .png or the first by path is used"),
        (frame["text"].null_count(), "image whose report has neither findings nor impression, without text"),
        (int((frame["view"] == "UNK").sum()), "image of unknown view (view_table=FILE may tell it)"),
    )


def _named(source: Path, reports: Sequence[Report]) -> list[_Named]:
    rows = [_Named(i, r.study_id, caption, len(r.images) == 1) for r in reports for i, caption in r.images]
    seen: set[str] = set()
    for row in rows:
        if _key(row.image_id) in seen:
            raise DataError(f"{source}: image {row.image_id!r} is named twice; download the reports again")
        seen.add(_key(row.image_id))
    return rows


def _key(stem: str) -> str:
    """What a PNG file, a DICOM file and a report call an image alike: ``CXR1_1_IM-0001-3001``, ``1_IM-0001-3001``."""
    found = _NAME.fullmatch(stem)
    return f"{found[1]}_{found[2]}" if found else stem


def _stored(root: Path, named: Sequence[_Named]) -> _Stored:
    found = sorted(find_images(root), key=lambda p: (not p.lower().endswith(".png"), p))
    files: dict[str, str] = {}
    for path in found:
        files.setdefault(_key(image_stem(path)), path)
    paths = {row.image_id: files[_key(row.image_id)] for row in named if _key(row.image_id) in files}
    return _Stored(paths, len(files) - len(paths), len(found) - len(files))


def _facts(
    reports: Sequence[Report], labels: str, approximate: bool, source: str
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """study_id, text, labels, ``no_finding`` and triples of each report, and the classes."""
    texts = [mimic_look(r.sections.items()) if r.sections.keys() & {"FINDINGS", "IMPRESSION"} else "" for r in reports]
    triples: list[Iterable[Triple] | None] = [None] * len(reports)
    values: list[dict[str, int | None]] = [{} for _ in reports]
    classes: tuple[str, ...] = ()
    if labels == "labeler":
        from wsrpn_vl.text.labeler import label_reports  # here, because only this choice needs it

        classes = OBSERVATIONS
        readings = label_reports(texts)
        values = [reading.labels for reading in readings]
        triples = [reading.triples if text else None for reading, text in zip(readings, texts, strict=True)]
    elif labels == "mesh":
        classes = openi_codes.classes(approximate)
        for n, report in enumerate(reports):
            place = f"{source}: report {report.study_id}"
            positive, none = openi_codes.labels_of(report.terms, place, approximate=approximate)
            if positive is not None:
                doubtful = openi_codes.doubtful_of(report.terms, place, approximate=approximate)
                said = {c: 1 if c in positive else -1 if c in doubtful else 0 for c in classes}
                values[n] = {**said, NO_FINDING: none}
                triples[n] = openi_codes.triples_of(report.terms, place, approximate=approximate)
    columns = {label_column(c): [v.get(c) for v in values] for c in classes} | {
        "no_finding": [v.get(NO_FINDING) for v in values]
    }
    frame = pl.DataFrame(
        {
            "study_id": [r.study_id for r in reports],
            "text": pl.Series([text or None for text in texts], dtype=pl.String),
            "triples": pl.Series([None if t is None else to_json(t) for t in triples], dtype=pl.String),
            **{name: pl.Series(column, dtype=pl.Int8) for name, column in columns.items()},
        }
    )
    return frame, classes


def _views(root: Path, rows: Sequence[_Named], paths: Sequence[str], view_table: str) -> pl.Series:
    """View of each image: from the tables, else its DICOM file (``paths``: none to look at), else its caption."""
    told = _table_views(root, view_table)
    views = []
    for n, row in enumerate(rows):
        view = told.get(_key(row.image_id), "UNK")
        if view == "UNK" and paths and is_dicom(root / paths[n]):
            from wsrpn_vl.dicom.header import dicom_view  # here, because pydicom is slow to import

            view = dicom_view(root / paths[n])
        views.append(view if view != "UNK" else _caption_view(row))
    return pl.Series("view", views, dtype=pl.String)


def _caption_view(row: _Named) -> str:
    """View that the caption gives a report's only image; "PA and lateral" says nothing of one image."""
    caption = row.caption.upper()
    return parse_view(caption) if row.alone and not _MANY.search(caption) else "UNK"


def _table_views(root: Path, view_table: str) -> dict[str, str]:
    """Image key -> view, as far as the tables know it; the first table has the word."""
    if view_table:
        chosen = [next((p for p in (root / view_table, Path(view_table)) if p.is_file()), root / view_table)]
    else:
        chosen = [path for name in VIEW_TABLES if (path := locate(root, name))]
    views: dict[str, str] = {}
    for path in chosen:
        table = csv_frame(path, ("imageid",), tuple(VIEW_TABLES.values()))
        if all(table[column].null_count() == table.height for column in VIEW_TABLES.values()):
            raise DataError(f"{path}: no {' or '.join(VIEW_TABLES.values())} in any row; give a table of views")
        for image_id, *said in table.drop_nulls("imageid").iter_rows():
            words = [parse_view("LATERAL" if word == "L" else word) for word in said]
            for view in words:
                if view != "UNK":
                    views.setdefault(_key(image_id), view)
                    break
    return views
