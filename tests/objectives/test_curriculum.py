"""The curriculum: which epochs belong to which phase, and with what weights."""

from __future__ import annotations

import pytest

from wsrpn_vl.config import Phase, load_config
from wsrpn_vl.objectives.curriculum import phase_at, weights_at

WARM = {"detection": 1.0, "contrastive": 0.0, "consistency": 0.0}
JOINT = {"detection": 1.0, "contrastive": 0.5, "consistency": 0.5}


def test_golden_curriculum() -> None:
    """Epochs 0 and 1: detection alone; epochs 2 to 9: (α, β, γ) = (1, 0.5, 0.5); ten epochs in all."""
    config = load_config("specification")
    assert config.train.epochs == 10
    assert [weights_at(e, config.curriculum) for e in range(10)] == [WARM] * 2 + [JOINT] * 8


def test_the_last_phase_goes_on() -> None:
    phases = [Phase(until=1), Phase(until=3, contrastive=0.2)]
    assert weights_at(3, phases) == weights_at(99, phases) == {"detection": 1.0, "contrastive": 0.2, "consistency": 0.0}


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0), (3, 0), (4, 1), (5, 2), (6, 2)])
def test_until_is_the_first_epoch_outside(epoch: int, expected: int) -> None:
    phases = [Phase(until=4), Phase(until=5, freeze_backbone=True), Phase(until=7, consistency=1.0)]
    assert phase_at(epoch, phases) is phases[expected]


def test_every_weight_of_a_phase_is_passed_on() -> None:
    phase = Phase(until=1, detection=0.3, contrastive=0.4, consistency=0.6)
    assert weights_at(0, [phase]) == {"detection": 0.3, "contrastive": 0.4, "consistency": 0.6}
