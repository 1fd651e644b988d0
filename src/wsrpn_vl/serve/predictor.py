"""The model as a tool: images in, :class:`~wsrpn_vl.types.Prediction` out, in pixels of the original images."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.checkpoint import load_checkpoint
from wsrpn_vl.config import Config, override
from wsrpn_vl.data.pixels import IMAGE_SUFFIXES
from wsrpn_vl.data.store import load_square
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import resolve_classes
from wsrpn_vl.model.base import Detector
from wsrpn_vl.model.decode import class_evidence, decode, image_probs
from wsrpn_vl.types import Outputs, Prediction


class Predictor:
    """A trained detector.

    >>> predictor = Predictor.load("runs/nih")            # doctest: +SKIP
    >>> predictor.predict("radiograph.dcm").detections    # doctest: +SKIP
    """

    def __init__(
        self, model: Detector, config: Config, meta: dict[str, Any], device: torch.device | str = "cpu"
    ) -> None:
        self.model = model.to(device).eval()
        self.config, self.meta, self.device = config, meta, device
        self.classes = resolve_classes(config.data.classes)

    @classmethod
    def load(cls, checkpoint: Path | str, device: torch.device | str = "cpu", decode: Sequence[str] = ()) -> Predictor:
        """From a checkpoint folder or a run folder.

        decode: ``key=value`` changes of the ``decode`` section, which no weight depends on.
        Raises: CheckpointError, ConfigError.
        """
        model, config, meta = load_checkpoint(checkpoint, device)
        return cls(model, override(config, [f"decode.{item}" for item in decode]), meta, device)

    def predict(self, path: Path | str) -> Prediction:
        """One image file (PNG, JPEG, DICOM). Raises: DataError when it cannot be read."""
        return next(iter(self.predict_files([Path(path)])))

    def predict_files(self, paths: Sequence[Path], heatmaps: bool = False) -> Iterator[Prediction]:
        """Image files in order; the image id is the file's stem."""
        items = ((path.stem, *load_square(path, self.config.data.image_size)) for path in paths)
        return self.predict_squares(items, heatmaps=heatmaps)

    def predict_squares(
        self,
        items: Iterable[tuple[str, np.ndarray, tuple[int, int]]],
        texts: dict[str, tuple[str, Tensor]] | None = None,
        heatmaps: bool = False,
        batch_size: int = 0,
    ) -> Iterator[Prediction]:
        """(image id, letterboxed uint8 (size, size), (width, height)) in order.

        texts: image id -> (text id, frozen features (d,)); adds the embedding of the image's own words.
        heatmaps: add per-class maps of both branches over the network square.
        """
        batch: list[tuple[str, np.ndarray, tuple[int, int]]] = []
        for item in items:
            batch.append(item)
            if len(batch) == (batch_size or self.config.data.batch_size):
                yield from self._batch(batch, texts, heatmaps)
                batch = []
        if batch:
            yield from self._batch(batch, texts, heatmaps)

    @torch.inference_mode()
    def _batch(
        self,
        items: list[tuple[str, np.ndarray, tuple[int, int]]],
        texts: dict[str, tuple[str, Tensor]] | None,
        heatmaps: bool,
    ) -> Iterator[Prediction]:
        size = self.config.data.image_size
        boxes = tuple(Letterbox(w, h, size) for _, _, (w, h) in items)
        pixels = torch.from_numpy(np.stack([square for _, square, _ in items])).to(self.device)
        images = (pixels.float() / 255)[:, None].expand(-1, self.config.data.channels, -1, -1)
        outputs = self.model(images)
        probs = image_probs(outputs)
        if self.config.decode.flip:
            probs = (probs + image_probs(self.model(images.flip(-1), embed_images=False))) / 2
        detections = decode(outputs, boxes, self.classes, self.config.decode, probs)
        maps = self.heatmaps(outputs) if heatmaps else {}
        words = self._embed_words([name for name, _, _ in items], texts)
        for i, (name, _, (width, height)) in enumerate(items):
            text_id, text = words.get(name, (None, None))
            embedding = outputs.image_embeddings
            yield Prediction(
                name,
                width,
                height,
                self.classes,
                probs[i].double().cpu().numpy(),
                detections[i],
                {kind: value[i] for kind, value in maps.items()},
                None if embedding is None else embedding[i].float().cpu().numpy(),
                text,
                text_id,
            )

    def heatmaps(self, outputs: Outputs) -> dict[str, np.ndarray]:
        """``patch``, ``roi``: (b, c, gh, gw) probabilities over the network square."""
        out: dict[str, Tensor] = {}
        if outputs.patch_logits is not None:
            out["patch"] = outputs.patch_logits.sigmoid()
        if outputs.roi_logits is not None and outputs.pooling_weights is not None:
            weights = outputs.pooling_weights / outputs.pooling_weights.amax(-1, keepdim=True)
            probability = class_evidence(outputs, self.config.decode.patch_evidence).sigmoid()
            # strongest ROI at each patch
            out["roi"] = (weights[..., None] * probability[:, :, None, :]).amax(1)
        h, w = outputs.grid
        return {k: v.transpose(1, 2).unflatten(2, (h, w)).float().cpu().numpy() for k, v in out.items()}

    def _embed_words(
        self, names: list[str], texts: dict[str, tuple[str, Tensor]] | None
    ) -> dict[str, tuple[str, np.ndarray]]:
        known = [name for name in names if texts and name in texts]
        if not known or texts is None:
            return {}
        embedded = self.model.embed_text(torch.stack([texts[name][1] for name in known]).to(self.device))
        if embedded is None:
            return {}
        return {name: (texts[name][0], row) for name, row in zip(known, embedded.float().cpu().numpy(), strict=True)}


def find_images(patterns: Sequence[str]) -> list[Path]:
    """Files, folders (searched below) and globs -> image files, sorted within each, without repeats.

    Raises: DataError when a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            hits = sorted(
                p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
            )
        elif path.is_file():
            hits = [path]
        else:
            hits = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file())
        if not hits:
            raise DataError(f"{pattern}: no image there; give PNG, JPEG or DICOM files, a folder or a glob")
        found |= dict.fromkeys(hits)
    return list(found)
