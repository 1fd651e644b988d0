"""From files to results: every number of a small case on paper, and every way to hand in the wrong file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fixtures.scored import make_index, prediction
from wsrpn_vl.data.index import read_index
from wsrpn_vl.errors import DataError, PredictionsError
from wsrpn_vl.evaluate.predictions import read_predictions, write_coco, write_predictions
from wsrpn_vl.evaluate.score import evaluate_predictions, render_table, write_results
from wsrpn_vl.provenance import sha256_file

CLASSES = ("Mass", "Effusion", "Hernia")
A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Test split: t0 has a boxed mass, t1 an effusion without its box (incomplete), t2 nothing, t3 a boxed mass."""
    rows = [
        {"image_id": "t0", "split": "test", "labels": {"Mass": 1, "Effusion": 0, "Hernia": 0}, "patient_id": "a"},
        {"image_id": "t1", "split": "test", "labels": {"Mass": 0, "Effusion": 1, "Hernia": 0}, "patient_id": "a"},
        {"image_id": "t2", "split": "test", "labels": {"Mass": 0, "Effusion": 0, "Hernia": 0}, "patient_id": "b"},
        {"image_id": "t3", "split": "test", "labels": {"Mass": 1, "Effusion": -1, "Hernia": 0}, "patient_id": "c"},
        *({"image_id": f"v{i}", "split": "val", "labels": {"Mass": i % 2, "Effusion": 0}} for i in range(4)),
    ]
    boxes = [("t0", "Mass", *A), ("t3", "Mass", *A), ("v1", "Mass", *A)]
    return make_index(tmp_path / "data" / "index.parquet", rows, boxes, CLASSES, boxed=["Mass", "Effusion"])


def made_test_set() -> list:
    """Mass: hit at 0.9 in t0, miss at 0.8 in t2, nothing in t3. Effusion: a box on the unboxed effusion of t1."""
    return [
        prediction("t0", [(0, A, 0.9)], [0.9, 0.2, 0.1], classes=CLASSES),
        prediction("t1", [(1, B, 0.7)], [0.1, 0.6, 0.1], classes=CLASSES),
        prediction("t2", [(0, B, 0.8)], [0.8, 0.1, 0.1], classes=CLASSES),
        prediction("t3", [], [0.3, 0.9, 0.1], classes=CLASSES),
    ]


def val_set() -> list:
    """Best image threshold for Mass 0.7 (v1, v3 positive), best box threshold 0.85; nothing to learn of Effusion."""
    scores, boxes = [0.1, 0.7, 0.2, 0.8], [0.6, 0.85, 0.1, 0.95]
    return [prediction(f"v{i}", [(0, A, boxes[i])], [scores[i], 0.5, 0.5], classes=CLASSES) for i in range(4)]


@pytest.fixture
def files(index: Path, tmp_path: Path) -> dict[str, Path]:
    return {
        "index": index,
        "test": write_predictions(tmp_path / "test", made_test_set(), CLASSES, {"model": "made"}),
        "val": write_predictions(tmp_path / "val", val_set(), CLASSES, {}),
    }


