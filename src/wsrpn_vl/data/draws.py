"""Draws that depend on a key alone, never on order, number of rows, process or hash seed."""

from __future__ import annotations

import hashlib


def share_of(key: str, seed: int | str) -> float:
    """A number in [0, 1) that depends on ``key`` and ``seed`` alone: the first 8 bytes of a SHA-1."""
    return int.from_bytes(hashlib.sha1(f"{seed}/{key}".encode()).digest()[:8], "big") / 2**64
