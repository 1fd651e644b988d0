"""The files of a run that a report is made of, read and checked against each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from wsrpn_vl.data.broken import without_broken
from wsrpn_vl.data.index import Index, read_index
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.errors import ConfigError, PredictionsError, WsrpnVlError
from wsrpn_vl.evaluate.case import Case, load_case
from wsrpn_vl.labels import label_column, resolve_classes
from wsrpn_vl.provenance import sha256_file
from wsrpn_vl.text.captions import CAPTIONS, captions


@dataclass(frozen=True)
class RunFiles:
    """What a report is made of. records: lines of ``metrics.jsonl``, empty without one."""

    run: Path
    split: str
    config: dict[str, Any]
    environment: dict[str, Any]
    records: list[dict[str, Any]]
    results: dict[str, Any]
    index: Index
    case: Case

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The index's rows of the judged images, in the order of the truth."""
        wanted = pl.DataFrame({"image_id": self.case.truth.image_ids})
        return wanted.join(self.index.frame, on="image_id", how="left", maintain_order="left")

    @property
    def caption_source(self) -> str:
        """Where the words came from: ``report``, ``labels`` or ``none``."""
        return str(self.environment.get("caption_source", "none"))

    def image(self, i: int) -> np.ndarray:
        """Pixels (height, width) of judged image ``i``, in the frame of its boxes. Raises: DataError."""
        root = self.config.get("data", {}).get("root") or self.index.root
        pixels = read_image(Path(root) / self.rows["path"][i])
        width, height = self.case.truth.sizes[i]
        if np.isnan(width) or pixels.shape == (height, width):
            return pixels
        return np.asarray(Image.fromarray(pixels).resize((int(width), int(height)), Image.Resampling.BILINEAR))

    @cached_property
    def words(self) -> list[str | None]:
        """Each judged image's text as the text encoder read it; None without one."""
        source = str(self.case.predictions.meta.get("caption_source", self.caption_source))
        classes = resolve_classes(self.config.get("data", {}).get("classes", list(self.case.truth.classes)))
        if source in CAPTIONS and all(label_column(c) in self.rows.columns for c in classes):
            return captions(self.rows, classes, source)[0]
        return list(self.case.truth.texts)


def read_run(run: Path, split: str) -> RunFiles:
    """Read and cross-check the files of a run.

    Raises: ConfigError, PredictionsError or DataError in one line; also when the results are of other predictions or
    of another index than those that are there.
    """
    trained = "`wsrpn-vl train` makes run folders"
    config = _read_json(run / "config.json", ConfigError, trained)
    environment = _read_json(run / "environment.json", ConfigError, trained)
    results_path = run / "results" / f"{split}.json"
    predictions_path = run / "predictions" / split / "predictions.parquet"
    if not predictions_path.is_file():
        raise PredictionsError(f"{predictions_path}: missing; `wsrpn-vl predict` on split {split!r} makes it")
    again = f"`wsrpn-vl evaluate {predictions_path} --out {results_path}` makes it"
    results = _read_json(results_path, PredictionsError, again)
    if results.get("format") != "wsrpn-vl results" or results.get("version") != 1:
        raise PredictionsError(f"{results_path}: not results of this version; {again}")
    if results["predictions"]["sha256"] != sha256_file(predictions_path):
        raise PredictionsError(f"{results_path}: made from other predictions than {predictions_path}; {again}")
    named = [results["truth"]["index"], environment.get("index"), config.get("data", {}).get("index")]
    index = without_broken(read_index(next((Path(p) for p in named if p and Path(p).is_file()), Path(str(named[0])))))
    if results["truth"]["index_hash"] != index.content_hash:
        raise PredictionsError(f"{results_path}: made with another state of {index.path}; {again}")
    missing = bool(results["predictions"].get("missing_images"))
    case = load_case(predictions_path, index, split, results["classes"], missing)
    return RunFiles(run, split, config, environment, _records(run / "metrics.jsonl"), results, index, case)


def _read_json(path: Path, error: type[WsrpnVlError], mend: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: missing; {mend}") from None
    except (OSError, ValueError):
        raise error(f"{path}: not readable as JSON; {mend}") from None
    if not isinstance(value, dict):
        raise error(f"{path}: not a JSON object; {mend}")
    return value


def _records(path: Path) -> list[dict[str, Any]]:
    """Lines of the metrics file; a last line cut off by a kill is left out."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines()
    out = []
    for number, line in enumerate(lines, start=1):
        try:
            out.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise ConfigError(f"{path}: line {number} is not JSON; remove it") from None
    return out
