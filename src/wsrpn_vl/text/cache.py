"""Frozen text encoder: each distinct text is encoded once, pooled, and kept on disk (§4.2).

The cache is a folder of safetensors shards, named after the encoder; a text's key is the SHA-256 of its characters.
Once every text is cached the encoder is not even loaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wsrpn_vl.config import TextConfig
from wsrpn_vl.errors import TextError
from wsrpn_vl.files import replacing
from wsrpn_vl.progress import progress
from wsrpn_vl.provenance import sha256_file
from wsrpn_vl.text.encoders import encode_batch, load_encoder, longest, packaged_folder, pooling_of, resolve

SHARD = 8192  # texts per file; also how much an interruption can lose
Progress = Callable[[int, int], None]


class TextCache:
    """Features of texts under one encoder.

    folder: where shards live. Not safe for two writers of the same shard name, but a lost race only encodes twice.
    """

    def __init__(self, config: TextConfig, folder: Path | str) -> None:
        self.config = config
        self.folder = Path(folder) / _slug(resolve(config.encoder).key, _fingerprint(config))
        self._rows: dict[bytes, int] = {}
        self._features = torch.empty(0, 0)
        self.encoded = 0
        """Texts that had to be encoded so far by this object."""
        self._load()

    def features(
        self, texts: Sequence[str], device: torch.device | str = "cpu", report: Progress | None = None
    ) -> Tensor:
        """(len(texts), d) float32 features; missing ones are encoded and kept.

        Raises: TextError when the encoder cannot be loaded, or a text is empty.
        """
        if any(not text.strip() for text in texts):
            raise TextError(f"text {next(i for i, t in enumerate(texts) if not t.strip())} of {len(texts)} is empty")
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        if missing:
            self._encode(missing, device, report)
        return self._features[torch.tensor([self._rows[key] for key in keys], dtype=torch.long)]

    def _load(self) -> None:
        parts = []
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                shard = load_file(path)
                keys, features = shard["keys"], shard["features"]
                _check_shard(keys, features)
            except (SafetensorError, KeyError, ValueError, OSError):
                raise TextError(
                    f"{path}: not a text cache shard; delete the file, its texts are encoded again"
                ) from None
            parts.append((keys, features))
        if len({features.shape[1] for _, features in parts}) > 1:
            raise TextError(f"{self.folder}: its shards are of different encoders; delete the folder")
        for keys, features in parts:
            self._append([bytes(row.tolist()) for row in keys], features.float())

    def _append(self, keys: Sequence[bytes], features: Tensor) -> None:
        start = len(self._features)
        self._features = features if start == 0 else torch.cat([self._features, features])
        self._rows |= {key: start + i for i, key in enumerate(keys)}

    def _encode(self, missing: dict[bytes, str], device: torch.device | str, report: Progress | None) -> None:
        tokenizer, encoder = load_encoder(self.config.encoder)
        encoder, pooling, most = encoder.to(device), pooling_of(self.config), longest(self.config)
        items = sorted(missing.items(), key=lambda item: len(item[1]))  # texts of like length pad little
        for begin in range(0, len(items), SHARD):
            part = items[begin : begin + SHARD]
            pooled = []
            for i in range(0, len(part), self.config.batch_size):
                texts = [text for _, text in part[i : i + self.config.batch_size]]
                pooled.append(encode_batch(texts, tokenizer, encoder, most, pooling))
                if report:
                    report(begin + i + len(texts), len(items))
            self._store([key for key, _ in part], torch.cat(pooled))
        self.encoded += len(items)

    def _store(self, keys: list[bytes], features: Tensor) -> None:
        table = torch.tensor([list(key) for key in keys], dtype=torch.uint8)
        path = self.folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()[:16]}.safetensors"
        try:
            with replacing(path) as temporary:
                save_file({"keys": table, "features": features.contiguous()}, temporary)
        except (SafetensorError, OSError) as error:  # safetensors reports a full disk as an error of its own
            detail = " ".join(str(error).split())[:200]
            raise TextError(f"{path}: cannot be written ({detail}); free space, or set text.cache_dir") from None
        self._append(keys, features)


def _check_shard(keys: Tensor, features: Tensor) -> None:
    """Raises: ValueError unless there is a row of finite features for each SHA-256."""
    one_each = keys.dtype == torch.uint8 and keys.shape == (len(features), 32)
    if not one_each or features.ndim != 2 or not features.is_floating_point() or not features.isfinite().all():
        raise ValueError("not a row of features for each key")


def encode_words(
    config: TextConfig, beside: Path, words: Sequence[str | None], device: torch.device | str = "cpu"
) -> tuple[Tensor | None, list[int], int]:
    """(table (m, d) of distinct texts or None, row of each entry or -1, how many had to be encoded).

    The cache is ``config.cache_dir``, or ``text_cache`` in the folder ``beside``.
    Raises: TextError when the encoder cannot be loaded, or the cache not be read or written.
    """
    distinct = sorted({w for w in words if w})
    if not distinct:
        return None, [-1] * len(words), 0
    cache = TextCache(config, Path(config.cache_dir) if config.cache_dir else beside / "text_cache")
    with progress("encoding texts", "texts") as report:
        table = cache.features(distinct, device, report)
    position = {text: i for i, text in enumerate(distinct)}
    return table, [position[w] if w else -1 for w in words], cache.encoded


def _fingerprint(config: TextConfig) -> str:
    """Changes when the encoder's files, the pooling or the truncation change.

    Of a packaged encoder, which its version fixes, sizes are enough; a user's folder is read whole, because other
    weights of one architecture have the same size.
    """
    found = resolve(config.encoder)
    digest = hashlib.sha256(f"{found.key}|{longest(config)}|{pooling_of(config)}".encode())
    packaged = packaged_folder(config.encoder)
    folder = packaged or found.folder
    kinds = ("*.safetensors", "*.json", "*.bin", "*.txt")[: 2 if packaged else 4]
    for path in [path for kind in kinds for path in sorted(folder.glob(kind))] if folder else []:
        digest.update(f"{path.name}|{path.stat().st_size}".encode())
        if path.suffix == ".json":
            digest.update(path.read_bytes())
        elif not packaged:
            digest.update(sha256_file(path).encode())
    return digest.hexdigest()[:10]


def _slug(name: str, fingerprint: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', Path(name).name if Path(name).is_dir() else name)}-{fingerprint}"
