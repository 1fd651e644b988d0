"""Chest ImaGenome 1.0.0 (Wu et al., NeurIPS Datasets 2021) over the MIMIC-CXR files it refers to.

``chest-imagenome/1.0.0/`` beside the folders of :mod:`.mimic`. Silver: scene graphs in a zip archive, sentences, the
study-level graphs, the split lists; region boxes a little off, now and then one missing. Gold: see
:mod:`.imagenome_gold`. Gold patients are the test patients with two studies. The split is that of MIMIC-CXR here, in
the original it is another. UMLS codes are left out (``synsets`` is empty): none is made up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wsrpn_vl.data.phantom.layouts import imagenome_gold, mimic
from wsrpn_vl.data.phantom.layouts.base import README, Layout, write_csv, write_lines, write_sums, write_zip
from wsrpn_vl.data.phantom.layouts.imagenome_frame import chance, coordinates, off
from wsrpn_vl.data.phantom.layouts.imagenome_vocabulary import write_semantics
from wsrpn_vl.data.phantom.layouts.imagenome_words import (
    Statement,
    by_region,
    comparisons,
    reason,
    row_id,
    sentences,
    statements,
    triplets,
)
from wsrpn_vl.data.phantom.layouts.regions import anatomy_boxes
from wsrpn_vl.data.phantom.records import Case, Record, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.data.phantom.traps import draw_quality
from wsrpn_vl.files import replacing

ROOT = "chest-imagenome/1.0.0"
_SPLITS = {"train": "train", "val": "valid", "test": "test"}
_SILVER_OFF = 0.03  # sd of a detected box's edge, in widths and heights
_LOST = 0.0016  # share of boxes not detected: one image in twenty lacks one of 29 regions


def _extra(study: PhantomStudy, case: Case) -> dict[str, Any]:
    s = case.settings
    quality = draw_quality(s.traps, s.seed, case.patient, case.study)
    if study.thorax is None:
        raise ValueError(f"{study.image_id}: a study without its chest has no anatomical regions")
    boxes = anatomy_boxes(study.thorax, study.view, s.size, quality)
    return {"regions": {name: [round(v, 2) for v in box] for name, box in boxes.items()}}


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    mimic.write_tables(folder, records)
    root = folder / ROOT
    gold = gold_patients(records)
    _write_silver(root / "silver_dataset", records)
    _write_splits(root / "silver_dataset" / "splits", records, gold)
    imagenome_gold.write_gold(root / "gold_dataset", records, gold, silver_boxes)
    write_semantics(root / "semantics")
    _write_utils(root / "utils", records)
    write_lines(root / "LICENSE.txt", [README.format("Chest ImaGenome")])
    write_sums(root)
    return root


def gold_patients(records: Iterable[Record]) -> frozenset[int]:
    """Patients of the test split with a second study."""
    return frozenset(r.case.patient for r in records if r.case.split == "test" and r.case.study == 1)


def silver_boxes(record: Record) -> dict[str, tuple[int, int, int, int]]:
    """Region -> xyxy of the image as a detector finds it: whole pixels, a little off, not clipped."""
    out = {}
    for name, box in record.extra["regions"].items():
        rng = chance(record.case, f"silver {name}")
        if rng.random() >= _LOST:
            out[name] = off(box, _SILVER_OFF, rng)
    return out


def with_previous(records: Iterable[Record]) -> Iterator[tuple[Record, Record | None]]:
    """Each study and the patient's one before it."""
    last: Record | None = None
    for record in records:
        same = last is not None and last.case.patient == record.case.patient
        yield record, last if same else None
        last = record


