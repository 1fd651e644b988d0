"""A folder with COCO detection files: table and boxes in one, or boxes beside a table; other scales are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.chexpert import as_json, lines, picture
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.coco_json import split_of
from wsrpn_vl.data.sources.folder import build
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.coco import write_coco
from wsrpn_vl.types import Detections, Prediction

CATEGORIES = [{"id": 7, "name": "pleural effusion"}, {"id": 2, "name": "Edema"}, {"id": 3, "name": "No finding"}]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.jpg"):
        picture(tmp_path / "ward" / name, (40, 30))
    return tmp_path / "ward"


def image(key: int | str, name: str, size: tuple[int, int] = (40, 30), **more: Any) -> dict[str, Any]:
    return {"id": key, "file_name": name, "width": size[0], "height": size[1], **more}


def mark(on: int | str, category: int, *bbox: float, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": on, "category_id": category, **({"bbox": list(bbox)} if bbox else {}), **more}


def put(path: Path, images: list, annotations: list, categories: list | None = None) -> Path:
    content = {
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    return as_json(path, content)


@pytest.fixture
def coco(root: Path) -> Path:
    """c has another folder in the file, d another suffix and twice the size; b has only a word, a crowd and a dot."""
    return put(
        root / "annotations.json",
        [
            image(1, "a.png", patient_id=9),
            image("x", "b.png"),
            image(3, "images/c.png"),
            image(4, "sub/d.png", (80, 60)),
        ],
        [
            mark(1, 7, 1, 2, 10.5, 20),
            mark(1, 7, 0, 0, 40, 30),
            mark("x", 2),
            mark("x", 7, 1, 1, 9, 9, iscrowd=1),
            mark("x", 7, 1, 1, 0, 9),
            mark(3, 3),
            mark(4, 2, 20, 30, 60.5, 30),
        ],
    )


def test_table_and_boxes_in_one(coco: Path, tmp_path: Path) -> None:
    path = build_index("folder", coco.parent, tmp_path / "out", val_share=0.2, test_share=0.2)
    index = read_index(path)
    assert index.frame["image_id"].to_list() == ["a", "b", "sub/c", "sub/d"]
    assert index.frame["patient_id"].to_list() == ["9", None, None, None]
    assert set(index.frame["split"]) <= {"train", "val", "test"}
    assert index.classes == ("Edema", "Pleural Effusion") and index.text_origin == "none"
    labels = index.frame.select("y_edema", "y_pleural_effusion").rows()
    assert labels == [(None, 1), (1, 1), (None, None), (1, None)]
    boxes = build(coco.parent).boxes
    assert boxes is not None and boxes.rows() == [
        ("a", "Pleural Effusion", 1, 2, 11.5, 22, "annotations.json"),
        ("a", "Pleural Effusion", 0, 0, 40, 30, "annotations.json"),
        ("sub/d", "Edema", 10, 15, 40, 30, "annotations.json"),  # half the stated size; clipped by rounding
    ]
    assert index.notes == ("1 x box around a crowd (iscrowd), left out", "1 x box without area, left out")
    assert boxes_path(path).is_file()


def test_absent_only_where_boxes_are_complete(coco: Path) -> None:
    tables = build(coco.parent, box_complete=True)
    assert tables.frame.select("y_edema", "y_pleural_effusion").rows() == [(0, 1), (1, 1), (0, 0), (1, 0)]
    assert tables.box_complete == {"Edema": True, "Pleural Effusion": True}


def test_files_for_each_split(root: Path) -> None:
    put(root / "annotations/instances_train2017.json", [image(1, "a.png"), image(2, "b.png")], [mark(1, 2, 1, 1, 2, 2)])
    put(root / "annotations/instances_valid.json", [image(1, "c.png")], [mark(1, 2, 1, 1, 3, 3)])
    put(root / "TEST.json", [image(1, "d.jpg")], [])
    as_json(root / "package.json", {"name": "not COCO"})
    tables = build(root)
    assert dict(tables.frame.select("image_id", "split").iter_rows()) == {
        "a": "train",
        "b": "train",
        "sub/c": "val",
        "sub/d": "test",
    }
    assert tables.boxes is not None and tables.boxes["image_id"].to_list() == ["a", "sub/c"]
    assert build(root, table="annotations/instances_valid.json").frame["image_id"].to_list() == ["sub/c"]
    (root / "TEST.json").rename(root / "rest.json")
    with pytest.raises(DataError, match=r"several COCO files \(annotations/.*rest\.json\); name one with table="):
        build(root)


@pytest.mark.parametrize(
    ("name", "split"),
    [("instances_train2017", "train"), ("Val", "val"), ("latest", ""), ("train_val", ""), ("my-validation", "val")],
)
def test_split_in_a_name(name: str, split: str) -> None:
    assert split_of(Path(f"{name}.json")) == split


def test_boxes_beside_a_table(root: Path) -> None:
    """The table labels; the COCO file only boxes, as boxes.csv would."""
    lines(root / "t.csv", "path,split,Edema", "a.png,train,0", "sub/c.png,test,1")
    marks = [mark(1, 7, 1, 2, 3, 4), mark(2, 2, 1, 1, 5, 5), mark(3, 2, 1, 1, 2, 2)]
    put(root / "boxes.json", [image(1, "a.png"), image(2, "b.png"), image(3, "gone.png")], marks)
    tables = build(root)
    assert tables.boxes is not None
    assert tables.boxes.rows() == [("a", "Pleural Effusion", 1, 2, 4, 6, "boxes.json")]
    assert tables.frame.select("y_edema", "y_pleural_effusion").rows() == [(0, None), (1, None)]
    assert tables.missing == () and tables.notes == (
        "2 x image file not in the table, left out",
        "2 x box of an image that is missing or not in the table, left out",
    )
    lines(root / "boxes.csv", "path,label,x,y,w,h", "a.png,Edema,1,1,2,2")
    again = build(root).boxes
    assert again is not None and again["label"].to_list() == ["Edema"]


def test_missing_images(coco: Path, tmp_path: Path) -> None:
    (coco.parent / "a.png").unlink()
    path = build_index("folder", coco.parent, tmp_path / "out")
    assert missing_path(path).read_text() == "a.png\n"
    assert "2 x box of an image that is missing or not in the table, left out" in read_index(path).notes
    for name in ("b.png", "sub/c.png", "sub/d.jpg"):
        (coco.parent / name).rename(coco.parent / f"{name[:-4]}_old.png")
    with pytest.raises(DataError, match=r"annotations\.json: none of its 4 images is below"):
        build(coco.parent)


A = [image(1, "a.png")]
FAULTS = [
    (
        A,
        [mark(1, 7, 1, 1, 41, 4)],
        None,
        r"annotation 0: bbox=.* leaves the image of 40 x 30; .*not corners",
    ),
    (A, [mark(1, 7, 1, -2, 4, 4)], None, "leaves the image"),
    (A, [mark(1, 7, 9, 9, -4, 4)], None, "leaves the image"),
    (A, [mark(1, 7, 0.1, 0.1, 0.5, 0.4)], None, "every bbox lies within 0 to 1; give pixels"),
    (A, [mark(1, 7, 1, 2, 3)], None, r"bbox=.*give \[x, y, width, height\]"),
    (A, [mark(1, 7, 1, 2, 3, float("inf"))], None, r"give \[x, y, width, height\]"),
    (A, [mark(5, 7, 1, 2, 3, 4)], None, "annotation 0: image_id 5 is not in the file"),
    (A, [mark(1, 5, 1, 2, 3, 4)], None, "annotation 0: category_id 5 is not in the file"),
    (A, [7], None, "annotation 0 is no object"),
    (A, [mark(1, 7, 1, 2, 3, 4, score=0.5)], None, "these are predictions, not a reference"),
    ([image(1, "a.png", (400, 30))], [], None, "image 0: 400 x 30 pixels, but a.png has 40 x 30"),
    ([image(1, "a.png", (0, 30))], [], None, "image 0: width, height = 0, 30"),
    ([image(1, "a.png"), image(1, "b.png")], [], None, "image 1: id 1 appears twice"),
    ([image(1, "a.png"), image(2, "./a.png")], [], None, "image 1, file_name: 'a.png' is named a second time"),
    ([{"id": 1}], [], None, "image 0 needs an 'id' and a 'file_name'"),
    (A, [], [{"id": 1, "name": "Edemma"}], "category 0: class 'Edemma' is unknown; did you mean 'Edema'"),
    (A, [], [{"id": 1}], "category 0 needs an 'id' and a 'name'"),
    (A, [], [{"id": 1, "name": "Edema"}, {"id": 1, "name": "Mass"}], "category 1: id 1 appears twice"),
]


@pytest.mark.parametrize(("images", "marks", "categories", "message"), FAULTS)
def test_faults_are_named_by_entry(root: Path, tmp_path: Path, images, marks, categories, message: str) -> None:
    put(root / "found.json", images, marks, categories)
    with pytest.raises(DataError, match=rf"found\.json: {'.*' if message[0].islower() else ''}{message}") as caught:
        build_index("folder", root, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_files_that_are_no_coco(root: Path) -> None:
    as_json(root / "results.json", [])
    assert build(root).notes == ("no table in the folder: no labels, no splits",)
    with pytest.raises(DataError, match=r"results\.json: not a JSON object"):
        build(root, table="results.json")
    as_json(root / "results.json", {"images": [], "annotations": []})
    with pytest.raises(DataError, match=r"results\.json: no list 'categories'"):
        build(root, table="results.json")
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        build(root, table="none.json")


def test_what_the_program_writes_is_read_but_for_the_scores(root: Path) -> None:
    """Predictions as COCO JSON, scores taken out, come back as boxes of the same corners."""
    corners = np.array([[1.0, 2.0, 11.5, 22.0], [0.0, 0.0, 40.0, 30.0]])
    found = Detections(("Edema", "Mass"), corners, np.array([0.5, 0.25]), np.array([1, 0]))
    path = write_coco(
        root / "out.json", [Prediction("a.png", 40, 30, found.classes, np.ones(2), found)], found.classes, {}
    )
    with pytest.raises(DataError, match="these are predictions"):
        build(root)
    path.write_text(path.read_text().replace('"score"', '"was"'))
    boxes = build(root).boxes
    assert boxes is not None and sorted(boxes["label"]) == ["Edema", "Mass"]
    assert sorted(boxes.select("x1", "y1", "x2", "y2").rows()) == sorted(map(tuple, corners.tolist()))


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 50) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
entries = st.lists(
    st.dictionaries(st.sampled_from(["id", "file_name", "image_id", "category_id", "bbox", "width", "iscrowd"]), odd),
    max_size=2,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries, entries, entries)
def test_whatever_the_file_holds_there_are_tables_or_one_line(root: Path, images, marks, categories) -> None:
    put(root / "x.json", [*A, *images], [mark(1, 7, 1, 2, 3, 4), *marks], [*CATEGORIES, *categories])
    try:
        found = str(build(root).frame.height)
    except DataError as error:
        found = str(error)
    assert "\n" not in found
