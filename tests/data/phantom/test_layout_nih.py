"""The NIH layout, by its form and through the reader of the original."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl

from fixtures.layouts import IMAGES
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.mapping import observations
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.labels import label_column

Root = Callable[[str], Path]
OBSERVATION_OF = observations("nih")


def test_the_nih_reader_gives_back_labels_boxes_and_splits(root: Root, native: pl.DataFrame, tmp_path: Path) -> None:
    index = read_index(build_index("nih", root("nih"), tmp_path))
    ours = native.with_columns(
        (pl.col("patient_id").str.slice(1).cast(pl.Int32) + 1).cast(pl.String).str.zfill(8).alias("patient_id"),
        pl.col("study_id").str.slice(-1).str.zfill(3).alias("visit"),
    ).with_columns(key=pl.col("patient_id") + "_" + pl.col("visit"))
    both = ours.join(index.frame, left_on="key", right_on="image_id", suffix="_nih", validate="1:1")
    assert both.height == IMAGES
    for name in sorted(set(OBSERVATION_OF.values())):
        assert both[label_column(name)].to_list() == both[f"{label_column(name)}_nih"].to_list(), name
    assert both["view"].to_list() == both["view_nih"].to_list()
    assert both["age"].to_list() == both["age_nih"].to_list() and both["sex"].to_list() == both["sex_nih"].to_list()
    assert (both["split"] == "test").to_list() == (both["split_nih"] == "test").to_list()
    assert set(index.frame["split"]) <= {"train", "val", "test"}
    _check_nih_boxes(root, dict(both.select("key", "image_id").iter_rows()), tmp_path)


def _check_nih_boxes(root: Root, image_of: dict[str, str], made: Path) -> None:
    true = pl.read_parquet(boxes_path(root("native") / "index.parquet"))
    known = {(r[0], r[1], *(round(v, 6) for v in r[2:6])) for r in true.iter_rows()}
    boxes = pl.read_parquet(boxes_path(made / "index.parquet"))
    assert boxes.height >= 3
    pairs = [(r[0], r[1]) for r in boxes.iter_rows()]
    assert len(set(pairs)) == len(pairs)  # no image and label twice
    for image, label, *corners, _ in boxes.iter_rows():
        assert (image_of[image], OBSERVATION_OF[label], *(round(v, 6) for v in corners)) in known
    frame = read_index(made / "index.parquet").frame
    assert set(boxes["image_id"]) <= set(frame.filter(pl.col("split") == "test")["image_id"])


def test_nih_tables_have_the_originals_form(root: Root) -> None:
    lines = (root("nih") / "Data_Entry_2017_v2020.csv").read_text().splitlines()[1:]
    form = r"\d{8}_\d{3}\.png,[A-Za-z_| ]+,\d,\d+,\d+,[MF],(AP|PA),\d+,\d+,0\.14300000000000002,0\.14300000000000002"
    assert all(re.fullmatch(form, line) for line in lines)
    boxes = (root("nih") / "BBox_List_2017.csv").read_text().splitlines()[1:]
    assert all(len(line.split(",")) == 6 and "Infiltration" not in line for line in boxes)
    listed = [(root("nih") / name).read_text().split() for name in ("train_val_list.txt", "test_list.txt")]
    assert sorted(listed[0] + listed[1]) == [line.split(",")[0] for line in lines]
    assert not {n[:8] for n in listed[0]} & {n[:8] for n in listed[1]}
