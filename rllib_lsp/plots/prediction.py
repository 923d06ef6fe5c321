"""The model's open-loop prediction beside what happened: vectors as traces, images as strips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rllib_lsp.plots.open_loop import Prediction
from rllib_lsp.plots.style import BLACK, BLUE, GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

TRACES = 5
"""Entries of the observation that are shown, the reward apart."""
PICTURES = 10
_LEAST_HEIGHT = 0.1
_STILL = 1e-3
Names = Mapping[str, tuple[str, slice]]
"""Named parts of the observation: the vector that holds each, and where in it."""


def draw_prediction(shown: Prediction, names: Names, title: str) -> Figure:
    """Images above, where there are any, then the traces that change the most, then the reward."""
    images = [key for key, truth in shown.truth.items() if truth.ndim == 4]
    traces = _traces(shown, names)
    rows = (len(traces) + 1) // 2
    heights = [*[3.2] * len(images), 1.3 * rows + 0.3]
    figure = new_figure(9, sum(heights) + 0.4)
    figure.suptitle(title, fontsize=11)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, key in zip(parts, images, strict=False):
        _draw_strip(part, key, shown.truth[key], shown.predicted[key][0], shown.context)
    grid = parts[-1].subplots(rows, min(2, len(traces)), sharex=True, squeeze=False)
    for axes, (name, (truth, draws)) in zip(grid.flat, traces.items(), strict=False):
        _draw_trace(axes, name, truth, draws, shown.context)
    for axes in grid.flat[len(traces) :]:
        axes.axis("off")
    for axes in grid[-1]:
        axes.set_xlabel("decision")
    parts[-1].legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _traces(shown: Prediction, names: Names) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth (T,) and draws (DRAWS, T) of some entries and of the reward: of each named part the
    one that changes the most, then of each the second, and so on."""
    entries, order = {}, {}
    for name, (key, part) in names.items():
        truth, draws = shown.truth[key][:, part], shown.predicted[key][:, :, part]
        # Squashed, or an entry with outliers would always win.
        change = np.std(np.sign(truth) * np.log1p(np.abs(truth)), 0)
        for rank, index in enumerate(np.argsort(-change).tolist()):
            label = f"{name}[{index}]" if len(change) > 1 else name
            entries[label] = (truth[:, index], draws[:, :, index])
            order[label] = (change[index] < _STILL, rank, -change[index])
    chosen = sorted(sorted(entries, key=order.__getitem__)[:TRACES])
    reward = (shown.truth["reward"], shown.predicted["reward"])
    return {label: entries[label] for label in chosen} | {"reward": reward}


def _draw_trace(axes: Axes, name: str, truth: np.ndarray, draws: np.ndarray, context: int) -> None:
    steps = np.arange(len(truth))
    low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9], 0)
    axes.axvspan(-0.5, context - 0.5, color="0.9", lw=0, label=f"the {context} steps it saw")
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.25, lw=0, label="80 % of predictions")
    axes.plot(steps, truth, color=BLACK, lw=1.6, label="truth")
    axes.plot(steps, middle, color=BLUE, ls="--", lw=1.6, label="their median")
    axes.set_xlim(-0.5, len(truth) - 0.5)
    # What does not change is not to look as if it did.
    low, high = axes.get_ylim()
    spare = max(0.0, _LEAST_HEIGHT - (high - low)) / 2
    axes.set_ylim(low - spare, high + spare)
    axes.set_title(name, fontsize=9, loc="left", pad=2)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)


def _draw_strip(
    figure: SubFigure, key: str, truth: np.ndarray, predicted: np.ndarray, context: int
) -> None:
    """Rows of pictures: truth, prediction, error. The first column is the last that was seen."""
    steps = np.unique(np.linspace(context - 1, len(truth) - 1, PICTURES).round().astype(int))
    error = np.abs(predicted - truth).mean(-1)
    rows = {"truth": truth, "prediction": predicted, "error": error}
    grid = figure.subplots(len(rows), len(steps), squeeze=False)
    for axes_row, (name, images) in zip(grid, rows.items(), strict=True):
        axes_row[0].set_ylabel(name, fontsize=9)
        for axes, step in zip(axes_row, steps, strict=True):
            axes.set(xticks=[], yticks=[])
            if name == "error":
                axes.imshow(images[step], cmap="Greys", vmin=0, vmax=128)
            else:
                axes.imshow(_as_shown(images[step]), cmap="gray", vmin=0, vmax=255)
    for axes, step in zip(grid[0], steps, strict=True):
        label, colour = (f"{step}, seen", GREY) if step < context else (f"{step}", BLACK)
        axes.set_title(label, fontsize=9, color=colour)
    figure.suptitle(f"{key}: decisions", fontsize=9, x=0.02, ha="left")


def _as_shown(image: np.ndarray) -> np.ndarray:
    """Colours as they are, of stacked pictures the last; a single channel of any other."""
    image = image.clip(0, 255).astype(np.uint8)
    return image[..., -3:] if image.shape[-1] >= 3 else image[..., -1]
