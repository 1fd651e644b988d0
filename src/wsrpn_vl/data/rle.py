"""Run-length coded masks: COCO's two forms, SIIM-ACR's relative form, and the boxes of what they hold.

Everywhere the image is flattened column by column (down, then right). COCO (pycocotools, ``maskApi.c``): lengths of
runs, the first one of zeros; compressed, each length from the fourth on is a difference to the one two before it, cut
into 5 bits with a continuation bit and written as the character 48 above. SIIM-ACR: pairs (gap, length), the gap
counted from the end of the run before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsrpn_vl.errors import DataError, nearest

MODES = ("component", "union")
_LARGEST = 100_000  # pixels a side; more is a damaged file, and would fill the memory
_CHUNKS = 7  # characters of one length: 35 bits


def decode_coco(counts: str | bytes | Sequence[int], height: int, width: int, place: str = "mask") -> np.ndarray:
    """(height, width) bool mask of COCO's ``counts``, a compressed string or a list of lengths.

    place: file and field for the message. Raises: DataError when they are damaged or do not fill the image.
    """
    return _dense(coco_runs(counts, height, width, place), height, width)


def coco_runs(counts: str | bytes | Sequence[int], height: int, width: int, place: str = "mask") -> np.ndarray:
    """Lengths of runs (int64, the first one of zeros) of COCO's ``counts``; see :func:`decode_coco`."""
    _check_size(height, width, place)
    if isinstance(counts, str | bytes):
        runs = _uncompressed(counts, place)
    else:
        whole = isinstance(counts, Sequence) and all(type(n) is int and abs(n) < 2**35 for n in counts)
        if not whole:
            raise DataError(f"{place}: counts are neither a string nor a list of whole numbers; download it again")
        runs = np.array(counts, dtype=np.int64)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataError(f"{place}: the runs do not fill an image of {height} x {width}; download the file again")
    return runs


def encode_coco(mask: np.ndarray) -> str:
    """COCO's compressed ``counts`` of an (h, w) mask."""
    runs = mask_runs(mask).tolist()
    out = bytearray()
    for i, length in enumerate(runs):
        left, more = length - runs[i - 2] if i > 2 else length, True
        while more:
            chunk, left = left & 0x1F, left >> 5
            more = left != (-1 if chunk & 0x10 else 0)
            out.append(chunk + (0x20 if more else 0) + 48)
    return out.decode("ascii")


def mask_runs(mask: np.ndarray) -> np.ndarray:
    """Lengths of runs (int64, the first one of zeros, perhaps 0) of an (h, w) mask: COCO's uncompressed ``counts``."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(edges, prepend=0, append=flat.size).astype(np.int64)


def decode_siim(text: str, height: int, width: int, place: str = "mask") -> np.ndarray:
    """(height, width) bool mask of SIIM-ACR's ``EncodedPixels``; ``-1`` is an empty one.

    Raises: DataError when ``text`` is damaged or runs out of the image.
    """
    return _dense(siim_runs(text, height, width, place), height, width)


def siim_runs(text: str, height: int, width: int, place: str = "mask") -> np.ndarray:
    """Lengths of runs (int64, the first one of zeros) of SIIM-ACR's ``EncodedPixels``; see :func:`decode_siim`."""
    _check_size(height, width, place)
    words = text.split()
    if words == ["-1"]:
        return np.array([height * width], dtype=np.int64)
    if not words or len(words) % 2 or not all(w.isascii() and w.isdigit() and len(w) < 11 for w in words):
        raise DataError(f"{place}: not -1 and not pairs of gap and length; download the file again")
    runs = np.array(words, dtype=np.int64)
    rest = height * width - int(runs.sum())
    if rest < 0:
        raise DataError(f"{place}: the runs leave an image of {height} x {width}; give the size that it was drawn on")
    return np.append(runs, rest)


def mask_boxes(mask: np.ndarray, mode: str = "component") -> list[tuple[float, float, float, float]]:
    """``xyxy`` pixel boxes of an (h, w) mask: see :func:`run_boxes`."""
    height, width = mask.shape
    return run_boxes(mask_runs(mask), height, width, mode)


