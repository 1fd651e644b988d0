"""AdamW with three rates (backbone, heads, boxes) and a schedule that is a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from wsrpn_vl.config import OptimConfig

_BOX = ("anchor_logits", "box_head")
_NO_DECAY = ("queries", "anchor_logits", "log_scale")


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Groups by rate and decay; biases, norms, queries, anchors and the temperature are not decayed."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = (
            config.backbone_lr if "backbone." in name else config.box_lr if any(p in name for p in _BOX) else config.lr
        )
        decay = 0.0 if parameter.ndim < 2 or any(p in name for p in _NO_DECAY) else config.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": rate, "peak_lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]
    )


def rate_factor(step: int, total: int, config: OptimConfig) -> float:
    """Linear warm-up over the first ``warmup`` share of the steps, then a cosine down to ``final``; 1 at the peak."""
    warm = max(1, round(config.warmup * total))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate = its peak times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
