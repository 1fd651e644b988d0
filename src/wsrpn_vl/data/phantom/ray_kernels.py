"""The loops over rays, compiled by numba; :mod:`rays` calls them.

All in one file, since numba's cache does not notice when a compiled function that is called lies in another file.
No fastmath and no threads: sums have one order, whatever the machine's load.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from wsrpn_vl.data.phantom.solids import AIR, SOFT

FAR = 1e6  # cm: the ends of a ray
_MOST = 64  # solids met by one ray


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
        return (-FAR, FAR) if c <= 0 else (1.0, 0.0)
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
        return (-FAR, FAR) if rest >= 0 else (1.0, 0.0)
    if rate > 0:
        return -FAR, rest / rate
    return rest / rate, FAR


@njit(cache=True)
def _interval(parts, coef, low, high, x):
    """Depths between which the ray at x is inside all parts ``low`` .. ``high``; empty as (1, 0)."""
    t0, t1 = -FAR, FAR
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
    g0, g1 = -FAR, FAR
    if h0 <= h1:  # the outer side is what the inner one leaves
        g0, g1 = (1.0, 0.0) if h0 == -FAR and h1 == FAR else (-FAR, h0) if h0 > -FAR else (h1, FAR)
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
def measure(frame, parts, r0, r1, c0, c1, spans, out):
    """Each ray's way, cm, through one solid within ``spans`` (1 or h, 1 or w, n, 2), into ``out`` (h, w)."""
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


@njit(cache=True, inline="always")
def _sort(low, high, n, stops):
    """The 2 n ends of the intervals in order, by insertion, into ``stops``."""
    for i in range(2 * n):
        value = low[i // 2] if i % 2 == 0 else high[i // 2]
        at = i
        while at > 0 and stops[at - 1] > value:
            stops[at] = stops[at - 1]
            at -= 1
        stops[at] = value


@njit(cache=True)
def trace(frame, parts, first, windows, materials, densities, soft, lung, spans):
    """:meth:`rays.Beam.trace`: walk each ray through all solids, the last one met counting, and add up its tissues."""
    coef = np.empty((parts.shape[0], 22))
    pixel, left, fx, _, fz, _, _ = frame
    here = np.empty(materials.shape[0], np.int64)
    met = np.empty(_MOST, np.int64)
    low, high, stops = np.empty(_MOST), np.empty(_MOST), np.empty(2 * _MOST)
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
            _sort(low, high, n, stops)
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