def test_every_number_on_paper(files: dict[str, Path]) -> None:
    """Mass: 2 references, hit then miss: AP 51/101 at every IoU; top box right in 1 of 2 images. No other boxes.

    F1 at box threshold 0.85: one box, a hit, 2 references: 2/(1+2). AUROC Mass: positives 0.9, 0.3, negatives 0.1, 0.8:
    3 of 4; Effusion: positive 0.6 against 0.2, 0.1: 1 (the uncertain one does not count); Hernia undefined.
    """
    got = evaluate_predictions(files["test"], files["index"], "test", validation=files["val"], resamples=200)
    detection = got["detection"]
    assert detection["iou"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert detection["ap"]["Mass"] == pytest.approx(dict.fromkeys(map(str, detection["iou"]), 51 / 101))
    assert set(detection["ap"]["Effusion"].values()) == {None}
    assert detection["map"]["0.3"] == pytest.approx(51 / 101)
    assert detection["loc_acc"]["classes"]["Mass"]["0.5"] == detection["loc_acc"]["mean"]["0.5"] == 0.5
    assert detection["references"] == {"Mass": 2, "Effusion": 0, "Hernia": 0}
    assert got["thresholds"]["Mass"] == {"image": 0.7, "box": 0.85, "source": f"validation: {files['val']}"}
    assert got["thresholds"]["Effusion"]["image"] is None
    assert detection["f1"]["classes"]["Mass"]["0.5"] == pytest.approx({"f1": 2 / 3, "precision": 1, "recall": 0.5})
    assert detection["f1"]["macro"] == pytest.approx({"0.1": 2 / 3, "0.3": 2 / 3, "0.5": 2 / 3})
    classification = got["classification"]
    assert classification["auroc"] == {"Mass": 0.75, "Effusion": 1.0, "Hernia": None}
    assert classification["mean_auroc"] == pytest.approx(0.875)
    assert classification["positives"] == {"Mass": 2, "Effusion": 1, "Hernia": 0}
    # called at 0.7: t0 (right), t2 (wrong); t3 is missed
    assert classification["f1"]["classes"]["Mass"] == pytest.approx(
        {"f1": 0.5, "sensitivity": 0.5, "specificity": 0.5, "precision": 0.5}
    )
    truth = got["truth"]
    assert (truth["images"], truth["boxes"], truth["patients"]) == (4, 2, 3)
    assert truth["ignored_pairs"] == 2, "the unboxed effusions of t1 and t3"
    assert truth["boxed_classes"] == ["Mass", "Effusion"]
    assert got["retrieval"] is None


def test_intervals_hold_the_point_and_are_reproducible(files: dict[str, Path]) -> None:
    one, two, other = (
        evaluate_predictions(files["test"], files["index"], "test", resamples=300, seed=s) for s in (0, 0, 1)
    )
    low, high = one["detection"]["ci"]["map"]["0.5"]
    assert low <= one["detection"]["map"]["0.5"] <= high and low < high
    low, high = one["classification"]["ci"]["mean_auroc"]
    assert low <= one["classification"]["mean_auroc"] <= high
    moving = ("created", "machine")
    assert {k: v for k, v in one.items() if k not in moving} == {k: v for k, v in two.items() if k not in moving}
    assert one["bootstrap"] != other["bootstrap"] and one["detection"]["map"] == other["detection"]["map"]


def test_provenance(files: dict[str, Path]) -> None:
    got = evaluate_predictions(files["test"], files["index"], "test", resamples=5, provenance={"command": "me"})
    assert got["format"] == "wsrpn-vl results" and got["version"] == 1 and got["command"] == "me"
    assert got["predictions"]["sha256"] == sha256_file(files["test"]) and got["predictions"]["meta"]["model"] == "made"
    assert got["truth"]["index_hash"] == read_index(files["index"]).content_hash
    assert got["machine"]["python"] and got["created"].startswith("20")
    assert got["thresholds"] is None and got["detection"]["f1"] is None and got["classification"]["f1"] is None


def test_blind_rows_stand_beside_the_model(files: dict[str, Path]) -> None:
    """Both masses have the same box, so the blind box under the model's own probabilities ranks t0, t2, t3, t1.

    Hit, miss, hit: (51 + 50 * 2/3) / 101; the model's gain over it is negative.
    """
    got = evaluate_predictions(files["test"], files["index"], "test", resamples=100)
    own = got["blind"]["class_median_own_scores"]
    assert own["map"]["0.5"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert own["loc_acc"]["0.7"] == 1.0
    gain = own["gain"]["0.5"]
    assert gain["difference"] == pytest.approx(51 / 101 - own["map"]["0.5"]) and gain["ci"][0] <= gain["difference"]
    assert 0.3 < got["blind"]["class_median_constant"]["map"]["0.5"] < 1


def test_the_same_result_from_coco(files: dict[str, Path], tmp_path: Path) -> None:
    path = write_coco(tmp_path / "a.json", made_test_set(), CLASSES, {})
    a, b = (evaluate_predictions(p, files["index"], "test", resamples=20) for p in (files["test"], path))
    for section in ("detection", "classification", "blind"):
        assert a[section] == b[section]


def test_a_competitors_file_is_judged(files: dict[str, Path], tmp_path: Path) -> None:
    """File names with suffix, a resized frame, other spelling, a class that the index lacks, images of other splits."""
    content = {
        "images": [
            {"id": i, "file_name": f"images/{name}.png", "width": 200, "height": 200}
            for i, name in enumerate(("v0", "t3", "t2", "t1", "t0"))
        ],
        "categories": [{"id": 5, "name": "mass"}, {"id": 6, "name": "Pneumonia"}],
        "annotations": [
            {"image_id": 4, "category_id": 5, "bbox": [20, 20, 40, 40], "score": 0.9},
            {"image_id": 2, "category_id": 5, "bbox": [100, 100, 80, 80], "score": 0.8},
            {"image_id": 2, "category_id": 6, "bbox": [100, 100, 80, 80], "score": 0.8},
        ],
    }
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    got = evaluate_predictions(path, files["index"], "test", resamples=20)
    assert got["classes"] == ["Mass"] and got["detection"]["map"]["0.7"] == pytest.approx(51 / 101)
    record = got["predictions"]
    assert record["left_out_classes"] == ["Pneumonia"]
    assert (record["extra_images"], record["missing_images"], record["rescaled_images"]) == (1, 0, 4)
    assert record["meta"]["prob_origin"] == "highest box score"


def test_missing_images(files: dict[str, Path], tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "some", made_test_set()[:2], CLASSES, {})
    with pytest.raises(PredictionsError, match="2 of 4 images have no prediction, the first is 't2'"):
        evaluate_predictions(path, files["index"], "test")
    got = evaluate_predictions(path, files["index"], "test", resamples=20, allow_missing=True)
    assert got["predictions"]["missing_images"] == 2
    assert got["detection"]["map"]["0.5"] == pytest.approx(51 / 101), "t3's mass is still a reference"


def test_thresholds_never_come_from_the_test_images(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"4 images are also in the evaluated predictions, the first is 't0'"):
        evaluate_predictions(files["test"], files["index"], "test", validation=files["test"])
    both = write_predictions(tmp_path / "both", [*val_set(), made_test_set()[3]], CLASSES, {})
    with pytest.raises(PredictionsError, match=r"'t3'.*validation split only"):
        evaluate_predictions(files["test"], files["index"], "test", validation=both)


def test_test_labels_do_not_move_thresholds(files: dict[str, Path], index: Path, tmp_path: Path) -> None:
    """Turning every test label over changes the scores, never the operating points."""
    before = evaluate_predictions(files["test"], index, "test", validation=files["val"], resamples=5)
    rows = [
        {"image_id": f"t{i}", "split": "test", "labels": {"Mass": int(i in (1, 2)), "Effusion": 0}} for i in range(4)
    ]
    rows += [{"image_id": f"v{i}", "split": "val", "labels": {"Mass": i % 2, "Effusion": 0}} for i in range(4)]
    other = make_index(tmp_path / "other" / "index.parquet", rows, [("t2", "Mass", *B)], CLASSES)
    after = evaluate_predictions(files["test"], other, "test", validation=files["val"], resamples=5)
    assert before["thresholds"] == after["thresholds"]
    assert before["classification"]["auroc"]["Mass"] != after["classification"]["auroc"]["Mass"]


def test_without_boxes_only_images_are_judged(tmp_path: Path) -> None:
    rows = [{"image_id": f"t{i}", "split": "test", "labels": {"Mass": i % 2}} for i in range(4)]
    index = make_index(tmp_path / "index.parquet", rows, None, ("Mass",))
    path = write_predictions(tmp_path, [prediction(f"t{i}", [], [i / 4]) for i in range(4)], ("Mass",), {})
    got = evaluate_predictions(path, index, "test", resamples=20)
    assert got["detection"] is None and got["blind"] is None
    assert got["classification"]["auroc"]["Mass"] == 0.75
    assert "AUROC" in shown(got)


def test_classes(files: dict[str, Path], tmp_path: Path) -> None:
    got = evaluate_predictions(files["test"], files["index"], "test", classes=["Effusion", "Mass"], resamples=5)
    assert got["classes"] == ["Effusion", "Mass"] and got["detection"]["map"]["0.1"] == pytest.approx(51 / 101)
    with pytest.raises(PredictionsError, match=r"class 'Masss' is not in the file; did you mean 'Mass'"):
        evaluate_predictions(files["test"], files["index"], "test", classes=["Masss"])
    with pytest.raises(DataError, match="no images in split 'train'"):
        evaluate_predictions(files["test"], files["index"], "train")
    strange = write_predictions(tmp_path / "x", [prediction("t0", classes=("Masss",))], ("Masss",), {})
    with pytest.raises(PredictionsError, match=r"unknown class 'Masss'; did you mean 'Mass'"):
        evaluate_predictions(strange, files["index"], "test")
    known = write_predictions(tmp_path / "y", [prediction("t0", classes=("Edema",))], ("Edema",), {})
    with pytest.raises(PredictionsError, match="none of its classes"):
        evaluate_predictions(known, files["index"], "test")
    with pytest.raises(DataError, match="resamples=0"):
        evaluate_predictions(files["test"], files["index"], "test", resamples=0)


def test_calibrated_probabilities_are_judged_beside_the_raw(files: dict[str, Path], tmp_path: Path) -> None:
    """Calibrated values equal to the labels: Brier score 0; raw values stay what they were."""
    calibrated = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=float)
    path = write_predictions(tmp_path / "c", made_test_set(), CLASSES, {}, calibrated=calibrated)
    got = evaluate_predictions(path, files["index"], "test", resamples=5)["classification"]
    assert set(got["calibrated"]["brier"].values()) == {0.0} and set(got["calibrated"]["ece"].values()) == {0.0}
    assert got["brier"]["Mass"] == pytest.approx((0.01 + 0.01 + 0.64 + 0.49) / 4)


def shown(results: dict) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render_table(results))
    return console.export_text()


