"""Chest ImaGenome's gold set: region boxes of two annotators, attributes of first, comparisons of second studies.

Boxes: 26 regions, clipped to the image. ``image_id`` ends in ``.dcm`` (not so ``current_image_id`` and
``previous_image_id``); the box tables state x1, x2, y1, y2 in that order for the original image. An attribute is
affirmed where ``relation`` is 1 and ``context`` is yes. There are no lesion boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from wsrpn_vl.data.phantom.layouts import mimic
from wsrpn_vl.data.phantom.layouts.base import write_csv
from wsrpn_vl.data.phantom.layouts.imagenome_frame import Pixels, chance, clipped, coordinates, in_frame, off
from wsrpn_vl.data.phantom.layouts.imagenome_words import Statement, comparisons, row_id, sentences, statements
from wsrpn_vl.data.phantom.layouts.regions import GOLD
from wsrpn_vl.data.phantom.records import Record

_ANNOTATORS = ("1_C", "1_W", "2_J", "2_S")  # the number is that of the half of the images
_OFF = 0.01  # sd of an annotator's edge, in widths and heights
_BOX_HEADER = (
    "image_id", "x1", "y1", "x2", "y2", "width", "height", "bbox_name", "annot_id",
    "original_x1", "original_x2", "original_y1", "original_y2", "original_width", "original_height",
)  # fmt: skip
_FILES = {
    "attributes": "gold_attributes_relations_500pts_500studies1st.txt",
    "placed": "gold_object_attribute_with_coordinates.txt",
    "baseline": "gold_baseline_object_attribute_with_coordinate.txt",
    "compared": "gold_comparison_relations_500pts_500studies2nd.txt",
    "compared placed": "gold_object_comparison_with_coordinates.txt",
    "sentences": "gold_all_sentences_500pts_1000studies.txt",
}
_ATTRIBUTE = ("relation", "label_name", "categoryID", "context")
_COMPARED = (
    "patient_id", "relationship_id", "subject_id", "object_id", "bbox", "comparison", "attribute", "sentence",
    "label_name", "current_image_id", "previous_image_id",
)  # fmt: skip
_COMPARED_BOXES = (
    "bbox_coord_224_subject", "bbox_coord_original_subject", "bbox_coord_224_object", "bbox_coord_original_object",
)  # fmt: skip


def gold_boxes(record: Record) -> dict[str, Pixels]:
    """Region -> xyxy in whole pixels of the image, for the regions in it."""
    found = {name: clipped(record.extra["regions"][name], record.size) for name in GOLD if name in _regions(record)}
    return {name: box for name, box in found.items() if box}


def _regions(record: Record) -> dict[str, Any]:
    return record.extra["regions"]


def write_gold(
    folder: Path,
    records: Iterable[Record],
    patients: frozenset[int],
    silver: Callable[[Record], dict[str, tuple[int, int, int, int]]],
) -> None:
    """All files of ``gold_dataset``; ``silver`` gives the boxes that the baseline's table has."""
    chosen = [r for r in records if r.case.patient in patients and r.case.study < 2]
    first = [r for r in chosen if r.case.study == 0]
    _write_boxes(folder, chosen)
    _write_attributes(folder, first, silver)
    pairs = [(b, a) for a, b in pairwise(chosen) if a.case.patient == b.case.patient]
    _write_comparisons(folder, pairs)
    _write_tsv(
        folder / _FILES["sentences"],
        ("patient_id", "study_id", "image_id", "row_id", "section", "sentence"),
        ((*_ids(r), row_id(r, s), s.section, s.text) for r in chosen for s in sentences(r)),
    )


