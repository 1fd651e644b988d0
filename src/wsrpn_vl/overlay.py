"""Boxes and heat maps drawn on a radiograph, for people to look at.

Predicted boxes are solid in their class's colour, annotated ones dashed. Nothing is drawn over the image that is not
said in the legend below it. Box edges lie inside the box, so a box that fills the image stays visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import replacing
from wsrpn_vl.labels import colour
from wsrpn_vl.types import Detections

DASH = (255, 255, 255)
DASH_EDGE = (0, 110, 60)  # green around the white dashes keeps them visible on bright lung and bone
PLATE = (12, 12, 16, 216)
TRUTH_PLATE = (0, 74, 42, 224)
# matplotlib's inferno (CC0) at 17 even steps; the steps between are interpolated
_INFERNO = (
    "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 "
    "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"
)
Rect = tuple[int, int, int, int]  # left, top, right, bottom in canvas pixels, right and bottom exclusive


def draw_overlay(
    image: np.ndarray,
    predicted: Detections,
    truth: Sequence[tuple[str, Sequence[float] | np.ndarray]] = (),
    *,
    min_score: float = 0.0,
    max_boxes: int = 6,
    scale_to: int = 768,
) -> Image.Image:
    """RGB picture of an image with its boxes, longest side ``scale_to``, and below it a legend line.

    image: (h, w) float in [0, 1] or uint8; predicted: boxes in its pixels, of which the ``max_boxes`` best with
    score >= ``min_score`` are drawn; truth: (label, ``xyxy``) annotated boxes in its pixels, all drawn.
    Raises: ValueError if the image is of another kind.
    """
    canvas, scale = _canvas(image, scale_to)
    draw = ImageDraw.Draw(canvas, "RGBA")
    line, font = _pen(canvas)
    shown = predicted[predicted.scores >= min_score].sorted()[:max_boxes]
    solid = [_to_canvas(box, scale, canvas.size) for box in shown.xyxy]
    dashed = [_to_canvas(np.asarray(box, dtype=float), scale, canvas.size) for _, box in truth]
    names = [shown.classes[k] for k in shown.class_ids]
    for rect, name in reversed(list(zip(solid, names, strict=True))):  # the best on top
        _solid(draw, rect, colour(name), line)
    for rect in dashed:
        _dashed(draw, rect, line)
    captions = _Captions(draw, font, canvas.size)
    for rect, name, score in zip(solid, names, shown.scores, strict=True):
        captions.add(rect, f"{name} {score_text(score)}", PLATE, colour(name), below=False)
    for rect, (label, _) in zip(dashed, truth, strict=True):
        captions.add(rect, label, TRUTH_PLATE, DASH, below=True)
    said = "solid = predicted" if len(shown) else "no predicted box"
    if not len(shown) and len(predicted):
        said += f" with score {min_score:.2f} or more"
    return _with_legend(canvas, said + (", dashed = annotated" if len(truth) else ""))


def heatmap_overlay(
    image: np.ndarray, heatmap: np.ndarray, letterbox: Letterbox, *, scale_to: int = 768
) -> Image.Image:
    """RGB picture of an image under a heat map, longest side ``scale_to``; dark to yellow is 0 to the map's maximum.

    image: (h, w) float in [0, 1] or uint8; heatmap: (gh, gw) values >= 0 over the network square of ``letterbox``.
    Low values let the image through, so what is bright in the map is what covers it.
    Raises: ValueError if ``letterbox`` is of another image size.
    """
    if image.shape != (letterbox.height, letterbox.width):
        raise ValueError(f"image is {image.shape}, the letterbox is for {(letterbox.height, letterbox.width)}")
    canvas, _ = _canvas(image, scale_to)
    values = letterbox.map_to_original(torch.as_tensor(np.asarray(heatmap, dtype=np.float32))).numpy()
    values = np.asarray(Image.fromarray(values).resize(canvas.size, Image.Resampling.BILINEAR))
    share = np.clip(values / max(float(values.max()), 1e-12), 0, 1)
    alpha = 0.75 * share[..., None]
    blended = (1 - alpha) * np.asarray(canvas, dtype=float) + alpha * inferno(share)
    return Image.fromarray(np.clip(blended.round(), 0, 255).astype(np.uint8))


def score_text(score: float) -> str:
    """A score in [0, 1] with two digits, or its first one where two would read 0.00."""
    return f"{score:.2f}" if score >= 0.005 or score == 0 else f"{score:.1g}"


def inferno(values: np.ndarray) -> np.ndarray:
    """(...) values in [0, 1] -> (..., 3) red, green, blue in [0, 255] of the perceptually uniform map *inferno*."""
    anchors = np.array([list(bytes.fromhex(c)) for c in _INFERNO.split()], dtype=float)
    steps = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(values, steps, anchors[:, k]) for k in range(3)], axis=-1)


def save_png(path: Path | str, image: Image.Image) -> Path:
    """Write a PNG under a temporary name, then rename it; the folder is made.

    Raises: DataError if it cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            image.save(temporary, format="PNG")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from None
    return path


def _canvas(image: np.ndarray, scale_to: int) -> tuple[Image.Image, np.ndarray]:
    """RGB image with longest side ``scale_to``, and canvas pixels per image pixel as (x, y, x, y)."""
    if image.ndim != 2 or not (image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)):
        raise ValueError(f"image is {image.dtype} {image.shape}, expected (h, w) uint8 or float in [0, 1]")
    grey = image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    height, width = grey.shape
    ratio = scale_to / max(width, height)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    method = Image.Resampling.BICUBIC if ratio > 1 else Image.Resampling.LANCZOS
    return Image.fromarray(grey).resize(size, method).convert("RGB"), np.tile(np.array(size) / (width, height), 2)


