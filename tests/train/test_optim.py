"""Groups and schedule."""

from __future__ import annotations

import pytest
from torch import nn

from fixtures.small import SMALL
from wsrpn_vl.config import OptimConfig, load_config
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.train.optim import build_optimizer, rate_factor, set_rate


def detector() -> nn.Module:
    return build_detector(load_config("", list(SMALL)), 384)


def test_every_parameter_is_in_one_group() -> None:
    model = detector()
    groups = build_optimizer(model, OptimConfig()).param_groups
    ids = [id(p) for g in groups for p in g["params"]]
    assert len(ids) == len(set(ids)) and set(ids) == {id(p) for p in model.parameters()}


def test_rates_and_decay_by_role() -> None:
    model = detector()
    config = OptimConfig(lr=3.0, box_lr=2.0, backbone_lr=1.0, weight_decay=0.5)
    role = {
        id(p): (g["peak_lr"], g["weight_decay"])
        for g in build_optimizer(model, config).param_groups
        for p in g["params"]
    }
    named = dict(model.named_parameters())
    assert role[id(named["patch.classifier.weight"])] == (3.0, 0.5)
    assert role[id(named["patch.classifier.bias"])] == (3.0, 0.0)
    assert role[id(named["roi.queries"])] == (3.0, 0.0)
    assert role[id(named["roi.anchor_logits"])] == (2.0, 0.0)
    assert role[id(named["roi.box_head.1.weight"])] == (2.0, 0.5)
    assert {role[id(p)][0] for n, p in named.items() if n.startswith("backbone.")} == {1.0}


def test_schedule_on_paper() -> None:
    """10 steps, 2 of warm-up, final 0: 1/2, 1, then 1/2 (1 + cos(pi i / 8)): 1 at i=0, 1/2 at i=4, nearly 0 at i=7."""
    config = OptimConfig(warmup=0.2, final=0.0)
    values = [rate_factor(i, 10, config) for i in range(10)]
    assert values[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert values[6] == pytest.approx(0.5)
    assert values[9] == pytest.approx(0.0380602, abs=1e-6)
    assert rate_factor(10, 10, config) == pytest.approx(0.0)


def test_set_rate_scales_every_group() -> None:
    optimizer = build_optimizer(detector(), OptimConfig(lr=1.0, box_lr=0.1, backbone_lr=0.5))
    set_rate(optimizer, 0.5)
    assert {g["lr"] for g in optimizer.param_groups} == {0.5, 0.05, 0.25}
