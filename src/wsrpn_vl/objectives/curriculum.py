"""The curriculum (§2.4): which term counts how much, and when."""

from __future__ import annotations

from collections.abc import Sequence

from wsrpn_vl.config import Phase


def phase_at(epoch: int, phases: Sequence[Phase]) -> Phase:
    """The phase that ``epoch`` (from 0) belongs to; the last one goes on."""
    return next((p for p in phases if epoch < p.until), phases[-1])


def weights_at(epoch: int, phases: Sequence[Phase]) -> dict[str, float]:
    """α, β, γ as ``{"detection": …, "contrastive": …, "consistency": …}``."""
    phase = phase_at(epoch, phases)
    return {"detection": phase.detection, "contrastive": phase.contrastive, "consistency": phase.consistency}
