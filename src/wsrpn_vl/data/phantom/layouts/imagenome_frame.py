"""Boxes as Chest ImaGenome states them: whole pixels of the image and of the 224 pixel frame, and readers' errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsrpn_vl.data.phantom.records import Case

SIDE = 224
Pixels = tuple[int, int, int, int]


def chance(case: Case, purpose: str) -> np.random.Generator:
    """A stream of chance fixed by the image and ``purpose``."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(case.digest(purpose)[:8], "big")))


def off(box: Sequence[float], sd: float, rng: np.random.Generator) -> Pixels:
    """xyxy with its edges moved by ``sd`` of width and height, whole pixels, at least one wide."""
    x1, y1, x2, y2 = box
    dx, dy = sd * (x2 - x1), sd * (y2 - y1)
    a, b, c, d = (int(v) for v in np.rint(np.array(box) + rng.standard_normal(4) * (dx, dy, dx, dy)))
    return a, b, max(c, a + 1), max(d, b + 1)


def in_frame(box: Sequence[float], size: int) -> Pixels:
    """xyxy of a square image in the 224 pixel frame; a square needs no padding."""
    a, b, c, d = (int(v * SIDE / size) for v in box)
    return a, b, c, d


def clipped(box: Sequence[float], size: int) -> Pixels | None:
    """xyxy inside the image, whole pixels; None if nothing is left."""
    a, b, c, d = (int(v) for v in np.clip(np.rint(np.asarray(box, float)), 0, size))
    return (a, b, c, d) if c > a and d > b else None


def coordinates(box: Pixels, size: int) -> dict[str, int]:
    """The twelve numbers of an object."""
    x1, y1, x2, y2 = in_frame(box, size)
    a, b, c, d = box
    return {
        "x1": x1, "y1": y1, "x2": x2, "y2": y2, "width": x2 - x1, "height": y2 - y1,
        "original_x1": a, "original_y1": b, "original_x2": c, "original_y2": d,
        "original_width": c - a, "original_height": d - b,
    }  # fmt: skip
