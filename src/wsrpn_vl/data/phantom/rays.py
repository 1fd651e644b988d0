"""Exact path lengths of a diverging beam through solids of tissue.

A film is a grid of rays from the focus through the mid-coronal plane. Along each ray the solids are intervals; where
they overlap the later one in the list counts (constructive solid geometry by priority: the heart displaces lung, the
trachea displaces mediastinum). No voxels, no sampling error: a boundary is as sharp as the focus lets it be.
The scalar loops are compiled by numba.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.solids import AIR, SOFT, Solid

SPANS = 4  # lung intervals kept per ray: lung is met at most before, between and behind heart and vessels
_MOST = 64  # solids met by one ray
_FAR = 1e6  # cm: the ends of a ray
_TO_FILM = 13.0  # cm from the mid-coronal plane to the detector


@dataclass(frozen=True)
class Beam:
    """Rays of one exposure. distance: focus to detector, cm; front_first: the patient faces the detector (PA).

    grid: where the rays cross the mid-coronal plane; rotation: the patient's turn about the long axis, radians.
    """

    grid: Grid
    distance: float
    front_first: bool
    rotation: float = 0.0

    @property
    def focus(self) -> tuple[float, float, float]:
        """(x, y, z) of the focus in the room's frame, cm."""
        z = self.distance - _TO_FILM
        return self.grid.shift, self.grid.fov / 2, -z if self.front_first else z

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) patient's frame -> (n, 2) x, y cm on the grid, and (n,) magnification there."""
        p = np.atleast_2d(np.asarray(points, float))
        c, s = math.cos(self.rotation), math.sin(self.rotation)
        room = np.stack([c * p[:, 0] + s * p[:, 2], p[:, 1], c * p[:, 2] - s * p[:, 0]], 1)
        fx, fy, fz = self.focus
        scale = -fz / (room[:, 2] - fz)
        return np.stack([fx + (room[:, 0] - fx) * scale, fy + (room[:, 1] - fy) * scale], 1), scale

    def plane(self, z: float) -> tuple[np.ndarray, np.ndarray]:
        """x (1, w) and y (h, 1), cm in the patient's frame, at which the rays cross the coronal plane at depth z.

        For small turns about the long axis, as those of a film are.
        """
        fx, fy, fz = self.focus
        scale = np.float32((z - fz) / -fz)
        turned = np.float32(math.sin(self.rotation) * z)
        return fx + (self.grid.x - fx) * scale - turned, fy + (self.grid.y - fy) * scale

    def window(self, solid: Solid) -> tuple[int, int, int, int]:
        """Rows and columns (r0, r1, c0, c1) that may meet the solid."""
        corners = np.array(np.meshgrid(*zip(solid.low, solid.high, strict=True))).reshape(3, -1).T
        xy, _ = self.project(corners)
        g = self.grid
        cols = (xy[:, 0] - g.shift + g.fov / 2) / g.pixel
        rows = xy[:, 1] / g.pixel
        r0, r1 = int(np.clip(np.floor(rows.min()), 0, g.size)), int(np.clip(np.ceil(rows.max()), 0, g.size))
        c0, c1 = int(np.clip(np.floor(cols.min()), 0, g.size)), int(np.clip(np.ceil(cols.max()), 0, g.size))
        return r0, r1, c0, c1

    def _frame(self) -> np.ndarray:
        fx, fy, fz = self.focus
        g = self.grid
        return np.array([g.pixel, g.shift - g.fov / 2, fx, fy, fz, math.cos(self.rotation), math.sin(self.rotation)])

    def trace(
        self, solids: Sequence[Solid], materials: Sequence[int], densities: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Path lengths through overlapping solids, later ones first in rank.

        materials: SOFT, RIGHT_LUNG, LEFT_LUNG or AIR; densities: relative to soft tissue, for SOFT only.
        Returns soft (h, w) cm of soft-tissue equivalent, lung (2, h, w) cm in the right and left lung, float32, and
        the lung's intervals (h, w, SPANS, 2), float32 depths along the ray; empty ones are equal depths.
        """
        n = self.grid.size
        soft, lung = np.zeros((n, n), np.float32), np.zeros((2, n, n), np.float32)
        spans = np.zeros((n, n, SPANS, 2), np.float32)
        first = np.cumsum([0, *(len(s.parts) for s in solids)])
        parts = np.concatenate([s.parts for s in solids])
        windows = np.array([self.window(s) for s in solids])
        _trace(
            self._frame(),
            parts,
            first,
            windows,
            np.asarray(materials, np.int64),
            np.asarray(densities, float),
            soft,
            lung,
            spans,
        )
        return soft, lung, spans

    def through(self, solid: Solid) -> np.ndarray:
        """(h, w) float32 cm of each ray's way through one solid."""
        return self._within(solid, None)

    def within(self, solid: Solid, spans: np.ndarray) -> np.ndarray:
        """(h, w) float32 cm of each ray's way through the solid and the given intervals (of :meth:`trace`) at once."""
        return self._within(solid, spans)

    def _within(self, solid: Solid, spans: np.ndarray | None) -> np.ndarray:
        n = self.grid.size
        out = np.zeros((n, n), np.float32)
        r0, r1, c0, c1 = self.window(solid)
        everywhere = np.array([[[[-_FAR, _FAR]]]], np.float32)
        given = everywhere if spans is None else spans
        _measure(self._frame(), np.ascontiguousarray(solid.parts), r0, r1, c0, c1, given, out)
        return out

    def tubes(self, start: np.ndarray, end: np.ndarray, r0, r1, weight: float | np.ndarray = 1.0) -> np.ndarray:
        """(h, w) cm through the union of round tapering tubes between (n, 3) points, radii in cm.

        A tube thinner than a pixel is widened and thinned out, so that its projected area is kept. The chord grows with
        the tube's slant to the film, as its volume asks, and with ``weight``. Overlapping tubes take the longest chord,
        not the sum.
        """
        start, end = np.atleast_2d(start), np.atleast_2d(end)
        a, magnified = self.project(start)
        b, magnified_end = self.project(end)
        flat = np.maximum(np.hypot(*(b - a).T), 1e-6)
        length = np.linalg.norm(end - start, axis=1) * magnified
        radius = np.broadcast_to(np.maximum(r0, r1), flat.shape)
        stretch = (length + radius) / (flat + radius)
        out = self.grid.zeros()
        corner = np.array([self.grid.shift - self.grid.fov / 2, 0.0])
        splat(
            out,
            np.ascontiguousarray(a - corner),
            np.ascontiguousarray(b - corner),
            np.ascontiguousarray(np.broadcast_to(r0, flat.shape) * magnified),
            np.ascontiguousarray(np.broadcast_to(r1, flat.shape) * magnified_end),
            np.ascontiguousarray(np.maximum(stretch, 1.0) * weight),
            self.grid.pixel,
        )
        return out

    def polyline(self, points: np.ndarray, radius) -> np.ndarray:
        """:meth:`tubes` along (n, 3) points with one radius or (n,) radii."""
        r = np.broadcast_to(np.asarray(radius, float), (len(points),))
        return self.tubes(points[:-1], points[1:], r[:-1], r[1:])


@njit(cache=True)
def splat(out, p, q, r0, r1, stretch, pixel):
    """Maximum of the chords of 2-D capsules (n, 2) -> (n, 2) into ``out`` (h, w), cm from its corner."""
    size = out.shape[0]
    floor = 0.7 * pixel
    for i in range(p.shape[0]):
        reach = max(r0[i], r1[i], floor)
        c0 = max(int((min(p[i, 0], q[i, 0]) - reach) / pixel), 0)
        c1 = min(int((max(p[i, 0], q[i, 0]) + reach) / pixel) + 1, size)
        w0 = max(int((min(p[i, 1], q[i, 1]) - reach) / pixel), 0)
        w1 = min(int((max(p[i, 1], q[i, 1]) + reach) / pixel) + 1, size)
        dx, dy = q[i, 0] - p[i, 0], q[i, 1] - p[i, 1]
        square = max(dx * dx + dy * dy, 1e-9)
        for row in range(w0, w1):
            y = (row + 0.5) * pixel - p[i, 1]
            for col in range(c0, c1):
                x = (col + 0.5) * pixel - p[i, 0]
                t = min(max((x * dx + y * dy) / square, 0.0), 1.0)
                ex, ey = x - t * dx, y - t * dy
                radius = r0[i] + t * (r1[i] - r0[i])
                wide = max(radius, floor)
                left = wide * wide - ex * ex - ey * ey
                if left > 0:
                    value = 2.0 * math.sqrt(left) * (radius / wide) ** 2 * stretch[i]
                    if value > out[row, col]:
                        out[row, col] = value


@njit(cache=True)
def _row(frame, parts, row, coef):
    """Coefficients of one row of rays: quadrics and half-spaces of each part as polynomials in the column's x, cm.

    A ray's origin and direction in the patient's frame are linear in x, so a, b, c of ``a t^2 + 2 b t + c <= 0`` are
    parabolas: coef[k, 0:9] for the first quadric, [9:18] for the second, [18:22] for the half-space's rate and rest.
    Returns the direction's y.
    """
    pixel, _, fx, fy, fz, c, s = frame
    y = (row + 0.5) * pixel
    k = -1.0 / fz
    dy = (y - fy) * k
    o0, o1 = (0.0, y, 0.0), (c, 0.0, s)
    d0, d1 = (-c * fx * k - s, dy, c - s * fx * k), (c * k, 0.0, s * k)
    for i in range(parts.shape[0]):
        part = parts[i]
        for second in range(2):
            if part[0] == 1 or (second and part[0] != 2):
                continue
            q, at = 1 + 10 * second, 9 * second
            ad0, ad1 = _times(part, q, d0), _times(part, q, d1)
            ao0, ao1 = _times(part, q, o0), _times(part, q, o1)
            b = (part[q + 6], part[q + 7], part[q + 8])
            coef[i, at], coef[i, at + 1], coef[i, at + 2] = _dot(d0, ad0), 2 * _dot(d0, ad1), _dot(d1, ad1)
            coef[i, at + 3] = _dot(d0, ao0) + _dot(b, d0)
            coef[i, at + 4] = _dot(d0, ao1) + _dot(d1, ao0) + _dot(b, d1)
            coef[i, at + 5] = _dot(d1, ao1)
            coef[i, at + 6] = _dot(o0, ao0) + 2 * _dot(b, o0) + part[q + 9]
            coef[i, at + 7], coef[i, at + 8] = 2 * (_dot(o0, ao1) + _dot(b, o1)), _dot(o1, ao1)
        n = (part[21], part[22], part[23])
        coef[i, 18], coef[i, 19] = _dot(n, d0), _dot(n, d1)
        coef[i, 20], coef[i, 21] = part[24] - _dot(n, o0), -_dot(n, o1)
    return dy


@njit(cache=True, inline="always")
def _dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@njit(cache=True, inline="always")
def _times(part, q, v):
    """The quadric's matrix times a vector."""
    return (
        part[q] * v[0] + part[q + 3] * v[1] + part[q + 4] * v[2],
        part[q + 3] * v[0] + part[q + 1] * v[1] + part[q + 5] * v[2],
        part[q + 4] * v[0] + part[q + 5] * v[1] + part[q + 2] * v[2],
    )


@njit(cache=True, inline="always")
def _solve(coef, i, at, x):
    """Depths between which the ray at x is inside a quadric; empty as (1, 0)."""
    c = coef[i, at + 6] + x * (coef[i, at + 7] + x * coef[i, at + 8])
    b = coef[i, at + 3] + x * (coef[i, at + 4] + x * coef[i, at + 5])
    a = coef[i, at] + x * (coef[i, at + 1] + x * coef[i, at + 2])
    if a < 1e-12:
        return (-_FAR, _FAR) if c <= 0 else (1.0, 0.0)
    disc = b * b - a * c
    if disc <= 0:
        return 1.0, 0.0
    root = math.sqrt(disc)
    return (-b - root) / a, (-b + root) / a


@njit(cache=True, inline="always")
def _half(coef, i, x):
    """Depths at which the ray at x is on the inner side of a plane."""
    rate = coef[i, 18] + x * coef[i, 19]
    rest = coef[i, 20] + x * coef[i, 21]
    if abs(rate) < 1e-12:
        return (-_FAR, _FAR) if rest >= 0 else (1.0, 0.0)
    if rate > 0:
        return -_FAR, rest / rate
    return rest / rate, _FAR


@njit(cache=True)
def _interval(parts, coef, low, high, x):
    """Depths between which the ray at x is inside all parts ``low`` .. ``high``; empty as (1, 0)."""
    t0, t1 = -_FAR, _FAR
    for k in range(low, high):
        if parts[k, 0] == 1:
            a, b = _half(coef, k, x)
        elif parts[k, 0] == 0:
            a, b = _solve(coef, k, 0, x)
        else:
            a, b = _bullet(coef, k, x)
        t0, t1 = max(t0, a), min(t1, b)
        if t1 <= t0:
            return 1.0, 0.0
    return t0, t1


@njit(cache=True, inline="always")
def _bullet(coef, k, x):
    """The ellipsoid's depths on the plane's inner side joined with the cylinder's beyond it."""
    h0, h1 = _half(coef, k, x)
    e0, e1 = _solve(coef, k, 0, x)
    e0, e1 = max(e0, h0), min(e1, h1)
    g0, g1 = -_FAR, _FAR
    if h0 <= h1:  # the outer side is what the inner one leaves
        g0, g1 = (1.0, 0.0) if h0 == -_FAR and h1 == _FAR else (-_FAR, h0) if h0 > -_FAR else (h1, _FAR)
    c0, c1 = 1.0, 0.0
    if g0 < g1:
        c0, c1 = _solve(coef, k, 9, x)
        c0, c1 = max(c0, g0), min(c1, g1)
    if e1 <= e0:
        return c0, c1
    if c1 <= c0:
        return e0, e1
    return min(e0, c0), max(e1, c1)


@njit(cache=True)
def _measure(frame, parts, r0, r1, c0, c1, spans, out):
    coef = np.empty((parts.shape[0], 22))
    pixel, left, fx, _, fz, _, _ = frame
    tall, wide = spans.shape[0] - 1, spans.shape[1] - 1
    for row in range(r0, r1):
        dy = _row(frame, parts, row, coef)
        for col in range(c0, c1):
            x = left + (col + 0.5) * pixel
            t0, t1 = _interval(parts, coef, 0, parts.shape[0], x)
            if t1 <= t0:
                continue
            total = 0.0
            for k in range(spans.shape[2]):
                low, high = spans[min(row, tall), min(col, wide), k]
                total += max(min(t1, high) - max(t0, low), 0.0)
            dx = (x - fx) / fz
            out[row, col] = total * math.sqrt(1.0 + dx * dx + dy * dy)


@njit(cache=True)
def _trace(frame, parts, first, windows, materials, densities, soft, lung, spans):
    coef = np.empty((parts.shape[0], 22))
    pixel, left, fx, _, fz, _, _ = frame
    here = np.empty(materials.shape[0], np.int64)
    met = np.empty(_MOST, np.int64)
    low, high = np.empty(_MOST), np.empty(_MOST)
    stops = np.empty(2 * _MOST)
    for row in range(soft.shape[0]):
        dy = _row(frame, parts, row, coef)
        rivals = 0
        for k in range(materials.shape[0]):
            if windows[k, 0] <= row < windows[k, 1]:
                here[rivals] = k
                rivals += 1
        for col in range(soft.shape[1]):
            x = left + (col + 0.5) * pixel
            n = 0
            for m in range(rivals):
                k = here[m]
                if windows[k, 2] <= col < windows[k, 3] and n < _MOST:
                    t0, t1 = _interval(parts, coef, first[k], first[k + 1], x)
                    if t1 > t0:
                        met[n], low[n], high[n] = k, t0, t1
                        n += 1
            for i in range(2 * n):  # breakpoints sorted by insertion
                value = low[i // 2] if i % 2 == 0 else high[i // 2]
                at = i
                while at > 0 and stops[at - 1] > value:
                    stops[at] = stops[at - 1]
                    at -= 1
                stops[at] = value
            dx = (x - fx) / fz
            step = math.sqrt(1.0 + dx * dx + dy * dy)
            used = 0
            for i in range(2 * n - 1):
                length = stops[i + 1] - stops[i]
                if length <= 0:
                    continue
                middle = 0.5 * (stops[i] + stops[i + 1])
                k = -1
                for j in range(n - 1, -1, -1):
                    if low[j] < middle < high[j]:
                        k = met[j]
                        break
                if k < 0 or materials[k] == AIR:
                    continue
                if materials[k] == SOFT:
                    soft[row, col] += length * step * densities[k]
                    continue
                lung[materials[k] - 1, row, col] += length * step
                if used and spans[row, col, used - 1, 1] == np.float32(stops[i]):
                    spans[row, col, used - 1, 1] = stops[i + 1]
                elif used < spans.shape[2]:
                    spans[row, col, used, 0] = stops[i]
                    spans[row, col, used, 1] = stops[i + 1]
                    used += 1
