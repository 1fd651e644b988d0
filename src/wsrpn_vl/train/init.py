"""Weights that training starts from: those of another run of the same architecture and classes (``train.init``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from wsrpn_vl.checkpoint import find_checkpoint, read_json, read_tensors
from wsrpn_vl.config import Config, describe, parse_config
from wsrpn_vl.errors import CheckpointError
from wsrpn_vl.labels import resolve_classes
from wsrpn_vl.model.base import Detector
from wsrpn_vl.provenance import sha256_file

# what shapes how weights are learned, not what they mean
_FREE = ("backbone.weights", "backbone.drop_path", "patch.dropout", "roi.dropout", "roi.detach_features")


@dataclass(frozen=True)
class Start:
    """tensors: state of the detector, None to leave it as built; facts: where they come from, for the run's record."""

    tensors: dict[str, Tensor] | None = None
    facts: dict[str, Any] | None = None

    def load_into(self, model: Detector) -> None:
        """Take up the weights, if there are any. Raises: CheckpointError when a tensor is missing or of another shape.

        The registration's template comes along; the caller makes it anew from its own training images.
        """
        if self.tensors is None:
            return
        try:
            model.load_state_dict(self.tensors)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:200]
            where = (self.facts or {}).get("path")
            raise CheckpointError(f"train.init={where}: does not fit the detector to be trained: {detail}") from None


def read_start(config: Config, run: Path, resume: bool) -> Start:
    """Weights of ``config.train.init``; nothing without one, or where a saved state of ``run`` is resumed.

    A resumed run keeps the facts it recorded, and its source may be gone.
    Raises: CheckpointError when there is no checkpoint, or it is of other classes or another architecture.
    """
    if not config.train.init:
        return Start()
    if resume and any((run / "checkpoints" / name).exists() for name in ("resume", ".resume.old")):
        environment = run / "environment.json"
        return Start(None, read_json(environment).get("init") if environment.exists() else None)
    try:
        folder = find_checkpoint(Path(config.train.init))
    except CheckpointError as error:
        raise CheckpointError(f"train.init={error}") from None
    theirs = parse_config(read_json(folder / "config.json"), str(folder / "config.json"))
    _check_same(config, theirs)
    meta, weights = read_json(folder / "meta.json"), folder / "model.safetensors"
    facts = {
        "path": config.train.init,
        "sha256": sha256_file(weights),
        "recipe": theirs.name,
        "epoch": meta.get("epoch"),
        "step": meta.get("step"),
        "index_hash": meta.get("environment", {}).get("index_hash"),
    }
    return Start(read_tensors(weights), facts)


def _check_same(ours: Config, theirs: Config) -> None:
    """Raises: CheckpointError that names the first difference."""
    where = f"train.init={ours.train.init}"
    mine, other = resolve_classes(ours.data.classes), resolve_classes(theirs.data.classes)
    if mine != other:
        raise CheckpointError(f"{where}: its classes are {_names(other)}; set data.classes to them, or leave init out")
    keys = [key for key, *_ in describe(type(ours.model)) if key not in _FREE]
    for key in keys:
        a, b = _get(ours.model, key), _get(theirs.model, key)
        if a != b:
            raise CheckpointError(
                f"{where}: another architecture, model.{key} is {b} there and {a} here; make them equal"
            )


def _get(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = getattr(node, part)
    return node


def _names(classes: tuple[str, ...], most: int = 4) -> str:
    more = f" and {len(classes) - most} more" if len(classes) > most else ""
    return ", ".join(classes[:most]) + more
