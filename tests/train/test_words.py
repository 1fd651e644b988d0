"""Words of a run: those that follow a flip, and those that are trusted."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from fixtures.small import small_config, small_phantom
from wsrpn_vl.data.index import read_index, rewrite_index
from wsrpn_vl.errors import DataError
from wsrpn_vl.text.cache import encode_words
from wsrpn_vl.text.captions import mirror
from wsrpn_vl.train.data import RunData, open_run_data
from wsrpn_vl.train.loop import fit
from wsrpn_vl.types import Batch


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom with captions that name sides, and a confidence of 0 to 1 by row."""
    path = small_phantom(tmp_path_factory.mktemp("words"), images=24)
    frame = read_index(path).frame
    sides = [f"Opacity on the {'left' if i % 3 else 'right'}, number {i}." for i in range(frame.height)]
    confidence = [i / (frame.height - 1) for i in range(frame.height)]
    frame = frame.with_columns(pl.Series("text", sides), pl.Series("text_confidence", confidence))
    rewrite_index(read_index(path), frame)
    return path


def first_batch(data: RunData) -> Batch:
    return data.collate([data.train[i] for i in range(len(data.train))])


@pytest.mark.parametrize(
    ("text", "turned"),
    [
        ("Left effusion, right PICC.", "Right effusion, left PICC."),
        ("LEFT-sided; rightward shift", "RIGHT-sided; leftward shift"),
        ("upright film, bright line, cleft", "upright film, bright line, cleft"),
    ],
)
def test_left_and_right_change_places(text: str, turned: str) -> None:
    assert mirror(text) == turned and mirror(turned) == text


def test_flipped_images_get_the_mirrored_words(index: Path) -> None:
    """Features of the mirrored text for the flipped half, of the text itself for the others; ids likewise."""
    config = small_config(index, "data.augment.flip=0.5")
    data = open_run_data(config)
    batch = first_batch(data)
    flip = torch.arange(len(batch)) % 2 == 0
    turned = batch.flipped(flip)
    rows = read_index(index).frame.filter(pl.col("split") == "train")["text"].to_list()
    wanted = [mirror(text) if f else text for text, f in zip(rows, flip.tolist(), strict=True)]
    table, ids, _ = encode_words(config.text, index.parent, wanted)
    assert table is not None and turned.text_features is not None and batch.text_ids is not None
    assert torch.equal(turned.text_features, table[ids])
    assert torch.equal(turned.text_ids[~flip], batch.text_ids[~flip])
    assert (turned.text_ids[flip] != batch.text_ids[flip]).all()


def test_without_flips_no_mirrored_text_is_encoded(index: Path) -> None:
    data = open_run_data(small_config(index))
    batch = first_batch(data)
    assert batch.mirrored is None and batch.flipped(torch.ones(len(batch), dtype=torch.bool)) is batch


def test_training_runs_with_flips(index: Path, tmp_path: Path) -> None:
    best = fit(small_config(index, "data.augment.flip=0.5"), tmp_path / "run")
    assert (best / "model.safetensors").is_file()


def test_weights_are_the_confidences_and_low_ones_are_left_out(index: Path) -> None:
    known = read_index(index).frame.filter(pl.col("split") == "train")["text_confidence"].to_list()
    plain = first_batch(open_run_data(small_config(index)))
    assert plain.text_weights is not None and plain.text_weights.tolist() == [1.0] * len(known)
    weighed = first_batch(open_run_data(small_config(index, "data.text_weight=confidence")))
    assert weighed.text_weights is not None and weighed.text_weights.tolist() == pytest.approx(known)
    kept = first_batch(open_run_data(small_config(index, "data.min_text_confidence=0.5")))
    assert kept.text_weights is not None and kept.text_weights.tolist() == [float(c >= 0.5) for c in known]


def test_confidence_that_is_not_there_is_asked_for_in_one_line(index: Path, tmp_path: Path) -> None:
    other = small_phantom(tmp_path / "plain", images=16)
    with pytest.raises(DataError, match="no text_confidence; add it with `wsrpn-vl label`"):
        open_run_data(small_config(other, "data.text_weight=confidence"))
