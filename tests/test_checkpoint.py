"""Checkpoint folders: whole or not at all, read without being touched, faults named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from fixtures.small import SMALL
from wsrpn_vl import checkpoint as module
from wsrpn_vl.checkpoint import load_checkpoint, read_json, read_tensors, save_checkpoint, save_tensors, settle
from wsrpn_vl.config import load_config
from wsrpn_vl.errors import CheckpointError
from wsrpn_vl.model.registry import build_detector


def group(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"w": torch.full((2,), value)}}


def value(folder: Path) -> float:
    return read_tensors(folder / "model.safetensors")["w"][0].item()


def detector(folder: Path) -> Path:
    config = load_config("", list(SMALL))
    return save_checkpoint(folder, build_detector(config, 384).state_dict(), config, {"text_dim": 384})


def test_a_reader_changes_nothing_where_a_run_is_writing(tmp_path: Path) -> None:
    """Between the writer's two renames the checkpoint waits under its hidden name; it is read from there."""
    best = detector(tmp_path / "run" / "checkpoints" / "best")
    (best.parent / ".best.1.tmp").mkdir()
    os.replace(best, best.parent / ".best.old")
    before = sorted(p.name for p in best.parent.rglob("*"))
    model, _, _ = load_checkpoint(tmp_path / "run")
    assert not model.training
    assert sorted(p.name for p in best.parent.rglob("*")) == before
    settle(best)
    assert sorted(p.name for p in best.parent.iterdir()) == ["best"]


def test_the_folder_may_be_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(detector(tmp_path / "c"))
    assert load_checkpoint(".")[1].data.image_size == 64


def test_a_replacement_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tensors(tmp_path / "state", group(1), {"state": {"step": 1}})

    def full(*args: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_file", full)
        with pytest.raises(CheckpointError, match=r"state: cannot be written .*No space left.*free space"):
            save_tensors(folder, group(2), {"state": {"step": 2}})
    assert value(folder) == 1 and read_json(folder / "state.json") == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    save_tensors(folder, group(3), {})
    assert value(folder) == 3 and [p.name for p in tmp_path.iterdir()] == ["state"]


def test_what_a_kill_left_is_kept_until_its_successor_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tensors(tmp_path / "state", group(1), {})
    os.replace(folder, tmp_path / ".state.old")
    rename = os.replace

    def killed(source: Path, target: Path) -> None:
        assert value(tmp_path / ".state.old") == 1
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    assert value(save_tensors(folder, group(2), {})) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    ("meta", "words"), [("{}", "text_dim"), ("[1]", "JSON object"), ("{", "not valid JSON"), (None, "is missing")]
)
def test_a_damaged_meta_is_named(tmp_path: Path, meta: str | None, words: str) -> None:
    path = detector(tmp_path / "c") / "meta.json"
    path.write_text(meta) if meta else path.unlink()
    with pytest.raises(CheckpointError, match=rf"meta\.json.*{words}"):
        load_checkpoint(path.parent)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(CheckpointError, match=r"state\.json: cannot be read"):
        read_json(tmp_path / "state.json")


def test_weights_of_another_model_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = detector(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["align"]["dim"] = 32
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit wsrpn_vl") as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
