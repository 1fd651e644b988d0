"""What a run reads: rows, images, targets and encoded words of the training and validation splits. No boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from wsrpn_vl.config import Config
from wsrpn_vl.data.dataset import Collate, RadiographDataset, open_index, select_rows, text_weights
from wsrpn_vl.data.index import Index
from wsrpn_vl.errors import ConfigError
from wsrpn_vl.labels import resolve_classes
from wsrpn_vl.progress import progress
from wsrpn_vl.text.cache import encode_words
from wsrpn_vl.text.captions import captions, mirror

NO_TEXT_DIM = 384  # width of the text projection in a model that never sees text


@dataclass(frozen=True)
class RunData:
    """train, val: data sets; collate: adds the encoded words; caption_source: report, labels or none;
    encoded: texts that were not in the cache."""

    index: Index
    train: RadiographDataset
    val: RadiographDataset
    collate: Collate
    caption_source: str
    distinct_texts: int
    encoded: int

    @property
    def text_dim(self) -> int:
        """Width of the frozen text features."""
        return NO_TEXT_DIM if self.collate.text_features is None else self.collate.text_features.shape[1]

    def facts(self) -> dict[str, Any]:
        """What ``environment.json`` says of the data."""
        return {
            "index": str(self.index.path),
            "index_hash": self.index.content_hash,
            "dataset": self.index.dataset,
            "text_origin": self.index.text_origin,
            "caption_source": self.caption_source,
            "distinct_texts": self.distinct_texts,
            "train_images": len(self.train),
            "val_images": len(self.val),
        }


def open_run_data(config: Config, device: torch.device | str = "cpu") -> RunData:
    """Read the index, encode what words are not cached, decode what images are not cached.

    Raises: ConfigError without an index; DataError for a split without images, a class without a column or an image
    that cannot be read; TextError when the words cannot be encoded.
    """
    if not config.data.index:
        raise ConfigError("data.index is empty; give the table that `wsrpn-vl index` or `wsrpn-vl phantom write` wrote")
    index = open_index(config.data.index, config.data)
    frames = {split: select_rows(index, config.data, split) for split in ("train", "val")}
    classes = resolve_classes(config.data.classes)
    words, source = captions(
        pl.concat(frames.values()), classes, config.caption_source
    )  # together: both splits from one source
    n = frames["train"].height
    turned = [mirror(text) if text else None for text in words[:n]] if config.data.augment.flip else []
    table, rows, encoded = encode_words(config.text, index.path.parent, [*words, *turned], device)
    sets = {}
    for split, chosen in (("train", rows[:n]), ("val", rows[n : len(words)])):
        with progress(f"reading {split} images") as report:
            weights = text_weights(frames[split], config.data, str(index.path))
            sets[split] = RadiographDataset(index, frames[split], config.data, chosen, report, weights)
    other = None
    if table is not None and turned:
        other = torch.arange(len(table))
        for row, turned_row in zip(rows[:n], rows[len(words) :], strict=True):
            if row >= 0:
                other[row] = turned_row
    distinct = len({row for row in rows[: len(words)] if row >= 0})
    return RunData(index, sets["train"], sets["val"], Collate(table, other), source, distinct, encoded)
