"""Weak supervision is sacred: no training code path reads a box."""

from __future__ import annotations

import builtins
import dataclasses
import io
import os
from pathlib import Path

import polars as pl
import pytest
import torch

from fixtures.small import small_config, small_phantom
from wsrpn_vl.checkpoint import read_tensors
from wsrpn_vl.data.index import boxes_path
from wsrpn_vl.train.loop import fit
from wsrpn_vl.types import Batch, Sample


def trained(index: Path, run: Path) -> dict[str, torch.Tensor]:
    fit(small_config(index), run)
    return read_tensors(run / "checkpoints" / "last" / "model.safetensors")


def test_no_training_path_opens_a_box_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way of opening a file is watched during a whole run through both phases."""
    index = small_phantom(tmp_path / "data", images=32)
    opened: list[str] = []

    def watch(original, position: int = 0):
        def watched(*args, **kwargs):
            opened.append(str(args[position]) if len(args) > position else str(kwargs))
            return original(*args, **kwargs)

        return watched

    monkeypatch.setattr(builtins, "open", watch(builtins.open))
    monkeypatch.setattr(io, "open", watch(io.open))
    monkeypatch.setattr(os, "open", watch(os.open))
    for name in ("read_parquet", "scan_parquet", "read_parquet_metadata", "read_csv"):
        monkeypatch.setattr(pl, name, watch(getattr(pl, name)))
    trained(index, tmp_path / "run")
    assert any("index.parquet" in name for name in opened)  # the watch works
    assert not [name for name in opened if "boxes" in name or "records" in name or "BBox" in name]


def test_other_boxes_give_the_same_weights(tmp_path: Path) -> None:
    """With the boxes gone, or replaced by garbage, every weight stays the same."""
    index = small_phantom(tmp_path / "data", images=32)
    before = trained(index, tmp_path / "one")
    boxes_path(index).write_bytes(b"these are not the boxes")
    garbage = trained(index, tmp_path / "two")
    boxes_path(index).unlink()
    gone = trained(index, tmp_path / "three")
    for name, value in before.items():
        assert torch.equal(value, garbage[name]) and torch.equal(value, gone[name])


@pytest.mark.parametrize("kind", [Sample, Batch])
def test_samples_and_batches_have_no_field_for_a_box(kind: type) -> None:
    names = {f.name for f in dataclasses.fields(kind)}
    assert not {n for n in names if "box" in n.replace("letterbox", "")}
