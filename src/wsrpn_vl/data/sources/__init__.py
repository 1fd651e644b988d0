"""Data sets as they are downloaded, turned into the index. One file per source, one line here."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wsrpn_vl.data import leaks  # which itself reads by what is below: not its names
from wsrpn_vl.data.index import write_index
from wsrpn_vl.data.sources import (
    chestx_det,
    chexlocalize,
    chexpert,
    chexpert_plus,
    dicom,
    folder,
    imagenome,
    mimic,
    ms_cxr,
    nih,
    openi,
    padchest,
    padchest_gr,
    phantom,
    rsna,
    siim,
    vindr,
)
from wsrpn_vl.data.sources.tables import SourceTables
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.files import write_text

__all__ = ["SOURCES", "SourceTables", "about", "build_index", "missing_path", "source_options"]

SOURCES: dict[str, Callable[..., SourceTables]] = {
    "mimic": mimic.build,
    "ms_cxr": ms_cxr.build,
    "imagenome": imagenome.build,
    "chexpert": chexpert.build,
    "chexlocalize": chexlocalize.build,
    "chexpert_plus": chexpert_plus.build,
    "nih": nih.build,
    "chestx_det": chestx_det.build,
    "vindr": vindr.build,
    "rsna": rsna.build,
    "siim": siim.build,
    "padchest": padchest.build,
    "padchest_gr": padchest_gr.build,
    "openi": openi.build,
    "dicom": dicom.build,
    "folder": folder.build,
    "phantom": phantom.build,
}


def build_index(
    source: str, root: Path | str, out: Path | str, *, exclude: Sequence[Path | str] = (), **options: Any
) -> Path:
    """Index the data set of kind ``source`` in ``root`` and return the path of the index.

    out: the index file (``*.parquet``) or the folder for ``index.parquet``; exclude: tables or indexes of patients and
    images that must not be learnt from (:func:`wsrpn_vl.data.leaks.take_out`); options: those of the source's
    ``build``, of its types or as text. Images that are named but not there are listed in :func:`missing_path`.
    Raises: DataError for an unknown source or option, or a fault in the data set.
    """
    build = lookup("source", source, SOURCES, DataError)
    tables = build(Path(root), **_typed(source, options))
    frame, taken = leaks.take_out(tables.frame, exclude)
    out = Path(out)
    path = out if out.suffix == ".parquet" else out / "index.parquet"
    write_index(
        frame,
        tables.boxes,
        path,
        dataset=tables.dataset,
        root=tables.root or root,
        classes=tables.classes,
        box_complete=tables.box_complete,
        boxed_classes=tables.boxed_classes,
        text_origin=tables.text_origin,
        notes=(*tables.notes, *taken),
        text_labels=tables.text_labels,
    )
    _write_missing(missing_path(path), tables.missing)
    return path


def about(source: str) -> str:
    """What a source reads: the text at the head of its file. Raises: DataError for an unknown source."""
    module = sys.modules[lookup("source", source, SOURCES, DataError).__module__]
    return (module.__doc__ or "").strip()


def source_options(source: str) -> dict[str, tuple[type, Any]]:
    """Options of a source's ``build``: name -> (type, default). Raises: DataError for an unknown source."""
    build = lookup("source", source, SOURCES, DataError)
    return {
        name: (type(parameter.default), parameter.default)
        for name, parameter in inspect.signature(build).parameters.items()
        if name != "root"
    }


def _typed(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in their own types; text is read as YAML reads a plain value."""
    known = source_options(source)
    typed = {}
    for name, value in options.items():
        kind, default = lookup(f"option of source {source!r}:", name, known, DataError)
        if isinstance(value, str) and kind is not str:
            try:
                value = yaml.safe_load(value)
            except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date such as 2020-13-45
                value = None
        value = float(value) if kind is float and type(value) is int else value
        if type(value) is not kind:
            words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
            raise DataError(f"source {source!r}: {name}={options[name]!r}; give {words[kind]}, such as {default!r}")
        typed[name] = value
    return typed


def missing_path(path: Path | str) -> Path:
    """List of the images an index does without: ``index.parquet`` -> ``index.missing.txt`` (absent if none)."""
    path = Path(path)
    return path.with_name(f"{path.stem}.missing.txt")


def _write_missing(path: Path, missing: tuple[str, ...]) -> None:
    if not missing:
        path.unlink(missing_ok=True)
        return
    write_text(path, "".join(f"{name}\n" for name in missing))
