"""Does training on the phantom mean anything for real radiographs? The transfer part of docs/phantom.md.

    python benchmarks/phantom_transfer.py ROOT --work runs/phantom_transfer --seeds        # data alone
    python benchmarks/phantom_transfer.py ROOT --work runs/phantom_transfer --seeds 0 1 2

ROOT is laid out as NIH ChestX-ray14 is downloaded. The phantom is written in the same layout and read by the same
reader. For each seed the recipe is trained on the phantom, and then

- judged on the phantom's own test list (``phantom_seed<n>.json``),
- judged on the real test list untouched (``zero_shot_seed<n>.json``),
- trained again on the real training list, starting from those weights (``fine_tuned_seed<n>.json``).

All go to ``benchmarks/results/phantom_transfer``. The run that has not seen the phantom is
``benchmarks/nih_subset.py`` (last epoch). Nothing is chosen on real test images. Steps whose result is there are
skipped; seeds may run side by side once the data are there. ``benchmarks/tables.py`` makes the page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from _runs import RESULTS, index, judge, report, run, train
from wsrpn_vl.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/phantom_transfer"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--recipe", default="nih")
    parser.add_argument("--images", type=int, default=4000, help="of the phantom, all splits together")
    parser.add_argument("--size", type=int, default=256, help="pixels per side of the phantom")
    parser.add_argument("--epochs", type=int, default=6, help="on the phantom")
    parser.add_argument("--workers", type=int, default=2, help="processes that write the phantom")
    parser.add_argument("--name", default="", help="prefix of the result files")
    parser.add_argument("overrides", nargs="*", help="key=value, of both trainings")
    args = parser.parse_intermixed_args()
    written = args.work / "phantom"
    simulated = args.work / "phantom.parquet"
    if not simulated.exists():
        size = ["--images", args.images, "--size", args.size, "--workers", args.workers]
        run("phantom", "write", written, "--layout", "nih", *size)
        index("nih", written, simulated)
    real = index("nih", args.root, args.work / "nih.parquet")
    for seed in args.seeds:
        one_seed(args, seed, simulated, real)


def one_seed(args: argparse.Namespace, seed: int, simulated: Path, real: Path) -> None:
    folder, overrides = RESULTS / "phantom_transfer", [*args.overrides, f"train.seed={seed}"]
    first = args.work / f"{args.name}phantom_seed{seed}"
    train(args.recipe, simulated, first, *overrides, f"train.epochs={args.epochs}")
    report(first, folder / f"{args.name}phantom_seed{seed}.json", args.work)
    print(judge(first, real, "nih_test", folder / f"{args.name}zero_shot_seed{seed}.json", args.work))
    second = args.work / f"{args.name}fine_tuned_seed{seed}"
    train(args.recipe, real, second, *overrides, f"train.init={json.dumps(str(first))}")
    print(report(second, folder / f"{args.name}fine_tuned_seed{seed}.json", args.work))
    budget = {"images": args.images, "size": args.size, "epochs": args.epochs, "recipe": args.recipe}
    write_text(folder / f"{args.name}budget.json", json.dumps(budget | {"overrides": args.overrides}, indent=1) + "\n")


if __name__ == "__main__":
    main()
