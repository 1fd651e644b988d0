"""From tissue thickness to an 8-bit radiograph.

Beer-Lambert ``I = exp(-sum_i mu_i t_i)`` at one effective energy per technique, single-scatter glow, focal blur,
quantum (Poisson) and electronic noise, logarithm, and a sigmoid VOI response set from the image's own histogram,
as computed-radiography readers do.

Attenuation: NIST Standard Reference Database 126 (Hubbell & Seltzer, 2004), mass attenuation coefficients times
density, at 60 keV (120 kVp erect) and 50 keV (85 kVp portable): soft tissue (ICRU-44, 1.06 g/cm3) 0.2048 and 0.2264,
cortical bone (1.92) 0.3148 and 0.4242, inflated lung (0.26) 0.2053 and 0.2270, iron (7.874) 1.205 and 1.958 cm2/g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsrpn_vl.data.phantom.raster import Grid, blur

MU_60_KEV = {"soft": 0.2048 * 1.06, "bone": 0.3148 * 1.92, "lung": 0.2053 * 0.26, "metal": 1.205 * 7.874}
MU_50_KEV = {"soft": 0.2264 * 1.06, "bone": 0.4242 * 1.92, "lung": 0.2270 * 0.26, "metal": 1.958 * 7.874}


@dataclass(frozen=True)
class Technique:
    """How a view is taken. distance: source to detector, cm; front_first: the patient faces the detector (PA).

    quanta: photons per mm2 of the open beam; scatter: single-scatter gain after the grid; blur_mm: focal and
    detector blur (sd); latitude: width of the VOI response relative to the histogram's spread.
    """

    view: str
    distance: float
    front_first: bool
    mu: dict[str, float]
    quanta: float
    scatter: float
    blur_mm: float
    latitude: float

    def magnify(self, z):
        """Magnification at depth z (cm, positive in front) over the mid-coronal plane's, 13 cm off the detector."""
        gap = 13.0 - z if self.front_first else 13.0 + z
        return (self.distance - 13.0) / (self.distance - gap)


PA = Technique("PA", 180.0, True, MU_60_KEV, 4e5, 0.07, 0.35, 1.0)
AP = Technique("AP", 110.0, False, MU_50_KEV, 2.5e5, 0.14, 0.5, 1.15)
TECHNIQUES = {"A": {"PA": PA, "AP": AP}}


def expose(
    maps: dict[str, np.ndarray], grid: Grid, technique: Technique, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Thickness maps in cm (soft, bone, lung, metal; each (h, w)) -> (h, w) image in [0, 1] and log signal."""
    optical = sum(technique.mu[name] * thickness for name, thickness in maps.items())
    primary = np.exp(-optical)
    # Scatter is born where the beam is absorbed and spreads over centimetres.
    born = primary * np.minimum(optical, 6.0)
    coarse = max(1, grid.size // 64)
    glow = blur(_shrink(born, coarse), 3.5 / (grid.pixel * coarse))
    signal = primary + technique.scatter * _enlarge(glow, coarse, grid.size)
    signal = blur(signal, technique.blur_mm / 10 / grid.pixel)
    area = (grid.pixel * 10) ** 2
    mean = signal * (technique.quanta * area)
    # Counts are in the hundreds and more: the normal limit of the Poisson law. 0.02 % of the open beam is electronic.
    sd = np.sqrt(mean + (2e-4 * technique.quanta * area) ** 2 / 25)
    counts = mean + sd * rng.standard_normal(mean.shape, dtype=np.float32)
    log_signal = -np.log(np.maximum(counts / (technique.quanta * area), 1e-5))
    latitude = technique.latitude * float(rng.uniform(0.85, 1.2))
    return voi(log_signal, latitude, float(rng.uniform(-0.10, 0.12))), log_signal


def voi(log_signal: np.ndarray, latitude: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """Sigmoid display response: lungs dark grey, mediastinum light, placed by percentiles of what is not open beam."""
    size = log_signal.shape[0]
    sample = log_signal[size // 6 : -size // 4 : 4, size // 6 : -size // 6 : 4].ravel()
    sample = sample[sample > 0.6]
    if sample.size < 16:
        sample = np.array([0.6, 4.0], np.float32)
    low, high = (float(v) for v in np.percentile(sample, [12, 92]))
    width = max(high - low, 0.8) * 1.4 * latitude
    centre = low + (0.42 + offset) * (high - low)
    return 1.0 / (1.0 + np.exp((-4.0 / width) * (log_signal - centre)))


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    n = image.shape[0] // factor
    return image[: n * factor, : n * factor].reshape(n, factor, n, factor).mean((1, 3))


def _enlarge(image: np.ndarray, factor: int, size: int) -> np.ndarray:
    at = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, image.shape[0] - 1).astype(np.float32)
    low = np.minimum(at.astype(int), image.shape[0] - 2)
    f = at - low.astype(np.float32)
    rows = image[low] * (1 - f)[:, None] + image[low + 1] * f[:, None]
    return rows[:, low] * (1 - f) + rows[:, low + 1] * f


_GLYPHS = {  # 5 x 7 dots
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "P": "11110 10001 10001 11110 10000 10000 10000",
}


def mark(image: np.ndarray, text: str, x: float, y: float, height: float) -> None:
    """Burn a lead marker into ``image`` (h, w) in [0, 1], in place; x, y, height as fractions of the side."""
    size = image.shape[0]
    dot = max(1, round(height * size / 7))
    left, top = round(x * size), round(y * size)
    for letter in text:
        dots = np.array([[int(c) for c in row] for row in _GLYPHS[letter].split()])
        stamp = np.kron(dots, np.ones((dot, dot)))
        part = image[max(top, 0) : top + stamp.shape[0], max(left, 0) : left + stamp.shape[1]]
        part[...] = np.maximum(part, 0.93 * stamp[: part.shape[0], : part.shape[1]])
        left += 6 * dot
