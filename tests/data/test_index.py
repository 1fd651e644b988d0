"""The index: what is written is read, what is wrong is named, and the boxes stay closed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import wsrpn_vl.data.index as module
from wsrpn_vl.data.index import boxes_path, content_hash, parse_view, read_index, write_index
from wsrpn_vl.errors import DataError

CLASSES = ("Pneumothorax", "Effusion")
META: dict[str, Any] = {
    "dataset": "demo",
    "classes": CLASSES,
    "box_complete": {"Pneumothorax": True, "Effusion": False},
    "boxed_classes": ("Effusion",),
    "text_origin": "report",
    "notes": ("one note",),
}
TRIPLES = json.dumps([{"finding": "Effusion", "location": "left", "modifiers": ["small"], "polarity": "positive"}])


def table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "dataset": ["demo"] * 4,
            "split": ["train", "val", "test", ""],
            "image_id": ["a", "b", "c", "d"],
            "patient_id": ["p1", "p2", "p3", "p1"],  # in no split and in train: not a leak
            "study_id": ["s1", "s2", None, None],
            "view": ["PA", "AP", "LAT", "UNK"],
            "path": ["x/a.png", "x/b.png", "x/c.png", "x/d.png"],
            "width": pl.Series([100, 100, 100, None], dtype=pl.Int32),
            "height": pl.Series([80, 80, 80, None], dtype=pl.Int32),
            "y_pneumothorax": pl.Series([1, 0, -1, None], dtype=pl.Int8),
            "y_effusion": pl.Series([None, 1, 1, 0], dtype=pl.Int8),
            "text": ["Erguß links.", None, "clear", "clear"],
            "triples": [TRIPLES, None, "[]", None],
            "age": [60, None, 71, 5],
        }
    )


def box(**changes: Any) -> pl.DataFrame:
    row = {"image_id": "b", "label": "Effusion", "x1": 10.0, "y1": 20.5, "x2": 100.0, "y2": 80.0, "source": "reader"}
    return pl.DataFrame([row | changes], schema=module.BOX_COLUMNS, strict=False)


def write(folder: Path, frame: pl.DataFrame | None = None, boxes: pl.DataFrame | None = None, **changes: Any) -> Path:
    frame = table() if frame is None else frame
    options: dict[str, Any] = {"root": folder} | META | changes
    return write_index(frame, boxes, folder / "index.parquet", **options)


def cell(column: str, row: int, value: Any) -> pl.DataFrame:
    """The table with one value changed."""
    frame = table()
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))


def test_round_trip(tmp_path: Path) -> None:
    path = write(tmp_path, boxes=box())
    index = read_index(path)
    assert index.frame.select(table().columns).equals(table())
    assert index.frame.columns[:9] == table().columns[:9]
    assert (index.path, index.dataset, index.classes, index.notes) == (path, "demo", CLASSES, ("one note",))
    assert (index.box_complete, index.boxed_classes) == (META["box_complete"], ("Effusion",))
    assert (index.text_origin, index.root) == ("report", tmp_path)
    assert boxes_path(path) == tmp_path / "index.boxes.parquet"
    assert pl.read_parquet(boxes_path(path)).equals(box())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.boxes.parquet", "index.parquet"]


def test_columns_of_other_order_and_integer_width_are_brought_into_form(tmp_path: Path) -> None:
    loose = (
        table().select(reversed(table().columns)).with_columns(pl.col("width", "height", "y_effusion").cast(pl.Int64))
    )
    index = read_index(write(tmp_path, loose))
    assert index.frame.equals(read_index(write(tmp_path / "other")).frame)


def test_blank_columns_may_have_no_type(tmp_path: Path) -> None:
    blank = table().with_columns(
        pl.lit(None).alias(c) for c in ("study_id", "width", "height", "triples", "y_effusion")
    )
    frame = read_index(write(tmp_path, blank)).frame
    assert frame["y_effusion"].dtype == pl.Int8 and frame["y_effusion"].null_count() == 4


def test_a_root_at_or_below_the_index_moves_with_it(tmp_path: Path) -> None:
    write(tmp_path / "one", root=tmp_path / "one" / "images")
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert read_index(tmp_path / "two" / "index.parquet").root == tmp_path / "two" / "images"
    write(tmp_path / "three", root=tmp_path / "elsewhere")
    shutil.move(tmp_path / "three", tmp_path / "four")
    assert read_index(tmp_path / "four" / "index.parquet").root == tmp_path / "elsewhere"


def test_reading_never_opens_the_boxes(tmp_path: Path) -> None:
    path = write(tmp_path, boxes=box())
    boxes_path(path).write_bytes(b"not Parquet")
    assert read_index(path).boxed_classes == ("Effusion",)
    boxes_path(path).unlink()
    assert read_index(path).boxed_classes == ("Effusion",)


def test_boxes_of_an_earlier_index_do_not_stay(tmp_path: Path) -> None:
    path = write(tmp_path, boxes=box())
    write(tmp_path, boxed_classes=())
    assert not boxes_path(path).exists()


def test_content_hash_by_hand() -> None:
    """Columns by name: ``n`` = [1, null]: header, null bits 01 -> 0x40, int64 1, 0. ``s`` = ["é", ""]: bytes 2, 0."""
    frame = pl.DataFrame({"s": ["é", ""], "n": pl.Series([1, None], dtype=pl.Int8)})
    raw = b"n\0int\0" + b"2\0" + b"\x40" + np.array([1, 0], "<i8").tobytes()
    raw += b"s\0string\0" + b"2\0" + b"\x00" + np.array([2, 0], "<i8").tobytes() + "é".encode()
    assert content_hash(frame) == hashlib.sha256(raw).hexdigest()


def test_content_hash_does_not_depend_on_rows_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content_hash(table())
    monkeypatch.setattr(module, "_HASHED", 3)
    assert content_hash(table()) == whole


def test_content_hash_ignores_the_encoding(tmp_path: Path) -> None:
    path = write(tmp_path)
    index = read_index(path)
    meta = {"wsrpn_vl": pl.read_parquet_metadata(path)["wsrpn_vl"]}
    index.frame.write_parquet(path, compression="uncompressed", row_group_size=1, statistics=False, metadata=meta)
    assert read_index(path).content_hash == index.content_hash


@pytest.mark.parametrize(
    "other",
    [
        cell("y_effusion", 0, 0),  # null is not 0
        cell("patient_id", 2, None),
        cell("text", 1, "x"),
        cell("text", 2, "clea").with_columns(pl.Series("text", ["Erguß links.", None, "clea", "rclear"])),
        cell("age", 1, 0),
        table().reverse(),
        table().rename({"age": "years"}),
    ],
)
def test_content_hash_sees_every_change(other: pl.DataFrame) -> None:
    assert content_hash(other) != content_hash(table())


FAULTS = [
    (cell("image_id", 1, "a"), r"row 1 \(image_id 'a'\), image_id='a'.*appears twice"),
    (cell("path", 3, "x/a.png"), r"row 3 \(image_id 'd'\), path='x/a.png'.*appears twice"),
    (cell("path", 2, "/x/c.png"), "path='/x/c.png'.*relative to the root"),
    (cell("path", 2, "../c.png"), r"path='\.\./c\.png'.*relative to the root"),
    (cell("path", 2, "x\\c.png"), "forward slashes"),
    (cell("image_id", 2, " "), "row 2.*image_id=' '.*give a value"),
    (cell("split", 1, "validate"), "row 1.*split='validate'.*use train, val, test"),
    (cell("split", 1, None), "row 1.*split=None"),
    (cell("split", 3, "test"), "patient_id 'p1' is in more than one split.*test, train"),
    (cell("view", 0, "frontal"), "row 0.*view='frontal'.*AP, PA, LAT, UNK"),
    (cell("width", 0, 0), "row 0.*width=0.*positive"),
    (cell("height", 0, None), "both width and height"),
    (cell("y_pneumothorax", 2, 2), r"row 2 \(image_id 'c'\), y_pneumothorax=2.*use 1, 0, -1"),
    (cell("dataset", 2, "other"), "row 2.*dataset='other'.*expected 'demo'"),
    (cell("text", 1, "  "), "row 1 .*, text: use null"),
    (cell("triples", 1, "{}"), "row 1.*triples: not a JSON list"),
    (cell("triples", 1, "[{"), "row 1.*triples: not a JSON list"),
    (cell("triples", 1, '[{"finding": "Edema"}]'), "finding, location, modifiers, polarity"),
    (table().drop("y_effusion"), "column 'y_effusion' is missing"),
    (table().drop("patient_id"), "column 'patient_id' is missing"),
    (table().with_columns(y_edema=pl.lit(1)), "'y_edema' belongs to no class"),
    (table().with_columns(pl.col("y_effusion").cast(pl.Float64)), "'y_effusion' is Float64, expected Int8"),
    (table().with_columns(age=pl.lit([[1]] * 4)), "column 'age' is List"),
    (table().with_columns(width=pl.lit(2**40)), "'width' has a value that does not fit Int32"),
    (table().clear(), "no images"),
]


@pytest.mark.parametrize(("frame", "message"), FAULTS)
def test_a_fault_in_the_table_is_named_and_nothing_is_written(
    tmp_path: Path, frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        write(tmp_path / "out", frame, box())
    assert "index.parquet" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


BOX_FAULTS = [
    (box(image_id="z"), "image_id='z'.*no such image"),
    (box(label="Pneumothorax"), "label='Pneumothorax'.*not among boxed_classes"),
    (box(x2=10.0), "x2=10.0.*greater than x1"),
    (box(y2=5.0), "y2=5.0.*greater than y1"),
    (box(x1=-0.5), "x1=-0.5.*outside the image"),
    (box(x2=100.5), r"x2=100.5.*outside the image \(width\)"),
    (box(y2=81.0), r"y2=81.0.*outside the image \(height\)"),
    (box(y1=float("nan")), "y1=nan.*finite"),
    (box(x1=None), "x1=None.*finite"),
    (box(source=None), "source=None"),
    (box().drop("source"), "column 'source' is missing"),
    (box().with_columns(score=pl.lit(0.5)), "column 'score' is not part"),
]


@pytest.mark.parametrize(("boxes", "message"), BOX_FAULTS)
def test_a_fault_in_the_boxes_is_named_and_nothing_is_written(
    tmp_path: Path, boxes: pl.DataFrame, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        write(tmp_path / "out", boxes=boxes)
    assert "index.boxes.parquet" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_boxes_may_tell_how_visible_they_are(tmp_path: Path) -> None:
    seen = pl.concat([box(), box(y1=1.0)]).with_columns(pl.Series("visibility", [2.5, None]))
    boxes = pl.read_parquet(boxes_path(write(tmp_path, boxes=seen)))
    assert boxes["visibility"].to_list() == [2.5, None]
    with pytest.raises(DataError, match="visibility"):
        write(tmp_path, boxes=box().with_columns(visibility=pl.lit("well")))


def test_a_box_may_fill_its_image_and_touch_its_edges_up_to_rounding(tmp_path: Path) -> None:
    write(tmp_path, boxes=box(x1=-1e-9, y1=0.0, x2=100.0 + 1e-9, y2=80.0))
    write(tmp_path, boxes=box(image_id="d", x2=5000.0, y2=5000.0))  # size unknown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("Effusion", "Effusion", "Pneumothorax")}, "two classes share a label column"),
        ({"box_complete": {"Effusion": True}}, "box_complete"),
        ({"boxed_classes": ("Efusion",)}, "'Efusion' is not among the classes; did you mean 'Effusion'"),
        ({"text_origin": "reports"}, "text_origin='reports'.*report, labels, none"),
        ({"text_origin": "none"}, "row 0.*text_origin is 'none'"),
        ({"dataset": ""}, "dataset=''"),
    ],
)
def test_wrong_metadata_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path, **changes)


def test_studies_of_unknown_patients_may_not_be_torn_apart(tmp_path: Path) -> None:
    frame = table().with_columns(patient_id=pl.lit(None, pl.String), study_id=pl.Series(["s", "s", "t", "t"]))
    with pytest.raises(DataError, match=r"study_id 's' is in more than one split.*train, val"):
        write(tmp_path, frame)
    write(tmp_path, frame.with_columns(split=pl.Series(["val", "val", "test", "test"])))


def test_an_index_without_labels_is_one(tmp_path: Path) -> None:
    frame = table().drop("y_effusion", "y_pneumothorax")
    path = write(tmp_path, frame, classes=(), box_complete={}, boxed_classes=())
    assert read_index(path).classes == ()


def test_a_failed_write_leaves_the_old_index_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match="No space left on device"):
        write(tmp_path, table().head(2))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["index.parquet"]


def test_files_that_are_no_index_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    with pytest.raises(DataError, match=r"index\.parquet: no such index"):
        read_index(path)
    path.write_text("dataset,split\n")
    with pytest.raises(DataError, match="not a readable Parquet file") as caught:
        read_index(path)
    assert "\n" not in str(caught.value)
    table().write_parquet(path)
    with pytest.raises(DataError, match="not a WSRPN-VL index"):
        read_index(path)
    whole = write(tmp_path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_index(path)


def test_an_index_altered_by_hand_is_checked_again(tmp_path: Path) -> None:
    path = write(tmp_path)
    meta = json.loads(pl.read_parquet_metadata(path)["wsrpn_vl"])
    leak = read_index(path).frame.with_columns(split=pl.Series(["train", "val", "test", "test"]))
    leak.write_parquet(path, metadata={"wsrpn_vl": json.dumps(meta)})
    with pytest.raises(DataError, match="patient_id 'p1' is in more than one split"):
        read_index(path)
    table().write_parquet(path, metadata={"wsrpn_vl": json.dumps(meta | {"version": 2})})
    with pytest.raises(DataError, match="index version 2, this program reads 1"):
        read_index(path)
    table().write_parquet(path, metadata={"wsrpn_vl": json.dumps({"format": "wsrpn-vl index", "version": 1})})
    with pytest.raises(DataError, match="metadata dataset=None"):
        read_index(path)


@pytest.mark.parametrize(
    ("said", "view"),
    [
        ("PA", "PA"),
        ("ap", "AP"),
        ("AP AXIAL", "AP"),
        ("antero-posterior", "AP"),
        ("postero-anterior", "PA"),
        ("LL", "LAT"),
        ("left lateral", "LAT"),
        ("XTABLE LATERAL", "LAT"),
        ("CHEST (PA AND LAT)", "UNK"),
        ("LAO", "UNK"),
        ("Lapel", "UNK"),
        ("", "UNK"),
        (None, "UNK"),
    ],
)
def test_views_as_files_state_them(said: str | None, view: str) -> None:
    assert parse_view(said) == view
