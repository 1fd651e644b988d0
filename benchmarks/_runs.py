"""What the benchmarks share: verbs of the command line, runs that are gone on with, results without local paths."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from wsrpn_vl.files import write_text

RESULTS = Path(__file__).parent / "results"


def run(*arguments: object) -> None:
    """One verb of the command line, in this interpreter's environment."""
    subprocess.run([sys.executable, "-m", "wsrpn_vl.cli", *map(str, arguments)], check=True)


def index(source: str, root: Path, out: Path) -> Path:
    """The index of a data set, made where it is missing."""
    if not out.exists():
        run("index", source, root, "--out", out)
    return out


def train(recipe: str, index: Path, folder: Path, *overrides: str) -> Path:
    """The run in ``folder``: started, gone on with, or left alone when its last epoch is done."""
    if not finished(folder):
        more = ["--resume"] if (folder / "config.json").exists() else []
        run("train", recipe, *overrides, "--index", index, "--out", folder, *more)
    return folder


def finished(folder: Path) -> bool:
    """Whether the last epoch is done and saved."""
    metrics = folder / "metrics.jsonl"
    if not metrics.exists() or not (folder / "checkpoints" / "best").exists():
        return False
    epochs = json.loads((folder / "config.json").read_text())["train"]["epochs"]
    return any('"kind": "epoch"' in line and json.loads(line)["epoch"] == epochs - 1 for line in metrics.open())


def report(folder: Path, target: Path, work: Path) -> Path:
    """The test results of a run, copied to ``target``; nothing is done when that exists."""
    if not target.exists():
        run("report", folder)
        keep(folder / "results" / "test.json", target, work)
    return target


def judge(folder: Path, index: Path, name: str, target: Path, work: Path) -> Path:
    """A run's results on another index's test split, copied to ``target``; nothing is done when that exists."""
    if not target.exists():
        predictions, results = folder / "predictions" / name, folder / "results" / f"{name}.json"
        run("predict", folder, "--index", index, "--split", "test", "--out", predictions)
        made = predictions / "predictions.parquet"
        run("evaluate", made, "--index", index, "--split", "test", "--out", results)
        keep(results, target, work)
    return target


def keep(source: Path, target: Path, work: Path) -> Path:
    """Copy a results file, paths of this machine shortened to the work folder."""
    text = source.read_text()
    return write_text(target, text.replace(f"{work.resolve()}/", "").replace(f"{work}/", ""))
