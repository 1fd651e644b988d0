"""Splits and files to predictions on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from fixtures.small import small_config, small_phantom
from wsrpn_vl.checkpoint import load_checkpoint, save_checkpoint
from wsrpn_vl.data.index import Index, read_index, write_index
from wsrpn_vl.errors import ConfigError, DataError
from wsrpn_vl.evaluate.predictions import read_predictions
from wsrpn_vl.labels import label_column
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.serve.batch import PredictOptions, complete_run, pick_device, predict_inputs, predict_split


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_phantom(tmp_path_factory.mktemp("batch"), images=32)


def save(run: Path, index: Path, step: int, *overrides: str) -> Path:
    config = small_config(index, *overrides)
    torch.manual_seed(step)
    state = build_detector(config, 384).state_dict()
    save_checkpoint(run / "checkpoints" / "best", state, config, {"text_dim": 384, "step": step, "epoch": 0})
    return run


def predict(run: Path, index: Path, out: Path | None = None) -> Path:
    return predict_split(run, index, "test", PredictOptions(out))


def rewritten(table: Index, frame: pl.DataFrame, path: Path, classes: tuple[str, ...]) -> Path:
    return write_index(
        frame,
        None,
        path,
        dataset=table.dataset,
        root=table.root,
        classes=classes,
        box_complete=dict.fromkeys(classes, False),
        boxed_classes=(),
        text_origin="none",
    )


@pytest.mark.parametrize("name", ["nonsense", "cuda"])
def test_a_device_that_is_not_there_is_one_line(name: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(ConfigError, match=f"--device {name}: not on this machine"):
        pick_device(name)
    assert pick_device("cpu") == "cpu" and torch.empty(0, device=pick_device("auto")).numel() == 0


def test_an_index_without_words_or_the_model_s_labels_is_predicted_all_the_same(index: Path, tmp_path: Path) -> None:
    """Prediction needs pixels alone; that no words were there is said."""
    table = read_index(index)
    kept = table.classes[:1]
    frame = table.frame.with_columns(text=pl.lit(None, pl.String), triples=pl.lit(None, pl.String))
    frame = frame.drop(label_column(c) for c in table.classes[1:])
    bare = rewritten(table, frame, tmp_path / "bare.parquet", kept)
    for wanted in ("auto", "report", "labels", "triples"):
        run = save(tmp_path / wanted, index, 1, f"data.text={wanted}")
        read = read_predictions(predict(run, bare))
        assert read.meta["caption_source"] == "none" and read.classes == table.classes
        assert all(p.text_embedding is None for p in read.predictions)
    assert read_predictions(predict(tmp_path / "auto", index)).meta["caption_source"] == "report"


def test_the_root_of_the_training_images_is_for_them_alone(index: Path, tmp_path: Path) -> None:
    """``data.root`` said where the training images lay; another index has its own."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(index.parent, elsewhere, ignore=shutil.ignore_patterns("pixel_cache"))
    run = save(tmp_path / "run", index, 1, "data.root=/nowhere")
    assert predict(run, elsewhere / index.name).is_file()
    with pytest.raises(DataError, match="/nowhere"):
        predict(run, index)


def test_a_report_is_not_made_of_predictions_of_an_earlier_checkpoint(index: Path, tmp_path: Path) -> None:
    run = save(tmp_path / "run", index, 1)
    complete_run(run, "test", "cpu")
    path, results = run / "predictions" / "test" / "predictions.parquet", run / "results" / "test.json"
    first = read_predictions(path)
    before = path.read_bytes(), results.read_bytes()
    complete_run(run, "test", "cpu")
    assert (path.read_bytes(), results.read_bytes()) == before
    save(run, index, 2)
    complete_run(run, "test", "cpu")
    second = read_predictions(path)
    assert (first.meta["step"], second.meta["step"]) == (1, 2) == (1, load_checkpoint(run)[2]["step"])
    assert results.read_bytes() != before[1]


def test_one_bad_file_among_good_ones_is_named_before_anything_is_written(index: Path, tmp_path: Path) -> None:
    run = save(tmp_path / "run", index, 1)
    shutil.copytree(index.parent / "images", tmp_path / "mixed")
    (tmp_path / "mixed" / "zz.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"zz\.png: an empty file; .*leave it out"):
        predict_inputs(run, [str(tmp_path / "mixed")], PredictOptions(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
