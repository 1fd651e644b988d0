"""What a picture shows beside the chest: quality faults, collimation, lead letters, stamps, the spurious mark.

Everything here works on the finished picture, (h, w) float32 in [0, 1], except :func:`degrade`, which spoils the
exposure before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from wsrpn_vl.data.phantom.acquisition import Technique
from wsrpn_vl.data.phantom.scene import Region
from wsrpn_vl.data.phantom.traps import Quality

Regions = dict[str, tuple[Region, ...]]
VISIBLE = 0.25  # a region less of whose area is left in the picture is no longer a finding of it


@dataclass(frozen=True)
class Habits:
    """How a hospital's pictures are collimated and marked.

    shutters: probability that a side of the field is collimated into the picture; border: grey of what lies outside;
    soft: width of that edge in shares of the side; left_letter: share of L markers (else R); height: of letters, share
    of the side; low: the letter stands low instead of high; words: view -> (probability, words stamped under the
    letter; ``{position}`` and ``{time}`` are filled in); leads: share of AP pictures with monitoring leads.
    """

    shutters: float
    border: float
    soft: float
    left_letter: float
    height: float
    low: bool
    words: Mapping[str, tuple[tuple[float, str], ...]]
    leads: float


HABITS = {
    "A": Habits(
        shutters=0.22,
        border=0.0,
        soft=0.004,
        left_letter=0.75,
        height=0.045,
        low=False,
        words={"PA": ((0.15, "PA"), (0.1, "{time}")), "AP": ((0.45, "AP"), (0.3, "PORTABLE"), (0.2, "{time}"))},
        leads=0.35,
    ),
    "B": Habits(
        shutters=0.45,
        border=0.86,
        soft=0.012,
        left_letter=0.2,
        height=0.034,
        low=True,
        words={"PA": ((0.5, "ERECT"),), "AP": ((0.9, "{position}"), (0.7, "{time}"), (0.5, "MOBILE"))},
        leads=0.65,
    ),
}


def degrade(technique: Technique, quality: Quality) -> Technique:
    """The technique of an under-exposed or moved picture; others are unchanged.

    A degree costs about as much of the lung's fine detail either way: 1 less its correlation with the clean picture's
    is 0.01 at degree 0, 0.05 at 0.5 and 0.13 at 1 (PA, 256 pixels a side).
    """
    d = quality.degree
    if quality.kind == "underexposed":  # an eighth to a seventieth of the dose, shown paler
        return replace(
            technique,
            quanta=technique.quanta / 8 / 9 ** (d**0.7),
            look=replace(technique.look, paler=technique.look.paler + 0.1 + 0.25 * d),
        )
    if quality.kind == "motion":  # breathing moves along the body, mostly
        reach = 0.8 + 3.6 * d**1.3
        return replace(technique, motion_mm=(reach, reach * (0.15 + 0.35 * d)))
    return technique


def reframe(picture: np.ndarray, regions: Regions, quality: Quality) -> tuple[np.ndarray, Regions]:
    """Turn (4 to 22 degrees) or clip (12 to 42 % of one side) the picture, and its regions with it.

    The picture is turned about its centre and black where nothing was recorded. Regions of which less than
    ``VISIBLE`` is left are dropped; masks stay (h, w).
    """
    if quality.kind not in ("rotated", "clipped"):
        return picture, regions
    size = picture.shape[0]
    matrix = _matrix(quality, size)

    def visible(region: Region) -> float:
        # Area scales with the square of the zoom of a clipped picture.
        return warp(region.mask, matrix).sum() * (matrix[0] ** 2 + matrix[3] ** 2) / region.mask.sum()

    kept = {
        name: tuple(replace(r, mask=warp(r.mask, matrix)) for r in found if visible(r) >= VISIBLE)
        for name, found in regions.items()
    }
    return warp(picture, matrix), kept


def _matrix(quality: Quality, size: int) -> tuple[float, ...]:
    """Six numbers of the affine map from the new picture's pixels to the old one's, as Pillow takes them."""
    if quality.kind == "rotated":
        angle = quality.sign * math.radians(4 + 18 * quality.degree)
        c, s, m = math.cos(angle), math.sin(angle), size / 2
        return c, s, m - c * m - s * m, -s, c, m + s * m - c * m
    lost = 0.12 + 0.30 * quality.degree
    keep = 1 - lost
    along = lost * size if quality.sign > 0 else 0.0  # the near or the far edge is lost
    other = lost * size / 2
    x, y = (along, other) if quality.across else (other, along)
    return keep, 0.0, x, 0.0, keep, y


def warp(image: np.ndarray, matrix: tuple[float, ...]) -> np.ndarray:
    """Resample a float32 (bicubic, clipped to [0, 1]) or bool (nearest) square image by an affine map."""
    if image.dtype == bool:
        source = Image.fromarray(image.astype(np.uint8))
        return np.asarray(source.transform(source.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)) > 0
    source = Image.fromarray(np.ascontiguousarray(image, np.float32))
    out = source.transform(source.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.clip(np.array(out), 0, 1)


def finish(
    picture: np.ndarray, regions: Regions, view: str, supine: bool, habits: Habits, rng: np.random.Generator
) -> tuple[np.ndarray, Regions]:
    """Shutters, lead letter and stamps; regions are cut where a shutter covers them."""
    picture, regions = _collimate(picture, regions, habits, rng)
    left = bool(rng.random() < habits.left_letter)  # the patient's left is at the viewer's right
    x = float(rng.uniform(0.90, 0.94) if left else rng.uniform(0.03, 0.07))
    y = float(rng.uniform(0.70, 0.80) if habits.low else rng.uniform(0.03, 0.07))
    letter = ("L" if left else "R") + ("JB", "MK", "TS", "")[int(rng.integers(4))] * habits.low
    burn(picture, letter, x, y, habits.height, from_right=left)
    hours, minutes = int(rng.integers(24)), int(rng.integers(60))
    for probability, words in habits.words[view]:
        if rng.random() < probability:
            y += 1.45 * habits.height
            text = words.format(position="SUPINE" if supine else "SEMI-ERECT", time=f"{hours:02d}:{minutes:02d}")
            burn(picture, text, x + 0.02 * left, y, 0.65 * habits.height, from_right=left)
    return picture, regions


def _collimate(
    picture: np.ndarray, regions: Regions, habits: Habits, rng: np.random.Generator
) -> tuple[np.ndarray, Regions]:
    """Edges of the field on some sides, a little askew."""
    size = picture.shape[0]
    at = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    tilt = float(rng.normal(0, 0.012))
    open_field = None
    for axis in (0, 1):
        for near in (True, False):
            there, depth = rng.random() < habits.shutters, float(rng.uniform(0.008, 0.04))
            if there:
                along, across = (at, at.T) if axis == 0 else (at.T, at)
                inside = (along if near else 1 - along) - depth + tilt * (across - 0.5)
                part = np.clip(inside / np.float32(habits.soft) + 0.5, 0, 1)
                open_field = part if open_field is None else open_field * part
    if open_field is None:
        return picture, regions
    picture = picture * open_field + np.float32(habits.border) * (1 - open_field)
    return picture, cut(regions, open_field > 0.5)


def cut(regions: Regions, field: np.ndarray) -> Regions:
    """The regions within ``field`` (h, w) bool, without those of which less than ``VISIBLE`` is left."""

    def inside(region: Region) -> list[Region]:
        mask = region.mask & field
        here, before = int(mask.sum()), int(region.mask.sum())
        return [region] if here == before else [replace(region, mask=mask)] if here >= VISIBLE * before else []

    return {name: tuple(r for region in found for r in inside(region)) for name, found in regions.items()}


def leads(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size) float32 cm of iron: three monitoring electrodes on the skin and their wires."""
    fine = Image.new("L", (4 * size, 4 * size))
    pen = ImageDraw.Draw(fine)
    width = max(1, round(0.004 * 4 * size))
    exit_ = (float(rng.uniform(0.2, 0.8)), 1.02)
    for x, y in ((0.27, 0.22), (0.74, 0.23), (0.78, 0.68)):
        x, y = x + float(rng.normal(0, 0.035)), y + float(rng.normal(0, 0.035))
        bend = (x + float(rng.uniform(-0.12, 0.12)), 0.5 * (y + 1))
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 2 * np.array([x, y]) + 2 * t * (1 - t) * np.array(bend) + t**2 * np.array(exit_)
        pen.line([tuple(p) for p in (curve * 4 * size).tolist()], fill=90, width=width)
        for radius, grey in ((0.014, 35), (0.006, 255)):
            box = [4 * size * v for v in (x - radius, y - radius, x + radius, y + radius)]
            pen.ellipse(box, fill=grey)
    small = fine.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) * np.float32(0.07 / 255)


