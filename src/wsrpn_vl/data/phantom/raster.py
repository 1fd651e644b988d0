"""Drawing in centimetres: the pixel grid, smooth curves and noise, separable blur.

Everything is float32 and resolution-independent: the same centimetre coordinates give the same picture,
sampled finer or coarser. Image convention: x grows to the viewer's right (the patient's left), y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from threadpoolctl import ThreadpoolController

# Matrix products of one study are small: more threads make them slower, and rounding would depend on their number.
one_thread = ThreadpoolController().wrap(limits=1, user_api="blas")


@dataclass(frozen=True)
class Grid:
    """``size`` x ``size`` pixels over a square field of view.

    fov: side of the field in cm; shift: x of the field's centre in cm (0 = the patient's midline).
    x (1, size) and y (size, 1): pixel centres in cm, float32; y = 0 at the top edge.
    """

    size: int
    fov: float
    shift: float = 0.0

    @property
    def pixel(self) -> float:
        """Side of one pixel in cm."""
        return self.fov / self.size

    @property
    def x(self) -> np.ndarray:
        """(1, size) pixel centres, cm."""
        return (_centres(self.size) * self.fov + (self.shift - self.fov / 2)).astype(np.float32)[None, :]

    @property
    def y(self) -> np.ndarray:
        """(size, 1) pixel centres, cm."""
        return (_centres(self.size) * self.fov).astype(np.float32)[:, None]

    def zeros(self) -> np.ndarray:
        """(size, size) float32 zeros."""
        return np.zeros((self.size, self.size), np.float32)


@lru_cache(maxsize=16)
def _centres(size: int) -> np.ndarray:
    return (np.arange(size) + 0.5) / size


def ramp(distance: np.ndarray, width: float) -> np.ndarray:
    """0 for ``distance`` <= -width/2, 1 for >= width/2, smooth (cubic) in between."""
    t = np.clip(distance * (1.0 / width) + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bezier(control: np.ndarray, n: int = 16) -> np.ndarray:
    """(n, d) points of the Bezier curve of (m, d) control points."""
    m = len(control) - 1
    t = np.linspace(0, 1, n)[:, None]
    weights = np.concatenate([math.comb(m, i) * t**i * (1 - t) ** (m - i) for i in range(m + 1)], axis=1)
    return weights @ np.asarray(control, float)


@lru_cache(maxsize=64)
def _spline_matrix(size: int, knots: int) -> np.ndarray:
    """(size, knots) uniform cubic B-spline interpolation weights."""
    at = _centres(size) * (knots - 3) + 1.0
    cell = np.floor(at).astype(int)
    f = at - cell
    weights = np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3]) / 6.0
    out = np.zeros((size, knots), np.float32)
    for k in range(4):
        out[np.arange(size), np.clip(cell - 1 + k, 0, knots - 1)] += weights[k]
    return out


def smooth_noise(grid: Grid, rng: np.random.Generator, scale: float) -> np.ndarray:
    """(h, w) smooth noise of about unit variance with features of ``scale`` cm, the same field at every resolution."""
    knots = max(4, round(grid.fov / scale) + 3)
    m = _spline_matrix(grid.size, knots)
    return (m @ rng.standard_normal((knots, knots), dtype=np.float32) @ m.T) * np.float32(2.1)


def resample(image: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(h, w) values of ``image`` at fractional pixel indices, bilinear; beyond the edge its edge."""
    n = image.shape[0]
    rows, cols = np.clip(rows, 0, n - 1.001), np.clip(cols, 0, n - 1.001)
    r, c = rows.astype(int), cols.astype(int)
    v, u = (rows - r).astype(np.float32), (cols - c).astype(np.float32)
    above, below = image[r, c] * (1 - u) + image[r, c + 1] * u, image[r + 1, c] * (1 - u) + image[r + 1, c + 1] * u
    return above * (1 - v) + below * v


@lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    d = np.arange(size)[:, None] - np.arange(size)[None, :]
    m = np.exp(-0.5 * (d / sigma) ** 2)
    return (m / m.sum(1, keepdims=True)).astype(np.float32)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a square image, ``sigma`` in pixels (rounded to 0.05), renormalised at the edges."""
    sigma = round(sigma * 20) / 20
    if sigma < 0.2:
        return image
    m = _blur_matrix(image.shape[0], sigma)
    return m @ image @ m.T
