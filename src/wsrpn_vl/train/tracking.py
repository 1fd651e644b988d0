"""What a run says of itself: ``metrics.jsonl``, TensorBoard, ``environment.json``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from wsrpn_vl.provenance import git_commit, machine


class Tracker:
    """Appends one JSON line per step or epoch and mirrors numbers to TensorBoard.

    ``resume_step``: lines at or beyond it are dropped first, so a resumed run's file reads as one run.
    """

    def __init__(self, run: Path, resume_step: int = 0) -> None:
        self.path = run / "metrics.jsonl"
        if self.path.exists():
            lines = [line for line in self.path.read_text().splitlines() if _before(line, resume_step)]
            self.path.write_text("".join(line + "\n" for line in lines))
        self._file = self.path.open("a", buffering=1)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=resume_step or None)

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


def _before(line: str, step: int) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False  # a line cut off by a kill
    # an epoch's line carries the step count at its end, which the resumed run has already done
    return record.get("step", 0) < step or (record.get("kind") == "epoch" and record["step"] <= step)


def _numbers(record: dict[str, Any], prefix: str) -> list[tuple[str, float]]:
    out: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            out += _numbers(value, f"{prefix}/{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and key not in ("step", "epoch"):
            out.append((f"{prefix}/{key}", float(value)))
    return out
