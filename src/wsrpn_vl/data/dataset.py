"""From an index to batches: rows of a split, label targets, cached square images, words by row, and the order of steps.

Nothing here knows that boxes exist.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.config import DataConfig
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import replacing, write_text
from wsrpn_vl.labels import label_column, resolve_classes
from wsrpn_vl.types import Batch, Sample

Progress = Callable[[int, int], None]
UNCERTAIN = {"ignore": np.nan, "ones": 1.0, "zeros": 0.0, "smooth": 0.6}
BLANK = {"negative": 0.0, "ignore": np.nan}


def open_index(path: Path | str, config: DataConfig) -> Index:
    """The index, with ``data.root`` in place of the folder recorded in it where that is set."""
    index = read_index(Path(path))
    return replace(index, root=Path(config.root)) if config.root else index


def select_rows(index: Index, config: DataConfig, split: str) -> pl.DataFrame:
    """Rows of ``split`` (empty: all) that the configuration keeps, in index order.

    Raises: DataError when none is left.
    """
    frame = index.frame
    if split:
        frame = frame.filter(pl.col("split") == split)
    if config.frontal_only:
        frame = frame.filter(pl.col("view").is_null() | (pl.col("view") != "LAT"))
    if split == "train" and config.max_train_images:
        frame = frame.head(config.max_train_images)
    if frame.is_empty():
        have = ", ".join(f"{s or '(none)'} {n}" for s, n in index.frame["split"].value_counts(sort=True).iter_rows())
        views = "frontal " if config.frontal_only else ""
        mend = "data.frontal_only=false takes lateral views too, `wsrpn-vl index` makes other splits"
        raise DataError(f"{index.path}: no {views}image in split {split!r}; the index has {have}; {mend}")
    return frame


def label_targets(frame: pl.DataFrame, classes: Sequence[str], config: DataConfig, source: str = "index") -> np.ndarray:
    """(n, c) float32 targets in [0, 1], NaN = unknown, under the configuration's label policies.

    Raises: DataError when a class has no column.
    """
    columns = []
    for name in classes:
        if label_column(name) not in frame.columns:
            have = sorted(c.removeprefix("y_") for c in frame.columns if c.startswith("y_"))
            raise DataError(f"{source}: no label column for class {name!r}; it has {', '.join(have)}; set data.classes")
        column = frame[label_column(name)].cast(pl.Float32)
        columns.append(column.to_numpy().astype(np.float32))
    values = np.stack(columns, axis=1)
    blank = np.isnan(values)
    values[values == -1] = UNCERTAIN[config.uncertain]
    values[blank] = BLANK[config.blank]
    return values


def load_square(path: Path, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """(size, size) uint8 letterboxed image of a file and its (width, height), for training and prediction alike."""
    image = read_image(path)
    height, width = image.shape
    square = Letterbox(width, height, size).image_to_network(torch.from_numpy(np.ascontiguousarray(image))[None])[0]
    return (square.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), (width, height)


@dataclass(frozen=True)
class PixelStore:
    """Letterboxed images of some rows: a memory-mapped uint8 file, or read on demand.

    size: side; paths: (n,) files; pixels: (n, size, size) uint8 and shapes: (n, 2) width and height of the original
    images, both filled when cached. ``store[i]``: letterboxed (size, size) uint8 and (width, height).
    """

    paths: tuple[Path, ...]
    size: int
    pixels: np.ndarray | None = None
    shapes: np.ndarray | None = None

    def __getitem__(self, i: int) -> tuple[np.ndarray, tuple[int, int]]:
        if self.pixels is None or self.shapes is None:
            return load_square(self.paths[i], self.size)
        return self.pixels[i], (int(self.shapes[i, 0]), int(self.shapes[i, 1]))

    @classmethod
    def open(
        cls, index: Index, frame: pl.DataFrame, size: int, cache: bool = True, progress: Progress | None = None
    ) -> PixelStore:
        """The images of ``frame``; with ``cache`` they are decoded once into ``pixel_cache`` beside the index.

        Raises: DataError for an image that cannot be read, or a cache that cannot be written.
        """
        paths = tuple(index.root / p for p in frame["path"].to_list())
        if not cache:
            return cls(paths, size)
        key = hashlib.sha256(
            f"{index.content_hash}|{index.root.resolve()}|{size}|{'|'.join(frame['image_id'].to_list())}".encode()
        ).hexdigest()[:16]
        base = index.path.parent / "pixel_cache" / key
        raw, sidecar = base.with_suffix(".u8"), base.with_suffix(".json")
        shapes = _cached_shapes(raw, sidecar, len(paths), size)
        if shapes is None:
            try:
                shapes = _decode_all(paths, size, raw, sidecar, progress)
            except OSError as error:
                reason = error.strerror or error
                mend = "free space or permit writing there, or set data.cache=false"
                raise DataError(f"{base.parent}: cannot keep decoded images ({reason}); {mend}") from None
        pixels = np.memmap(raw, dtype=np.uint8, mode="r", shape=(len(paths), size, size))
        return cls(paths, size, pixels, shapes)


def _cached_shapes(raw: Path, sidecar: Path, n: int, size: int) -> np.ndarray | None:
    """(n, 2) width and height of the cached images; None when the cache is absent or damaged."""
    try:
        shapes = np.array(json.loads(sidecar.read_text())["shapes"], dtype=np.int32)
        return shapes if shapes.shape == (n, 2) and raw.stat().st_size == n * size * size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _decode_all(paths: Sequence[Path], size: int, raw: Path, sidecar: Path, progress: Progress | None) -> np.ndarray:
    """Write both files of the cache; (n, 2) width and height of the images."""
    shapes = []
    # written in order, not through a memory map: a full disk is then an error, not a bus error
    with (
        replacing(raw) as temporary,
        temporary.open("wb") as file,
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        try:
            for square, shape in pool.map(lambda p: load_square(p, size), paths):
                file.write(square.tobytes())
                shapes.append(shape)
                if progress:
                    progress(len(shapes), len(paths))
        except BaseException:  # also Ctrl-C: do not decode the rest before ending
            pool.shutdown(cancel_futures=True)
            raise
    write_text(sidecar, json.dumps({"shapes": shapes}))
    return np.array(shapes, dtype=np.int32)


class RadiographDataset(Dataset[Sample]):
    """Rows of an index as :class:`Sample`: image (channels, size, size) in [0, 1], targets, row of the text table."""

    def __init__(
        self,
        index: Index,
        frame: pl.DataFrame,
        config: DataConfig,
        text_rows: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.classes = resolve_classes(config.classes)
        self.image_ids: list[str] = frame["image_id"].to_list()
        self.targets = torch.from_numpy(label_targets(frame, self.classes, config, str(index.path)))
        self.store = PixelStore.open(index, frame, config.image_size, config.cache, progress)
        self.text_rows = list(text_rows) if text_rows is not None else [-1] * len(self.image_ids)
        self.channels, self.size = config.channels, config.image_size

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, i: int) -> Sample:
        pixels, (width, height) = self.store[i]
        image = torch.from_numpy(np.array(pixels)).float().div(255)
        return Sample(
            self.image_ids[i],
            image.expand(self.channels, -1, -1),
            self.targets[i],
            Letterbox(width, height, self.size),
            self.text_rows[i],
        )


@dataclass(frozen=True)
class Collate:
    """Samples -> :class:`Batch`; ``text_features`` (m, d) is the table that ``Sample.text_row`` points into."""

    text_features: Tensor | None = None

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples and look up their words."""
        rows = torch.tensor([s.text_row for s in samples])
        features = None
        if self.text_features is not None:
            features = self.text_features[rows.clamp_min(0)]
        return Batch(
            tuple(s.image_id for s in samples),
            torch.stack([s.image for s in samples]),
            torch.stack([s.labels for s in samples]),
            tuple(s.letterbox for s in samples),
            features,
            None if features is None else rows,
        )


