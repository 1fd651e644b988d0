"""What a run folder allows, and an optimiser's state as plain tensors: the parts of resuming that need no loop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsrpn_vl.checkpoint import read_json, settle
from wsrpn_vl.config import Config
from wsrpn_vl.errors import CheckpointError
from wsrpn_vl.train.data import RunData


def check_run(run: Path, config: Config, resume: bool) -> None:
    """Tell before images are decoded and words encoded whether the folder can take this run.

    Raises: CheckpointError when it cannot be written, when it holds a run and ``resume`` is off, or when it holds none,
    or one of another configuration, and ``resume`` is on.
    """
    here = next(p for p in (run.absolute(), *run.absolute().parents) if p.exists())
    if not here.is_dir() or not os.access(here, os.W_OK):
        raise CheckpointError(f"{run}: cannot be written, {here} is no folder that may be; choose another --out")
    path = run / "config.json"
    if not path.exists():
        if resume:
            raise CheckpointError(f"{run}: no run to resume; start it without --resume")
        return
    if not resume:
        raise CheckpointError(f"{run} already holds a run; choose another --out, or go on with --resume")
    before, now = read_json(path), config.model_dump(mode="json")
    changed = [k for k in now if k != "train" and before.get(k) != now[k]]
    changed += [f"train.{k}" for k in ("seed", "epochs") if before.get("train", {}).get(k) != now["train"][k]]
    if changed:
        raise CheckpointError(
            f"{run}: cannot resume, the configuration differs in {', '.join(changed)}; "
            f"`wsrpn-vl train {run / 'config.yaml'} --out {run} --resume` goes on with the run's own"
        )


def settle_run(run: Path, data: RunData) -> None:
    """Finish the replacements of checkpoints that a kill cut short.

    Raises: CheckpointError when the run began with another state of the index.
    """
    for name in ("best", "last", "resume"):
        settle(run / "checkpoints" / name)
    path = run / "environment.json"
    before, now = read_json(path).get("index_hash") if path.exists() else None, data.index.content_hash
    if before not in (None, now):
        raise CheckpointError(f"{run}: cannot resume, {data.index.path} has changed since; start anew in another --out")


def optimizer_tensors(optimizer: Any) -> dict[str, Tensor]:
    """State of an optimiser as ``<parameter number>.<slot>`` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(value) for i, slots in state.items() for name, value in slots.items()}


def load_optimizer(optimizer: Any, tensors: dict[str, Tensor]) -> None:
    """Take up what :func:`optimizer_tensors` gave. Raises: ValueError or KeyError when it is of another model."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        i, name = key.split(".", 1)
        state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
