"""One small phantom in every layout, each written when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from fixtures.layouts import write
from wsrpn_vl.data.index import read_index

Root = Callable[[str], Path]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Layout -> its folder; all lie side by side."""
    parent = tmp_path_factory.mktemp("layouts")

    @cache
    def folder(layout: str) -> Path:
        write(parent / layout, layout)
        return parent / layout

    return folder


@pytest.fixture(scope="session")
def native(root: Root) -> pl.DataFrame:
    """The same phantom's own table."""
    return read_index(root("native") / "index.parquet").frame