def test_table_shows_numbers_intervals_and_blind_rows(files: dict[str, Path]) -> None:
    got = evaluate_predictions(files["test"], files["index"], "test", validation=files["val"], resamples=50)
    text = shown(got)
    low, high = got["detection"]["ci"]["map"]["0.3"]
    for piece in (
        "AP@0.3",
        "F1@0.5",
        "AUROC",
        f"0.505 [{low:.3f}, {high:.3f}]",
        "blind box, same score",
        "2 (image, class)",
    ):
        assert piece in text
    assert "-" in next(line for line in text.splitlines() if "Effusion" in line)


def test_results_are_written_whole_or_not_at_all(files: dict[str, Path], tmp_path: Path) -> None:
    got = evaluate_predictions(files["test"], files["index"], "test", resamples=5)
    path = write_results(tmp_path / "results" / "test.json", got)
    assert json.loads(path.read_text()) == got and "NaN" not in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["test.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(PredictionsError, match="cannot be written"):
        write_results(tmp_path / "file" / "test.json", got)


def test_training_can_take_auroc_without_the_reader_of_boxes() -> None:
    code = "import sys, wsrpn_vl.evaluate.classify; print('wsrpn_vl.evaluate.truth' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_real_images_are_scored_with_the_blind_rows_beside(real_data: Path, tmp_path: Path) -> None:
    """NIH test images, the class-median box handed in as a model: it ties with its own blind row and moves nowhere."""
    from wsrpn_vl.data.sources import build_index
    from wsrpn_vl.evaluate.blind import class_median_predictions
    from wsrpn_vl.evaluate.truth import load_truth
    from wsrpn_vl.labels import NIH8

    index = build_index("nih", real_data / "nih-subset", tmp_path)
    truth = load_truth(index, "test", NIH8)
    scores = np.random.default_rng(0).uniform(size=truth.labels.shape)
    made = class_median_predictions(truth, scores)
    got = evaluate_predictions(
        write_predictions(tmp_path / "blind", made.predictions, NIH8, {}), index, "test", resamples=50
    )
    assert got["detection"]["map"] == pytest.approx(got["blind"]["class_median_own_scores"]["map"])
    gain = got["blind"]["class_median_own_scores"]["gain"]["0.3"]
    assert gain == {"difference": pytest.approx(0), "ci": pytest.approx([0, 0]), "p": 1}
    assert all(s["same"] == 1 for s in got["detection"]["spread"].values())
    assert 0.3 < got["classification"]["mean_auroc"] < 0.7
    assert read_predictions(tmp_path / "blind").classes == NIH8


def test_boxes_that_are_regions_are_called_so(files: dict[str, Path]) -> None:
    got = evaluate_predictions(files["test"], files["index"], "test", resamples=5)
    assert got["truth"]["box_kind"] == "lesion" and "anatomical regions" not in shown(got)
    got["truth"]["box_kind"] = "region"
    assert "anatomical regions that stand for the findings" in shown(got)
