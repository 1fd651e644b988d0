"""The drawing board of one study: tissue maps that findings change, and the regions they report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wsrpn_vl.data.phantom.acquisition import Technique
from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.thorax import SIGN, Thorax


@dataclass(frozen=True, eq=False)
class Region:
    """One instance of a finding.

    mask: (h, w) bool, what it changes visibly; location: words; modifiers: words; side: right, left, bilateral or "";
    severity: mild, moderate, severe or ""; kind: what it is, for the report's wording.
    """

    mask: np.ndarray
    location: str
    modifiers: tuple[str, ...] = ()
    side: str = ""
    severity: str = ""
    kind: str = ""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Tight xyxy in pixels, right and bottom edges exclusive."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1)


@dataclass
class Scene:
    """Tissue thickness in cm, each (h, w) float32, and the silhouettes findings need.

    soft: body without lung; lung: inflated lung; vessels: soft tissue inside the lung; bone; metal (iron equivalent).
    heart: bool silhouette; lung_area: bool, both lungs as they project, drawn without findings.
    """

    grid: Grid
    thorax: Thorax
    technique: Technique
    soft: np.ndarray
    lung: np.ndarray
    vessels: np.ndarray
    bone: np.ndarray
    metal: np.ndarray
    heart: np.ndarray
    lung_area: np.ndarray
    breaks: list[tuple[tuple[str, str, int], tuple[float, float]]] = field(default_factory=list)

    def side(self, side: str) -> np.ndarray:
        """(h, w) bool: one lung's area."""
        return self.lung_area & (self.grid.x * SIGN[side] > 0)

    def fill(self, fraction: np.ndarray) -> None:
        """Replace this share (0..1) of the air-holding lung by water-like tissue."""
        added = self.lung * fraction
        self.soft += added
        self.lung -= added

    def add_soft(self, thickness: np.ndarray) -> None:
        """Put solid tissue into the lung, at most as thick as the lung there."""
        added = np.minimum(thickness, self.lung)
        self.soft += added
        self.lung -= added

    def maps(self) -> dict[str, np.ndarray]:
        """Final thickness maps; vessels take the place of lung, never more than there is."""
        vessels = np.minimum(self.vessels, self.lung)
        return {"soft": self.soft + vessels, "lung": self.lung - vessels, "bone": self.bone, "metal": self.metal}
