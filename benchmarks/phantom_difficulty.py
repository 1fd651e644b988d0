"""How hard is the phantom? AP and AUROC of one detector against training-set size, and against visibility.

    python benchmarks/phantom_difficulty.py --work runs/phantom_difficulty --seeds 0 --sizes 200 600 1800

One phantom is written; its test and validation images are the same for all, and each training set holds the smaller
ones. ``--budget steps`` (the default) gives every size the optimiser steps of the largest, so that what differs is the
number of patients seen and not how long they were looked at; ``--budget epochs`` gives equal epochs. The curriculum's
phases stretch with it. The epoch is chosen by validation AUROC, as the recipe says. Results, with the parts by
visibility, go to ``benchmarks/results/phantom_difficulty/n<size>_seed<n>.json``; ``benchmarks/tables.py`` makes the
page and its figure. Steps whose result is there are skipped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from _runs import RESULTS, report, train
from wsrpn_vl.config import load_config
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.files import write_text

SPLITS = (0.72, 0.12, 0.16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/phantom_difficulty"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 600, 1800])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="none: write the data alone")
    parser.add_argument("--recipe", default="phantom")
    parser.add_argument("--pixels", type=int, default=128, help="side of the phantom's images")
    parser.add_argument("--epochs", type=int, default=0, help="of the largest size; 0: the recipe's")
    parser.add_argument("--budget", choices=("steps", "epochs"), default="steps")
    parser.add_argument("--workers", type=int, default=2, help="processes that write the phantom")
    parser.add_argument("--name", default="", help="prefix of the result files")
    parser.add_argument("overrides", nargs="*", help="key=value")
    args = parser.parse_intermixed_args()
    largest = max(args.sizes)
    images = round(1.03 * largest / SPLITS[0]) + 16  # patients have one or two images, so the share is not exact
    index = args.work / "phantom" / "index.parquet"
    if not index.exists():
        write_phantom(index.parent, images=images, size=args.pixels, splits=SPLITS, workers=args.workers)
    folder = RESULTS / "phantom_difficulty"
    for seed in args.seeds:
        for size in args.sizes:
            stretch = largest / size if args.budget == "steps" else 1.0
            name = f"{args.name}n{size}_seed{seed}"
            changes = [*args.overrides, *schedule(args.recipe, args.epochs, stretch)]
            changes += [f"data.max_train_images={size}", f"train.seed={seed}"]
            run = train(args.recipe, index, args.work / name, *changes)
            print(report(run, folder / f"{name}.json", args.work))
    facts = {"budget": args.budget, "recipe": args.recipe, "pixels": args.pixels, "overrides": args.overrides}
    write_text(folder / f"{args.name}budget.json", json.dumps(facts, indent=1) + "\n")


def schedule(recipe: str, epochs: int, stretch: float) -> list[str]:
    """Overrides: epochs, and the ends of the curriculum's phases, ``stretch`` times as long."""
    config = load_config(recipe)
    whole = epochs or config.train.epochs
    phases = [phase.model_dump(mode="json") for phase in config.curriculum]
    ends: list[int] = []
    for phase in phases:
        ends.append(max(round(phase["until"] * whole / config.train.epochs * stretch), (ends or [0])[-1] + 1))
    phases = [phase | {"until": end} for phase, end in zip(phases, ends, strict=True)]
    return [f"train.epochs={round(whole * stretch)}", f"curriculum={json.dumps(phases)}"]


if __name__ == "__main__":
    main()
