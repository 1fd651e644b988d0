"""Broken ribs and clavicles: a step or gap when fresh, a callus when healing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.thorax import SIDES, Break, Thorax

_ORDINAL = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def break_bones(thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """One clavicle, or one to four neighbouring ribs in one line of impact."""
    side = pick(rng, SIDES)
    healing = bool(rng.random() < 0.35)

    def step() -> float:
        return float(rng.uniform(0.25, 0.6) if healing else rng.uniform(0.6, 1.2)) * (1 if rng.random() < 0.5 else -1)

    if rng.random() < 0.25:
        return replace(thorax, breaks=(Break("clavicle", side, 0, float(rng.uniform(0.35, 0.7)), step(), healing),))
    bone = pick(rng, ("posterior rib", "anterior rib"), (0.86, 0.14))
    first = int(rng.integers(3, 8)) if bone == "posterior rib" else int(rng.integers(2, 6))
    at = float(rng.uniform(0.4, 0.92) if bone == "posterior rib" else rng.uniform(0.08, 0.5))
    count = pick(rng, (1, 2, 3, 4), (4, 3, 2, 1))
    last = 10 if bone == "posterior rib" else 7
    ribs = tuple(
        Break(bone, side, n, float(np.clip(at + rng.normal(0, 0.04), 0.08, 0.92)), step(), healing)
        for n in range(first, min(first + count, last))
    )
    return replace(thorax, breaks=ribs)


def fracture(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """Where the skeleton was drawn broken."""
    regions = []
    by_key = {(b.bone, b.side, b.number): b for b in scene.thorax.breaks}
    for (bone, side, number), (x, y) in scene.breaks:
        b = by_key[(bone, side, number)]
        mask = np.hypot((scene.grid.x - x) / 1.5, (scene.grid.y - y) / 1.35) < 1
        if not mask.any():
            continue
        words = ("healing", "with callus") if b.healing else ("acute", "displaced")
        kind = "clavicle fracture" if bone == "clavicle" else "rib fracture"
        regions.append(Region(mask, _name(b), words, side, "", kind))
    return regions


def _name(b: Break) -> str:
    if b.bone == "clavicle":
        return f"{b.side} clavicle"
    lateral = b.at > 0.78 if b.bone == "posterior rib" else b.at < 0.22
    return f"{b.side} {'lateral ' if lateral else ''}{_ORDINAL[b.number]} {'rib' if lateral else b.bone}"
