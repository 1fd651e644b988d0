"""The training loop, on one page: fit, validate, resume, on Lightning Fabric.

Everything random is a pure function of (seed, epoch, step): order, augmentation, dropout. So a run that is killed at
any step and resumed from its last saved state ends with the same weights as one left alone.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from wsrpn_vl.checkpoint import read_json, read_tensors, save_checkpoint, save_tensors
from wsrpn_vl.config import Config, TrainConfig, config_yaml
from wsrpn_vl.data.augment import augment
from wsrpn_vl.data.dataset import EpochBatches, evaluation_loader
from wsrpn_vl.errors import CheckpointError, ConfigError, TrainingError
from wsrpn_vl.evaluate.classify import auroc
from wsrpn_vl.files import write_text
from wsrpn_vl.model.base import Detector
from wsrpn_vl.model.decode import image_probs
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.objectives.curriculum import phase_at, weights_at
from wsrpn_vl.progress import progress
from wsrpn_vl.train.data import RunData, open_run_data
from wsrpn_vl.train.init import Start, read_start
from wsrpn_vl.train.interrupts import interrupts
from wsrpn_vl.train.optim import build_optimizer, rate_factor, set_rate
from wsrpn_vl.train.state import check_run, load_optimizer, optimizer_tensors, settle_run
from wsrpn_vl.train.task import Task, class_prior, positive_weights, weighted_total
from wsrpn_vl.train.tracking import Tracker, environment


def fit(config: Config, run: Path | str, resume: bool = False) -> Path:
    """Train and return the folder of the best checkpoint.

    run: folder of the run; ``resume`` goes on from its last saved state, or begins where none was saved yet.
    Raises: TrainingError when loss or gradients are not finite; CheckpointError when the folder holds another run, no
    run to resume, or cannot be written; ConfigError when this machine has no such accelerator; and what
    :func:`~wsrpn_vl.train.data.open_run_data` raises.
    """
    run = Path(run)
    check_run(run, config, resume)  # before the launch: afterwards one process may already have written the folder
    start = read_start(config, run, resume)
    fabric = make_fabric(config.train)
    fabric.launch()
    torch.use_deterministic_algorithms(config.train.deterministic, warn_only=True)
    with fabric.rank_zero_first():
        data = open_run_data(config, fabric.device)
        if resume and fabric.is_global_zero:
            settle_run(run, data)
    if len(data.train) < fabric.world_size:
        raise ConfigError(f"{len(data.train)} training images for {fabric.world_size} processes; lower train.devices")
    trainer = _Trainer(fabric, config, run, data, start)
    if resume:
        trainer.load()
    elif fabric.is_global_zero:  # last, so that what fails above leaves no folder behind
        write_text(run / "config.yaml", config_yaml(config))
        write_text(run / "config.json", json.dumps(config.model_dump(mode="json"), indent=1))
    tracker = Tracker(run, trainer.step, trainer.epoch) if fabric.is_global_zero else None
    try:
        trainer.run(tracker)
    finally:
        if tracker is not None:
            tracker.close()
    return run / "checkpoints" / "best"


class _Trainer:
    """State of a run: what changes from step to step, and nothing else."""

    def __init__(self, fabric: Fabric, config: Config, run: Path, data: RunData, start: Start | None = None) -> None:
        self.fabric, self.config, self.folder, self.data = fabric, config, run, data
        self.step = self.epoch = self.first_step = 0
        self.best = -math.inf
        self.sums: dict[str, float] = {}
        self.tracker: Tracker | None = None
        targets = data.train.targets
        torch.manual_seed(config.train.seed)
        start = start or Start()
        model = build_detector(config, data.text_dim, pretrained=start.tensors is None)
        model.set_class_prior(class_prior(targets))
        start.load_into(model)
        model.fit_registration(_sample_images(data))  # to these training images, wherever the weights come from
        weight = positive_weights(targets, config.objective.positive_weight, config.objective.max_positive_weight)
        task = Task(model, config, weight)
        task, self.optimizer = fabric.setup(task, build_optimizer(task, config.optim))
        self.task = task
        self.average = None
        if config.optim.ema:
            average = get_ema_multi_avg_fn(config.optim.ema)
            self.average = AveragedModel(self.core.model, multi_avg_fn=average, use_buffers=True)
        self.steps = EpochBatches.steps(len(data.train), config.data.batch_size, fabric.world_size)
        self.environment = environment(
            config.train.seed, epochs=config.train.epochs, encoder=config.text.encoder, **data.facts()
        )
        if start.facts:
            self.environment["init"] = start.facts

    @property
    def core(self) -> Task:
        """The task without Fabric's wrappers."""
        inner = self.task.module
        return inner.module if hasattr(inner, "module") else inner

    def run(self, tracker: Tracker | None) -> None:
        """All epochs from where the state stands; only the first process has a tracker."""
        self.tracker = tracker
        self._write_json("environment.json", self.environment)
        total = self.steps * self.config.train.epochs
        images = min(self.config.data.batch_size * self.fabric.world_size, len(self.data.train))
        with progress("training") as bar, interrupts() as stop:
            while self.epoch < self.config.train.epochs:
                began = time.monotonic()
                for batch in self._loader():
                    loss = self._train_step(batch, total)
                    bar(self.step * images, total * images, f"epoch {self.epoch} loss {loss:.3f}")
                    every = self.config.train.checkpoint_every
                    if stop or (every and self.step % every == 0):
                        self.save()
                    if stop:
                        raise TrainingError(f"interrupted at step {self.step}; go on with --resume ({self.folder})")
                self._end_epoch(time.monotonic() - began)

    def _loader(self) -> DataLoader[Any]:
        data, train = self.config.data, self.config.train
        order = EpochBatches(
            len(self.data.train),
            data.batch_size,
            train.seed,
            self.epoch,
            self.first_step,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        loader = DataLoader(
            self.data.train, batch_sampler=order, num_workers=data.workers, collate_fn=self.data.collate
        )
        return cast(
            DataLoader[Any], self.fabric.setup_dataloaders(loader, use_distributed_sampler=False, move_to_device=False)
        )

    def _train_step(self, batch: Any, total: int) -> float:
        config = self.config
        began = time.monotonic()
        weights = weights_at(self.epoch, config.curriculum)
        self.core.train()
        frozen = phase_at(self.epoch, config.curriculum).freeze_backbone
        self.core.model.backbone.requires_grad_(not frozen)
        torch.manual_seed(_mix(config.train.seed, self.step, self.fabric.global_rank))
        generator = torch.Generator().manual_seed(_mix(config.train.seed + 1, self.step, self.fabric.global_rank))
        batch = batch.to(self.fabric.device)
        images, flips = augment(batch.images, config.data.augment, generator)
        batch = batch.flipped(flips)
        factor = rate_factor(self.step, total, config.optim)
        set_rate(self.optimizer, factor)
        words = (batch.text_features, batch.text_ids)
        loss, terms = self.task(images, batch.labels, *words, weights, self._gather, batch.text_weights)
        stacked = torch.stack([*terms.values(), loss]).detach().tolist()  # one wait for the device, not one a term
        values = dict(zip([*terms, "loss"], stacked, strict=True))
        self._require_finite(values, batch.image_ids)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        clip = config.optim.clip or math.inf  # with a largest norm, Fabric gives the norm back
        total_norm = self.fabric.clip_gradients(self.task, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        norm = float(cast(Tensor, total_norm))
        if self.fabric.strategy.precision.precision != "16-mixed":  # whose scaler leaves such steps out by itself
            self._require_finite({"gradient norm": norm}, batch.image_ids)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.core.model)
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        speed = len(batch) * self.fabric.world_size / (time.monotonic() - began)
        self._log(
            {
                "kind": "step",
                "step": self.step,
                "epoch": self.epoch,
                "phase": self._phase(),
                "lr": factor * config.optim.lr,
                "loss": values.pop("loss"),
                "terms": values,
                "grad_norm": _finite(norm),
                "images_per_s": round(speed, 2),
            }
        )
        self.step += 1
        self.first_step += 1
        return self.sums["loss"] / self.first_step

    def _require_finite(self, values: dict[str, float], image_ids: tuple[str, ...]) -> None:
        """Before anything that is not a number reaches the weights or a checkpoint."""
        bad = ", ".join(f"{k}={v}" for k, v in values.items() if not math.isfinite(v))
        if bad:
            raise TrainingError(
                f"{bad} at step {self.step} (epoch {self.epoch}); lower optim.lr, or look at images "
                f"{', '.join(image_ids[:3])} …; the last good state is in {self.folder / 'checkpoints'}"
            )

    def _gather(self, tensor: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return tensor
        return cast(Tensor, self.fabric.all_gather(tensor, sync_grads=tensor.requires_grad)).flatten(0, 1)

    def _phase(self) -> int:
        return self.config.curriculum.index(phase_at(self.epoch, self.config.curriculum))

    def _end_epoch(self, seconds: float) -> None:
        weights = weights_at(self.epoch, self.config.curriculum)
        val = self.validate(weights)
        self._require_finite({"validation loss": val["loss"]}, tuple(self.data.val.image_ids))
        select = self.config.train.select
        score = {"auroc": val["auroc"], "loss": -val["detection"], "last": float(self.epoch)}[select]
        better = math.isnan(score) or score > self.best
        self.best = self.best if math.isnan(score) else max(self.best, score)
        train = {name: value / max(1, self.first_step) for name, value in self.sums.items()}
        record = {"kind": "epoch", "step": self.step, "epoch": self.epoch, "phase": self._phase(), "weights": weights}
        self._log(record | {"train": train, "val": _null(val), "seconds": round(seconds, 1), "best": better})
        meta = {
            "text_dim": self.data.text_dim,
            "epoch": self.epoch,
            "step": self.step,
            "val": _null(val),
            "environment": self.environment,
        }
        if self.fabric.is_global_zero:
            for name in ("best", "last") if better else ("last",):
                save_checkpoint(self.folder / "checkpoints" / name, self.evaluated.state_dict(), self.config, meta)
        self.epoch, self.first_step, self.sums = self.epoch + 1, 0, {}
        self.save()

    @property
    def evaluated(self) -> Detector:
        """The detector that is judged and saved: the moving average where there is one."""
        return self.core.model if self.average is None else cast(Detector, self.average.module)

    @torch.no_grad()
    def validate(self, weights: dict[str, float]) -> dict[str, float]:
        """Loss terms and mean AUROC on the validation split; no box takes part."""
        model = self.evaluated.eval()
        sums: dict[str, float] = {}
        probs, labels = [], []
        loader = evaluation_loader(
            self.data.val, self.config.data.batch_size, self.config.data.workers, self.data.collate
        )
        for batch in loader:
            batch = batch.to(self.fabric.device)
            with self.fabric.autocast():
                outputs = model(batch.images, batch.text_features)
                terms = self.core.terms(outputs, batch.labels, batch.text_ids, weights, text_weights=batch.text_weights)
            terms["loss"] = weighted_total(terms, weights)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
            probs.append(image_probs(outputs).float().cpu())
            labels.append(batch.labels.cpu())
        means = {name: value / len(self.data.val) for name, value in sums.items()}
        return means | {"auroc": mean_auroc(torch.cat(probs), torch.cat(labels))}

    def save(self) -> None:
        """The whole state, so that the run can go on from here as if nothing had happened."""
        if not self.fabric.is_global_zero:
            return
        groups = {"model": self.core.model.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.average is not None:
            groups["average"] = self.average.state_dict()
        state = {
            "step": self.step,
            "epoch": self.epoch,
            "first_step": self.first_step,
            "best": _finite(self.best),
            "sums": self.sums,
            "precision": self.fabric.strategy.precision.state_dict(),  # float16's loss scale
        }
        save_tensors(self.folder / "checkpoints" / "resume", groups, {"state": state})

    def load(self) -> None:
        """Take up the state that :meth:`save` left; a run killed before its first save begins again.

        Raises: CheckpointError when the state is damaged or of another program.
        """
        folder = self.folder / "checkpoints" / "resume"
        if not folder.exists():
            return
        state = read_json(folder / "state.json")
        try:
            self.core.model.load_state_dict(read_tensors(folder / "model.safetensors"))
            load_optimizer(self.optimizer, read_tensors(folder / "optimizer.safetensors"))
            if self.average is not None:
                self.average.load_state_dict(read_tensors(folder / "average.safetensors"))
            self.step, self.epoch, self.first_step = state["step"], state["epoch"], state["first_step"]
            self.best = -math.inf if state["best"] is None else state["best"]
            self.sums = state["sums"]
            if state.get("precision"):
                self.fabric.strategy.precision.load_state_dict(state["precision"])
        except (KeyError, RuntimeError, ValueError) as error:
            detail = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{folder}: does not fit this program ({detail}); start anew in another --out"
            ) from None

    def _log(self, record: dict[str, Any]) -> None:
        if self.tracker is not None:
            self.tracker.log(record)

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            write_text(self.folder / name, json.dumps(value, indent=1))


def mean_auroc(probs: Tensor, labels: Tensor) -> float:
    """Mean over the classes that have both label values among (n, c); NaN when none has."""
    per_class = torch.from_numpy(auroc(probs.numpy(), labels.numpy()))
    return float(per_class.nanmean())


def make_fabric(config: TrainConfig) -> Fabric:
    """Fabric as configured. ``auto`` precision: bf16 or fp16 on a GPU that has it, float32 elsewhere.

    Raises: ConfigError when this machine cannot do it.
    """
    precision = config.precision
    if precision == "auto":
        on_gpu = config.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
        precision = ("bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed") if on_gpu else "32-true"
    # in the first phase no gradient reaches the alignment branch
    ddp = config.strategy == "ddp" or (config.strategy == "auto" and config.devices > 1)
    strategy = DDPStrategy(find_unused_parameters=True) if ddp else config.strategy
    try:
        return Fabric(accelerator=config.accelerator, devices=config.devices, strategy=strategy, precision=precision)
    except (RuntimeError, ValueError, TypeError) as error:
        chosen = ", ".join(
            f"train.{k}={getattr(config, k)}" for k in ("accelerator", "devices", "strategy", "precision")
        )
        detail = " ".join(str(error).split())[:250]
        raise ConfigError(
            f"{chosen}: not on this machine; train.accelerator=auto takes what there is ({detail})"
        ) from None


def _sample_images(data: RunData, most: int = 256) -> Tensor:
    """(n, size, size) training images in [0, 1], evenly spaced over the split; n < 2 ``most``."""
    n = len(data.train)
    chosen = range(0, n, max(1, n // most))
    return torch.stack([data.train[i].image[0] for i in chosen])


def _mix(seed: int, step: int, rank: int) -> int:
    """One 63-bit seed from three numbers."""
    return (seed * 1_000_003 + step) * 4099 + rank & (2**63 - 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _null(values: dict[str, float]) -> dict[str, float | None]:
    return {k: _finite(v) for k, v in values.items()}