def _write_boxes(folder: Path, chosen: list[Record]) -> None:
    half = (len(chosen) + 1) // 2
    for annotator in _ANNOTATORS:
        mine = chosen[:half] if annotator.startswith("1") else chosen[half:]
        rows = (row for r in mine for row in _annotated(r, annotator))
        write_csv(folder / f"bbox_coordinate_annotations_{annotator}.csv", _BOX_HEADER, rows)
    write_csv(
        folder / "gold_bbox_coordinate_annotations_1000images.csv",
        (*_BOX_HEADER, "annotator", "coord224", "coord_original"),
        (
            (*_box_row(r, name, box, f"{_dcm(r)}_{name}"), "gold", list(in_frame(box, r.size)), list(box))
            for r in chosen
            for name, box in gold_boxes(r).items()
        ),
    )
    write_csv(
        folder / "gold_bbox_scaling_factors_original_to_224x224.csv",
        ("image_id", "top", "bottom", "left", "right", "ratio"),
        ((_dcm(r), 0, 0, 0, 0, 224 / r.size) for r in chosen),
    )


def _annotated(record: Record, annotator: str) -> Iterable[tuple]:
    for name, box in gold_boxes(record).items():
        drawn = clipped(off(box, _OFF, chance(record.case, f"{annotator} {name}")), record.size) or box
        yield _box_row(record, name, drawn, f"{_dcm(record)}_{name}_{annotator}")


def _box_row(record: Record, name: str, box: Pixels, annot_id: str) -> tuple:
    at: dict[str, Any] = coordinates(box, record.size)
    known = at | {"image_id": _dcm(record), "bbox_name": name, "annot_id": annot_id}
    return tuple(known[column] for column in _BOX_HEADER)


def _write_attributes(folder: Path, first: list[Record], silver: Callable[[Record], dict[str, Any]]) -> None:
    _write_tsv(
        folder / _FILES["attributes"],
        ("patient_id", "study_id", "image_id", "row_id", "bbox", *_ATTRIBUTE, "sentence"),
        (
            (*_ids(r), row_id(r, s.sentence), s.region, *_attribute(s), s.sentence.text)
            for r in first
            for s in statements(r)
        ),
    )
    header = ("patient_id", "study_id", "image_id", "row_id", "sentence", "bbox", *_ATTRIBUTE)
    for kind, boxes_of in (("placed", gold_boxes), ("baseline", silver)):
        rows = []
        for r in first:
            boxes = boxes_of(r)
            rows += [
                (*_ids(r), row_id(r, s.sentence), s.sentence.text, s.region, *_attribute(s),
                 list(in_frame(boxes[s.region], r.size)), list(boxes[s.region]), f"{_dcm(r)}_{s.region}")
                for s in statements(r)
                if s.region in boxes
            ]  # fmt: skip
        _write_tsv(folder / _FILES[kind], (*header, "coord224", "coord_original", "object_id"), rows)


def _attribute(s: Statement) -> tuple:
    return 1, s.label, s.category, "yes" if s.there else "no"


def _write_comparisons(folder: Path, pairs: list[tuple[Record, Record]]) -> None:
    plain, placed = [], []
    for now, then in pairs:
        subject, before = gold_boxes(now), gold_boxes(then)
        for k, (s, word) in enumerate(comparisons(now, then, statements(now))):
            current, previous = mimic.dicom_id(now.case), mimic.dicom_id(then.case)
            row = (
                mimic.subject_id(now.case), f"{row_id(now, s.sentence)}|{k}", f"{current}_{s.region}",
                f"{previous}_{s.region}", s.region, word, f"{s.category}|{'yes' if s.there else 'no'}|{s.label}",
                s.sentence.text, s.label, current, previous,
            )  # fmt: skip
            plain.append(row)
            if s.region in subject and s.region in before:
                boxes = [(subject[s.region], now.size), (before[s.region], then.size)]
                placed.append((*row, *(v for box, size in boxes for v in (list(in_frame(box, size)), list(box)))))
    _write_tsv(folder / _FILES["compared"], _COMPARED, plain)
    _write_tsv(folder / _FILES["compared placed"], (*_COMPARED, *_COMPARED_BOXES), placed)


def _write_tsv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    write_csv(path, header, rows, delimiter="\t")


def _ids(record: Record) -> tuple[int, int, str]:
    return mimic.subject_id(record.case), mimic.study_id(record.case), _dcm(record)


def _dcm(record: Record) -> str:
    return f"{mimic.dicom_id(record.case)}.dcm"
