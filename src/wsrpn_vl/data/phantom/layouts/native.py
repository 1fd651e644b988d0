"""This program's own index: ``images/<image_id>.png``, ``index.parquet`` and ``index.boxes.parquet``."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from wsrpn_vl.data.phantom.layouts.base import Layout, png
from wsrpn_vl.data.phantom.records import Case, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.data.phantom.traps import Traps
from wsrpn_vl.labels import OBSERVATIONS, label_column


def _files(study: PhantomStudy, case: Case) -> dict[str, bytes]:
    return {f"images/{study.image_id}.png": png(study.image)}


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    import polars as pl  # here, because drawing workers never need the tables

    from wsrpn_vl.data.index import write_index
    from wsrpn_vl.data.sources.tables import box_frame

    columns: dict[str, list] = {}
    boxes: list[tuple] = []
    for record in records:
        row = {
            "dataset": "phantom",
            "split": record.case.split,
            "image_id": record.image_id,
            "patient_id": record.patient_id,
            "study_id": record.study_id,
            "view": record.view,
            "path": f"images/{record.image_id}.png",
            "width": record.size,
            "height": record.size,
            **{label_column(name): record.given[name] for name in OBSERVATIONS},
            "text": record.text,
            "triples": json.dumps(record.triples),
            **record.attributes,
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
        boxes += [(record.image_id, f.name, *f.box, "simulated", f.visibility) for f in record.findings]
    return write_index(
        pl.DataFrame(columns),
        box_frame(boxes, "visibility"),
        folder / "index.parquet",
        dataset="phantom",
        root=folder,
        classes=OBSERVATIONS,
        box_complete=dict.fromkeys(OBSERVATIONS, True),
        boxed_classes=OBSERVATIONS,
        text_origin="report",
        notes=("simulated chest radiographs; every finding is boxed", *_traps_on(settings.traps)),
    )


def _traps_on(traps: Traps) -> tuple[str, ...]:
    said = [f"{f.name}={getattr(traps, f.name)}" for f in fields(traps) if getattr(traps, f.name) != f.default]
    return (f"wrong on purpose: {', '.join(said)}",) if said else ()


LAYOUT = Layout(_files, _tables)
