"""Perceptual fingerprints: the same radiograph under another name, size, format or contrast.

RSNA, SIIM-ACR and ChestX-Det hold NIH pictures renamed and without patient ids, and MIMIC-CXR holds contrast-changed
copies; only the pictures themselves tell. The difference hash (is each cell of a coarse grid brighter than its left,
and than its upper neighbour?) survives resizing, compression and monotone changes of contrast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.errors import DataError

SIDE = 16  # cells of the grid, each way
WORDS = 2 * SIDE * SIDE // 64
LIMIT = 32  # of the 512 bits: copies differ in fewer; the page on data sets says how far other radiographs lie apart
_BLOCK = 2048

Progress = Callable[[int, int], None]


def fingerprint(image: np.ndarray) -> np.ndarray:
    """(h, w) float in [0, 1] -> (8,) uint64, the difference hash over a 16 x 16 grid, both ways."""
    whole = Image.fromarray(np.asarray(image, dtype=np.float32))
    across = np.asarray(whole.resize((SIDE + 1, SIDE), Image.Resampling.BOX))
    down = np.asarray(whole.resize((SIDE, SIDE + 1), Image.Resampling.BOX))
    bits = [across[:, 1:] > across[:, :-1], down[1:] > down[:-1]]
    return np.packbits(np.concatenate([b.ravel() for b in bits])).view(np.uint64)


def fingerprints(paths: Sequence[Path], progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8) uint64 fingerprints of image files, and (n,) bool: could be read."""

    def one(path: Path) -> np.ndarray | None:
        try:
            return fingerprint(read_image(path))
        except DataError:
            return None

    out = np.zeros((len(paths), WORDS), dtype=np.uint64)
    read = np.zeros(len(paths), dtype=bool)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for i, found in enumerate(pool.map(one, paths)):
            if found is not None:
                out[i], read[i] = found, True
            if progress:
                progress(i + 1, len(paths))
    return out, read


def near_pairs(a: np.ndarray, b: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """(m, 3) int: rows of ``a`` and of ``b`` whose fingerprints differ in at most ``limit`` bits, and in how many."""
    found = []
    for start in range(0, len(a), _BLOCK):
        part = a[start : start + _BLOCK]
        for other in range(0, len(b), _BLOCK):
            against = b[other : other + _BLOCK]
            distance = np.zeros((len(part), len(against)), dtype=np.int16)
            for k in range(a.shape[1]):
                distance += np.bitwise_count(part[:, None, k] ^ against[None, :, k])
            i, j = np.nonzero(distance <= limit)
            found.append(np.stack([i + start, j + other, distance[i, j]], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 3), dtype=np.int64)