def run_boxes(
    runs: np.ndarray, height: int, width: int, mode: str = "component"
) -> list[tuple[float, float, float, float]]:
    """``xyxy`` boxes of a mask given as lengths of runs; the right and lower edge lie after the last pixel.

    mode: ``component`` one box per 8-connected component, from left to right; ``union`` one box around all of them.
    An empty mask has none. Raises: DataError for another mode.
    """
    if mode not in MODES:
        raise DataError(f"unknown boxes of a mask {mode!r}{nearest(mode, MODES)}")
    columns, tops, bottoms = _segments(runs, height)
    if not len(columns):
        return []
    group = np.zeros(len(columns), dtype=np.int64) if mode == "union" else _components(columns, tops, bottoms)
    names, first = np.unique(group, return_index=True)
    x1, y1 = np.full(len(names), width), np.full(len(names), height)
    x2, y2 = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    member = np.searchsorted(names, group)
    np.minimum.at(x1, member, columns)
    np.minimum.at(y1, member, tops)
    np.maximum.at(x2, member, columns + 1)
    np.maximum.at(y2, member, bottoms)
    return [(float(x1[i]), float(y1[i]), float(x2[i]), float(y2[i])) for i in np.argsort(first)]


def _check_size(height: int, width: int, place: str) -> None:
    if not all(type(n) is int and 1 <= n <= _LARGEST for n in (height, width)):
        raise DataError(f"{place}: size {height!r} x {width!r}; give height and width in pixels, at most {_LARGEST:,}")


def _dense(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T.copy()


def _uncompressed(counts: str | bytes, place: str) -> np.ndarray:
    """Lengths of a compressed string."""
    raw = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
    chunks = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if not len(chunks):
        return np.zeros(0, dtype=np.int64)
    last = np.flatnonzero(chunks & 0x20 == 0)
    starts = np.concatenate(([0], last[:-1] + 1)) if len(last) else np.zeros(0, dtype=np.int64)
    lengths = last - starts + 1
    if (chunks < 0).any() or (chunks > 0x3F).any() or not len(last) or last[-1] != len(chunks) - 1:
        raise DataError(f"{place}: counts are no compressed run lengths of COCO; download the file again")
    if lengths.max() > _CHUNKS:
        raise DataError(f"{place}: counts hold a run longer than any image; download the file again")
    within = np.arange(len(chunks)) - np.repeat(starts, lengths)
    values = np.add.reduceat((chunks & 0x1F) << (5 * within), starts)
    values -= np.where(chunks[last] & 0x10, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _segments(runs: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column, first row and row after the last of each stretch of ones within one column, in reading order."""
    ends = np.cumsum(runs)
    ends, starts = ends[1::2], ends[0::2][: len(ends[1::2])]
    starts, ends = starts[ends > starts], ends[ends > starts]
    first, last = starts // height, (ends - 1) // height
    spans = last - first + 1
    within = np.arange(int(spans.sum())) - np.repeat(np.cumsum(spans) - spans, spans)
    columns = np.repeat(first, spans) + within
    tops = np.where(within == 0, np.repeat(starts, spans) - columns * height, 0)
    bottoms = np.minimum(np.repeat(ends, spans) - columns * height, height)
    return columns, tops, bottoms


def _components(columns: np.ndarray, tops: np.ndarray, bottoms: np.ndarray) -> np.ndarray:
    """Number of the component of each stretch: those of neighbouring columns that touch, corners included."""
    parent = list(range(len(columns)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    column, top, bottom = columns.tolist(), tops.tolist(), bottoms.tolist()
    behind = 0  # the first stretch of the column before that may still touch
    for i in range(len(column)):
        while behind < i and (column[behind], bottom[behind]) < (column[i] - 1, top[i]):
            behind += 1
        other = behind
        while other < i and column[other] == column[i] - 1 and top[other] <= bottom[i]:
            parent[root(i)] = root(other)
            other += 1
        if i and column[i - 1] == column[i] and bottom[i - 1] == top[i]:  # cut by a run of no length
            parent[root(i)] = root(i - 1)
    return np.array([root(i) for i in range(len(column))], dtype=np.int64)
