"""The loop: learns, records, resumes exactly, refuses what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fixtures.small import small_config, small_phantom
from wsrpn_vl.checkpoint import load_checkpoint, read_tensors
from wsrpn_vl.errors import CheckpointError, TrainingError
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
    """Killed in either epoch, between two saves: 4 steps an epoch, saved every 2."""
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
    if killed_at < 2:
        with pytest.raises(CheckpointError, match="nothing to resume"):
            fit(config, run, resume=True)
        return
    fit(config, run, resume=True)
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
    def poisoned(images: torch.Tensor, *rest: object) -> torch.Tensor:
        return images * float("nan")

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
