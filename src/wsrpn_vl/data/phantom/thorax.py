"""One patient's chest as numbers: sampled size, shape and posture, and the curves that follow from them.

Lengths are centimetres in the mid-coronal plane; depth z is positive towards the front of the chest. Adult ranges:
internal thoracic diameter 25-30 cm, apex to right dome 16-22 cm, cardiothoracic ratio below 0.5 on an erect
postero-anterior film (Danzer 1919); rib cage proportions after Gray's Anatomy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

SIDES = ("right", "left")
SIGN = {"right": -1.0, "left": 1.0}  # the patient's left is at the viewer's right


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
    scoliosis: float = 0.0
    breast: float = 0.0
    gastric: float = 1.0  # size of the gastric bubble, 0 = none
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
    def hilum(self) -> float:
        """y of the hila."""
        return self.apex + 0.49 * self.height

    def dome(self, side: str) -> float:
        """y of the top of a diaphragm dome."""
        return self.apex + self.height + (self.left_drop if side == "left" else 0) - self.dome_raise[SIDES.index(side)]

    def cage(self, y):
        """Inner half-width of the rib cage at height y (scalar or array); 0 above the apex."""
        v = np.clip((np.asarray(y, np.float32) - self.apex) / (0.82 * self.height), 0.0, 1.0)
        narrow = min(4.2, 0.32 * self.half_width)
        return narrow + (self.half_width - narrow) * np.sqrt(1.0 - (1.0 - v) ** 2.1)

    def medial(self, y, side: str):
        """Distance of the mediastinal border from the midline at height y, heart left aside."""
        y = np.asarray(y, np.float32)
        base = self.mediastinum * (1.0 if side == "left" else 1.08)
        base = base * (0.72 + 0.28 * np.clip((y - self.apex) / (self.carina - self.apex), 0, 1))
        lower = 2.1 + 0 * y
        t = np.clip((y - self.carina + 1.0) / (0.38 * self.height), 0, 1)
        t = t * t * (3 - 2 * t)
        out = base * (1 - t) + lower * t
        if side == "left":  # the arch, then the descending aorta
            out = out + self.knob * np.exp(-(((y - self.carina + 1.4) / 1.7) ** 2))
        return out

    def floor(self, x, side: str):
        """y of the diaphragm's upper surface over x (absolute distance from the midline)."""
        centre = 0.52 * self.half_width
        u = (np.abs(np.asarray(x, np.float32)) - centre) / (self.half_width - centre)
        return self.dome(side) + np.where(u > 0, 4.6 * np.abs(u) ** 2.4, 1.4 * u * u)

    def point(self, side: str, across: float, down: float) -> tuple[float, float]:
        """(x, y) cm of a place in one lung: ``across`` 0 mediastinum .. 1 ribs, ``down`` 0 apex .. 1 dome."""
        y = self.apex + down * (self.dome(side) - self.apex)
        low, high = float(self.medial(y, side)), float(self.cage(y))
        return SIGN[side] * (low + across * (high - low)), y

    def rib(self, side: str, number: int, front: bool, magnify, n: int = 18) -> np.ndarray:
        """(n, 2) cm: the projected course of a rib, back part (spine to flank) or front part (flank to cartilage).

        ``magnify(z)`` is the projection's relative magnification at depth z.
        """
        spacing = (self.height + 3.0) / 10.2
        root = self.apex - 0.6 + (number - 0.6) * spacing
        slope = 1.6 + 4.0 * min(1.0, (number + 1.0) / 8.0)
        lateral = root + slope - 1.0
        width = float(self.cage(lateral)) + 0.35
        theta = np.linspace(0.52 * math.pi, 0.80 * math.pi, n) if front else np.linspace(0.10, 0.54 * math.pi, n)
        z = -np.cos(theta) * (self.depth * (0.55 + 0.45 * min(1.0, number / 5)))
        scale = magnify(z)
        y = root + slope * (1 - np.cos(theta)) - 1.2 * np.sin(theta)
        x = SIGN[side] * (width * np.sin(theta) ** 0.9) + z * math.sin(self.rotation) * front
        middle = self.apex + self.height / 2
        return np.stack([x * scale, middle + (y - middle) * scale], axis=1)

    def clavicle(self, side: str, n: int = 18) -> np.ndarray:
        """(n, 2) cm from the sternal to the acromial end."""
        s, t = SIGN[side], np.linspace(0, 1, n)
        reach = self.half_width + 2.2
        lift = 2.2 if self.arms_down else 1.2
        x = s * (1.4 + (reach - 1.4) * t) + 3.0 * math.sin(self.rotation)
        y = self.apex + 3.9 - lift * t * 1.6 + 0.55 * np.sin(2 * math.pi * t)
        return np.stack([x, y], axis=1)


def sample_thorax(rng: np.random.Generator) -> Thorax:
    """A patient: sex, age, habitus and build. Posture belongs to the study, see :func:`position`."""
    sex = "M" if rng.random() < 0.58 else "F"
    age = int(np.clip(rng.normal(60, 17), 18, 95))
    bmi = float(np.clip(rng.normal(27, 5), 17, 45))
    male = sex == "M"
    half = float(np.clip(rng.normal(13.6 if male else 12.3, 0.7), 10.8, 15.2))
    old = max(0.0, (age - 50) / 40)
    return Thorax(
        sex=sex,
        age=age,
        bmi=bmi,
        fov=37.0,
        shift=0.0,
        apex=4.0,
        height=float(np.clip(rng.normal(21.0 if male else 19.3, 1.3), 16, 24)),
        half_width=half,
        depth=float(np.clip(rng.normal(7.2 if male else 6.5, 0.5), 5.3, 8.6)),
        ctr=float(np.clip(rng.normal(0.445 + 0.02 * old, 0.025), 0.37, 0.488)),
        heart_turn=float(rng.uniform(0.42, 0.85)),
        mediastinum=float(rng.uniform(2.45, 3.1)),
        knob=float(rng.uniform(0.3, 0.8) + 0.6 * old),
        left_drop=float(rng.uniform(0.3, 1.6)),
        scoliosis=float(rng.normal(0, 0.35)),
        breast=0.0 if male else float(rng.uniform(0.8, 2.2) * (1 + (bmi - 27) / 30)),
    )


def position(thorax: Thorax, view: str, rng: np.random.Generator) -> Thorax:
    """The same patient as placed for one study: inspiration, rotation, field of view, arms."""
    supine = view == "AP"
    inspiration = float(np.clip(rng.normal(0.87 if supine else 0.97, 0.05), 0.72, 1.06))
    fov = 2 * thorax.half_width + float(rng.uniform(4.0, 11.0))
    height = thorax.height * inspiration
    top = float(np.clip(rng.normal(0.13, 0.04), 0.05, 0.22)) * fov
    return replace(
        thorax,
        fov=fov,
        shift=float(rng.normal(0, 1.1)),
        apex=min(top, fov - height - 5.5),
        height=height,
        rotation=float(rng.normal(0, 0.06 if supine else 0.025)),
        gastric=float(rng.uniform(0.6, 1.3)) if rng.random() < (0.45 if supine else 0.7) else 0.0,
        arms_down=supine,
    )
