"""From tissue thickness to a displayed radiograph.

Beer-Lambert ``I = exp(-sum_i mu_i t_i)`` at one effective energy per technique, single-scatter glow, grid cut-off,
focal and motion blur, quantum (Poisson) and electronic noise, logarithm, the maker's processing (edge enhancement and
compression of large-scale contrast) and a sigmoid VOI response set from the image's own histogram, as computed
radiography does.

Attenuation: NIST Standard Reference Database 126 (Hubbell & Seltzer, 2004), mass attenuation coefficients in cm2/g at
50, 60 and 80 keV, times density: soft tissue, cortical bone and inflated lung (ICRU-44; NIST's own table gives the
density of lung without air), iron.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from wsrpn_vl.data.phantom.raster import Grid, blur

_NIST_KEV = (50.0, 60.0, 80.0)
_NIST = {  # density in g/cm3, mu/rho in cm2/g at these energies
    "soft": (1.06, (0.2264, 0.2048, 0.1823)),
    "bone": (1.92, (0.4242, 0.3148, 0.2229)),
    "lung": (0.26, (0.2270, 0.2053, 0.1826)),
    "metal": (7.874, (1.958, 1.205, 0.5952)),
}
# Electronic noise, sd in quanta over 1 mm2; it grows with the root of the area, as a sum of independent cells does.
# Chosen: two to three quanta in a cell of 0.15 mm, as 2,000 electrons against some 800 a quantum in amorphous-silicon
# panels (orders of magnitude of Siewerdsen et al., Med Phys 1997).
_ELECTRONIC = 16.0
_FLOOR = 1e-5  # share of the open beam below which a detector records nothing


def attenuation(kev: float) -> dict[str, float]:
    """Linear attenuation coefficients in 1/cm at an effective energy of 50 to 80 keV (log-log interpolation)."""
    return {
        name: density * math.exp(float(np.interp(math.log(kev), np.log(_NIST_KEV), np.log(values))))
        for name, (density, values) in _NIST.items()
    }


@dataclass(frozen=True)
class Look:
    """A maker's processing.

    latitude: width of the VOI response relative to the histogram's spread; gamma: power of the displayed value;
    edge: gain of detail finer than ``edge_cm``; squeeze: share of contrast coarser than ``squeeze_cm`` that is removed;
    paler: shift of the window towards white, in shares of the histogram's spread.
    """

    latitude: float = 1.0
    gamma: float = 1.0
    edge: float = 0.0
    edge_cm: float = 0.5
    squeeze: float = 0.0
    squeeze_cm: float = 4.0
    paler: float = 0.0


@dataclass(frozen=True)
class Technique:
    """How a view is taken. distance: source to detector, cm; front_first: the patient faces the detector (PA).

    mu: attenuation, 1/cm; quanta: photons per mm2 of the open beam; scatter: single-scatter gain after the grid;
    blur_mm: focal and detector blur (sd); look: the maker's processing; cutoff: sd of the relative loss of signal
    across the field through a tilted grid; motion_mm: movement of the patient down and across (sd).
    """

    view: str
    distance: float
    front_first: bool
    mu: dict[str, float]
    quanta: float
    scatter: float
    blur_mm: float
    look: Look = Look()
    cutoff: float = 0.0
    motion_mm: tuple[float, float] = (0.0, 0.0)

    def optical(self, maps: Mapping[str, np.ndarray]) -> np.ndarray:
        """(h, w) float32 optical thickness, the beam's attenuation exponent, of thickness maps in cm."""
        return np.add.reduce([np.float32(self.mu[name]) * thickness for name, thickness in maps.items()])


