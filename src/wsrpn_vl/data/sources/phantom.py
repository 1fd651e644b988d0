"""The embedded phantom as a source: a folder that :func:`wsrpn_vl.data.phantom.writer.write_phantom` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.sources.tables import SourceTables, box_frame
from wsrpn_vl.errors import DataError


def build(root: Path | str) -> SourceTables:
    """Tables of a phantom in the native layout: its own index, and the boxes of its records.

    Raises: DataError if ``root`` holds no such phantom, or its records are broken.
    """
    from wsrpn_vl.data.phantom.records import HIDDEN  # here, because the simulator is slow to import

    root = Path(root)
    path = root / "index.parquet"
    if not path.exists():
        if other := _other_layout(root):
            raise DataError(
                f"{root}: a phantom of the layout {other}; index it as that data set, or write a native one"
            )
        raise DataError(f"{root}: no index.parquet; write the phantom first (wsrpn-vl phantom write {root})")
    index = read_index(path)
    known = set(index.frame["image_id"])
    rows = []
    for record in sorted((root / HIDDEN / "records").glob("*.json")):
        try:
            studies = json.loads(record.read_text("utf-8"))
            rows += [(s["image_id"], *_row(f)) for s in studies for f in s["findings"] if s["image_id"] in known]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            mend = f"write the phantom again (wsrpn-vl phantom write {root})"
            raise DataError(f"{record}: broken record; {mend}") from None
    return SourceTables(
        frame=index.frame,
        boxes=box_frame(rows, "visibility"),
        dataset=index.dataset,
        classes=index.classes,
        box_complete=index.box_complete,
        boxed_classes=index.boxed_classes,
        text_origin=index.text_origin,
        notes=index.notes,
    )


def _row(finding: dict[str, Any]) -> tuple[Any, ...]:
    """Label, box, source and visibility of a record's finding. Raises: what a value of another form raises."""
    x1, y1, x2, y2 = map(float, finding["box"])
    seen = finding["visibility"]
    finding["name"].encode()  # half a surrogate pair is no text
    return finding["name"], x1, y1, x2, y2, "simulated", None if seen is None else float(seen)


def _other_layout(root: Path) -> str:
    """The layout of a phantom that is not native; empty where there is none."""
    from wsrpn_vl.data.phantom.records import HIDDEN

    try:
        layout = json.loads((root / HIDDEN / "phantom.json").read_text("utf-8"))["layout"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return "" if layout == "native" else str(layout)
