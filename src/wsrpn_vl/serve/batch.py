"""Many images at once: a split of an index, or files of the user's, to files on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsrpn_vl.config import Config
from wsrpn_vl.data.dataset import open_index, select_rows
from wsrpn_vl.data.index import Index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.store import PixelStore, load_square
from wsrpn_vl.errors import ConfigError, DataError
from wsrpn_vl.evaluate.predictions import read_predictions, write_coco, write_csv, write_predictions
from wsrpn_vl.labels import label_column, resolve_classes
from wsrpn_vl.overlay import draw_overlay, save_png
from wsrpn_vl.progress import progress
from wsrpn_vl.serve.predictor import Predictor, find_images
from wsrpn_vl.text.cache import encode_words
from wsrpn_vl.text.captions import captions, has_words
from wsrpn_vl.types import Prediction


def pick_device(name: str) -> str:
    """``auto``: cuda, else mps, else cpu. Raises: ConfigError for a device that this machine does not have."""
    if name != "auto":
        try:
            torch.empty(1, device=name).cpu()
        except (RuntimeError, AssertionError, NotImplementedError):  # a build without CUDA asserts
            raise ConfigError(f"--device {name}: not on this machine; use auto or cpu") from None
        return name
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


@dataclass(frozen=True)
class PredictOptions:
    """How to predict many images.

    out: folder; None: ``predictions`` in the run. overlays, heatmaps: of how many images, -1 all; min_score: of boxes
    drawn; device: cpu, cuda, mps or auto; decode: ``key=value`` changes of the checkpoint's ``decode`` section.
    """

    out: Path | None = None
    overlays: int = 0
    heatmaps: int = 0
    min_score: float = 0.2
    device: str = "cpu"
    decode: tuple[str, ...] = ()

    def load(self, checkpoint: Path) -> Predictor:
        """The detector, on the device."""
        return Predictor.load(checkpoint, pick_device(self.device), self.decode)


def predict_split(checkpoint: Path, index_path: Path, split: str, options: PredictOptions) -> Path:
    """Predict a split of an index; with the embedding of every image's own words where the model is aligned.

    Returns the folder's ``predictions.parquet``. Raises: DataError, CheckpointError.
    """
    predictor = options.load(checkpoint)
    data = predictor.config.data
    if Path(data.index).resolve() != index_path.resolve():
        data = data.model_copy(update={"root": ""})  # it is where the training images lie
    index = open_index(index_path, data)
    frame = select_rows(index, data, split)
    ids = frame["image_id"].to_list()
    cache = data.cache and os.access(index_path.parent, os.W_OK)
    with progress(f"reading {split} images") as report:
        store = PixelStore.open(index, frame, data.image_size, cache, report)
    texts, source = _words(predictor.config, index, frame, ids)
    folder = options.out or _run_of(checkpoint) / "predictions" / split
    items = ((name, *store[i]) for i, name in enumerate(ids))
    predictions = _collect(predictor, items, len(ids), texts, options.heatmaps)
    facts = {
        "dataset": index.dataset,
        "index_hash": index.content_hash,
        "split": split,
        "caption_source": source,
        "frontal_only": data.frontal_only,
        "checkpoint": str(checkpoint),
    }
    path = _write(folder, predictor, predictions, facts)
    _draw(folder, predictions, dict(zip(ids, store.paths, strict=True)), options)
    return path


def predict_inputs(checkpoint: Path, patterns: Sequence[str], options: PredictOptions) -> Path:
    """Predict files, folders or globs; overlay PNGs beside COCO JSON, CSV and Parquet. Returns the folder.

    Raises: DataError naming the file that cannot be read, before anything is written; CheckpointError.
    """
    paths = find_images(patterns)
    names = _image_ids(paths)
    predictor = options.load(checkpoint)
    folder = options.out or _run_of(checkpoint) / "predictions" / "files"
    items = (
        (name, *load_square(path, predictor.config.data.image_size)) for name, path in zip(names, paths, strict=True)
    )
    predictions = _collect(predictor, items, len(paths), None, options.heatmaps)
    _write(folder, predictor, predictions, {"dataset": "files", "split": "", "checkpoint": str(checkpoint)})
    _draw(folder, predictions, dict(zip(names, paths, strict=True)), options)
    return folder


def complete_run(run: Path, split: str, device: str) -> None:
    """Make the predictions (of ``split`` and validation) and results that a run folder lacks, or has of an earlier
    state of its best checkpoint.

    Raises: DataError, CheckpointError, ConfigError and PredictionsError as prediction and evaluation do.
    """
    from wsrpn_vl.evaluate.score import evaluate_predictions, write_results

    options = PredictOptions(device=device)
    predictor = options.load(run)
    index = Path(predictor.config.data.index)
    paths = {part: run / "predictions" / part / "predictions.parquet" for part in ("val", split)}
    stale = False
    for part, path in paths.items():
        if not path.exists() or _is_stale(path, predictor.meta):
            stale |= path.exists()
            predict_split(run, index, part, replace(options, heatmaps=0 if part != split else 400))
    target = run / "results" / f"{split}.json"
    if stale or not target.exists():
        validation = paths["val"] if split != "val" else None
        write_results(target, evaluate_predictions(paths[split], index, split, validation=validation))


def _is_stale(path: Path, meta: dict[str, Any]) -> bool:
    """Whether predictions come from another step of the run than the checkpoint with this ``meta``."""
    step = read_predictions(path).meta.get("step")
    return step is not None and step != meta.get("step")


def _words(
    config: Config, index: Index, frame: Any, ids: list[str]
) -> tuple[dict[str, tuple[str, Tensor]] | None, str]:
    """image id -> (text id, frozen features (d,)) and where the words came from; none where the index has none."""
    classes = resolve_classes(config.data.classes)
    wanted = config.caption_source
    has_text = has_words(frame, "text")
    has_labels = all(label_column(c) in frame.columns for c in classes)
    possible = {"auto": has_text or has_labels, "labels": has_labels, "none": True}
    possible |= dict.fromkeys(("report", "findings"), has_text)
    if not possible.get(wanted, has_words(frame, "triples")):
        wanted = "none"
    words, source = captions(frame, classes, wanted)
    table, rows, _ = encode_words(config.text, index.path.parent, words)
    if table is None:
        return None, source
    return {name: (str(row), table[row]) for name, row in zip(ids, rows, strict=True) if row >= 0}, source


def _collect(
    predictor: Predictor,
    items: Iterable[tuple[str, Any, tuple[int, int]]],
    total: int,
    texts: dict[str, tuple[str, Tensor]] | None,
    heatmaps: int,
) -> list[Prediction]:
    def noted() -> Iterator[Prediction]:
        with progress("predicting") as report:
            for i, prediction in enumerate(predictor.predict_squares(items, texts, heatmaps != 0)):
                report(i + 1, total)
                keep = heatmaps < 0 or i < heatmaps
                yield prediction if keep else prediction.without_heatmaps()

    return list(noted())


def _write(folder: Path, predictor: Predictor, predictions: list[Prediction], facts: dict[str, Any]) -> Path:
    meta = {
        "model": predictor.config.model.name,
        "recipe": predictor.config.name,
        **facts,
        "epoch": predictor.meta.get("epoch"),
        "step": predictor.meta.get("step"),
        "decode": predictor.config.decode.model_dump(),
        "run": predictor.meta.get("environment", {}),
    }
    path = write_predictions(folder, predictions, predictor.classes, meta)
    write_coco(folder / "predictions.coco.json", predictions, predictor.classes, meta)
    write_csv(folder / "predictions.csv", predictions)
    return path


def _draw(folder: Path, predictions: list[Prediction], paths: dict[str, Path], options: PredictOptions) -> None:
    chosen = predictions if options.overlays < 0 else predictions[: options.overlays]
    if not chosen:
        return
    with progress("drawing overlays") as report:
        for i, prediction in enumerate(chosen):
            pixels = read_image(paths[prediction.image_id])
            image = draw_overlay(pixels, prediction.detections, min_score=options.min_score)
            save_png(folder / "overlays" / f"{prediction.image_id}.png", image)
            report(i + 1, len(chosen))


def _image_ids(paths: Sequence[Path]) -> list[str]:
    """Stems; where two files share one, both keep their folder's name before it."""
    repeated = {stem for stem, n in Counter(p.stem for p in paths).items() if n > 1}
    names = [f"{p.parent.name}_{p.stem}" if p.stem in repeated else p.stem for p in paths]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        same = [str(p) for p, name in zip(paths, names, strict=True) if name == twice[0]]
        raise DataError(f"{same[0]} and {same[1]} would share the image id {twice[0]!r}; predict them one by one")
    return names


def _run_of(checkpoint: Path) -> Path:
    """The run folder of a checkpoint inside one, else the folder itself."""
    parent = checkpoint.parent
    return parent.parent if parent.name == "checkpoints" else checkpoint
