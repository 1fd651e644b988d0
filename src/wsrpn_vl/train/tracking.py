"""What a run says of itself: ``metrics.jsonl``, TensorBoard, ``environment.json``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from wsrpn_vl.files import write_text
from wsrpn_vl.provenance import git_commit, machine


class Tracker:
    """Appends one JSON line per step or epoch and mirrors numbers to TensorBoard.

    step, epoch: what comes next; lines of it or later, left by a run that was killed, are dropped first, so that a
    resumed run's file reads as one run.
    """

    def __init__(self, run: Path, step: int = 0, epoch: int = 0) -> None:
        self.path = run / "metrics.jsonl"
        resumed = self.path.exists()
        if resumed:
            lines = [line for line in self.path.read_text().splitlines() if _before(line, step, epoch)]
            write_text(self.path, "".join(line + "\n" for line in lines))
        self._file = self.path.open("a", buffering=1)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step if resumed else None)

    def log(self, record: dict[str, Any]) -> None:
        """One line; every number in it, by its path, also goes to TensorBoard at ``record["step"]``."""
        self._file.write(json.dumps(record) + "\n")
        for name, value in _numbers(record, record["kind"]):
            self._board.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Flush both."""
        self._file.close()
        self._board.close()


def environment(seed: int, **facts: Any) -> dict[str, Any]:
    """What must be known to trust or repeat the run."""
    return {
        "git_commit": git_commit(),
        "seed": seed,
        "command": " ".join(["wsrpn-vl", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **facts,
    }


def _before(line: str, step: int, epoch: int) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False  # a line cut off by a kill
    return record["epoch"] < epoch if record["kind"] == "epoch" else record["step"] < step


def _numbers(record: dict[str, Any], prefix: str) -> list[tuple[str, float]]:
    out: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            out += _numbers(value, f"{prefix}/{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and key not in ("step", "epoch"):
            out.append((f"{prefix}/{key}", float(value)))
    return out
