"""Contact sheets for people to look at: each finding alone, simulated, and beside it real radiographs of that label.

Real images are chosen by their labels; boxes of real images are never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from wsrpn_vl.data.draws import share_of
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.phantom.study import PhantomStudy, simulate
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.sources import nih
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.files import png_path
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS, label_column
from wsrpn_vl.overlay import draw_overlay, save_png
from wsrpn_vl.types import Detections

FINDINGS = (NO_FINDING, *OBSERVATIONS)
_PAPER, _INK, _FAINT = (12, 12, 16), (235, 235, 235), (150, 150, 160)
_LINES = 2  # of words below each picture


def contact_sheet(
    out: Path | str,
    *,
    seed: int = 0,
    size: int = 256,
    findings: Sequence[str] = (),
    columns: int = 6,
    rows: int = 1,
    site: str = "A",
    beside: Path | str | None = None,
    boxes: bool = False,
) -> Path:
    """Write a PNG with ``rows`` x ``columns`` patients of each finding and return its path.

    size: pixels per picture; findings: observations or ``No Finding``, empty = all 14; beside: an NIH folder as
    downloaded, or a folder with an ``index.parquet``, of which as many images with that label (and the fewest others)
    follow; boxes: draw the phantom's.
    Raises: DataError for an unknown finding or site, a count below 1, a folder that holds no such data set, or an
    ``out`` that does not end in ``.png``.
    """
    out = png_path(out)
    for name in findings:
        lookup("observation", name, dict.fromkeys(FINDINGS), DataError)
    if min(columns, rows) < 1:
        raise DataError(f"contact sheet: {rows} rows of {columns} columns; give at least 1 of each")
    real = None if beside is None else _Real(Path(beside), seed)
    bands: list[Image.Image] = []
    for name in findings or FINDINGS:
        tiles = list(_phantom_tiles(name, range(rows * columns), seed, size, site, boxes))
        bands.append(_band(f"{name}: phantom, seed {seed}", tiles, columns, size))
        if real is not None:
            tiles = list(real.tiles(name, rows * columns, size))
            bands.append(_band(f"{name}: {'' if tiles else 'none in '}{real.name}", tiles, columns, size))
    sheet = Image.new("RGB", (bands[0].width, sum(band.height for band in bands)), _PAPER)
    top = 0
    for band in bands:
        sheet.paste(band, (0, top))
        top += band.height
    return save_png(out, sheet)


def _phantom_tiles(
    name: str, patients: Sequence[int], seed: int, size: int, site: str, boxes: bool
) -> Iterator[tuple[Image.Image, str]]:
    """(picture, words) of each patient with this finding alone."""
    for patient in patients:
        study = simulate(seed, patient, size, site, labels={} if name == NO_FINDING else {name: 1})
        yield _picture(study, name if boxes else ""), _words(study, name)


def _picture(study: PhantomStudy, name: str) -> Image.Image:
    """The image with the boxes of one finding; none with an empty name."""
    side = study.image.shape[0]
    truth = [(found, box) for found, box in study.boxes if found == name]
    if not truth:
        return Image.fromarray(study.image).convert("RGB")
    drawn = draw_overlay(study.image, Detections.empty(OBSERVATIONS), truth, scale_to=2 * side)
    small = drawn.crop((0, 0, 2 * side, 2 * side))  # without the legend, which speaks of predictions
    return small.resize((side, side), Image.Resampling.LANCZOS)


def _words(study: PhantomStudy, name: str) -> str:
    said = f"{study.patient_id} {study.view}"
    for region in study.regions.get(name, ()):
        seen = f" cnr {region.visibility:.1f}" if np.isfinite(region.visibility) else ""
        said += f"; {' '.join((*region.modifiers, region.kind))}, {region.location}{seen}"
    return said


class _Real:
    """Radiographs of a real data set by label."""

    def __init__(self, root: Path, seed: int) -> None:
        path, self.seed = root / "index.parquet", seed
        if path.is_file():
            index = read_index(path)
            self.name, self.frame, self.root, own = index.dataset, index.frame, index.root, index.classes
        else:
            tables = nih.build(root)
            self.name, self.frame, self.root, own = tables.dataset, tables.frame, root, tables.classes
        self.columns = [label_column(c) for c in own if label_column(c) in self.frame.columns]

    def tiles(self, name: str, count: int, size: int) -> Iterator[tuple[Image.Image, str]]:
        """(picture, words) of up to ``count`` images with this label and the fewest others."""
        for row in self._chosen(name).head(count).iter_rows(named=True):
            grey = np.round(255 * read_image(self.root / row["path"])).astype(np.uint8)
            picture = Image.fromarray(grey).resize((size, size), Image.Resampling.LANCZOS).convert("RGB")
            others = [c.removeprefix("y_") for c in self.columns if row[c] == 1 and c != label_column(name)]
            yield picture, f"{row['image_id']} {row['view']}; {', '.join(others)}"

    def _chosen(self, name: str) -> pl.DataFrame:
        total = pl.sum_horizontal((pl.col(c) == 1).cast(pl.Int32).fill_null(0) for c in self.columns)
        frame = self.frame.filter(pl.col("view") != "LAT").with_columns(total.alias("_total"))
        if name == NO_FINDING:
            frame = frame.filter(pl.col("_total") == 0)
        elif label_column(name) in self.columns:
            frame = frame.filter(pl.col(label_column(name)) == 1)
        else:
            frame = frame.clear()
        chance = [share_of(image_id, self.seed) for image_id in frame["image_id"]]
        return frame.with_columns(pl.Series("_chance", chance, dtype=pl.Float64)).sort("_total", "_chance")


def _band(title: str, tiles: Sequence[tuple[Image.Image, str]], columns: int, size: int) -> Image.Image:
    """A title and below it the pictures, row by row, each over its words."""
    small, large = max(9, size // 22), max(12, size // 14)
    strip, head, gap = _LINES * (small + 3) + 4, large + 12, 4
    lines = -(-len(tiles) // columns)
    out = Image.new("RGB", (columns * (size + gap), head + lines * (size + strip)), _PAPER)
    draw = ImageDraw.Draw(out)
    draw.text((6, 4), title, font=ImageFont.load_default(large), fill=_INK)
    font = ImageFont.load_default(small)
    for i, (picture, words) in enumerate(tiles):
        left, top = i % columns * (size + gap), head + i // columns * (size + strip)
        out.paste(picture, (left, top))
        for n, line in enumerate(_wrapped(words, font, size)):
            draw.text((left + 2, top + size + 2 + n * (small + 3)), line, font=font, fill=_FAINT)
    return out


def _wrapped(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """At most :data:`_LINES` lines that fit; what is left over is cut."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:_LINES]
