"""Train on NIH radiographs with several seeds and judge each on the test list: the table of docs/nih-subset.md.

    python benchmarks/nih_subset.py ROOT --work runs/nih_subset --seeds 0 1 2

ROOT is laid out as NIH ChestX-ray14 is downloaded. Everything is chosen on a validation part of ``train_val_list.txt``.
A run that exists is gone on with; results that exist are kept. Each seed's results JSON goes to
``benchmarks/results/nih_subset/seed<n>.json``; ``benchmarks/tables.py`` makes the page from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _runs import RESULTS, index, report, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/nih_subset"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="nih")
    parser.add_argument("--name", default="", help="prefix of the result files")
    parser.add_argument("overrides", nargs="*", help="key=value")
    args = parser.parse_intermixed_args()
    table = index("nih", args.root, args.work / "index.parquet")
    folder = RESULTS / "nih_subset"
    for seed in args.seeds:
        run = args.work / f"{args.name or args.recipe}_seed{seed}"
        train(args.recipe, table, run, *args.overrides, f"train.seed={seed}")
        report(run, folder / f"{args.name}seed{seed}.json", args.work)
    print(folder)


if __name__ == "__main__":
    main()