class EpochBatches(Sampler[list[int]]):
    """Index lists of one epoch for one process: a permutation that depends on (seed, epoch) alone, cut into global
    batches of ``batch_size * world`` of which rank r takes its slice; starts at ``first_step``. The incomplete last
    batch is left out (other images each epoch), unless it is the only one; then every rank takes equally many."""

    def __init__(
        self, n: int, batch_size: int, seed: int, epoch: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.args = (n, batch_size, seed, epoch, first_step, rank, world)

    @staticmethod
    def steps(n: int, batch_size: int, world: int = 1) -> int:
        """Steps of a whole epoch."""
        return max(1, n // (batch_size * world))

    def __iter__(self) -> Iterator[list[int]]:
        n, size, seed, epoch, first, rank, world = self.args
        order = np.random.default_rng([seed, epoch]).permutation(n)
        for step in range(first, self.steps(n, size, world)):
            part = order[step * size * world : (step + 1) * size * world]
            yield part[: len(part) // world * world][rank::world].tolist()

    def __len__(self) -> int:
        n, size, _, _, first, _, world = self.args
        return self.steps(n, size, world) - first


def evaluation_loader(dataset: RadiographDataset, batch_size: int, workers: int, collate: Collate) -> DataLoader[Any]:
    """Every image once, in order."""
    return DataLoader(dataset, batch_size=batch_size, num_workers=workers, collate_fn=collate)
