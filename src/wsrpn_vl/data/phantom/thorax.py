"""One patient's chest as numbers: sampled size, shape and posture, and the places that follow from them.

Frame: centimetres; x to the patient's left (the viewer's right), y towards the feet, z to the front, z = 0 the
mid-coronal plane. Adult ranges: internal thoracic diameter 25-30 cm, apex to right dome 16-22 cm, cardiothoracic ratio
below 0.5 on an erect postero-anterior film (Danzer 1919); proportions of rib cage, heart and vessels after Gray's
Anatomy and the ICRP reference adult (ICRP 89, 2002).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

SIDES = ("right", "left")
SIGN = {"right": -1.0, "left": 1.0}  # the patient's left is at the viewer's right
LEAN = 0.09  # radians by which the lungs lean towards each other
DOME_HEIGHT = 5.5  # cm from a dome's top to where its wall stands upright


@dataclass(frozen=True)
class Break:
    """A broken bone: ``bone`` is a posterior rib, anterior rib or clavicle; ``at`` 0..1 along it; ``step`` in cm."""

    bone: str
    side: str
    number: int
    at: float
    step: float
    healing: bool


@dataclass(frozen=True)
class Thorax:
    """Parameters of one chest at one visit; findings change it through :func:`dataclasses.replace`."""

    sex: str
    age: int
    bmi: float
    fov: float
    shift: float
    apex: float  # y of the lung apex
    height: float  # apex to the right dome
    half_width: float  # of the rib cage's inside, at its widest
    depth: float  # half the lung's front-to-back extent
    ctr: float  # cardiothoracic ratio on an erect postero-anterior film
    heart_turn: float  # how upright the heart lies, radians
    mediastinum: float  # half-width of the upper mediastinum
    knob: float  # how far the aortic arch stands out
    left_drop: float  # left dome below the right one
    dome_raise: tuple[float, float] = (0.0, 0.0)  # right, left: pathological elevation
    rotation: float = 0.0  # radians about the long axis
    pull: float = 0.0  # cm the heart, trachea and vessels are drawn to the patient's left
    scoliosis: float = 0.0
    breast: float = 0.0
    gastric: float = 1.0  # size of the gastric bubble, 0 = none
    supine: bool = False
    arms_down: bool = False
    breaks: tuple[Break, ...] = ()

    @property
    def male(self) -> bool:
        """Whether the patient is male."""
        return self.sex == "M"

    @property
    def carina(self) -> float:
        """y of the tracheal bifurcation."""
        return self.apex + 0.37 * self.height

    @property
    def split(self) -> np.ndarray:
        """(3,) cm: the tracheal bifurcation, a few millimetres to the right, where the arch pushes it."""
        return np.array([self.pull - 0.4, self.carina, -1.2])

    @property
    def hilum(self) -> float:
        """y of the hila."""
        return self.apex + 0.49 * self.height

    @property
    def widest(self) -> float:
        """y from which the rib cage no longer widens."""
        return self.apex + 0.88 * self.height

    def dome(self, side: str) -> float:
        """y of the top of a diaphragm dome."""
        return self.apex + self.height + (self.left_drop if side == "left" else 0) - self.dome_raise[SIDES.index(side)]

    @property
    def dome_centre(self) -> tuple[float, float]:
        """(x distance from the midline, half-width) of either dome."""
        return 0.49 * self.half_width, 0.56 * self.half_width

    @property
    def cage_top(self) -> float:
        """y of the top of the rib cage's inside in the midline, were there no neck."""
        return self.apex - 5.0

    def cage(self, y):
        """Inner half-width of the rib cage at height y (scalar or array); 0 above the lungs' apices."""
        y = np.asarray(y, np.float32)
        v = np.clip((self.widest - y) / (self.widest - self.cage_top), 0.0, 1.0)
        u = np.clip((self.widest - y) / (self.widest - self.apex), 0.0, 1.0)
        top = self.lung_centre + self.lung_half * np.sqrt(1.0 - u * u) - LEAN * (self.widest - y)
        return np.where(u < 1, np.minimum(self.half_width * np.sqrt(1.0 - v * v), top), 0.0)

    def cage_depth(self, y):
        """Inner half-depth of the rib cage at height y, in the midline."""
        v = np.clip((self.widest - np.asarray(y, np.float32)) / (self.widest - self.cage_top), 0.0, 1.0)
        return self.depth * np.sqrt(1.0 - v * v)

    @property
    def lung_centre(self) -> float:
        """Distance of one lung's long axis from the midline at its widest."""
        return 0.43 * self.half_width

    @property
    def lung_half(self) -> float:
        """Half-width of one lung, mediastinum not taken away."""
        return 0.57 * self.half_width

    def medial(self, y, side: str):
        """Distance of the mediastinal border from the midline at height y, heart left aside."""
        y = np.asarray(y, np.float32)
        upper = self.mediastinum * np.sqrt(np.clip(1 - ((y - self.carina + 3) / 9.5) ** 2, 0.0, 1.0))
        out = np.maximum(upper, 2.1)
        if side == "left":  # the arch, then the descending aorta
            out = out + self.knob * np.exp(-(((y - self.carina + 1.6) / 1.7) ** 2))
        return out

    def floor(self, x, side: str):
        """y of the diaphragm's upper surface over x (absolute distance from the midline)."""
        centre, half = self.dome_centre
        u = np.clip((np.abs(np.asarray(x, np.float32)) - centre) / half, -1, 1)
        return self.dome(side) + DOME_HEIGHT * (1 - np.sqrt(1 - u * u))

    def point(self, side: str, across: float, down: float) -> tuple[float, float]:
        """(x, y) cm of a place in one lung: ``across`` 0 mediastinum .. 1 ribs, ``down`` 0 apex .. 1 dome."""
        y = self.apex + down * (self.dome(side) - self.apex)
        low, high = float(self.medial(y, side)), float(self.cage(y))
        return SIGN[side] * (low + across * (high - low)), y

    def place(self, side: str, across: float, down: float, front: float) -> np.ndarray:
        """(3,) cm of a place in one lung; ``front`` 0 at the back wall .. 1 at the front, else as :meth:`point`."""
        x, y = self.point(side, across, down)
        wide = max(float(self.cage(y)), 1e-3)
        deep = float(self.cage_depth(y)) * math.sqrt(max(1 - (x / wide) ** 2, 0.0))
        return np.array([x, y, deep * (2 * front - 1)])

    def rib(self, side: str, number: int, front: bool, n: int = 18) -> np.ndarray:
        """(n, 3) cm: the course of a rib, its back part (spine to flank) or front part (flank to cartilage)."""
        spacing = (self.height + 3.0) / 10.2
        root = self.apex - 0.6 + (number - 0.6) * spacing
        slope = 1.6 + 4.0 * min(1.0, (number + 1.0) / 8.0)
        lateral = root + slope - 1.0
        level = max(lateral, self.apex + 0.9)
        width = float(self.cage(level)) + 0.45
        deep = (float(self.cage_depth(level)) + 0.45) * (0.75 + 0.25 * min(1.0, number / 4))
        theta = np.linspace(0.52 * math.pi, 0.80 * math.pi, n) if front else np.linspace(0.10, 0.54 * math.pi, n)
        y = root + slope * (1 - np.cos(theta)) - 1.2 * np.sin(theta)
        return np.stack([SIGN[side] * (width * np.sin(theta) ** 0.9), y, -np.cos(theta) * deep], axis=1)

    def clavicle(self, side: str, n: int = 18) -> np.ndarray:
        """(n, 3) cm from the sternal to the acromial end."""
        s, t = SIGN[side], np.linspace(0, 1, n)
        reach = self.half_width + 2.2
        lift = 2.2 if self.arms_down else 1.2
        x = s * (1.4 + (reach - 1.4) * t)
        y = self.apex + 3.9 - lift * t * 1.6 + 0.55 * np.sin(2 * math.pi * t)
        z = 0.62 * self.depth - (0.62 * self.depth + 1.0) * t + 1.2 * np.sin(math.pi * t)
        return np.stack([x, y, z], axis=1)


