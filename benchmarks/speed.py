"""Training speed of the full model against its backbone alone, in one process, interleaved.

    python benchmarks/speed.py --out benchmarks/results/speed.json [--recipe nih] [key=value ...]

Both do forward, backward and an AdamW step on the same random images; the backbone alone is trained through a mean over
its features. Blocks of the two alternate, so that a slower minute of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from wsrpn_vl.config import load_config
from wsrpn_vl.files import write_text
from wsrpn_vl.labels import resolve_classes
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.provenance import git_commit, machine
from wsrpn_vl.train.optim import build_optimizer
from wsrpn_vl.train.task import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="nih")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    config = load_config(args.recipe, ["model.backbone.weights=none", *args.overrides])
    torch.manual_seed(0)
    b, size = config.data.batch_size, config.data.image_size
    images = torch.rand(b, config.data.channels, size, size)
    labels = (torch.rand(b, len(resolve_classes(config.data.classes))) < 0.2).float()
    texts, ids = torch.randn(b, 384), torch.arange(b)
    task = Task(build_detector(config, 384), config).train()
    optimizer = build_optimizer(task, config.optim)
    weights = {"detection": 1.0, "contrastive": 0.5, "consistency": 0.5}

    backbone = build_detector(config, 384).backbone.train()
    backbone_optimizer = torch.optim.AdamW(backbone.parameters(), lr=1e-5)

    def full() -> None:
        optimizer.zero_grad(set_to_none=True)
        task(images, labels, texts, ids, weights)[0].backward()
        optimizer.step()

    def alone() -> None:
        backbone_optimizer.zero_grad(set_to_none=True)
        backbone(images).mean().backward()
        backbone_optimizer.step()

    speeds: dict[str, list[float]] = {"full": [], "backbone": []}
    for step in (full, alone):
        _timed(step, 2)
    for _ in range(args.blocks):
        speeds["full"].append(args.steps * b / _timed(full, args.steps))
        speeds["backbone"].append(args.steps * b / _timed(alone, args.steps))
    ratios = [a / c for a, c in zip(speeds["full"], speeds["backbone"], strict=True)]
    result = {
        "format": "wsrpn-vl speed",
        "git_commit": git_commit(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "recipe": args.recipe,
        "overrides": args.overrides,
        "backbone": config.model.backbone.name,
        "batch_size": b,
        "image_size": size,
        "images_per_s": {name: _spread(values) for name, values in speeds.items()},
        "full_over_backbone": _spread(ratios),
    }
    write_text(args.out, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["images_per_s"]), json.dumps(result["full_over_backbone"]))
    print(args.out)


def _timed(step: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        step()
    return time.perf_counter() - began


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


if __name__ == "__main__":
    main()
