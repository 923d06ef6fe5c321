"""Several runs in one plot: seeds thin, their mean thick."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rllib_lsp.plots.curves import Points
from rllib_lsp.plots.results import EVALUATION_RETURN, RETURN
from rllib_lsp.plots.runs import Run
from rllib_lsp.plots.style import cycle, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {RETURN: "training return", EVALUATION_RETURN: "evaluation return"}
_MARKS = 8


def draw_runs(runs: list[Run]) -> Figure:
    """Every seed of every run over its experience."""
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot()
    names = {run.metric: _NAMES.get(run.metric, run.metric) for run in runs}
    for index, run in enumerate(runs):
        label = run.label if len(names) == 1 else f"{run.label} ({names[run.metric]})"
        several = f", mean of {len(run.seeds)}" if len(run.seeds) > 1 else ""
        draw_run(axes, run.seeds, index, label + several)
    axes.set_xlabel(" or ".join(sorted({run.unit for run in runs})))
    axes.set_ylabel(" or ".join(names.values()))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9)
    return figure


def draw_run(axes: Axes, seeds: list[Points], index: int, label: str) -> None:
    """The seeds of the ``index``-th run, thin if there are several, and their mean."""
    style = cycle(index)
    if len(seeds) > 1:
        for seed in seeds:
            axes.plot(*zip(*seed, strict=True), color=style["color"], lw=0.8, alpha=0.45)
    x, mean = mean_of(seeds)
    # At other places for each run, so that marks on lines that coincide do not hide each other.
    every = max(1, len(x) // _MARKS)
    first = min(index * every // 4, len(x) - 1)
    axes.plot(x, mean, **style, lw=2.2, ms=5, markevery=(first, every), label=label)


def mean_of(seeds: list[Points]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the seeds, wherever one of them has a value and all have one to interpolate.

    Where no such place exists, the longest seed itself.
    """
    columns = [np.array(seed, float).T for seed in seeds]
    first, last = max(x[0] for x, _ in columns), min(x[-1] for x, _ in columns)
    if first > last:
        x, y = max(columns, key=lambda column: column.shape[1])
        return x, y
    places = np.unique(np.concatenate([x for x, _ in columns]))
    places = places[(first <= places) & (places <= last)]
    return places, np.mean([np.interp(places, x, y) for x, y in columns], 0)
