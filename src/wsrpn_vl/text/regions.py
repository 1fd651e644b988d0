"""Anatomical regions of Chest ImaGenome: which contains which, and how a pair of them is called.

The data set states a finding of a lobe's zone for the whole lung as well, so that words and boxes would tell it twice.
"""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN = "unknown"  # the data set's word for a finding without a place
_IN_A_LUNG = (
    "upper lung zone", "mid lung zone", "lower lung zone", "apical zone", "hilar structures", "costophrenic angle",
    "cardiophrenic angle",
)  # fmt: skip
_PARTS: dict[str, tuple[str, ...]] = {
    **{f"{side} lung": tuple(f"{side} {part}" for part in _IN_A_LUNG) for side in ("right", "left")},
    **{f"{side} upper lung zone": (f"{side} apical zone",) for side in ("right", "left")},
    "mediastinum": (
        "upper mediastinum", "aortic arch", "descending aorta", "svc", "trachea", "carina", "right atrium",
        "cavoatrial junction", "cardiac silhouette", "right cardiac silhouette", "left cardiac silhouette",
    ),
    "cardiac silhouette": ("right cardiac silhouette", "left cardiac silhouette", "right atrium"),
    "abdomen": ("right upper abdomen", "left upper abdomen"),
}  # fmt: skip
_WITHIN = {region: frozenset(parts) for region, parts in _PARTS.items()}
_TOGETHER = {"lung": "both lungs", "cardiac silhouette": "cardiac silhouette", "upper abdomen": "upper abdomen"}


def contains(region: str, other: str) -> bool:
    """Whether ``other`` is a part of ``region``; no region is a part of itself."""
    return region in _WITHIN and other in _WITHIN[region]


def smallest(regions: Iterable[str]) -> list[str]:
    """``regions`` without those that contain another of them, in their order."""
    given = list(dict.fromkeys(regions))
    return [r for r in given if r not in _WITHIN or _WITHIN[r].isdisjoint(given)]


def largest(regions: Iterable[str]) -> list[str]:
    """``regions`` without those that are a part of another of them, in their order."""
    given = list(dict.fromkeys(regions))
    within = {part for r in given if r in _WITHIN for part in _WITHIN[r]}
    return [r for r in given if r not in within]


def paired(regions: Iterable[str]) -> list[str]:
    """``regions`` with right and left of one kind as one place: ``both lungs``, ``bilateral lower lung zone``."""
    given = list(dict.fromkeys(regions))
    out: list[str] = []
    for region in given:
        side, _, part = region.partition(" ")
        other = {"right": "left", "left": "right"}.get(side)
        both = other is not None and f"{other} {part}" in given
        out.append(_TOGETHER.get(part, f"bilateral {part}") if both else region)
    return list(dict.fromkeys(out))
