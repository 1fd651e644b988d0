"""Boxes of a folder: ``boxes.csv``, else ``boxes.json`` or the COCO files that are its table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.data.sources.coco_json import Coco, read_coco
from wsrpn_vl.data.sources.folder_images import Images, bare
from wsrpn_vl.data.sources.tables import box_frame, count_notes, read_table
from wsrpn_vl.errors import DataError, nearest
from wsrpn_vl.labels import BY_NAME, slug

BOX_FILE, COCO_BOX_FILE = "boxes.csv", "boxes.json"
_PATH = ("path", "image")
_CLASSES = {slug(name): name for name in BY_NAME}
_BOX_FORMS = (("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"))


def read_boxes(
    root: Path, coco: Coco | None, images: Images, rows: list[dict], missing: tuple[str, ...]
) -> tuple[pl.DataFrame | None, frozenset[str], tuple[str, ...]]:
    """Boxes table in pixels of the stored images (None: there is no file of boxes), classes boxed, and notes.

    coco: the COCO files that are the folder's table; rows: path and image_id of the index; missing: what the table
    names and the folder lacks. Raises: DataError for the first fault, with file and line or entry.
    """
    notes: tuple[tuple[int, str], ...] = ()
    if (root / BOX_FILE).is_file():
        found, unplaced = _csv_boxes(root / BOX_FILE, images, rows, missing)
    else:
        if coco is None and (root / COCO_BOX_FILE).is_file():
            coco = read_coco([root / COCO_BOX_FILE], images.find, root)
        if coco is None:
            return None, frozenset(), ()
        ids = {row["path"]: row["image_id"] for row in rows}
        found = [(ids[path], name, *box, source) for path, name, box, source in coco.boxes if path in ids]
        unplaced = len(coco.boxes) - len(found) + coco.lost
        notes = ((coco.crowds, "box around a crowd (iscrowd), left out"), (coco.empty, "box without area, left out"))
    notes += ((unplaced, "box of an image that is missing or not in the table, left out"),)
    return box_frame(found), frozenset(box[1] for box in found), count_notes(*notes)


def _csv_boxes(path: Path, images: Images, rows: list[dict], missing: tuple[str, ...]) -> tuple[list[tuple], int]:
    """Rows for the boxes table, and how many belong to images without a row."""
    header, table = read_table(path)
    names = {column.lower(): column for column in header}
    where = next((names[n] for n in ("image_id", *_PATH) if n in names), None)
    form = next((f for f in _BOX_FORMS if all(n in names for n in f)), None)
    if where is None or form is None or "label" not in names:
        raise DataError(f"{path}: needs path, image or image_id; label; and x1, y1, x2, y2 or x, y, w, h")
    by_path = {row["path"]: row["image_id"] for row in rows}
    ids, gone = set(by_path.values()), {key for name in missing for key in (name, bare(name))}
    out, unplaced = [], 0
    for line, cells in table:
        place = f"{path}: line {line}"
        label = _CLASSES.get(slug(cells[names["label"]]))
        if label is None:
            raise DataError(
                f"{place}, label={cells[names['label']]!r} is unknown{nearest(cells[names['label']], BY_NAME)}"
            )
        try:
            a, b, c, d = (float(cells[names[n]]) for n in form)
        except ValueError:
            raise DataError(f"{place} needs numbers in {', '.join(form)}; correct it") from None
        said = cells[where]
        found = None if said in ids and where == names.get("image_id") else images.find(said, place)
        image_id = by_path.get(found or "", said)
        if image_id not in ids:
            if found is None and said not in gone:
                raise DataError(f"{place}, {where}={said!r}: no such image; correct the name or delete the line")
            unplaced += 1
            continue
        corners = (a, b, c, d) if form[0] == "x1" else (a, b, a + c, b + d)
        out.append((image_id, label, *corners, BOX_FILE))
    return out, unplaced
