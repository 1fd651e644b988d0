"""The report of a run: one page that holds together, tells the numbers, and names what is missing."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from wsrpn_vl.config import Config
from wsrpn_vl.data.index import boxes_path, read_index, write_index
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.errors import ConfigError, PredictionsError
from wsrpn_vl.evaluate.predictions import write_predictions
from wsrpn_vl.evaluate.report import write_report
from wsrpn_vl.evaluate.run_files import read_run
from wsrpn_vl.evaluate.score import evaluate_predictions, write_results
from wsrpn_vl.evaluate.truth import load_truth
from wsrpn_vl.types import Detections, Prediction

CLASSES = ("Cardiomegaly", "Lung Opacity", "Pleural Effusion", "Support Devices")
EVIL = '<script>alert(1)</script> & "<img src=http://evil.example/x.png>"'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and collects images, references and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.images: list[dict[str, str]] = []
        self.references: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = {key: value or "" for key, value in attrs}
        self.tags.add(tag)
        self.references += [v for k, v in values.items() if k in ("src", "href", "action", "data", "srcset", "poster")]
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """24 phantom images of 128 pixels; every report is hostile."""
    path = write_phantom(
        tmp_path_factory.mktemp("phantom"), images=24, size=128, splits=(0.2, 0.3, 0.5), progress=False
    )
    known = read_index(path)
    frame = known.frame.with_columns((pl.lit(EVIL + " image ") + pl.col("image_id")).alias("text"))
    boxes = pl.read_parquet(boxes_path(path))
    facts = {"classes": known.classes, "box_complete": known.box_complete, "boxed_classes": known.boxed_classes}
    return write_index(
        frame, boxes, path, dataset="phantom", root=path.parent, text_origin="report", notes=known.notes, **facts
    )


def predict(run: Path, index: Path, split: str, extras: bool = True) -> Path:
    """Shaken truth as predictions; Cardiomegaly is the same box everywhere."""
    truth = load_truth(index, split, CLASSES)
    rng = np.random.default_rng(7)
    out = []
    for i, image_id in enumerate(truth.image_ids):
        probs = 1 / (1 + np.exp(1 - 3 * np.nan_to_num(truth.labels[i]) - rng.normal(0, 1, len(CLASSES))))
        corners = [found[0] if len(found) else np.array([40.0, 40, 80, 80]) for found in truth.boxes[i]]
        boxes = np.clip(np.array(corners) + rng.normal(0, 6, (len(CLASSES), 1)), 0, 128)
        boxes[0] = (40, 50, 100, 100)
        found = Detections(CLASSES, boxes, probs * 0.9, np.arange(len(CLASSES)))
        more = {}
        if extras:
            heat = {name: rng.random((len(CLASSES), 4, 4)).astype(np.float32) for name in ("patch", "roi")}
            vectors = {"embedding": rng.normal(size=8), "text_embedding": rng.normal(size=8), "text_id": str(i)}
            more = {"heatmaps": heat, **vectors}
        out.append(Prediction(image_id, 128, 128, CLASSES, probs, found, **more))
    return write_predictions(run / "predictions" / split, out, CLASSES, {"caption_source": "report"})


def make_run(run: Path, index: Path, full: bool = True) -> Path:
    """A run folder; not ``full``: without metrics, embeddings, heat maps and validation."""
    run.mkdir(parents=True)
    config = Config().model_dump(mode="json")
    config["data"] |= {"index": str(index), "classes": list(CLASSES), "image_size": 64}
    (run / "config.json").write_text(json.dumps(config))
    facts = {"git_commit": "abc123", "seed": 5, "dataset": "phantom", "index": str(index), "text_origin": "report"}
    facts |= {
        "caption_source": "report",
        "encoder": "mini",
        "train_images": 6,
        "val_images": 6,
        "machine": {"cores": 2},
    }
    (run / "environment.json").write_text(json.dumps(facts))
    validation = predict(run, index, "val") if full else None
    predictions = predict(run, index, "test", extras=full)
    results = evaluate_predictions(predictions, index, "test", validation=validation, resamples=40)
    write_results(run / "results" / "test.json", results)
    if full:
        common = {"step": 0, "epoch": 0, "phase": 0}
        lines = [{"kind": "step", **common, "lr": 0.1, "loss": 1.0, "terms": {"patch": 0.5}}]
        lines += [{"kind": "epoch", **common, "val": {"auroc": 0.6, "loss": 0.9}, "best": True}]
        (run / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines) + '{"kind": "st')
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory, index) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "first", index)


@pytest.fixture(scope="module")
def page(run) -> Page:
    return Page(write_report(run).read_text("utf-8"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory, index) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "bare", index, full=False)


@pytest.fixture
def copy(tmp_path, bare) -> Callable[[], Path]:
    return lambda: Path(shutil.copytree(bare, tmp_path / "run"))


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """For tests of words: figures are made but not turned into pixels, which takes most of the time."""
    monkeypatch.setattr("wsrpn_vl.page.encode", lambda *options: b"")


def results_of(run: Path) -> dict:
    return json.loads((run / "results" / "test.json").read_text())


def test_page_needs_nothing_but_itself(run, page):
    assert page.references
    assert all(ref.startswith(("data:image/", "#")) for ref in page.references)
    assert {ref[1:] for ref in page.references if ref.startswith("#")} <= page.ids
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form"}
    style = re.search(r"<style>(.*?)</style>", (run / "report.html").read_text(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert all(image["alt"] for image in page.images)
    assert (run / "report.html").stat().st_size < 8_000_000


def test_every_picture_can_be_decoded(page):
    """7 figures, 6 examples, 3 retrieval queries."""
    assert len(page.images) == 16
    for image in page.images:
        with Image.open(io.BytesIO(base64.b64decode(image["src"].split(",", 1)[1]))) as picture:
            picture.load()
            assert min(picture.size) >= 100


def test_page_holds_the_numbers_of_the_results(run, page):
    results = results_of(run)
    detection, blind = results["detection"], results["blind"]
    numbers = [*detection["map"].values(), *detection["loc_acc"]["mean"].values(), *detection["f1"]["macro"].values()]
    numbers += [end for ci in detection["ci"]["map"].values() for end in ci]
    numbers += [v for row in blind.values() for v in row["map"].values()]
    numbers += [v for k in ("0.1", "0.3", "0.5") for v in (detection["ap"][c][k] for c in CLASSES)]
    numbers += [*results["classification"]["auroc"].values(), results["classification"]["mean_auroc"]]
    numbers += [results["classification"]["f1"]["macro"]]
    for rows in (results["retrieval"]["image_to_text"], results["retrieval"]["text_to_image"]):
        numbers += [row[key] for row in rows.values() for key in ("value", "chance", "strict")]
    missing = [v for v in numbers if v is not None and f"{v:.3f}" not in page.text]
    assert missing == []
    assert len(numbers) > 60


def test_page_says_what_it_is_about(page):
    for words in (
        "Research use only. This is not a medical device",
        "Trained on 6 images of phantom from image-level labels, never from a box: "
        "recipe default, seed 5, commit abc123.",
        "The texts are the data set's own reports.",
        "simulated chest radiographs; every finding is boxed",
        "Best: ", "Median: ", "Worst: ",
    ):  # fmt: skip
        assert words in page.text
    assert "phantom, test split" in page.text


def test_hostile_report_is_shown_as_words(run, page):
    raw = (run / "report.html").read_text()
    assert "<script" not in raw
    assert "<img src=http" not in raw
    assert html.escape(EVIL, quote=False).split(" &amp;")[0] in raw
    assert EVIL in page.text


def test_same_box_everywhere_is_called_out(page):
    """Cardiomegaly's top box is the same on every image; the others follow the truth."""
    assert "Warning: the same box nearly everywhere. For Cardiomegaly (1 of 4 classes)" in page.text