# A: 120 kVp upright (60 keV effective) and 85 kVp portable (50 keV), storage phosphors. The window gives NIH
# ChestX-ray14's grey values (median 150 of 255 PA, 141 AP).
PA = Technique("PA", 180.0, True, attenuation(60), 4e5, 0.07, 0.35, Look(latitude=1.15, paler=0.04))
AP = Technique("AP", 110.0, False, attenuation(50), 2.5e5, 0.14, 0.5, Look(latitude=1.6), cutoff=0.06)
# B: 140 kVp upright (66 keV) and 90 kVp portable without a grid (52 keV), flat panels, strong processing, darker.
_DIRECT = Look(latitude=1.3, gamma=1.15, edge=0.7, edge_cm=0.6, squeeze=0.25, paler=-0.12)
_PA_B = Technique("PA", 200.0, True, attenuation(66), 3e5, 0.09, 0.25, _DIRECT)
_AP_B = Technique("AP", 100.0, False, attenuation(52), 1.6e5, 0.26, 0.4, replace(_DIRECT, latitude=1.4, squeeze=0.35))
TECHNIQUES = {"A": {"PA": PA, "AP": AP}, "B": {"PA": _PA_B, "AP": _AP_B}}


@dataclass(frozen=True)
class Response:
    """The display of one exposure: log signal (h, w) -> picture (h, w) float32 in [0, 1]."""

    look: Look
    centre: float
    width: float
    pixel: float  # cm

    def __call__(self, log_signal: np.ndarray) -> np.ndarray:
        """Process and display; monotone in a uniform change of the log signal."""
        look, shown = self.look, log_signal
        if look.squeeze:
            coarse = _smooth(log_signal, look.squeeze_cm, self.pixel)
            shown = shown - np.float32(look.squeeze) * (coarse - np.float32(self.centre))
        if look.edge:
            shown = shown + np.float32(look.edge) * (log_signal - _smooth(log_signal, look.edge_cm, self.pixel))
        # Sigmoid VOI LUT function, DICOM PS3.3 C.11.2.1.3.1.
        picture = 1.0 / (1.0 + np.exp(np.float32(-4.0 / self.width) * (shown - np.float32(self.centre))))
        return picture if look.gamma == 1 else picture ** np.float32(look.gamma)


@dataclass(frozen=True, eq=False)
class Exposure:
    """picture: (h, w) float32 in [0, 1]; log_signal: (h, w) float32, minus the log of the detector's share of the open
    beam; show: the display that made the picture of the log signal; primary: (h, w) float32, the unscattered part of
    that share, before blur; spread: the blur.
    """

    picture: np.ndarray
    log_signal: np.ndarray
    show: Response
    primary: np.ndarray
    spread: Callable[[np.ndarray], np.ndarray]

    def without(self, change: np.ndarray) -> np.ndarray:
        """The log signal had optical thickness ``change`` (h, w) not been there: the scatter stays as it was."""
        gained = self.spread(self.primary * np.expm1(change))
        return -np.log(np.maximum(np.exp(-self.log_signal) + gained, np.float32(_FLOOR)))


def expose(maps: dict[str, np.ndarray], grid: Grid, technique: Technique, rng: np.random.Generator) -> Exposure:
    """Expose thickness maps in cm (soft, bone, lung, metal; each (h, w) float32)."""
    optical = technique.optical(maps)
    primary = np.exp(-optical)
    # Scatter is born where the beam is absorbed and spreads over centimetres.
    born = primary * np.minimum(optical, np.float32(6.0))
    signal = primary + np.float32(technique.scatter) * _smooth(born, 3.5, grid.pixel)
    fall, latitude, offset = rng.standard_normal(), rng.uniform(0.75, 1.35), rng.uniform(-0.33, 0.33)
    if technique.cutoff:
        passed = 1 - np.float32(np.clip(technique.cutoff * fall, -0.4, 0.4)) * np.linspace(
            -1, 1, grid.size, dtype=np.float32
        )
        signal, primary = signal * passed, primary * passed
    spread = partial(_spread, technique=technique, grid=grid)
    signal = spread(signal)
    quanta = technique.quanta * (grid.pixel * 10) ** 2
    mean = signal * np.float32(quanta)
    # The normal limit of the Poisson law: counts are in the hundreds and more, unless a fine grid meets a low dose.
    sd = np.sqrt(mean + np.float32((_ELECTRONIC * grid.pixel * 10) ** 2))
    counts = mean + sd * rng.standard_normal(mean.shape, dtype=np.float32)
    log_signal = -np.log(np.maximum(counts * np.float32(1 / quanta), np.float32(_FLOOR)))
    show = respond(log_signal, technique.look, grid.pixel, float(latitude), float(offset))
    return Exposure(show(log_signal), log_signal, show, primary, spread)


