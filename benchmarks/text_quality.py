"""Are wrong reports found, and what does weighting the words by that buy? On the phantom, where the truth is known.

    python benchmarks/text_quality.py --work runs/text_quality --shares 0 0.05 0.1 0.2 --seeds 0 1 2

One phantom per share of wrong-study reports: same patients and pictures, only words differ. ``wsrpn-vl label`` reads
the reports and compares them with the image labels; ``found`` is the AUROC of "is another study's report" against the
confidence, over training images. Then each share is trained on with and without ``data.text_weight=confidence``, and
each run's last epoch is judged on the test split of the phantom whose reports are all right (so few epochs leave little
to choose by, and the first has not seen the words). Results go to
``benchmarks/results/text_quality/``; steps whose result is there are skipped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import polars as pl

from _runs import RESULTS, judge, run, train
from phantom_difficulty import schedule
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.phantom.traps import Traps
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.evaluate.classify import auroc
from wsrpn_vl.files import write_text
from wsrpn_vl.provenance import git_commit, machine

SPLITS = (0.6, 0.1, 0.3)
FOLDER = RESULTS / "text_quality"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/text_quality"))
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.2])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="none: only find the wrong reports")
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--recipe", default="phantom")
    args = parser.parse_args()
    clean = phantom(args, 0.0)
    for share in args.shares:
        index = phantom(args, share)
        print(found(index, share, args))
        for seed in args.seeds:
            for weight in ("none", "confidence"):
                name = f"wrong{share:g}_{weight}_seed{seed}"
                changes = [*schedule(args.recipe, args.epochs, 1.0), f"train.seed={seed}", f"data.text_weight={weight}"]
                folder = train(args.recipe, index, args.work / name, *changes)
                last = folder / "checkpoints" / "last"
                print(judge(last, clean, "clean", FOLDER / f"{name}.json", args.work))


def phantom(args: argparse.Namespace, share: float) -> Path:
    """Index of the phantom with this share of wrong-study reports, its words read."""
    index = args.work / f"phantom_{share:g}" / "index.parquet"
    if not index.exists():
        traps = Traps(wrong_report=share)
        write_phantom(index.parent, images=args.images, size=args.pixels, splits=SPLITS, traps=traps, progress=False)
    if "text_confidence" not in read_index(index).frame.columns:
        run("label", index, "--labels", "keep", "--triples", "keep", "--workers", 1)
    return index


def found(index: Path, share: float, args: argparse.Namespace) -> Path:
    """How well the confidence tells wrong reports, on training images and on all."""
    frame = read_index(index).frame
    record: dict[str, Any] = {"share": share, "images": args.images}
    record |= {"git_commit": git_commit(), "machine": machine()}
    for part, rows in (("train", frame.filter(pl.col("split") == "train")), ("all", frame)):
        wrong = (rows["report_kind"] == "wrong").to_numpy()
        confidence = rows["text_confidence"].to_numpy()
        record[part] = {
            "texts": len(wrong),
            "wrong": int(wrong.sum()),
            "auroc": float(auroc(-confidence[:, None], wrong[:, None])[0]) if wrong.any() else None,
            "mean_confidence_own": float(confidence[~wrong].mean()),
            "mean_confidence_wrong": float(confidence[wrong].mean()) if wrong.any() else None,
        }
    return write_text(FOLDER / f"found{share:g}.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
