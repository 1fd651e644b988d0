"""Cells of the pages in docs/: runs in, text out."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IOUS = ("0.1", "0.3", "0.5")


def load(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) | {"_name": path.name} for path in sorted(folder.glob(pattern))]


def ours(runs: Sequence[dict[str, Any]]) -> list[str]:
    cells = [spread([r["detection"]["map"][t] for r in runs]) for t in IOUS]
    return [*cells, auroc(runs), spread([r["detection"]["loc_acc"]["mean"]["0.3"] for r in runs])]


def blind(runs: Sequence[dict[str, Any]], kind: str) -> list[str]:
    return [spread([r["blind"][kind]["map"][t] for r in runs]) for t in IOUS]


def auroc(runs: Sequence[dict[str, Any]]) -> str:
    return spread([r["classification"]["mean_auroc"] for r in runs])


def place(runs: Sequence[dict[str, Any]], kind: str) -> str:
    return spread([r["blind"][kind]["loc_acc"]["0.3"] for r in runs])


def spread(values: Sequence[float]) -> str:
    sd = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{sd}"


def interval(value: float, bounds: Sequence[float]) -> str:
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"
