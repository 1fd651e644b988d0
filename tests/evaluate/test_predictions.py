"""Predictions as files: round trips, anybody's COCO file, and one clear line for every bad file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.scored import prediction
from wsrpn_vl.errors import PredictionsError
from wsrpn_vl.evaluate.layout import PredictionSet
from wsrpn_vl.evaluate.predictions import (
    align,
    read_heatmaps,
    read_predictions,
    select_classes,
    write_coco,
    write_csv,
    write_predictions,
)
from wsrpn_vl.types import Prediction

CLASSES = ("Mass", "Pleural Effusion")


def some(heatmaps: bool = True) -> list[Prediction]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(4):
        boxes = [
            (int(k), (x, y, x + w, y + h), s)
            for k, x, y, w, h, s in zip(
                rng.integers(0, 2, i), *rng.uniform(0, 50, (4, i)), rng.uniform(size=i), strict=True
            )
        ]
        out.append(
            prediction(
                f"p{i}/a.b",
                boxes,
                rng.uniform(size=2),
                classes=CLASSES,
                size=(100 + i, 80),
                heatmaps={"patch": rng.uniform(size=(2, 3, 4)), "roi": rng.uniform(size=(2, 3, 4))} if heatmaps else {},
                embedding=rng.normal(size=5),
                text_embedding=None if i == 1 else rng.normal(size=5),
                text_id=None if i == 1 else f"t{i % 2}",
            )
        )
    return out


def same(a: Prediction, b: Prediction) -> None:
    assert (a.image_id, a.width, a.height, a.classes) == (b.image_id, b.width, b.height, b.classes)
    assert np.array_equal(a.probs, b.probs)
    first, second = a.detections.sorted(), b.detections
    assert first.xyxy == pytest.approx(second.xyxy, rel=1e-14)
    assert np.array_equal(first.scores, second.scores) and np.array_equal(first.class_ids, second.class_ids)


def test_parquet_round_trip(tmp_path: Path) -> None:
    given = some()
    calibrated = np.array([[0.1, np.nan]] * 4)
    path = write_predictions(
        tmp_path,
        given,
        CLASSES,
        {"model": "m", "split": "test"},
        calibrated=calibrated,
        thresholds=np.array([0.3, np.nan]),
    )
    assert path == tmp_path / "predictions.parquet"
    got = read_predictions(path)
    assert got.classes == CLASSES and got.meta["model"] == "m" and got.meta["version"] == 1
    assert np.array_equal(got.calibrated, calibrated, equal_nan=True)
    assert np.array_equal(got.thresholds, [0.3, np.nan], equal_nan=True)
    heatmaps = read_heatmaps(path)
    for a, b in zip(given, got.predictions, strict=True):
        same(a, b)
        assert b.embedding == pytest.approx(a.embedding, rel=1e-6) and b.text_id == a.text_id
        assert (b.text_embedding is None) == (a.text_embedding is None)
        assert all(heatmaps[a.image_id][name] == pytest.approx(a.heatmaps[name], rel=1e-6) for name in ("patch", "roi"))
    assert list(read_heatmaps(tmp_path, ["p2/a.b", "absent"])) == ["p2/a.b"]
    assert read_predictions(tmp_path).image_ids == got.image_ids, "the folder names the file"


def test_parquet_layout_is_the_documented_one(tmp_path: Path) -> None:
    """Anybody may read the file: one row per image and class, boxes best first, absent values null."""
    path = write_predictions(tmp_path, some(), CLASSES, {})
    frame = pl.read_parquet(path)
    box = pl.Struct(dict.fromkeys(("x1", "y1", "x2", "y2", "score"), pl.Float64))
    assert dict(frame.schema) == {
        "image_id": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "label": pl.String,
        "prob": pl.Float64,
        "calibrated_prob": pl.Float64,
        "threshold": pl.Float64,
        "boxes": pl.List(box),
    }
    assert frame.height == 8 and frame["calibrated_prob"].null_count() == 8
    for boxes in frame["boxes"].to_list():
        assert [b["score"] for b in boxes] == sorted((b["score"] for b in boxes), reverse=True)


def test_a_second_write_leaves_no_stale_side_files(tmp_path: Path) -> None:
    write_predictions(tmp_path, some(), CLASSES, {})
    bare = [replace(p, embedding=None, text_embedding=None, text_id=None, heatmaps={}) for p in some()]
    path = write_predictions(tmp_path, bare, CLASSES, {})
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.parquet"]
    assert read_predictions(path).predictions[0].embedding is None and read_heatmaps(path) == {}


def test_coco_round_trip(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "a.json", some(), CLASSES, {"model": "m"})
    got = read_predictions(path)
    assert got.classes == CLASSES and got.meta["model"] == "m"
    for a, b in zip(some(), got.predictions, strict=True):
        same(a, b)
    content = json.loads(path.read_text())
    assert content["categories"] == [{"id": 1, "name": "Mass"}, {"id": 2, "name": "Pleural Effusion"}]
    assert all(set(a) >= {"image_id", "category_id", "bbox", "score"} for a in content["annotations"])


def test_parquet_and_coco_are_read_alike_for_chosen_classes(tmp_path: Path) -> None:
    parquet = write_predictions(tmp_path, some(), CLASSES, {})
    coco = write_coco(tmp_path / "a.json", some(), CLASSES, {})
    for path in (parquet, coco):
        got = read_predictions(path, ["pleural_effusion"])
        assert got.classes == ("pleural_effusion",), "the wanted spelling is used"
        for a, b in zip(some(), got.predictions, strict=True):
            assert b.probs.tolist() == [a.probs[1]] and len(b.detections) == (a.detections.class_ids == 1).sum()


def test_csv_keeps_every_box_and_probability(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", some())
    rows = pl.read_csv(path)
    assert rows["score"].drop_nulls().len() == sum(len(p.detections) for p in some())
    for p in some():
        for k, name in enumerate(CLASSES):
            mine = rows.filter((pl.col("image_id") == p.image_id) & (pl.col("label") == name))
            assert set(mine["prob"]) == {p.probs[k]}
            assert (
                mine["x2"].drop_nulls().to_list()
                == p.detections.sorted().xyxy[p.detections.sorted().class_ids == k, 2].tolist()
            )


def coco(**changes) -> dict:
    """A competitor's file: own ids, file names, categories in another order, no probabilities."""
    return {
        "images": [
            {"id": 7, "file_name": "00000001_000.png", "width": 200, "height": 100},
            {"id": 9, "file_name": "2.png"},
        ],
        "categories": [{"id": 30, "name": "Effusion"}, {"id": 10, "name": "Mass"}, {"id": 4, "name": "Hernia"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 10, "bbox": [10, 20, 30, 40], "score": 0.25},
            {"id": 2, "image_id": 7, "category_id": 10, "bbox": [0, 0, 5, 5], "score": 0.75},
            {"id": 3, "image_id": 7, "category_id": 4, "bbox": [1, 1, 5, 5], "score": 0.5},
        ],
    } | changes


