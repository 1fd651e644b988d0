"""A written phantom indexes like any other source, boxes included."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.errors import DataError


def test_indexing_a_phantom_again_changes_nothing(tmp_path: Path) -> None:
    path = write_phantom(tmp_path / "phantom", images=40, size=64, progress=False)
    before, boxes = read_index(path), pl.read_parquet(boxes_path(path))
    assert boxes.height > 10
    elsewhere = build_index("phantom", tmp_path / "phantom", tmp_path / "out")
    again = build_index("phantom", tmp_path / "phantom", tmp_path / "phantom")
    assert again == path
    for made in (elsewhere, again):
        index = read_index(made)
        assert index.content_hash == before.content_hash and index.root == before.root
        assert (index.classes, index.box_complete, index.notes) == (before.classes, before.box_complete, before.notes)
        assert pl.read_parquet(boxes_path(made)).equals(boxes)


def test_folders_without_a_whole_phantom_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no index\.parquet; write the phantom first"):
        build_index("phantom", tmp_path, tmp_path / "out")
    write_phantom(tmp_path / "nih", images=1, size=64, layout="nih", progress=False)
    with pytest.raises(DataError, match="a phantom of the layout nih; index it as that data set"):
        build_index("phantom", tmp_path / "nih", tmp_path / "out")
    tmp_path = tmp_path / "native"
    write_phantom(tmp_path, images=2, size=64, progress=False)
    record = next((tmp_path / ".phantom" / "records").iterdir())
    image = read_index(tmp_path / "index.parquet").frame["image_id"][0]
    good = {"name": "Edema", "box": [1, 2, 3, 4], "visibility": None}
    faults = (
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, 4, 5]},
        {"box": [10**400, 2, 3, 4]},
        {"name": 7},
        {"name": "\ud800"},
    )
    studies = [[{"image_id": image, "findings": [good | fault]}] for fault in (*faults, {"visibility": "x"})]
    for text in ("[{", '{"a":' * 100_000, *map(json.dumps, studies)):
        record.write_text(text)
        with pytest.raises(DataError, match=rf"{record.name}: broken record"):
            build_index("phantom", tmp_path, tmp_path / "out")