def _pen(canvas: Image.Image) -> tuple[int, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Line width and font for a canvas."""
    side = max(canvas.size)
    return max(2, round(side / 256)), ImageFont.load_default(max(15, round(side / 44)))


def _to_canvas(box: np.ndarray, scale: np.ndarray, size: tuple[int, int]) -> Rect:
    """Whole canvas pixels of a box, inside the canvas and at least one pixel wide and high."""
    x1, y1, x2, y2 = (round(float(v)) for v in box * scale)
    left, top = (min(max(v, 0), limit - 1) for v, limit in zip((x1, y1), size, strict=True))
    return left, top, min(max(x2, left + 1), size[0]), min(max(y2, top + 1), size[1])


def _solid(draw: ImageDraw.ImageDraw, rect: Rect, shade: str, line: int) -> None:
    left, top, right, bottom = rect
    draw.rectangle((left - 1, top - 1, right, bottom), outline=(0, 0, 0, 160), width=1)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=shade, width=line)


def _dashed(draw: ImageDraw.ImageDraw, rect: Rect, line: int) -> None:
    """White dashes with a green rim; through the gaps whatever lies below stays visible."""
    left, top, right, bottom = rect
    dashes: list[Rect] = []
    for a, b in _dashes(left, right, 5 * line):
        dashes += [(a, top, b, min(top + line, bottom)), (a, max(bottom - line, top), b, bottom)]
    for a, b in _dashes(top, bottom, 5 * line):
        dashes += [(left, a, min(left + line, right), b), (max(right - line, left), a, right, b)]
    for x1, y1, x2, y2 in dashes:
        draw.rectangle((x1 - 1, y1 - 1, x2, y2), fill=DASH_EDGE)
    for x1, y1, x2, y2 in dashes:
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=DASH)


def _dashes(start: int, end: int, length: int) -> list[tuple[int, int]]:
    """Dashes of about ``length`` from corner to corner: an odd number of equal parts, every second one filled."""
    parts = 2 * max(0, round(((end - start) / length - 1) / 2)) + 1
    cuts = np.linspace(start, end, parts + 1).round().astype(int).tolist()
    return [(cuts[i], max(cuts[i + 1], cuts[i] + 1)) for i in range(0, parts, 2)]


class _Captions:
    """Plates with text near their boxes: inside the image, and clear of each other where there is room."""

    def __init__(self, draw: ImageDraw.ImageDraw, font, size: tuple[int, int]) -> None:
        self.draw, self.font, self.size = draw, font, size
        self.taken: list[Rect] = []

    def add(self, box: Rect, text: str, plate: tuple[int, ...], stripe, below: bool) -> None:
        """``below``: try under the box before above it."""
        pad = max(2, round(self.font.size / 5))
        text = self._fitted(text, self.size[0] - 4 * pad)
        ascent = self.font.getbbox("Ag")
        width = round(self.draw.textlength(text, font=self.font)) + 4 * pad
        height = round(ascent[3] - ascent[1]) + 2 * pad
        x, y = self._place(box, width, height, below)
        self.taken.append((x, y, x + width, y + height))
        self.draw.rectangle((x, y, x + width - 1, y + height - 1), fill=plate)
        self.draw.rectangle((x, y, x + pad - 1, y + height - 1), fill=stripe)
        self.draw.text((x + 2 * pad, y + pad - ascent[1]), text, font=self.font, fill=(255, 255, 255))

    def _fitted(self, text: str, width: float) -> str:
        while len(text) > 4 and self.draw.textlength(text, font=self.font) > width:
            text = text[:-4] + "..."
        return text

    def _place(self, box: Rect, width: int, height: int, below: bool) -> tuple[int, int]:
        left, top, right, bottom = box
        above_then_inside = [(left, top - height), (left, top), (right - width, top - height), (right - width, top)]
        under_then_inside = [
            (left, bottom), (left, bottom - height), (right - width, bottom), (right - width, bottom - height)
        ]  # fmt: skip
        wanted = under_then_inside + above_then_inside if below else above_then_inside + under_then_inside
        limit_x, limit_y = max(0, self.size[0] - width), max(0, self.size[1] - height)
        fits = [(x, y) for x, y in wanted if 0 <= x <= limit_x and 0 <= y <= limit_y]
        clamped = [(min(max(x, 0), limit_x), min(max(y, 0), limit_y)) for x, y in wanted]
        # then any height of the image, nearest to the box first
        rows = sorted(range(0, limit_y + 1, max(1, height // 3)), key=lambda y: abs(y - clamped[0][1]))
        candidates = fits + clamped + [(clamped[0][0], y) for y in rows]
        return min(candidates, key=lambda at: self._covered(at, width, height))  # the first of the least covered

    def _covered(self, at: tuple[int, int], width: int, height: int) -> int:
        x, y = at
        overlaps = (
            max(0, min(x + width, r) - max(x, left)) * max(0, min(y + height, b) - max(y, t))
            for left, t, r, b in self.taken
        )
        return sum(overlaps)


def _with_legend(canvas: Image.Image, text: str) -> Image.Image:
    _, font = _pen(canvas)
    size = float(font.size)  # pyright: ignore[reportAttributeAccessIssue]
    while size > 6 and font.getlength(text) > canvas.width - 8:
        size -= 1
        font = ImageFont.load_default(size)
    strip = round(size * 1.7)
    out = Image.new("RGB", (canvas.width, canvas.height + strip), (12, 12, 16))
    out.paste(canvas, (0, 0))
    ImageDraw.Draw(out).text((6, canvas.height + strip / 2), text, font=font, fill=(225, 225, 225), anchor="lm")
    return out