def written(tmp_path: Path, content) -> Path:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    return path


def test_a_competitors_file(tmp_path: Path) -> None:
    """xywh becomes xyxy; a class's probability is its best box's score, 0 without a box; other classes are left out."""
    got = read_predictions(written(tmp_path, coco()), ["Mass", "Effusion"], sizes={"2.png": (64, 32)})
    first, second = got.predictions
    assert first.detections.xyxy.tolist() == [[0, 0, 5, 5], [10, 20, 40, 60]]
    assert first.probs.tolist() == [0.75, 0.0] and (first.width, first.height) == (200, 100)
    assert len(second.detections) == 0 and second.probs.tolist() == [0, 0] and (second.width, second.height) == (64, 32)
    assert got.meta["prob_origin"] == "highest box score"
    assert read_predictions(written(tmp_path, coco())).classes == ("Effusion", "Mass", "Hernia")


def test_a_bare_results_list(tmp_path: Path) -> None:
    """Without names, category_id counts from 1 into the classes; with names, the names hold."""
    entries = [
        {"image_id": "a", "category_id": 2, "bbox": [0, 0, 4, 4], "score": 0.5},
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.25},
    ]
    got = read_predictions(written(tmp_path, entries), ["Mass", "Effusion"])
    assert got.image_ids == ("a", "3") and got.probs.tolist() == [[0, 0.5], [0.25, 0]]
    named = [e | {"category": n} for e, n in zip(entries, ("Mass", "Edema"), strict=True)]
    got = read_predictions(written(tmp_path, named), ["Mass", "Effusion"])
    assert got.probs.tolist() == [[0.5, 0], [0, 0]], "Edema is a known class, not a wanted one"
    assert read_predictions(written(tmp_path, named)).classes == ("Mass", "Edema")


