"""The drawing board of one study: tissue maps that findings change, and the regions they report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wsrpn_vl.data.phantom.acquisition import Technique
from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.rays import Beam
from wsrpn_vl.data.phantom.solids import Solid
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax


@dataclass(frozen=True, eq=False)
class Region:
    """One instance of a finding.

    mask: (h, w) bool, what it changes visibly; location: words; modifiers: words; side: right, left, bilateral or "";
    severity: mild, moderate, severe or ""; kind: what it is, for the report's wording;
    visibility: contrast-to-noise ratio in the final image, NaN if not measured.
    """

    mask: np.ndarray
    location: str
    modifiers: tuple[str, ...] = ()
    side: str = ""
    severity: str = ""
    kind: str = ""
    visibility: float = float("nan")

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Tight xyxy in pixels, right and bottom edges exclusive."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1)


@dataclass
class Scene:
    """Way of each ray through each tissue in cm, (h, w) float32, and the silhouettes findings need.

    soft: body without lung; lung: inflated lung; vessels: soft tissue inside the lung; bone; metal (iron equivalent).
    heart: bool silhouette above the diaphragm; lung_area: bool, both lungs as they are seen, drawn without findings.
    healthy_lung: (2, h, w) way through the right and the left lung before any finding; spans: (h, w, n, 2) its
    intervals along the ray. changes: optical thickness each observation added. pleural_air: side -> (h, w) cm of air
    around the lung; flooded: (h, w) bool, where fluid has taken the place of such air.
    """

    grid: Grid
    beam: Beam
    thorax: Thorax
    technique: Technique
    soft: np.ndarray
    lung: np.ndarray
    vessels: np.ndarray
    bone: np.ndarray
    metal: np.ndarray
    heart: np.ndarray
    lung_area: np.ndarray
    healthy_lung: np.ndarray
    spans: np.ndarray
    breaks: list[tuple[tuple[str, str, int], tuple[float, float]]] = field(default_factory=list)
    changes: dict[str, np.ndarray] = field(default_factory=dict)
    pleural_air: dict[str, np.ndarray] = field(default_factory=dict)
    flooded: np.ndarray | None = None

    def side(self, side: str) -> np.ndarray:
        """(h, w) bool: one lung's area."""
        k = SIDES.index(side)
        return self.lung_area & (self.healthy_lung[k] > self.healthy_lung[1 - k])

    def within(self, solid: Solid, side: str = "") -> np.ndarray:
        """(h, w) cm of lung that lies in ``solid``, of one side or both, before any finding."""
        return self.beam.within(solid.cut((-SIGN[side], 0.0, 0.0), 0.0) if side else solid, self.spans)

    def lung_of(self, side: str) -> np.ndarray:
        """(h, w) cm of one lung, the recesses behind and below its dome too, before any finding."""
        return self.healthy_lung[SIDES.index(side)]

    def share(self, solid: Solid, side: str = "") -> np.ndarray:
        """(h, w) 0..1: :meth:`within` as a share of the ray's whole way through lung; 0 where there is none."""
        whole = self.healthy_lung.sum(0)
        return self.within(solid, side) / np.maximum(whole, np.float32(0.05))

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

    def optical(self) -> np.ndarray:
        """(h, w) the beam's attenuation exponent as things stand."""
        return self.technique.optical(self.maps())
