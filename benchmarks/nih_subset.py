"""Train on NIH radiographs with several seeds and judge each on the test list: the table of docs/nih-subset.md.

    python benchmarks/nih_subset.py ROOT --work runs/nih_subset --seeds 0 1 2

ROOT is laid out as NIH ChestX-ray14 is downloaded. Everything is chosen on a validation part of ``train_val_list.txt``.
A run that exists is gone on with; results that exist are kept. Each seed's results JSON goes to
``benchmarks/results/nih_subset/seed<n>.json``; ``benchmarks/tables.py`` makes the page from them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from wsrpn_vl.files import write_text

RESULTS = Path(__file__).parent / "results" / "nih_subset"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/nih_subset"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="nih")
    parser.add_argument("--name", default="", help="prefix of the result files")
    parser.add_argument("overrides", nargs="*", help="key=value")
    args = parser.parse_args()
    index = args.work / "index.parquet"
    if not index.exists():
        run("index", "nih", args.root, "--out", index)
    for seed in args.seeds:
        folder = args.work / f"{args.name or args.recipe}_seed{seed}"
        if not (folder / "checkpoints" / "best").exists() or not finished(folder):
            more = ["--resume"] if (folder / "checkpoints" / "resume").exists() else []
            run("train", args.recipe, *args.overrides, f"train.seed={seed}", "--index", index, "--out", folder, *more)
        run("report", folder)
        text = (folder / "results" / "test.json").read_text()
        target = write_text(RESULTS / f"{args.name}seed{seed}.json", portable(text, args.work))
    print(target.parent)


def finished(folder: Path) -> bool:
    """Whether the last epoch is done."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = json.loads((folder / "config.json").read_text())["train"]["epochs"]
    return any(r["kind"] == "epoch" and r["epoch"] == epochs - 1 for r in lines)


def portable(text: str, work: Path) -> str:
    """Paths of this machine shortened to the work folder."""
    return text.replace(f"{work.resolve()}/", "").replace(f"{work}/", "")


def run(*arguments: object) -> None:
    """One verb of the command line, in this interpreter's environment."""
    subprocess.run([sys.executable, "-m", "wsrpn_vl.cli", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