def sample_thorax(
    rng: np.random.Generator,
    male_share: float = 0.58,
    age: tuple[float, float] = (60.0, 17.0),
    bmi: tuple[float, float] = (27.0, 5.0),
) -> Thorax:
    """A patient: sex, age, habitus and build; ``age`` and ``bmi`` are mean and sd. Posture: see :func:`position`."""
    sex = "M" if rng.random() < male_share else "F"
    years = int(np.clip(rng.normal(*age), 18, 95))
    index = float(np.clip(rng.normal(*bmi), 17, 45))
    male = sex == "M"
    half = float(np.clip(rng.normal(13.6 if male else 12.3, 0.7), 10.8, 15.2))
    old = max(0.0, (years - 50) / 40)
    return Thorax(
        sex=sex,
        age=years,
        bmi=index,
        fov=37.0,
        shift=0.0,
        apex=4.0,
        height=float(np.clip(rng.normal(21.0 if male else 19.3, 1.3), 16, 24)),
        half_width=half,
        depth=float(np.clip(rng.normal(8.0 if male else 7.2, 0.5) + 0.5 * old, 6.0, 9.8)),
        ctr=float(np.clip(rng.normal(0.445 + 0.02 * old, 0.025), 0.37, 0.488)),
        heart_turn=float(rng.uniform(0.42, 0.85)),
        mediastinum=float(rng.uniform(2.3, 2.9)),
        knob=float(rng.uniform(0.2, 0.7) + 0.7 * old),
        left_drop=float(rng.uniform(0.3, 1.6)),
        scoliosis=float(rng.normal(0, 0.35)),
        breast=0.0 if male else float(rng.uniform(0.8, 2.2) * (1 + (index - 27) / 30)),
    )


def position(thorax: Thorax, view: str, rng: np.random.Generator, *, supine: bool = False) -> Thorax:
    """The same patient as placed for one study: inspiration, rotation, field of view, arms; ``supine``: lying.

    AP films are taken of patients in bed: they breathe in less, and their arms lie beside the chest.
    """
    bed = view == "AP"
    inspiration = float(np.clip(rng.normal(0.87 if bed else 0.97, 0.05), 0.72, 1.06))
    fov = 2 * thorax.half_width + float(rng.uniform(3.5, 10.5))
    height = thorax.height * inspiration
    top = float(np.clip(rng.normal(0.13, 0.04), 0.05, 0.22)) * fov
    return replace(
        thorax,
        fov=fov,
        shift=float(rng.normal(0, 1.1)),
        apex=min(top, fov - height - 5.5),
        height=height,
        rotation=float(rng.normal(0, 0.06 if bed else 0.025)),
        gastric=float(rng.uniform(0.6, 1.3)) if rng.random() < (0.45 if bed else 0.7) else 0.0,
        supine=supine,
        arms_down=bed,
    )