BAD_COCO = {
    "misspelt category": (coco(categories=[{"id": 10, "name": "Masss"}]), "'Mass'.*did you mean 'Masss'"),
    "two spellings": (coco(categories=[{"id": 1, "name": "mass"}, {"id": 2, "name": "Mass"}]), "are one class"),
    "no score": (
        coco(annotations=[{"image_id": 7, "category_id": 10, "bbox": [1, 1, 1, 1]}]),
        "annotation 0: score=None",
    ),
    "logit": (coco(annotations=[{"image_id": 7, "category_id": 10, "bbox": [1, 1, 1, 1], "score": 3.5}]), "score=3.5"),
    "negative": (coco(annotations=[{"image_id": 7, "category_id": 10, "bbox": [9, 9, -3, 2], "score": 1}]), "negative"),
    "nan": (
        coco(annotations=[{"image_id": 7, "category_id": 10, "bbox": [9, float("nan"), 3, 2], "score": 1}]),
        "finite",
    ),
    "short": (coco(annotations=[{"image_id": 7, "category_id": 10, "bbox": [9, 9, 3], "score": 1}]), "bbox="),
    "stray image": (
        coco(annotations=[{"image_id": 8, "category_id": 10, "bbox": [1, 1, 1, 1], "score": 1}]),
        "image_id 8",
    ),
    "stray class": (coco(annotations=[{"image_id": 7, "category_id": 11, "bbox": [1, 1, 1, 1], "score": 1}]), "_id 11"),
    "two ids": (coco(images=[{"id": 7, "file_name": "a"}] * 2), "id 7 appears twice"),
    "two names": (coco(images=[{"id": 7, "file_name": "a"}, {"id": 8, "file_name": "a"}]), "'a' appears twice"),
    "no name": (coco(images=[{"id": 7}]), "file_name"),
    "size": (coco(images=[{"id": 7, "file_name": "a", "width": 0, "height": 3}], annotations=[]), "width=0"),
    "bad prob": (coco(images=[{"id": 7, "file_name": "a", "probs": {"Mass": 1.5}}]), "prob=1.5"),
    "no prob": (coco(images=[{"id": 7, "file_name": "a", "probs": {"Hernia": 1}}]), "no number for class 'Mass'"),
    "neither": ({"boxes": []}, "neither"),
    "unknown name": (
        [{"image_id": "a", "label": "Mas", "bbox": [0, 0, 1, 1], "score": 1}],
        "'Mas'; did you mean 'Mass'",
    ),
    "id range": ([{"image_id": "a", "category_id": 5, "bbox": [0, 0, 1, 1], "score": 1}], "5 is not in 1..1"),
    "list as id": (coco(images=[{"id": [7], "file_name": "a"}]), "image 0 has no 'id'"),
    "list as category": (coco(categories=[{"id": [1], "name": "Mass"}]), "category 0 needs an 'id'"),
    "list of class": (
        coco(annotations=[{"image_id": 7, "category_id": [], "bbox": [1, 1, 1, 1], "score": 1}]),
        "_id \\[]",
    ),
    "no categories": (coco(categories=7), "'categories' is empty"),
    "endless box": (
        coco(annotations=[{"image_id": 7, "category_id": 10, "bbox": [10**400, 1, 1, 1], "score": 1}]),
        "bbox=",
    ),
    "endless size": (coco(images=[{"id": 7, "file_name": "a", "width": 1e308, "height": 3}]), "width=1e\\+308"),
    "endless prob": (
        coco(images=[{"id": 7, "file_name": "a", "probs": {"Mass": 10**400}}]),
        "no number for class 'Mass'",
    ),
    "no image": ([{"category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}], "no 'image_id'"),
}


@pytest.mark.parametrize("name", BAD_COCO)
def test_bad_coco_files_give_one_line(name: str, tmp_path: Path) -> None:
    content, message = BAD_COCO[name]
    path = written(tmp_path, content)
    with pytest.raises(PredictionsError, match=message) as error:
        read_predictions(path, ["Mass"])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_deep_json_and_a_record_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"a":' * 100_000)
    with pytest.raises(PredictionsError, match=r"deep\.json: not readable as JSON"):
        read_predictions(tmp_path / "deep.json")
    assert read_predictions(written(tmp_path, coco() | {"info": {"wsrpn_vl": [1]}})).meta["format"] == "COCO"


def test_a_list_without_names_needs_the_classes(tmp_path: Path) -> None:
    path = written(tmp_path, [{"image_id": "a", "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}])
    with pytest.raises(PredictionsError, match="give the classes"):
        read_predictions(path)


def table(**changes) -> pl.DataFrame:
    """Two images, two classes; ``changes`` replaces columns."""
    boxes = [[{"x1": 1.0, "y1": 1.0, "x2": 5.0, "y2": 5.0, "score": 0.5}], [], [], []]
    columns = {
        "image_id": ["a", "a", "b", "b"],
        "width": [10] * 4,
        "height": [10] * 4,
        "label": ["Mass", "Nodule"] * 2,
        "prob": [0.1, 0.2, 0.3, 0.4],
        "calibrated_prob": [None] * 4,
        "threshold": [None] * 4,
        "boxes": boxes,
    } | changes
    return pl.DataFrame({k: v for k, v in columns.items() if v is not None}, strict=False)


def one_box(**changes: float) -> list:
    return [[{"x1": 1.0, "y1": 1.0, "x2": 5.0, "y2": 5.0, "score": 0.5} | changes], [], [], []]


BAD_TABLES = {
    "no column": ({"boxes": None}, "column 'boxes' is missing"),
    "text prob": ({"prob": ["x"] * 4}, "column 'prob'"),
    "null prob": ({"prob": [0.1, None, 0.2, 0.3]}, r"row 1 \(image 'a', label 'Nodule'\), prob=None"),
    "nan prob": ({"prob": [0.1, 0.1, float("nan"), 0.3]}, r"row 2 \(image 'b', label 'Mass'\), prob=nan"),
    "logit prob": ({"prob": [0.1, 0.1, 0.1, -2.0]}, r"row 3 .*prob=-2.0.*sigmoid"),
    "calibrated": ({"calibrated_prob": [0.1, 1.5, None, None]}, "calibrated_prob=1.5"),
    "twice": ({"label": ["Mass", "Mass", "Mass", "Nodule"]}, r"row 1 .*second row"),
    "not all": ({"image_id": ["a", "b", "b", "c"]}, "image 'a' has 1 of 2 rows"),
    "flat boxes": ({"boxes": [[1.0, 1.0, 5.0, 5.0]] * 4}, "column 'boxes' is"),
    "no box score": (
        {"boxes": [[{"x1": 1.0, "y1": 1.0, "x2": 5.0, "y2": 5.0}], [], [], []]},
        r"column 'boxes'|score=None",
    ),
    "null box": ({"boxes": [[None], *one_box()[:1], [], []]}, r"row 0 .*x1=None"),
    "infinite": ({"boxes": one_box(x2=float("inf"))}, r"row 0 .*x2=inf"),
    "turned": ({"boxes": one_box(x2=0.5)}, r"row 0 .*x2=0.5: smaller than x1"),
    "score": ({"boxes": one_box(score=1.01)}, r"row 0 .*score=1.01"),
    "size": ({"width": [10, 11, 10, 10]}, r"row 1 .*width=11"),
    "thresholds": ({"threshold": [0.1, 0.2, 0.3, 0.2]}, r"row 2 .*threshold=0.3"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_give_one_line_with_the_row(name: str, tmp_path: Path) -> None:
    changes, message = BAD_TABLES[name]
    path = tmp_path / "predictions.parquet"
    table(**changes).write_parquet(path)
    with pytest.raises(PredictionsError, match=message) as error:
        read_predictions(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_plain_table_of_somebody_else_is_read(tmp_path: Path) -> None:
    """No metadata, rows in any order, optional columns absent, boxes in any order."""
    path = tmp_path / "theirs.parquet"
    boxes = [[{"x1": 0, "y1": 0, "x2": 2, "y2": 2, "score": s} for s in (0.25, 0.75)], [], [], []]
    frame = table(boxes=boxes, width=None, height=None, calibrated_prob=None, threshold=None)
    frame[[2, 0, 3, 1]].write_parquet(path)
    got = read_predictions(path)
    assert got.classes == ("Mass", "Nodule") and got.image_ids == ("b", "a")
    assert got.probs.tolist() == [[0.3, 0.4], [0.1, 0.2]] and got.predictions[0].width == 0
    assert got.predictions[1].detections.scores.tolist() == [0.75, 0.25]


def test_classes_of_the_record_are_names(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for classes in ("[0.5, 1]", "7", '{"Mass": 1}', "[null]"):
        table().write_parquet(path, metadata={"wsrpn_vl": f'{{"classes": {classes}}}'})
        with pytest.raises(PredictionsError, match=r"a\.parquet: the metadata's classes are no list of names"):
            read_predictions(path)


def test_unreadable_files(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.json"):
        with pytest.raises(PredictionsError, match="no such"):
            read_predictions(tmp_path / name)
        (tmp_path / name).write_bytes(b"{ not it")
        with pytest.raises(PredictionsError, match=r"not (a )?readable"):
            read_predictions(tmp_path / name)
    table().write_parquet(tmp_path / "a.parquet", metadata={"wsrpn_vl": '{"format": "wsrpn-vl index", "version": 1}'})
    with pytest.raises(PredictionsError, match="wsrpn-vl index"):
        read_predictions(tmp_path / "a.parquet")
    table().write_parquet(tmp_path / "a.parquet")
    with pytest.raises(PredictionsError, match=r"'Masss' is not in the file; did you mean 'Mass'"):
        read_predictions(tmp_path / "a.parquet", ["Masss"])


WRITERS = {
    "parquet": lambda folder, given: write_predictions(folder, given, ("Mass",), {}),
    "coco": lambda folder, given: write_coco(folder / "a.json", given, ("Mass",), {}),
    "csv": lambda folder, given: write_csv(folder / "a.csv", given),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (prediction("a", [(0, (0, 0, float("nan"), 1), 0.5)], [0.5]), "finite"),
        (prediction("a", [(0, (5, 0, 1, 1), 0.5)], [0.5]), "x2 < x1"),
        (prediction("a", [], [float("nan")]), "prob=nan"),
        (prediction("a", [], [1.5]), "prob=1.5"),
        (prediction("good", [], [0.5]), "appears twice"),
    ],
)
def test_nothing_is_written_for_bad_values(write: str, wrong: Prediction, message: str, tmp_path: Path) -> None:
    given = [prediction("good", [(0, (0, 0, 1, 1), 0.5)]), wrong]
    with pytest.raises(PredictionsError, match=message):
        WRITERS[write](tmp_path, given)
    assert list(tmp_path.iterdir()) == []


def make_set(*ids: str, size: tuple[int, int] = (100, 50)) -> PredictionSet:
    return PredictionSet(("Mass",), tuple(prediction(i, [(0, (10, 10, 20, 20), 0.5)], size=size) for i in ids), {})


def test_images_are_matched_without_folder_and_suffix() -> None:
    got = align(make_set("x/b.PNG", "a.jpg", "extra"), ["a", "b"])
    assert got.predictions.image_ids == ("a", "b") and (got.extra, got.missing) == (1, 0)
    got = align(make_set("1.2.840.113", "1.2.840.114"), ["1.2.840.114"])
    assert got.extra == 1, "dots of a DICOM identifier are no suffix"
    with pytest.raises(PredictionsError, match=r"'x/a.png' and 'y/a.png' both fit image 'a'"):
        align(make_set("x/a.png", "y/a.png"), ["a"])


def test_missing_images_are_refused_unless_allowed() -> None:
    with pytest.raises(PredictionsError, match="2 of 3 images have no prediction, the first is 'b'"):
        align(make_set("a"), ["a", "b", "c"])
    got = align(make_set("a"), ["a", "b", "c"], allow_missing=True)
    assert got.missing == 2 and got.predictions.probs.tolist() == [[0.5], [0], [0]]
    assert len(got.predictions.predictions[1].detections) == 0
    with pytest.raises(PredictionsError, match="3 of 3"):
        align(make_set("x"), ["a", "b", "c"], allow_missing=True)


def test_boxes_follow_the_size_of_the_original_image() -> None:
    """Predicted on a half-size copy: boxes double. Another shape cannot be the same image."""
    got = align(make_set("a"), ["a"], np.array([[200.0, 100.0]]))
    assert got.rescaled == 1 and got.predictions.predictions[0].detections.xyxy.tolist() == [[20, 20, 40, 40]]
    assert got.predictions.predictions[0].width == 200
    same_size = align(make_set("a"), ["a"], np.array([[100.0, 50.0]]))
    assert same_size.rescaled == 0
    unknown = align(make_set("a", size=(0, 0)), ["a"], np.array([[200.0, 100.0]]))
    assert unknown.rescaled == 0 and unknown.predictions.predictions[0].width == 200
    assert align(make_set("a"), ["a"], np.array([[np.nan, np.nan]])).predictions.predictions[0].width == 100
    with pytest.raises(PredictionsError, match="100x50 here but 100x100"):
        align(make_set("a"), ["a"], np.array([[100.0, 100.0]]))


def test_chosen_classes_carry_everything_along() -> None:
    given = PredictionSet(CLASSES, tuple(some()), {}, np.arange(8.0).reshape(4, 2) / 10, np.array([0.1, 0.2]))
    got = select_classes(given, ["Pleural Effusion", "Mass"])
    assert got.thresholds.tolist() == [0.2, 0.1] and got.calibrated[1].tolist() == [0.3, 0.2]
    for a, b in zip(given.predictions, got.predictions, strict=True):
        assert np.array_equal(b.probs, a.probs[::-1]) and np.array_equal(b.heatmaps["roi"], a.heatmaps["roi"][::-1])
        assert np.array_equal(b.detections.class_ids, 1 - a.detections.class_ids)
