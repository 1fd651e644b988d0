"""Exact path lengths of a diverging beam through solids of tissue.

A film is a grid of rays from the focus through the mid-coronal plane. Along each ray the solids are intervals; where
they overlap the later one in the list counts (constructive solid geometry by priority: the heart displaces lung, the
trachea displaces mediastinum). No voxels, no sampling error: a boundary is as sharp as the focus lets it be.
The loops over rays are in :mod:`ray_kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsrpn_vl.data.phantom.raster import Grid
from wsrpn_vl.data.phantom.ray_kernels import FAR, measure, splat, trace
from wsrpn_vl.data.phantom.solids import Solid

SPANS = 6  # lung intervals kept per ray, from behind; a ray that meets more loses those in front
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
        xy, _ = self.project(solid.corners)
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
        trace(
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
        everywhere = np.array([[[[-FAR, FAR]]]], np.float32)
        given = everywhere if spans is None else spans
        measure(self._frame(), np.ascontiguousarray(solid.parts), r0, r1, c0, c1, given, out)
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