def respond(log_signal: np.ndarray, look: Look, pixel: float, latitude: float = 1.0, offset: float = 0.0) -> Response:
    """The display of this signal: lungs dark grey, mediastinum light, by percentiles of what is not open beam."""
    size = log_signal.shape[0]
    step = max(1, size // 64)
    sample = log_signal[size // 6 : -size // 4 : step, size // 6 : -size // 6 : step].ravel()
    sample = sample[sample > 0.6]
    if sample.size < 16:
        sample = np.array([0.6, 4.0], np.float32)
    low, high = (float(v) for v in np.percentile(sample, [12, 92]))
    width = max(high - low, 0.8) * 1.4 * look.latitude * latitude
    return Response(look, low + (0.23 + offset - look.paler) * (high - low), width * (1 - 0.5 * look.squeeze), pixel)


def _spread(signal: np.ndarray, technique: Technique, grid: Grid) -> np.ndarray:
    """Focal, detector and motion blur."""
    for axis, motion in enumerate(technique.motion_mm):
        sd = math.hypot(technique.blur_mm, motion) / 10 / grid.pixel
        taps = _taps(round(sd, 2))
        if len(taps) == 1:
            continue
        reach = len(taps) // 2
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach, reach)
        wide, n = np.pad(signal, pad, mode="edge"), signal.shape[axis]
        signal = np.zeros_like(signal)
        for k, weight in enumerate(taps):
            signal += weight * (wide[k : k + n] if axis == 0 else wide[:, k : k + n])
    return signal


@lru_cache(maxsize=256)
def _taps(sd: float) -> tuple[np.float32, ...]:
    """Weights of a Gaussian of ``sd`` pixels, each integrated over its pixel."""
    reach = math.ceil(3 * sd)
    if sd < 0.1:
        return (np.float32(1),)
    edges = np.array([math.erf((k - 0.5) / (sd * math.sqrt(2))) for k in range(-reach, reach + 2)])
    weights = np.diff(edges)
    return tuple((weights / weights.sum()).astype(np.float32))


def _smooth(image: np.ndarray, scale: float, pixel: float) -> np.ndarray:
    """Gaussian blur of ``scale`` cm (sd), done on a grid just fine enough for it."""
    size = image.shape[0]
    factor = max(1, min(size // 32, int(scale / pixel / 1.5)))
    coarse = blur(_shrink(image, factor), scale / (pixel * factor))
    return _enlarge(coarse, factor, size)


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    n = image.shape[0] // factor
    return image[: n * factor, : n * factor].reshape(n, factor, n, factor).mean((1, 3)) if factor > 1 else image


def _enlarge(image: np.ndarray, factor: int, size: int) -> np.ndarray:
    if factor == 1:
        return image
    m = _interpolation(image.shape[0], factor, size)
    return m @ image @ m.T


@lru_cache(maxsize=32)
def _interpolation(coarse: int, factor: int, size: int) -> np.ndarray:
    """(size, coarse) weights of linear interpolation."""
    at = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, coarse - 1)
    low = np.minimum(at.astype(int), coarse - 2)
    m = np.zeros((size, coarse), np.float32)
    m[np.arange(size), low] = 1 - (at - low)
    m[np.arange(size), low + 1] = at - low
    return m
