"""WSRPN-VL: find and box pathologies in chest radiographs, trained without a single box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsrpn_vl.serve.predictor import Predictor
    from wsrpn_vl.types import Detections, Prediction

__version__ = "0.1.0"
__all__ = ["Detections", "Prediction", "Predictor", "__version__", "load"]

_HOMES = {"Detections": "wsrpn_vl.types", "Prediction": "wsrpn_vl.types", "Predictor": "wsrpn_vl.serve.predictor"}


def load(checkpoint: str, device: str = "cpu") -> Predictor:
    """A :class:`Predictor` from a run or checkpoint folder. Raises: CheckpointError."""
    from wsrpn_vl.serve.predictor import Predictor

    return Predictor.load(checkpoint, device)


def __getattr__(name: str) -> Any:
    # torch is imported when it is first needed, not by `wsrpn-vl --help`
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wsrpn_vl' has no attribute {name!r}")
