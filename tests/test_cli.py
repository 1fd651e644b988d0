"""The command line as a user meets it: the whole path on a small phantom, help, JSON, one-line errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from fixtures.small import SMALL
from wsrpn_vl.cli import app

VERBS = ("index", "doctor", "phantom", "train", "predict", "evaluate", "report", "config")


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def last(output: str) -> str:
    return output.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """phantom, train: the first half of the path."""
    root = tmp_path_factory.mktemp("cli")
    out = call("phantom", "write", root / "data", "--images", 48, "--size", 64, "--seed", 7, "--workers", 1)
    assert last(out) == str(root / "data" / "index.parquet")
    assert "Pleural Effusion" in out
    out = call("train", "phantom", *SMALL, "--index", root / "data" / "index.parquet", "--out", root / "run")
    assert last(out) == str(root / "run" / "checkpoints" / "best")
    return root / "run"


def test_report_makes_what_is_missing_and_names_its_page(run: Path) -> None:
    out = call("report", run)
    assert last(out) == str(run / "report.html")
    for part in ("predictions/val/predictions.parquet", "predictions/test/predictions.parquet", "results/test.json"):
        assert (run / part).is_file()
    assert (run / "report.html").stat().st_size > 50_000


def test_predict_files_writes_every_format_in_original_pixels(run: Path, tmp_path: Path) -> None:
    source = sorted((run.parent / "data" / "images").glob("*.png"))[:2]
    wide = tmp_path / "wide.png"
    Image.fromarray(np.full((90, 200), 128, np.uint8)).save(wide)
    out = call("predict", run, *source, wide, "--out", tmp_path / "out")
    assert last(out) == str(tmp_path / "out")
    coco = json.loads((tmp_path / "out" / "predictions.coco.json").read_text())
    assert {i["file_name"].split(".")[0] for i in coco["images"]} == {*(p.stem for p in source), "wide"}
    sizes = {i["id"]: (i["width"], i["height"]) for i in coco["images"]}
    assert (200, 90) in sizes.values()
    for a in coco["annotations"]:
        x, y, w, h = a["bbox"]
        width, height = sizes[a["image_id"]]
        assert x >= -1e-6 and y >= -1e-6 and x + w <= width + 1e-6 and y + h <= height + 1e-6 and 0 <= a["score"] <= 1
    assert (tmp_path / "out" / "predictions.csv").is_file() and (tmp_path / "out" / "predictions.parquet").is_file()
    assert {p.name for p in (tmp_path / "out" / "overlays").iterdir()} == {f"{p.stem}.png" for p in [*source, wide]}


def test_the_same_picture_as_png_and_dicom_gives_the_same_prediction(run: Path, tmp_path: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    source = sorted((run.parent / "data" / "images").glob("*.png"))[0]
    pixels = np.asarray(Image.open(source))
    for kind, stored in (("MONOCHROME2", pixels), ("MONOCHROME1", 255 - pixels)):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.Rows, ds.Columns = pixels.shape
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 7, 0, 1
        ds.PhotometricInterpretation = kind
        ds.PixelData = stored.tobytes()
        ds.save_as(tmp_path / f"{kind}.dcm", enforce_file_format=True)
    call(
        "predict",
        run,
        source,
        tmp_path / "MONOCHROME1.dcm",
        tmp_path / "MONOCHROME2.dcm",
        "--out",
        tmp_path / "out",
        "--overlays",
        0,
    )
    frame = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    by_image = [f.sort("label").drop("image_id") for f in frame.partition_by("image_id", maintain_order=True)]
    assert len(by_image) == 3 and by_image[0].equals(by_image[1]) and by_image[0].equals(by_image[2])


def test_evaluate_works_from_somebody_elses_coco_file_alone(run: Path, tmp_path: Path) -> None:
    call(
        "predict", run, "--index", run.parent / "data" / "index.parquet", "--split", "test", "--out", tmp_path / "mine"
    )
    foreign = tmp_path / "theirs.json"
    foreign.write_text((tmp_path / "mine" / "predictions.coco.json").read_text())
    arguments = ("--index", run.parent / "data" / "index.parquet", "--resamples", 20)
    ours = json.loads(
        call("evaluate", tmp_path / "mine" / "predictions.parquet", *arguments, "--out", tmp_path / "a.json", "--json")
    )
    theirs = json.loads(call("evaluate", foreign, *arguments, "--out", tmp_path / "b.json", "--json"))
    assert ours["path"] == str(tmp_path / "a.json") and json.loads((tmp_path / "a.json").read_text())
    assert theirs["results"]["detection"]["map"] == pytest.approx(ours["results"]["detection"]["map"])
    assert set(ours["results"]["blind"]) == {"class_median_constant", "class_median_own_scores"}


def test_doctor_fails_for_an_index_that_is_not_there(tmp_path: Path) -> None:
    checks = json.loads(call("doctor", tmp_path / "nowhere.parquet", "--json", code=1))["checks"]
    assert any("nowhere.parquet" in c["detail"] and not c["ok"] for c in checks)


def test_doctor_lists_checks(run: Path) -> None:
    result = json.loads(call("doctor", run.parent / "data" / "index.parquet", "--json", code=1))
    assert result["failed"] == sum(not c["ok"] for c in result["checks"])
    assert {c["name"] for c in result["checks"] if c["ok"]} >= {"index", "files"}


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches_every_verb(verb: str) -> None:
    text = call(verb, "--help")
    assert "Usage" in text and len(text) > 300


def test_phantom_write_tells_its_layouts_and_returns_the_data_sets_folder(tmp_path: Path) -> None:
    from wsrpn_vl.data.phantom.layouts import LAYOUTS

    told = " ".join(call("phantom", "write", "--help").replace("│", " ").split())
    assert all(layout in told for layout in LAYOUTS)
    arguments = ["--layout", "chexpert", "--images", 3, "--size", 64, "--spurious", "Edema", "--json"]
    arguments += ["--spurious-base", 0.2, "--splits", 0.5, 0.25, 0.25]
    result = json.loads(last(call("phantom", "write", tmp_path / "d", *arguments)))
    assert result["path"] == str(tmp_path / "d" / "CheXpert-v1.0-small") and Path(result["path"]).is_dir()
    claimed = json.loads((tmp_path / "d" / ".phantom" / "phantom.json").read_text())
    assert (claimed["layout"], claimed["traps"]["spurious"], claimed["size"]) == ("chexpert", "Edema", 64)
    assert claimed["traps"]["spurious_base"] == 0.2 and claimed["splits"] == [0.5, 0.25, 0.25]


def test_help_names_all_verbs_and_the_order() -> None:
    text = call("--help")
    assert all(verb in text for verb in VERBS) and "not a medical device" in text


def test_config_shows_and_explains() -> None:
    assert "densenet121" in call("config", "specification")
    assert json.loads(call("config", "nih", "train.epochs=3", "--json"))["config"]["train"]["epochs"] == 3
    knobs = json.loads(call("config", "--explain", "--json"))["knobs"]
    assert all(k["help"] for k in knobs) and len(knobs) > 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nih", "train.epoch=3"], "train.epochs"),
        (["train", "nihh"], "nih"),
        (["train", "nih"], "data.index"),
        (["train", "nih", "--index", "nowhere.parquet"], "nowhere.parquet"),
        (["train", "nih", "--index", "data: #1.parquet"], "data: #1.parquet"),
        (["train", "nih", "--index", "x.parquet", "train.accelerator=nonsense"], "train.accelerator"),
        (["train", "nih", "curriculum=[{until: 2, freeze: 1}]"], "freeze_backbone"),
        (["predict", "nowhere", "x.png"], "x.png"),
        (["predict", "nowhere"], "--index"),
        (["evaluate", "no.parquet", "--index", "no.index"], "no."),
        (["report", "nowhere"], "nowhere"),
        (["index", "nihh", "."], "nih"),
        (["phantom", "write", "x", "--images", "3", "--size", "8"], "size"),
        (["phantom", "write", "x", "--layout", "nihh"], "did you mean 'nih'"),
        (["phantom", "write", "x", "--spurious", "Edem"], "Edema"),
        (["phantom", "write", "x", "--label-noise", "2"], "label_noise"),
        (["phantom", "write", "x", "--images", "0"], "at least 1"),
        (["phantom", "write", "x", "--splits", "0.5", "0.4", "0.3"], "sum to 1"),
        (["phantom", "sheet", "x.jpg"], ".png"),
        (["phantom", "sheet", "x.png", "--size", "8"], "size=8"),
        (["phantom", "calibration", "nowhere"], "no phantom there"),
    ],
)
def test_bad_input_is_one_line_without_traceback(arguments: list[str], words: str, tmp_path: Path) -> None:
    """In a process of its own, so that what a user sees is what is tested."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "wsrpn_vl.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 2 and not done.stdout.strip()
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_truncated_image_is_named(run: Path, tmp_path: Path) -> None:
    bad = tmp_path / "cut.png"
    good = sorted((run.parent / "data" / "images").glob("*.png"))[0].read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    result = json.loads(call("predict", run, bad, "--out", tmp_path / "out", "--json", code=2))
    assert "cut.png" in result["error"]
    assert not (tmp_path / "out").exists()


def test_what_the_file_system_refuses_is_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = ("predict", run, run.parent / "data" / "images", "--out", tmp_path / "file" / "out", "--json")
    result = json.loads(last(call(*arguments, code=2)))
    assert str(tmp_path / "file") in result["error"] and "choose another" in result["error"]
