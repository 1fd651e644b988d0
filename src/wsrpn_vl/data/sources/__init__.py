"""Data sets as they are downloaded, turned into the index. One file per source, one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsrpn_vl.data.index import write_index
from wsrpn_vl.data.sources import folder, nih, phantom
from wsrpn_vl.data.sources.tables import SourceTables
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.files import write_text

__all__ = ["SOURCES", "SourceTables", "build_index", "missing_path"]

SOURCES: dict[str, Callable[..., SourceTables]] = {
    "nih": nih.build,
    "folder": folder.build,
    "phantom": phantom.build,
}


def build_index(source: str, root: Path | str, out: Path | str, **options: Any) -> Path:
    """Index the data set of kind ``source`` in ``root`` and return the path of the index.

    out: the index file (``*.parquet``) or the folder for ``index.parquet``; options: those of the source's ``build``.
    Images that are named but not there are listed in :func:`missing_path`.
    Raises: DataError for an unknown source or option, or a fault in the data set.
    """
    build = lookup("source", source, SOURCES, DataError)
    known = {name: None for name in build.__annotations__ if name not in ("root", "return")}
    for name in options:
        lookup(f"option of source {source!r}:", name, known, DataError)
    tables = build(Path(root), **options)
    out = Path(out)
    path = out if out.suffix == ".parquet" else out / "index.parquet"
    write_index(
        tables.frame,
        tables.boxes,
        path,
        dataset=tables.dataset,
        root=root,
        classes=tables.classes,
        box_complete=tables.box_complete,
        boxed_classes=tables.boxed_classes,
        text_origin=tables.text_origin,
        notes=tables.notes,
    )
    _write_missing(missing_path(path), tables.missing)
    return path


def missing_path(path: Path | str) -> Path:
    """List of the images an index does without: ``index.parquet`` -> ``index.missing.txt`` (absent if none)."""
    path = Path(path)
    return path.with_name(f"{path.stem}.missing.txt")


def _write_missing(path: Path, missing: tuple[str, ...]) -> None:
    if not missing:
        path.unlink(missing_ok=True)
        return
    write_text(path, "".join(f"{name}\n" for name in missing))
