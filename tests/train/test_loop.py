"""The loop: learns, records, resumes exactly, refuses what it cannot do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy

from fixtures.small import small_config, small_phantom
from wsrpn_vl.checkpoint import load_checkpoint, read_tensors
from wsrpn_vl.config import load_config
from wsrpn_vl.data.index import read_index, write_index
from wsrpn_vl.errors import CheckpointError, ConfigError, DataError, TrainingError
from wsrpn_vl.labels import label_column
from wsrpn_vl.train import loop
from wsrpn_vl.train.loop import fit


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_phantom(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def whole(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    fit(small_config(index), run)
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / "last" / "model.safetensors")


def lines(run: Path, kind: str) -> list[dict]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [r for r in records if r["kind"] == kind]


def assert_same_weights(a: Path, b: Path) -> None:
    one, two = weights(a), weights(b)
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


def test_a_run_describes_itself(whole: Path) -> None:
    for name in ("config.json", "config.yaml", "environment.json", "metrics.jsonl"):
        assert (whole / name).is_file()
    assert any((whole / "tensorboard").iterdir())
    facts = json.loads((whole / "environment.json").read_text())
    assert facts["caption_source"] == "report" and facts["seed"] == 0 and facts["index_hash"]
    model, config, meta = load_checkpoint(whole)
    assert meta["text_dim"] == 384 and config.data.image_size == 64 and not model.training


def test_the_curriculum_switches_terms_on_and_the_total_is_their_weighted_sum(whole: Path) -> None:
    """Epoch 0: L = L_det. Epoch 1: L = L_det + 0.5 L_con + 0.5 L_kl. L_det = (patch + roi + box + anchor) / 2."""
    for record in lines(whole, "step"):
        terms = record["terms"]
        assert terms["detection"] == pytest.approx(
            (terms["patch"] + terms["roi"] + terms["box"] + terms["anchor"]) / 2, rel=1e-5
        )
        if record["epoch"] == 0:
            assert set(terms) == {"patch", "roi", "box", "anchor", "detection"} and record["phase"] == 0
            assert record["loss"] == pytest.approx(terms["detection"], rel=1e-5)
        else:
            total = terms["detection"] + 0.5 * terms["contrastive"] + 0.5 * terms["consistency"]
            assert record["loss"] == pytest.approx(total, rel=1e-5) and record["phase"] == 1


def test_epoch_lines_carry_validation(whole: Path) -> None:
    epochs = lines(whole, "epoch")
    assert [e["epoch"] for e in epochs] == [0, 1]
    assert all(0 <= e["val"]["auroc"] <= 1 and e["val"]["loss"] > 0 for e in epochs)
    assert epochs[0]["best"] is True


def test_the_same_seed_gives_the_same_weights_and_another_does_not(index: Path, whole: Path, tmp_path: Path) -> None:
    fit(small_config(index), tmp_path / "same")
    assert_same_weights(whole, tmp_path / "same")
    fit(small_config(index, "train.seed=1", "train.epochs=1"), tmp_path / "other")
    assert not torch.equal(*(next(iter(weights(r).values())) for r in (whole, tmp_path / "other")))


@pytest.mark.parametrize("killed_at", [1, 3, 5, 7])
def test_a_killed_run_resumes_to_the_same_weights(
    index: Path, whole: Path, tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in either epoch, before and between saves: 4 steps an epoch, saved every 2."""
    config = small_config(index, "train.checkpoint_every=2", "optim.ema=0.5")
    alone = tmp_path / "alone"
    fit(config, alone)

    run, steps = tmp_path / "run", 0
    step = loop._Trainer._train_step

    def dies(self: loop._Trainer, batch: object, total: int) -> float:
        nonlocal steps
        if steps == killed_at:
            raise RuntimeError("killed")
        steps += 1
        return step(self, batch, total)

    monkeypatch.setattr(loop._Trainer, "_train_step", dies)
    with pytest.raises(RuntimeError, match="killed"):
        fit(config, run)
    monkeypatch.setattr(loop._Trainer, "_train_step", step)
    fit(config, run, resume=True)  # killed before the first save, it begins again
    assert_same_weights(alone, run)
    assert [r["step"] for r in lines(run, "step")] == list(range(8))
    for a, b in zip(lines(alone, "epoch"), lines(run, "epoch"), strict=True):
        assert a["train"] == pytest.approx(b["train"]) and a["val"] == b["val"]