def test_same_files_give_the_same_page(bare, tmp_path):
    one, two = (write_report(bare, out=tmp_path / f"{name}.html", examples=1) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


@pytest.mark.usefixtures("undrawn")
def test_missing_parts_are_named(bare, tmp_path):
    page = Page(write_report(bare, out=tmp_path / "page.html", examples=3).read_text())
    for words in (
        "There are no embeddings of images and texts beside the predictions",
        "No patch and no ROI heat map is stored for this image.",
        "There is no metrics.jsonl in the run",
        "No F1: the results have no thresholds",
        "There is no F1, because no predictions of the validation split were given",
    ):
        assert words in page.text


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"caption_source": "labels"}, "There are no reports: the texts were made from the image labels."),
        ({"text_origin": "labels"}, "There are no reports: the texts were made from the image labels."),
        ({"caption_source": "none"}, "No text was used in training."),
        ({"dataset": "nih"}, "This is another data set than the one trained on."),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_where_the_words_and_images_come_from(copy, facts, words):
    run = copy()
    path = run / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    assert words in Page(write_report(run, examples=0).read_text()).text


@pytest.mark.parametrize(
    ("name", "error", "verb"),
    [
        ("config.json", ConfigError, "train"),
        ("environment.json", ConfigError, "train"),
        ("results/test.json", PredictionsError, "evaluate"),
        ("predictions/test/predictions.parquet", PredictionsError, "predict"),
    ],
)
def test_missing_file_is_one_line_with_the_verb_that_makes_it(copy, name, error, verb):
    run = copy()
    (run / name).unlink()
    with pytest.raises(error, match=rf"{re.escape(name)}: missing; .*wsrpn-vl {verb}") as caught:
        write_report(run)
    assert "\n" not in str(caught.value)
    assert not (run / "report.html").exists()


