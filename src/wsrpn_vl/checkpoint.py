"""A checkpoint is a folder: ``model.safetensors``, ``config.json``, ``meta.json``. No pickle anywhere.

``meta.json`` tells what the weights cannot: classes, width of the text features, epoch, what was measured.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wsrpn_vl.config import Config, parse_config
from wsrpn_vl.errors import CheckpointError
from wsrpn_vl.model.base import Detector
from wsrpn_vl.model.registry import build_detector

FILES = ("model.safetensors", "config.json", "meta.json")


def save_checkpoint(folder: Path, state: dict[str, Tensor], config: Config, meta: dict[str, Any]) -> Path:
    """Write a checkpoint folder as one step: a reader sees the old one or the new one."""
    return save_tensors(folder, {"model": state}, {"config": config.model_dump(mode="json"), "meta": meta})


def load_checkpoint(folder: Path | str, device: torch.device | str = "cpu") -> tuple[Detector, Config, dict[str, Any]]:
    """(detector in eval mode, its configuration, meta) of a checkpoint folder, or of a run folder (its best one).

    Nothing in the folder is changed, so a run that is still training can be read.
    Raises: CheckpointError naming the file that is missing or does not fit; ConfigError for its ``config.json``.
    """
    folder = find_checkpoint(Path(folder))
    meta = read_json(folder / "meta.json")
    if not isinstance(meta.get("text_dim"), int):
        raise CheckpointError(f"{folder / 'meta.json'}: no whole number 'text_dim'; copy the checkpoint again")
    config = parse_config(read_json(folder / "config.json"), str(folder / "config.json"))
    model = build_detector(config, text_dim=meta["text_dim"], pretrained=False)
    state = read_tensors(folder / "model.safetensors")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / 'model.safetensors'}: does not fit {config.model.name}: {detail}") from None
    return model.to(device).eval(), config, meta


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint folder itself, or the best one of a run folder. Raises: CheckpointError when there is none."""
    for place in (folder, folder / "checkpoints" / "best", folder / "checkpoints" / "last"):
        for candidate in (place, _old(place)):
            if (candidate / "model.safetensors").exists():
                return candidate
    raise CheckpointError(
        f"{folder}: no checkpoint there (looked for {', '.join(FILES)}, also under checkpoints/best); "
        "give the folder of a run that has finished an epoch"
    )


def save_tensors(folder: Path, tensors: dict[str, dict[str, Tensor]], tables: dict[str, Any]) -> Path:
    """``<name>.safetensors`` per group and ``<name>.json`` per table, in a folder that replaces an older one whole.

    Raises: CheckpointError when it cannot be written; the older one is still there then.
    """
    folder = Path(folder)
    temporary, old = folder.with_name(f".{folder.name}.{os.getpid()}.tmp"), _old(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, group in tensors.items():
            save_file(
                {k: v.detach().cpu().contiguous().clone() for k, v in group.items()}, temporary / f"{name}.safetensors"
            )
        for name, table in tables.items():
            (temporary / f"{name}.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)  # left by a kill; while there is no folder it is all there is
            os.replace(folder, old)
        os.replace(temporary, folder)
    except (SafetensorError, OSError) as error:  # safetensors reports a full disk as an error of its own
        shutil.rmtree(temporary, ignore_errors=True)
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: cannot be written ({detail}); free space or permit writing there") from None
    shutil.rmtree(old, ignore_errors=True)
    return folder


def settle(folder: Path) -> None:
    """Finish a replacement that was killed between its two renames. For the folder's only writer, never for readers."""
    old = _old(folder)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for stale in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file. Raises: CheckpointError."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; the checkpoint is incomplete") from None
    except (SafetensorError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise CheckpointError(f"{path}: not a readable safetensors file ({reason}); copy it again") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises: CheckpointError."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; the checkpoint is incomplete") from None
    except ValueError:
        raise CheckpointError(f"{path}: not valid JSON; copy it again") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object; copy it again")
    return value


def _old(folder: Path) -> Path:
    """Where a folder waits while its successor takes its place."""
    return folder.parent / f".{folder.name}.old"