def _write_silver(folder: Path, records: Records) -> None:
    graphs = ((f"scene_graph/{g['image_id']}_SceneGraph.json", json.dumps(g)) for g in scene_graphs(records))
    write_zip(folder / "scene_graph.zip", graphs)
    write_csv(
        folder / "cxr-mimic-v2.0.0-processed-sentences_all.txt",
        ("subject_id", "rad_id", "sent_loc", "row_id", "section", "sentence"),
        (
            (mimic.subject_id(r.case), mimic.study_id(r.case), s.number, row_id(r, s), s.section, s.text)
            for r in records
            for s in sentences(r)
        ),
        delimiter="\t",
    )
    with (
        replacing(folder / "study_level_attribute_rdfgraphs.json") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for k, record in enumerate(records):
            file.write("{" if k == 0 else ", ")
            file.write(f'"{mimic.study_id(record.case)}": {json.dumps(_graph(record))}')
        file.write("}")


def scene_graphs(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """One scene graph an image."""
    for record, before in with_previous(records):
        case, name = record.case, mimic.dicom_id(record.case)
        decade = int(record.attributes["age"]) // 10 * 10
        boxes = silver_boxes(record)
        said = statements(record)
        yield {
            "image_id": name,
            "viewpoint": record.view,
            "patient_id": mimic.subject_id(case),
            "study_id": mimic.study_id(case),
            "gender": record.attributes["sex"],
            "age_decile": f"{decade}-{decade + 10}",
            "reason_for_exam": reason(record),
            "StudyOrder": case.study + 1,
            "StudyDateTime": _date_time(case),
            "objects": [_object(name, region, box, record.size) for region, box in boxes.items()],
            "attributes": [_attribute(record, region, groups) for region, groups in by_region(said)],
            "relationships": _relationships(record, before, said) if before else [],
        }


def _date_time(case: Case) -> str:
    day, at = str(mimic.study_date(case)), f"{mimic.study_time(case):010.3f}"
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {at[:2]}:{at[2:4]}:{at[4:]}"


def _object(image: str, region: str, box: tuple[int, int, int, int], size: int) -> dict[str, Any]:
    return {
        "object_id": f"{image}_{region}",
        **coordinates(box, size),
        "bbox_name": region,
        "synsets": [],
        "name": region.capitalize(),
    }


def _attribute(record: Record, region: str, groups: list[list[Statement]]) -> dict[str, Any]:
    severity = [[f"severity|yes|{s.severity}" for s in group if s.severity] for group in groups]
    return {
        region: True,
        "bbox_name": region,
        "synsets": [],
        "name": region.capitalize(),
        "attributes": [triplets(group) for group in groups],
        "attributes_ids": [[] for _ in groups],
        "phrases": [group[0].sentence.text for group in groups],
        "phrase_IDs": [row_id(record, group[0].sentence) for group in groups],
        "sections": [group[0].sentence.section for group in groups],
        "comparison_cues": [[] for _ in groups],
        "temporal_cues": [[] for _ in groups],
        "severity_cues": severity,
        "texture_cues": [[] for _ in groups],
        "object_id": f"{mimic.dicom_id(record.case)}_{region}",
    }


def _relationships(record: Record, before: Record, said: list[Statement]) -> list[dict[str, Any]]:
    now, then = mimic.dicom_id(record.case), mimic.dicom_id(before.case)
    status = {"no change": "No status change", "improved": "Improved", "worsened": "Worsened"}
    return [
        {
            "relationship_id": f"{row_id(record, s.sentence)}|{k}",
            "predicate": f"['{status[word]}']",
            "synsets": [],
            "relationship_names": [f"comparison|yes|{word}"],
            "relationship_contexts": [1.0],
            "phrase": s.sentence.text,
            "attributes": triplets([s]),
            "bbox_name": s.region,
            "subject_id": f"{now}_{s.region}",
            "object_id": f"{then}_{s.region}",
        }
        for k, (s, word) in enumerate(comparisons(record, before, said))
    ]


def _graph(record: Record) -> list[list]:
    """``[[node, type], [node, type], relation]`` for every statement and its region."""
    return [
        [[s.region, "location"], [s.label, f"{s.category}_annotation"], "annotation" if s.there else "NOT annotation"]
        for s in statements(record)
    ]


def _write_splits(folder: Path, records: Records, gold: frozenset[int]) -> None:
    columns = ("subject_id", "study_id", "dicom_id", "path", "ViewPosition")
    cases = sorted(((r.case, r.view) for r in records), key=lambda c: (mimic.subject_id(c[0]), mimic.study_id(c[0])))
    rows = [(case, (*_ids(case), f"{mimic.study_folder(case)}/{mimic.dicom_id(case)}.dcm", v)) for case, v in cases]
    for split, name in _SPLITS.items():
        mine = [row for case, row in rows if case.split == split]
        write_csv(folder / f"{name}.csv", ("", *columns), ((k, *row) for k, row in enumerate(mine)))
    write_csv(folder / "images_to_avoid.csv", columns, (row for case, row in rows if case.patient in gold))


def _ids(case: Case) -> tuple[int, int, str]:
    return mimic.subject_id(case), mimic.study_id(case), mimic.dicom_id(case)


def _write_utils(folder: Path, records: Records) -> None:
    write_csv(
        folder / "cxr-record-list_view.csv",
        ("subject_id", "study_id", "dicom_id", "path", "ViewPosition"),
        sorted((*_ids(r.case), f"{mimic.study_folder(r.case)}/{mimic.dicom_id(r.case)}.dcm", r.view) for r in records),
    )
    decades = ((r, int(r.attributes["age"]) // 10 * 10) for r in records)
    write_csv(
        folder / "cxr-study-list_v2.csv",
        ("subject_id", "study_id", "path", "gender", "age_decile"),
        sorted(
            (*_ids(r.case)[:2], f"{mimic.study_folder(r.case)}.txt", r.attributes["sex"], f"{d}-{d + 10}")
            for r, d in decades
        ),
    )


LAYOUT = Layout(mimic.files, _tables, _extra)
