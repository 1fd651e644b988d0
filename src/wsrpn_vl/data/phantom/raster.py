"""Drawing in centimetres: the pixel grid, tubes with their chord length, smooth noise, separable blur.

Everything is float32 and resolution-independent: the same centimetre coordinates give the same picture,
sampled finer or coarser. Image convention: x grows to the viewer's right (the patient's left), y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


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


def ellipse(grid: Grid, cx: float, cy: float, a: float, b: float, angle: float = 0.0) -> np.ndarray:
    """(h, w) of 1 - q, q the ellipse's quadratic form: positive inside, 1 at the centre. ``angle`` in radians."""
    dx, dy = grid.x - cx, grid.y - cy
    c, s = math.cos(angle), math.sin(angle)
    u, v = (dx * c + dy * s) / a, (dy * c - dx * s) / b
    return 1.0 - u * u - v * v


def chord(inside: np.ndarray, depth: float) -> np.ndarray:
    """Path length through an ellipsoid of half-depth ``depth`` (cm), from :func:`ellipse`."""
    return (2.0 * depth) * np.sqrt(np.maximum(inside, 0.0))


def tubes(grid: Grid, start: np.ndarray, end: np.ndarray, r0: np.ndarray, r1: np.ndarray) -> np.ndarray:
    """Path length (h, w), in cm, through the union of round tapering tubes.

    start, end: (n, 2) cm; r0, r1: (n,) radii at both ends, cm. A tube thinner than a pixel is widened and thinned
    out, so that its projected area is kept. Overlapping tubes take the longest chord, not the sum.
    """
    out = grid.zeros()
    p, q = (np.asarray(v, np.float32) - np.array([grid.shift - grid.fov / 2, 0], np.float32) for v in (start, end))
    r0, r1 = np.asarray(r0, np.float32), np.asarray(r1, np.float32)
    floor = np.float32(0.7 * grid.pixel)
    reach = np.maximum(np.maximum(r0, r1), floor)[:, None]
    low = np.clip(np.floor((np.minimum(p, q) - reach) / grid.pixel), 0, grid.size).astype(np.int64)
    high = np.clip(np.ceil((np.maximum(p, q) + reach) / grid.pixel), 0, grid.size).astype(np.int64)
    span = np.maximum(high - low, 0)
    count = span[:, 0] * span[:, 1]
    if not count.sum():
        return out
    which = np.repeat(np.arange(len(p)), count)
    local = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    rows, cols = np.divmod(local, span[which, 0])
    rows += low[which, 1]
    cols += low[which, 0]
    px = (cols.astype(np.float32) + 0.5) * np.float32(grid.pixel)
    py = (rows.astype(np.float32) + 0.5) * np.float32(grid.pixel)
    d = q - p
    dx, dy = px - p[which, 0], py - p[which, 1]
    t = np.clip((dx * d[which, 0] + dy * d[which, 1]) / np.maximum((d * d).sum(1), 1e-9)[which], 0, 1)
    square = (dx - t * d[which, 0]) ** 2 + (dy - t * d[which, 1]) ** 2
    radius = r0[which] + t * (r1 - r0)[which]
    wide = np.maximum(radius, floor)
    value = 2.0 * np.sqrt(np.maximum(wide * wide - square, 0)) * (radius / wide) ** 2
    np.maximum.at(out.reshape(-1), rows * grid.size + cols, value)
    return out


def polyline(grid: Grid, points: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    """:func:`tubes` along (n, 2) points in cm with one radius or (n,) radii."""
    r = np.broadcast_to(np.asarray(radius, np.float32), (len(points),))
    return tubes(grid, points[:-1], points[1:], r[:-1], r[1:])


def bezier(control: np.ndarray, n: int = 16) -> np.ndarray:
    """(n, 2) points of the Bezier curve of (m, 2) control points."""
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
