"""The embedded phantom as a source: a folder that :func:`wsrpn_vl.data.phantom.writer.write_phantom` wrote."""

from __future__ import annotations

import json
from pathlib import Path

from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources.tables import SourceTables, box_frame
from wsrpn_vl.errors import DataError


def build(root: Path | str) -> SourceTables:
    """Tables of a written phantom folder: its own index, and the boxes of its records.

    Raises: DataError if ``root`` holds no written phantom, or its records are broken.
    """
    root = Path(root)
    path = root / "index.parquet"
    if not path.exists():
        raise DataError(f"{root}: no index.parquet; write the phantom first (wsrpn-vl phantom {root})")
    index = read_index(path)
    known = set(index.frame["image_id"])
    rows = []
    for record in sorted((root / "records").glob("*.json")):
        try:
            studies = json.loads(record.read_text("utf-8"))
            rows += [
                (s["image_id"], *box, "simulated") for s in studies for box in s["boxes"] if s["image_id"] in known
            ]
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(f"{record}: broken record; write the phantom again (wsrpn-vl phantom {root})") from None
    return SourceTables(
        frame=index.frame,
        boxes=box_frame(rows),
        dataset=index.dataset,
        classes=index.classes,
        box_complete=index.box_complete,
        boxed_classes=index.boxed_classes,
        text_origin=index.text_origin,
        notes=index.notes,
    )