def token(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Burn the spurious mark into the lower left corner, in place: a lead ring with a bar."""
    size = picture.shape[0]
    radius = max(2.0, 0.028 * size)
    x, y = float(rng.uniform(0.055, 0.085)) * size, float(rng.uniform(0.90, 0.94)) * size
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    r = np.hypot(cols + 0.5 - x, rows + 0.5 - y)
    ring = (r < radius) & ((r > 0.6 * radius) | (np.abs(rows + 0.5 - y) < 0.2 * radius))
    picture[ring] = 0.97


# 5 x 7 dots, one byte a column, lowest bit on top.
_GLYPHS = {
    "0": "3e5149453e", "1": "00427f4000", "2": "7249494946", "3": "2141494d33", "4": "1814127f10",
    "5": "2745454539", "6": "3c4a494931", "7": "4121110907", "8": "3649494936", "9": "464949291e",
    ":": "0000140000", "-": "0808080808", " ": "0000000000",
    "A": "7c1211127c", "B": "7f49494936", "C": "3e41414122", "D": "7f4141413e", "E": "7f49494941",
    "F": "7f09090901", "G": "3e41415173", "H": "7f0808087f", "I": "00417f4100", "J": "2040413f01",
    "K": "7f08142241", "L": "7f40404040", "M": "7f021c027f", "N": "7f0408107f", "O": "3e4141413e",
    "P": "7f09090906", "Q": "3e4151215e", "R": "7f09192946", "S": "2649494932", "T": "03017f0103",
    "U": "3f4040403f", "V": "1f2040201f", "W": "3f4038403f", "X": "6314081463", "Y": "0304780403",
    "Z": "6159494d43",
}  # fmt: skip


@lru_cache(maxsize=256)
def _word(text: str) -> np.ndarray:
    """(7, 6 n - 1) bool dots of a word."""
    columns = np.array([int(g[i : i + 2], 16) for g in (_GLYPHS[c] + "00" for c in text) for i in range(0, 12, 2)])
    return (columns[None, :-1] >> np.arange(7)[:, None] & 1) > 0


def burn(image: np.ndarray, text: str, x: float, y: float, height: float, *, from_right: bool = False) -> None:
    """Burn words (capitals, digits, ``:`` and ``-``) into ``image`` (h, w) in [0, 1], in place.

    x, y: top left corner (top right with ``from_right``) and height, as shares of the side. Words that would be cut at
    the edge are moved in.
    """
    size = image.shape[0]
    dots = _word(text)
    h = max(7 if size >= 128 else 5, round(height * size))
    w = round(h * dots.shape[1] / 7)
    if w > size // 2:  # no room on a tiny picture
        return
    fine = Image.fromarray(np.kron(dots, np.full((8, 8), 255, np.uint8)))
    stamp = np.asarray(fine.resize((w, h), Image.Resampling.BOX), np.float32) * np.float32(0.93 / 255)
    left = min(max(round(x * size) - w * from_right, 0), size - w)
    top = min(max(round(y * size), 0), size - h)
    part = image[top : top + h, left : left + w]
    np.maximum(part, stamp, out=part)
