"""Images that cannot be read: ``index.broken.txt`` beside the index, one line per image, path and reason.

``wsrpn-vl prepare`` writes it, and whoever opens the index for training, prediction or evaluation leaves these images
out, saying how many. The index itself stays as it is, so that its hash, and what was computed from it, still hold. The
list holds until the next ``prepare``, which tries every listed file again; deleting a line does the same by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import Index
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import write_text

_log = logging.getLogger(__name__)
_HEAD = "# Images that could not be read; they are left out. Mend the files and run `wsrpn-vl prepare` again.\n"


def broken_path(index_path: Path | str) -> Path:
    """Where the list of an index lies: ``index.parquet`` -> ``index.broken.txt``."""
    path = Path(index_path)
    return path.with_name(f"{path.stem}.broken.txt")


def read_broken(index_path: Path | str) -> dict[str, str]:
    """Path -> reason, of the images listed; none without a list. Raises: DataError if the list cannot be read."""
    path = broken_path(index_path)
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise DataError(f"{path}: cannot be read; delete it and run `wsrpn-vl prepare` again") from None
    rows = (line.partition("\t") for line in lines if line.strip() and not line.startswith("#"))
    return {name: reason for name, _, reason in rows}


def write_broken(index_path: Path | str, broken: Mapping[str, str]) -> Path | None:
    """Write the list, sorted by path, or remove it when there is nothing to list; returns where it is."""
    path = broken_path(index_path)
    if not broken:
        path.unlink(missing_ok=True)
        return None
    lines = [f"{name}\t{' '.join(reason.split())}\n" for name, reason in sorted(broken.items())]
    return write_text(path, _HEAD + "".join(lines))


def without_broken(index: Index) -> Index:
    """The index without the images that its list names; a warning says how many these are.

    Raises: DataError if the list cannot be read.
    """
    listed = read_broken(index.path)
    if not listed:
        return index
    kept = index.frame.filter(~pl.col("path").is_in(list(listed)))
    if gone := index.frame.height - kept.height:
        place = broken_path(index.path)
        _log.warning("%d of %d images cannot be read and are left out: %s", gone, index.frame.height, place)
    return replace(index, frame=kept)
