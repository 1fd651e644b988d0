"""The embedded phantom as a source: reads the index that :func:`wsrpn_vl.data.phantom.writer.write_phantom` wrote."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.errors import DataError


def build(root: Path | str) -> pl.DataFrame:
    """Rows of a written phantom folder in the index layout.

    Raises: DataError if ``root`` holds no written phantom.
    """
    from wsrpn_vl.data.index import read_index

    path = Path(root) / "index.parquet"
    if not path.exists():
        raise DataError(f"{root}: no index.parquet; write the phantom first (wsrpn-vl phantom {root})")
    return read_index(path).frame
