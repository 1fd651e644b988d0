"""Starting from another run's weights: what is taken, what is not, what is refused, what is recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from fixtures.small import small_config, small_phantom
from wsrpn_vl.checkpoint import read_tensors, save_checkpoint
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.errors import CheckpointError
from wsrpn_vl.provenance import sha256_file
from wsrpn_vl.train import loop
from wsrpn_vl.train.init import read_start
from wsrpn_vl.train.loop import fit

TEMPLATE = "registration.template"
EPOCH = "train.epochs=1"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_phantom(tmp_path_factory.mktemp("first"), images=32)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other patients."""
    return write_phantom(tmp_path_factory.mktemp("second"), images=32, size=64, seed=99, progress=False)


@pytest.fixture(scope="module")
def source(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("source") / "run"
    fit(small_config(index, EPOCH), run)
    return run


def state(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / "best" / "model.safetensors")


def init_record(run: Path) -> dict:
    return json.loads((run / "environment.json").read_text())["init"]


def trainer(index: Path, source: Path, run: Path, *overrides: str) -> loop._Trainer:
    config = small_config(index, f"train.init={source}", *overrides)
    return loop._Trainer(
        loop.make_fabric(config.train), config, run, loop.open_run_data(config), read_start(config, run, resume=False)
    )


def test_every_weight_is_taken_but_the_template_is_of_the_new_images(
    index: Path, other: Path, source: Path, tmp_path: Path
) -> None:
    weights = state(source)
    built = trainer(other, source, tmp_path / "run", "optim.ema=0.9")
    fresh = loop._Trainer(built.fabric, small_config(other), tmp_path / "run", loop.open_run_data(small_config(other)))
    for model in (built.core.model, built.evaluated):  # the moving average begins there too
        mine = model.state_dict()
        assert [k for k in weights if k != TEMPLATE and not torch.equal(mine[k], weights[k])] == []
        assert torch.equal(mine[TEMPLATE], fresh.core.model.state_dict()[TEMPLATE])
        assert not torch.equal(mine[TEMPLATE], weights[TEMPLATE])
    assert not built.optimizer.state_dict()["state"]  # nothing of the other run's momentum


def test_a_run_from_weights_records_where_they_come_from(source: Path, other: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(small_config(other, EPOCH, f"train.init={source}"), run)
    weights = source / "checkpoints" / "best" / "model.safetensors"
    environment = json.loads((source / "environment.json").read_text())
    record = init_record(run)
    assert record["sha256"] == sha256_file(weights) and record["path"] == str(source) and record["epoch"] == 0
    assert record["index_hash"] == environment["index_hash"] and "init" not in environment
    meta = json.loads((run / "checkpoints" / "best" / "meta.json").read_text())
    assert meta["environment"]["init"] == record
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps[0]["step"] == 0  # the other run's steps are not counted


def test_a_checkpoint_folder_serves_like_its_run(source: Path, index: Path, tmp_path: Path) -> None:
    run, folder = (read_start(small_config(index, f"train.init={p}"), tmp_path, False) for p in (
        source, source / "checkpoints" / "best"
    ))  # fmt: skip
    assert run.facts is not None and folder.facts is not None and run.facts["sha256"] == folder.facts["sha256"]


def test_resuming_asks_nothing_of_the_source(
    source: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second epoch, resumed after the source is gone: the same weights, the same record."""
    gone = shutil.copytree(source, tmp_path / "gone")
    config = small_config(other, f"train.init={gone}")
    alone, run = tmp_path / "alone", tmp_path / "run"
    fit(config, alone)
    step = loop._Trainer._train_step

    def dies(self: loop._Trainer, batch: object, total: int) -> float:
        if self.epoch == 1:
            raise RuntimeError("killed")
        return step(self, batch, total)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Trainer, "_train_step", dies)
        with pytest.raises(RuntimeError, match="killed"):
            fit(config, run)
    shutil.rmtree(gone)
    fit(config, run, resume=True)
    one, two = state(alone), state(run)
    assert [k for k in one if not torch.equal(one[k], two[k])] == []
    assert init_record(run) == init_record(alone)


def test_a_run_killed_before_its_first_save_starts_from_the_weights_again(
    source: Path, other: Path, tmp_path: Path
) -> None:
    config = small_config(other, EPOCH, f"train.init={source}")
    fit(config, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints")
    fit(config, tmp_path / "again", resume=True)
    one, two = state(tmp_path / "run"), state(tmp_path / "again")
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


def test_what_only_regularises_may_differ(source: Path, index: Path, tmp_path: Path) -> None:
    free = ["model.roi.dropout=0.3", "model.patch.dropout=0.1", "model.backbone.drop_path=0.1"]
    trainer(index, source, tmp_path / "run", *free)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "data.classes=[Cardiomegaly, Edema]",
            "its classes are Enlarged Cardiomediastinum.* and 9 more; set data.classes",
        ),
        ("model.roi.queries=4", "model.roi.queries is 10 there and 4 here"),
        ("model.roi.centre=absolute", "model.roi.centre is anchor there and absolute here"),  # the same shapes
        ("data.channels=1", "does not fit the detector to be trained.*size mismatch"),
    ],
)
def test_another_detector_is_refused_in_one_line(
    source: Path, index: Path, tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"train\.init=.*{words}") as caught:
        fit(small_config(index, f"train.init={source}", override), tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_folder_without_weights_is_named(source: Path, index: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"train\.init=.*nothing: no checkpoint there"):
        fit(small_config(index, f"train.init={tmp_path / 'nothing'}"), tmp_path / "run")
    config = small_config(index)
    folder = save_checkpoint(tmp_path / "c", state(source), config, {"text_dim": 384})
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_start(small_config(index, f"train.init={folder}"), tmp_path / "run", resume=False)
