"""Age and sex as data sets write them."""

from __future__ import annotations

import re

OLDEST = 120  # years; ages beyond are typing errors (NIH's reach 414)
_PER_YEAR = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}


def years(text: str | None) -> int | None:
    """Whole years of an age string (PS3.5 6.2: ``043Y``, ``011M``) or a bare number; None beyond :data:`OLDEST`."""
    said = re.fullmatch(r"(\d{1,4})(?:\.0*)?([YMWD]?)", (text or "").strip().upper(), re.ASCII)
    age = int(said[1]) // _PER_YEAR[said[2]] if said else None
    return age if age is not None and age <= OLDEST else None


def sex_of(text: str | None) -> str | None:
    """``M`` or ``F`` of what is written; None for anything else."""
    letter = (text or "").strip().upper()[:1]
    return letter if letter in ("M", "F") else None