def test_a_signal_saves_and_says_how_to_go_on(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    step = loop._Trainer._train_step

    def interrupted(self: loop._Trainer, batch: object, total: int) -> float:
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, total)

    monkeypatch.setattr(loop._Trainer, "_train_step", interrupted)
    with pytest.raises(TrainingError, match="step 3; go on with --resume"):
        fit(small_config(index), tmp_path / "run")
    monkeypatch.setattr(loop._Trainer, "_train_step", step)
    fit(small_config(index), tmp_path / "run", resume=True)
    fit(small_config(index), tmp_path / "alone")
    assert_same_weights(tmp_path / "alone", tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run_at_once(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(images: torch.Tensor, *rest: object) -> tuple[torch.Tensor, torch.Tensor]:
        return images * float("nan"), torch.zeros(len(images), dtype=torch.bool)

    monkeypatch.setattr(loop, "augment", poisoned)
    with pytest.raises(TrainingError, match=r"loss=nan.* at step 0 .*lower optim.lr") as caught:
        fit(small_config(index), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_folder_that_holds_a_run_is_not_overwritten(index: Path, whole: Path) -> None:
    before = weights(whole)
    with pytest.raises(CheckpointError, match="--resume"):
        fit(small_config(index), whole)
    with pytest.raises(CheckpointError, match="differs in optim"):
        fit(small_config(index, "optim.lr=0.5"), whole, resume=True)
    assert all(torch.equal(v, before[k]) for k, v in weights(whole).items())


def test_nothing_to_resume(index: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run to resume"):
        fit(small_config(index), tmp_path / "none", resume=True)


def test_text_is_not_encoded_when_no_phase_wants_it(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrpn_vl.text.cache.load_encoder", lambda name: pytest.fail("encoder loaded"))
    config = small_config(index, "train.epochs=1", f"text.cache_dir={tmp_path / 'empty'}")
    config = config.model_copy(update={"curriculum": config.curriculum[:1]})
    fit(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["caption_source"] == "none"


def test_the_second_run_encodes_no_text(
    index: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrpn_vl.text.cache.load_encoder", lambda name: pytest.fail("encoder loaded"))
    fit(small_config(index, "train.epochs=1"), tmp_path / "run")


def test_frozen_phase_leaves_the_backbone_alone(index: Path, tmp_path: Path) -> None:
    config = small_config(index, "train.epochs=1", "optim.weight_decay=0")
    phase = config.curriculum[0].model_copy(update={"freeze_backbone": True})
    config = config.model_copy(update={"curriculum": [phase]})
    torch.manual_seed(config.train.seed)
    fit(config, tmp_path / "run")
    from wsrpn_vl.model.registry import build_detector

    torch.manual_seed(config.train.seed)
    start = build_detector(config, 384).state_dict()
    end = weights(tmp_path / "run")
    learned = [k for k in start if k.startswith("backbone.") and start[k].is_floating_point() and "running" not in k]
    assert all(torch.equal(start[k], end[k]) for k in learned)
    assert not torch.equal(start["patch.classifier.weight"], end["patch.classifier.weight"])


def test_killed_between_checkpoint_and_state_an_epoch_is_told_once(
    index: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the epoch's last step is there, its line and checkpoints too, but not the state after it."""
    config = small_config(index, "train.checkpoint_every=4")
    save = loop._Trainer.save

    def dies(self: loop._Trainer) -> None:
        if self.epoch == 1 and self.first_step == 0:
            raise RuntimeError("killed")
        save(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Trainer, "save", dies)
        with pytest.raises(RuntimeError, match="killed"):
            fit(config, tmp_path / "run")
    assert len(lines(tmp_path / "run", "epoch")) == 1
    fit(config, tmp_path / "run", resume=True)
    assert [r["epoch"] for r in lines(tmp_path / "run", "epoch")] == [0, 1]
    assert [r["step"] for r in lines(tmp_path / "run", "step")] == list(range(8))
    assert_same_weights(whole, tmp_path / "run")


def test_a_run_is_not_resumed_on_other_data(index: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    shutil.copytree(index.parent, tmp_path / "data", ignore=shutil.ignore_patterns("pixel_cache"))
    other = tmp_path / "data" / index.name
    small = small_config(other)
    for name in ("config.json", "environment.json"):
        path = tmp_path / "run" / name
        path.write_text(path.read_text().replace(str(index), str(other)))
    fit(small, tmp_path / "run", resume=True)
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    (tmp_path / "run" / "environment.json").write_text(json.dumps(facts | {"index_hash": "0" * 64}))
    with pytest.raises(CheckpointError, match=r"index\.parquet has changed since"):
        fit(small, tmp_path / "run", resume=True)


def test_a_damaged_state_is_one_line(index: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "resume" / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"resume: does not fit this program .*another --out"):
        fit(small_config(index), tmp_path / "run", resume=True)


def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the last step of the first epoch is fine, its gradient is not."""
    backward = Fabric.backward
    calls = 0

    def poisoned(self: Fabric, loss: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        backward(self, loss * float("nan") if calls == 4 else loss)

    monkeypatch.setattr(Fabric, "backward", poisoned)
    with pytest.raises(TrainingError, match="gradient norm=nan at step 3"):
        fit(small_config(index, "train.checkpoint_every=3"), tmp_path / "run")
    resume = read_tensors(tmp_path / "run" / "checkpoints" / "resume" / "model.safetensors")
    assert all(torch.isfinite(v).all() for v in resume.values() if v.is_floating_point())
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()


def test_the_loss_scale_of_half_precision_is_resumed(index: Path, tmp_path: Path) -> None:
    config = small_config(index)

    def trainer() -> tuple[loop._Trainer, torch.amp.GradScaler]:
        fabric = loop.make_fabric(config.train)
        scaler = torch.amp.GradScaler(device="cpu", init_scale=1024.0)
        built = loop._Trainer(fabric, config, tmp_path / "run", loop.open_run_data(config))
        fabric.strategy.precision = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
        scaler.scale(torch.ones(()))  # the scale becomes a tensor when it is first used
        return built, scaler

    first, scaler = trainer()
    scaler.update(128.0)
    first.save()
    second, other = trainer()
    assert other.get_scale() == 1024.0
    second.load()
    assert other.get_scale() == 128.0


@pytest.mark.parametrize("overrides", [["data.batch_size=64"], ["data.batch_size=1", "data.max_train_images=1"]])
def test_an_epoch_of_one_step(index: Path, tmp_path: Path, overrides: list[str]) -> None:
    """A batch beyond the data, and a single image: one step an epoch, which takes what there is."""
    fit(small_config(index, *overrides), tmp_path / "run")
    assert [r["step"] for r in lines(tmp_path / "run", "step")] == [0, 1]


def test_without_a_known_label_training_goes_on_and_says_nothing_of_auroc(index: Path, tmp_path: Path) -> None:
    table = read_index(index)
    blank = table.frame.with_columns(pl.lit(None, pl.Int8).alias(label_column(c)) for c in table.classes)
    path = write_index(
        blank,
        None,
        tmp_path / "index.parquet",
        root=table.root,
        **{k: getattr(table, k) for k in ("dataset", "classes", "box_complete", "boxed_classes", "text_origin")},
    )
    fit(small_config(path), tmp_path / "run")
    epochs = lines(tmp_path / "run", "epoch")
    assert [e["val"]["auroc"] for e in epochs] == [None, None] and all(e["best"] for e in epochs)
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / "run").values())


def test_one_channel_an_odd_size_and_no_text(index: Path, tmp_path: Path) -> None:
    odd = ["data.channels=1", "data.image_size=75", "data.text=none", "train.epochs=1"]
    fit(small_config(index, *odd), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["caption_source"] == "none"


@pytest.mark.parametrize(
    "override", ["train.accelerator=nonsense", "train.strategy=nonsense", "train.accelerator=cuda", "train.devices=0"]
)
def test_what_this_machine_does_not_have_is_told_in_one_line(
    index: Path, tmp_path: Path, override: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=override.split("=")[0]) as caught:
        fit(small_config(index, override), tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_what_fails_before_the_first_step_leaves_no_run_behind(index: Path, tmp_path: Path) -> None:
    """So that the corrected command is not told that the folder holds a run."""
    with pytest.raises(ConfigError, match="mobilenetv3"):
        fit(small_config(index, "model.backbone.name=mobilenetv3_smal_050"), tmp_path / "run")
    with pytest.raises(DataError, match="'Mass'.*data.classes"):
        fit(small_config(index, "data.classes=[Mass]", "data.text=labels"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_told_first(index: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file is no folder that may be; choose another --out"):
        fit(small_config(index), tmp_path / "file" / "run")


def test_several_devices_are_ddp_that_bears_unused_branches() -> None:
    """In the first phase no gradient reaches the alignment branch."""
    for overrides in (["train.devices=2"], ["train.devices=1", "train.strategy=ddp"]):
        config = load_config("", ["train.accelerator=cpu", *overrides])
        strategy = loop.make_fabric(config.train).strategy
        assert isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs["find_unused_parameters"]
