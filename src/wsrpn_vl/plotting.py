"""The look of all figures, and how they become bytes. No global state of matplotlib is changed.

Colours are of the Okabe-Ito set, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
BANDS = ("#dce9f5", "#fdf0d9", "#e3f2e6", "#f1e4f0")  # phases, in turn
WIDTH = 9.6  # inches: the report's text column
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # class names and identifiers are no formulas
    "hatch.linewidth": 0.6,
}
P = ParamSpec("P")


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with this file's style, whatever the caller's settings are, and leave those alone."""

    @wraps(make)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return make(*args, **kwargs)

    return inner


def encode(figure: Figure, kind: str = "png", dpi: int = 130) -> bytes:
    """The figure as bytes of a PNG, or of a JPEG (``kind="jpeg"``, for photographs)."""
    out = io.BytesIO()
    extra: dict[str, Any] = {"pil_kwargs": {"quality": 86}} if kind == "jpeg" else {}
    FigureCanvasAgg(figure).print_figure(out, format=kind, dpi=dpi, facecolor="white", **extra)
    return out.getvalue()