def test_damaged_files_are_named(copy):
    run = copy()
    (run / "metrics.jsonl").write_text('{"kind": "step"\n{}\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: line 1 is not JSON"):
        write_report(run)
    (run / "results" / "test.json").write_text("[]")
    with pytest.raises(PredictionsError, match=r"test\.json: not a JSON object"):
        write_report(run)
    (run / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: not readable as JSON"):
        write_report(run)


def test_results_of_other_predictions_are_refused(copy, index):
    run = copy()
    predict(run, index, "test", extras=True)
    table = pl.read_parquet(run / "predictions" / "test" / "predictions.parquet").with_columns(prob=pl.lit(0.5))
    table.write_parquet(run / "predictions" / "test" / "predictions.parquet")
    with pytest.raises(PredictionsError, match="made from other predictions than"):
        write_report(run)


def test_results_of_another_index_are_refused(copy):
    run = copy()
    results = results_of(run)
    results["truth"]["index_hash"] = "0"
    (run / "results" / "test.json").write_text(json.dumps(results))
    with pytest.raises(PredictionsError, match="made with another state of"):
        write_report(run)


@pytest.mark.usefixtures("undrawn")
def test_split_without_boxes_is_not_judged_by_boxes(copy, index, tmp_path):
    run, known = copy(), read_index(index)
    other = write_index(
        known.frame, None, tmp_path / "unboxed" / "index.parquet", dataset="phantom", root=known.root,
        classes=known.classes, box_complete=dict.fromkeys(known.classes, False), boxed_classes=(), text_origin="report",
    )  # fmt: skip
    predictions = run / "predictions" / "test" / "predictions.parquet"
    write_results(run / "results" / "test.json", evaluate_predictions(predictions, other, "test", resamples=5))
    page = Page(write_report(run, examples=3).read_text())
    assert "This split has no reference box of these classes, so boxes cannot be judged." in page.text
    assert "by the probability of a class that the image is labelled with" in page.text


def test_images_stored_smaller_are_brought_to_the_frame_of_their_boxes(copy, index, tmp_path):
    """Files of 64 pixels for an index of 128: the image shown has 128, and its mean is that of the file."""
    run = copy()
    small = tmp_path / "small"
    for path in (index.parent / "images").glob("*.png"):
        (small / "images").mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((64, 64)).save(small / "images" / path.name)
    config = json.loads((run / "config.json").read_text())
    config["data"]["root"] = str(small)
    (run / "config.json").write_text(json.dumps(config))
    files = read_run(run, "test")
    shown = files.image(0)
    assert shown.shape == (128, 128)
    with Image.open(small / files.rows["path"][0]) as stored:
        assert shown.mean() == pytest.approx(np.asarray(stored).mean() / 255, abs=0.01)
