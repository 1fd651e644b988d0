"""Convex solids in the patient's frame, built from quadrics and half-spaces.

Frame: centimetres, x to the patient's left (the viewer's right), y towards the feet, z to the front; z = 0 is the
mid-coronal plane. A solid is an intersection of convex parts, so that any straight ray meets it in one interval.
A part is a row of :data:`WIDTH` numbers that :mod:`rays` reads:
``[kind, q (10), p (10), n (3), d]`` with the quadric ``q(r) = r'Ar + 2 b'r + c <= 0`` stored as
``Axx Ayy Azz Axy Axz Ayz bx by bz c``. kind 0: inside of q; 1: half-space ``n.r <= d``; 2: inside of q where
``n.r <= d`` and inside of p beyond it (an ellipsoid that goes on as a cylinder).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

WIDTH = 25
_FAR = 80.0  # cm: nothing in a chest film is farther than this from the origin
SOFT, RIGHT_LUNG, LEFT_LUNG, AIR = 0, 1, 2, 3
_UPPER = np.arange(8)[:, None] >> np.arange(3) & 1 > 0  # which of a box's corners lie at its high end, per axis


@dataclass(frozen=True, eq=False)
class Solid:
    """parts: (n, WIDTH) float64; low, high: (3,) corners of a box around it, cm."""

    parts: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) of the box."""
        return np.where(_UPPER, self.high, self.low)

    def __and__(self, other: Solid) -> Solid:
        """What lies in both."""
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        return Solid(np.concatenate([self.parts, other.parts]), low, np.maximum(low, high))

    def cut(self, normal: tuple[float, float, float], at: float) -> Solid:
        """The part with ``normal . r <= at``."""
        part = np.zeros((1, WIDTH))
        part[0, 0], part[0, 21:24], part[0, 24] = 1, normal, at
        low, high = self.low.copy(), self.high.copy()
        for axis in range(3):
            if normal[axis] and not any(normal[a] for a in range(3) if a != axis):
                if normal[axis] > 0:
                    high[axis] = max(low[axis], min(high[axis], at / normal[axis]))
                else:
                    low[axis] = min(high[axis], max(low[axis], at / normal[axis]))
        return replace(self, parts=np.concatenate([self.parts, part]), low=low, high=high)


def turn(yaw: float = 0.0, roll: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """(3, 3) rotation: yaw about y, then pitch about x, then roll about z (in the image plane), radians."""
    cy, sy, cr, sr, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def _quadric(centre: np.ndarray, scale: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """10 coefficients of ``|diag(scale) axes' (r - centre)|^2 <= 1``; a scale of 0 makes a cylinder."""
    a = axes @ np.diag(scale**2) @ axes.T
    b = -a @ centre
    return np.array([a[0, 0], a[1, 1], a[2, 2], a[0, 1], a[0, 2], a[1, 2], *b, centre @ a @ centre - 1.0])


def ellipsoid(centre, radii, axes: np.ndarray | None = None) -> Solid:
    """Ellipsoid; ``axes`` (3, 3) holds its axes as columns (default: those of the frame)."""
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)
    axes = np.eye(3) if axes is None else axes
    part = np.zeros((1, WIDTH))
    part[0, 1:11] = _quadric(centre, 1 / radii, axes)
    reach = np.sqrt(((axes * radii) ** 2).sum(1))
    return Solid(part, centre - reach, centre + reach)


def bullet(centre, radii, axes: np.ndarray | None = None) -> Solid:
    """Upper half of an ellipsoid that goes on downwards from its centre as an elliptic cylinder without end."""
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)
    axes = np.eye(3) if axes is None else axes
    part = np.zeros((1, WIDTH))
    part[0, 0] = 2
    part[0, 1:11] = _quadric(centre, 1 / radii, axes)
    part[0, 11:21] = _quadric(centre, np.array([1 / radii[0], 0.0, 1 / radii[2]]), axes)
    part[0, 21:24] = axes[:, 1]  # "above" along the bullet's own long axis
    part[0, 24] = axes[:, 1] @ centre
    reach = np.sqrt(((axes * radii) ** 2).sum(1))
    lean = np.abs(axes[:, 1]) * _FAR
    low, high = centre - reach, centre + reach + np.array([lean[0], 0, lean[2]])
    low = low - np.array([lean[0], 0, lean[2]])
    high[1] = _FAR
    return Solid(part, low, high)


def cylinder(start, end, radius: float | tuple[float, float]) -> Solid:
    """Round cylinder between two points with flat ends; two radii make it elliptic: (in the image plane, in depth)."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    length = float(np.linalg.norm(along))
    along = along / length
    across = np.cross(along, [0.0, 0.0, 1.0])
    norm = float(np.linalg.norm(across))
    across = across / norm if norm > 1e-6 else np.array([1.0, 0.0, 0.0])
    axes = np.stack([across, along, np.cross(across, along)], axis=1)
    wide, deep = radius if isinstance(radius, tuple) else (radius, radius)
    part = np.zeros((3, WIDTH))
    part[0, 1:11] = _quadric(start, np.array([1 / wide, 0.0, 1 / deep]), axes)
    part[1:, 0] = 1
    part[1, 21:24], part[1, 24] = along, along @ end
    part[2, 21:24], part[2, 24] = -along, -along @ start
    reach = np.sqrt((axes[:, 0] * wide) ** 2 + (axes[:, 2] * deep) ** 2)
    return Solid(part, np.minimum(start, end) - reach, np.maximum(start, end) + reach)


def half_space(normal: tuple[float, float, float], at: float) -> Solid:
    """All points with ``normal . r <= at``."""
    everything = Solid(np.zeros((0, WIDTH)), np.full(3, -_FAR), np.full(3, _FAR))
    return everything.cut(normal, at)


def surface(solid_centre, radii, axes: np.ndarray | None = None, n: int = 21) -> np.ndarray:
    """(m, 3) points spread over an ellipsoid's surface."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n, endpoint=False))
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    axes = np.eye(3) if axes is None else axes
    return np.asarray(solid_centre, float) + (unit * np.asarray(radii, float)) @ axes.T


def moved(solid: Solid, matrix: np.ndarray, about: np.ndarray, by: np.ndarray | float = 0.0) -> Solid:
    """The solid under ``r -> about + by + matrix (r - about)``, ``matrix`` (3, 3) regular: shrunk, sheared, turned."""
    back = np.linalg.inv(matrix)
    away = np.eye(4)
    away[:3, :3], away[:3, 3] = back, about - back @ (about + by)
    parts = solid.parts.copy()
    for part in parts:
        for q in (part[1:11], part[11:21]):
            full = np.array([[q[0], q[3], q[4], q[6]], [q[3], q[1], q[5], q[7]], [q[4], q[5], q[2], q[8]], q[6:10]])
            full = away.T @ full @ away
            q[:] = full[[0, 1, 2, 0, 0, 1, 0, 1, 2, 3], [0, 1, 2, 1, 2, 2, 3, 3, 3, 3]]
        normal = back.T @ part[21:24]
        part[24] += normal @ (about + by) - part[21:24] @ about
        part[21:24] = normal
    corners = about + by + (solid.corners - about) @ matrix.T
    return Solid(parts, corners.min(0), corners.max(0))
