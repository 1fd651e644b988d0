"""Detectors by name: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from wsrpn_vl.config import Config
from wsrpn_vl.errors import lookup
from wsrpn_vl.labels import resolve_classes
from wsrpn_vl.model.base import Detector
from wsrpn_vl.model.detector import WSRPNVL

DETECTORS: dict[str, Callable[..., Detector]] = {"wsrpn_vl": WSRPNVL}


def build_detector(config: Config, text_dim: int, pretrained: bool = True) -> Detector:
    """The detector that ``config.model.name`` names. ``pretrained=False`` when a checkpoint's weights follow."""
    build = lookup("detector", config.model.name, DETECTORS)
    classes = resolve_classes(config.data.classes)
    return build(config.model, classes, text_dim=text_dim, in_channels=config.data.channels, pretrained=pretrained)
