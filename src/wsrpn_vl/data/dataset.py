"""From an index to batches: rows of a split, label targets, cached square images, words by row, and the order of steps.

Nothing here knows that boxes exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from wsrpn_vl.data.broken import without_broken
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.policy import apply_policy
from wsrpn_vl.data.store import PixelStore, Progress
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import label_column, resolve_classes
from wsrpn_vl.types import Batch, Sample


def open_index(path: Path | str, config: DataConfig) -> Index:
    """The index without images listed as broken, ``data.root`` in place of its own folder where that is set."""
    index = without_broken(read_index(Path(path)))
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
    keys = frame.select(pl.coalesce("study_id", "image_id")).to_series().to_list()
    return apply_policy(
        np.stack(columns, axis=1),
        classes,
        keys,
        uncertain=config.uncertain,
        blank=config.blank,
        hierarchy=config.hierarchy,
    )


def text_weights(frame: pl.DataFrame, config: DataConfig, source: str = "index") -> list[float]:
    """(n,) weight of each row's words in the contrastive loss: 1, its confidence, or 0 where that is too low.

    Unknown confidence counts as 1. Raises: DataError when confidence is asked for and the index has none.
    """
    if config.text_weight == "none" and not config.min_text_confidence:
        return [1.0] * frame.height
    if "text_confidence" not in frame.columns:
        raise DataError(f"{source}: no text_confidence; add it with `wsrpn-vl label`, or set data.text_weight=none")
    confidence = frame["text_confidence"].fill_null(1.0).to_numpy()
    weight = confidence if config.text_weight == "confidence" else np.ones(frame.height)
    return np.where(confidence < config.min_text_confidence, 0.0, weight).tolist()


class RadiographDataset(Dataset[Sample]):
    """Rows of an index as :class:`Sample`: image (channels, size, size) in [0, 1], targets, row of the text table."""

    def __init__(
        self,
        index: Index,
        frame: pl.DataFrame,
        config: DataConfig,
        text_rows: Sequence[int] | None = None,
        progress: Progress | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.classes = resolve_classes(config.classes)
        self.image_ids: list[str] = frame["image_id"].to_list()
        self.targets = torch.from_numpy(label_targets(frame, self.classes, config, str(index.path)))
        self.store = PixelStore.open(index, frame, config.image_size, config.cache, progress)
        self.text_rows = list(text_rows) if text_rows is not None else [-1] * len(self.image_ids)
        self.text_weights = list(weights) if weights is not None else [1.0] * len(self.image_ids)
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
            self.text_weights[i],
        )


@dataclass(frozen=True)
class Collate:
    """Samples -> :class:`Batch`; ``text_features`` (m, d) is the table that ``Sample.text_row`` points into.

    mirror: (m,) row of each text with left and right exchanged; None when images are never flipped.
    """

    text_features: Tensor | None = None
    mirror: Tensor | None = None

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples and look up their words."""
        rows = torch.tensor([s.text_row for s in samples])
        table, mirrored = self.text_features, None
        if table is not None and self.mirror is not None:
            other = torch.where(rows >= 0, self.mirror[rows.clamp_min(0)], rows)
            mirrored = (table[other.clamp_min(0)], other)
        return Batch(
            tuple(s.image_id for s in samples),
            torch.stack([s.image for s in samples]),
            torch.stack([s.labels for s in samples]),
            tuple(s.letterbox for s in samples),
            None if table is None else table[rows.clamp_min(0)],
            None if table is None else rows,
            None if table is None else torch.tensor([s.text_weight for s in samples]),
            mirrored,
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
