"""Two processes on PyTorch's own engine do what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from fixtures.small import SMALL, small_phantom
from wsrpn_vl.checkpoint import read_tensors

STILL = [f"data.augment.{k}=0" for k in ("rotate", "translate", "scale", "brightness", "contrast")]
# no batch normalisation: its statistics are each process's own
LAYER_NORM = ["model.backbone.name=convnext_atto", "model.backbone.stride=32"]


def train(index: Path, run: Path, *overrides: str) -> dict[str, torch.Tensor]:
    recipe = run.parent / "recipe.yaml"
    recipe.write_text("curriculum: [{until: 2, contrastive: 0.5, consistency: 0.5}]\n")
    command = [sys.executable, "-m", "wsrpn_vl.cli", "train", str(recipe), *SMALL, *STILL, *LAYER_NORM, *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--index", str(index), "--out", str(run)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return read_tensors(run / "checkpoints" / "last" / "model.safetensors")


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """The same global batches, so the same averaged gradients: contrastive negatives are gathered over processes."""
    index = small_phantom(tmp_path / "data", images=32)
    fixed = ["train.epochs=1", "optim.clip=0"]
    one = train(index, tmp_path / "one", *fixed, "data.batch_size=8")
    two = train(index, tmp_path / "two", *fixed, "data.batch_size=4", "train.devices=2", "train.strategy=ddp")
    # AdamW divides by the gradient's own size: a parameter whose gradient is rounding noise moves by noise
    far = [k for k in one if k != "roi.to_key.bias" and not torch.allclose(one[k], two[k], atol=2e-4)]
    assert far == []
    assert any((tmp_path / "two" / "tensorboard").iterdir())
