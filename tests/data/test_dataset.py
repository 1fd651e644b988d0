"""Rows to batches: label policies, cached pixels, the order of steps. And no boxes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from wsrpn_vl.config import DataConfig
from wsrpn_vl.data.dataset import (
    Collate,
    EpochBatches,
    RadiographDataset,
    label_targets,
    select_rows,
)
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.errors import DataError


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("dataset"), images=24, size=64, seed=4, progress=False)


CONFIG = DataConfig(image_size=48)


@pytest.mark.parametrize(
    ("uncertain", "blank", "expected"),
    [
        ("ignore", "ignore", [1, 0, np.nan, np.nan]),
        ("ones", "negative", [1, 0, 1, 0]),
        ("zeros", "negative", [1, 0, 0, 0]),
    ],
)
def test_label_policies(uncertain: str, blank: str, expected: list[float]) -> None:
    frame = pl.DataFrame(
        {"image_id": list("abcd"), "study_id": "s", "y_edema": pl.Series([1, 0, -1, None], dtype=pl.Int8)}
    )
    config = DataConfig.model_validate({"uncertain": uncertain, "blank": blank})
    values = label_targets(frame, ["Edema"], config)[:, 0]
    assert np.allclose(values, np.float32(expected), equal_nan=True)


def test_a_class_without_column_is_named(phantom: Path) -> None:
    frame = read_index(phantom).frame
    with pytest.raises(DataError, match="Hernia"):
        label_targets(frame, ["Hernia"], CONFIG)


def test_an_empty_split_is_named(phantom: Path) -> None:
    index = read_index(phantom)
    with pytest.raises(DataError, match="'holdout'"):
        select_rows(index, CONFIG, "holdout")


def test_laterals_are_left_out() -> None:
    frame = pl.DataFrame({"split": ["train"] * 4, "view": ["PA", "LAT", "AP", None]})

    class Fake:
        path = Path("x")

    fake = Fake()
    fake.frame = frame
    assert select_rows(fake, CONFIG, "train")["view"].to_list() == ["PA", "AP", None]
    assert select_rows(fake, CONFIG.model_copy(update={"frontal_only": False}), "train").height == 4


def test_samples_and_batches(phantom: Path) -> None:
    index = read_index(phantom)
    frame = select_rows(index, CONFIG, "train")
    rows = [i % 3 - 1 for i in range(frame.height)]
    data = RadiographDataset(index, frame, CONFIG, rows)
    table = torch.arange(8.0).reshape(2, 4)
    batch = Collate(table)([data[i] for i in range(3)])
    assert batch.images.shape == (3, 3, 48, 48) and batch.images.min() >= 0 and batch.images.max() <= 1
    assert batch.text_ids is not None and batch.text_ids.tolist() == [-1, 0, 1]
    assert batch.text_features is not None and torch.equal(batch.text_features[2], table[1])
    assert torch.equal(batch.labels, data.targets[:3])
    assert Collate()([data[0]]).text_features is None


def test_nothing_of_a_batch_changes_with_the_boxes(phantom: Path) -> None:
    """Removing the box table changes no sample: nothing in the data path can read it."""
    index = read_index(phantom)
    frame = select_rows(index, CONFIG, "train")
    before = [RadiographDataset(index, frame, CONFIG)[i] for i in range(4)]
    boxes = boxes_path(phantom)
    hidden = boxes.with_suffix(".hidden")
    boxes.rename(hidden)
    try:
        index = read_index(phantom)
        after = [RadiographDataset(index, select_rows(index, CONFIG, "train"), CONFIG)[i] for i in range(4)]
    finally:
        hidden.rename(boxes)
    assert all(
        torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels) for a, b in zip(before, after, strict=True)
    )


def test_epoch_order_is_a_permutation_that_changes_with_the_epoch() -> None:
    one = [i for b in EpochBatches(20, 4, seed=1, epoch=0) for i in b]
    assert sorted(one) == list(range(20))
    assert one == [i for b in EpochBatches(20, 4, seed=1, epoch=0) for i in b]
    assert one != [i for b in EpochBatches(20, 4, seed=1, epoch=1) for i in b]
    assert one != [i for b in EpochBatches(20, 4, seed=2, epoch=0) for i in b]


def test_epoch_can_start_in_the_middle() -> None:
    whole = list(EpochBatches(22, 4, seed=1, epoch=3))
    rest = EpochBatches(22, 4, seed=1, epoch=3, first_step=2)
    assert list(rest) == whole[2:] and len(rest) == 3 and len(whole) == 5


def test_processes_share_a_global_batch_without_overlap() -> None:
    one = list(EpochBatches(24, 6, seed=1, epoch=0))
    parts = [list(EpochBatches(24, 3, seed=1, epoch=0, rank=r, world=2)) for r in range(2)]
    for whole, a, b in zip(one, *parts, strict=True):
        assert sorted(a + b) == sorted(whole) and len(a) == len(b) == 3


def test_a_missing_split_says_how_to_get_one(phantom: Path) -> None:
    index = read_index(phantom)
    lateral = dataclasses.replace(index, frame=index.frame.with_columns(view=pl.lit("LAT")))
    with pytest.raises(DataError, match=r"no frontal image in split 'train'.*data\.frontal_only=false"):
        select_rows(lateral, CONFIG, "train")


def test_processes_share_a_small_data_set_equally() -> None:
    """5 images, 2 processes of 4: one step of 2 images each, so that gathered embeddings have one shape."""
    parts = [next(iter(EpochBatches(5, 4, 0, 0, rank=rank, world=2))) for rank in (0, 1)]
    assert [len(p) for p in parts] == [2, 2] and len({*parts[0], *parts[1]}) == 4
    assert len(next(iter(EpochBatches(5, 8, 0, 0)))) == 5
