"""Self-contained HTML pages: one look (``page.css``), templates that escape all text, pictures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from matplotlib.figure import Figure
from PIL import Image

from wsrpn_vl.plotting import encode


def template(package: str, name: str, **filters: Callable[..., Any]) -> Template:
    """A template of a package, with the style sheet as ``style``; a variable left out is an error."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(filters)
    environment.globals["style"] = resources.files("wsrpn_vl").joinpath("page.css").read_text("utf-8")
    return environment.from_string(resources.files(package).joinpath(name).read_text("utf-8"))


def picture(figure: Figure, alt: str, kind: str = "png", dpi: int = 130) -> dict[str, str]:
    """A figure as ``uri`` and ``alt`` of an image."""
    return {"uri": _uri(encode(figure, kind, dpi), kind), "alt": alt}


def thumbnail(image: np.ndarray, side: int = 320) -> str:
    """(h, w) float in [0, 1] as the data URI of a JPEG of at most ``side`` pixels."""
    small = Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, format="JPEG", quality=85)
    return _uri(out.getvalue(), "jpeg")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
