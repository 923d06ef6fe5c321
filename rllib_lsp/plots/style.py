"""How all pictures look: colours that the colour-blind tell apart, and legible in grey print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "0.6"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
"""Of Okabe and Ito, with grey in place of the yellow, which is lost on white paper."""
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SCORES = "viridis"
"""The colour map of returns: even in grey, dark is low."""
SUFFIXES = (".png", ".pdf")
_DPI = 130


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its sides in inches."""
    # The object interface with its own canvas leaves the caller's backend and figures alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG or PDF, by the ending of its name."""
    figure.savefig(path, dpi=_DPI)


def to_array(figure: Figure, dpi: int) -> np.ndarray:
    """A figure as a uint8 picture (height, width, 3)."""
    figure.set_dpi(dpi)
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def cycle(index: int) -> dict[str, Any]:
    """Colour, line and marker of the ``index``-th thing of several in one plot."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[index % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
    }
