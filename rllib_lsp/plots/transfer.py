"""Ways through the same tasks by several agents, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_lsp.plots.agents import Place
from rllib_lsp.plots.arena import as_floor, draw_layout, draw_start
from rllib_lsp.plots.style import BLACK, BLUE, ORANGE, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass
class Way:
    """Where a body went in one episode, in m, and what it earned."""

    layout: Any | None
    """Target and posts, see `rllib_lsp.envs.tasks.layouts.Layout`."""
    seed: int = 0
    places: list[Place] = field(default_factory=list)
    skills: list[int] = field(default_factory=list)
    """At which of the places a new skill, or goal, began."""
    returned: float = 0.0
    success: float | None = None
    """Where the task says so."""


def draw_ways(ways: dict[str, list[Way]], title: str) -> Figure:
    """A row of floors for each agent, by name, and a column for each seed."""
    columns = len(next(iter(ways.values())))
    figure = new_figure(2.6 * columns + 0.6, 2.8 * len(ways) + 0.8)
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(len(ways), columns, sharex=True, sharey=True, squeeze=False)
    for row, (name, its) in zip(grid, ways.items(), strict=True):
        for axes, way in zip(row, its, strict=True):
            _draw_way(axes, way)
        row[0].set_ylabel(f"{name}\ny (m)")
    for axes in grid[-1]:
        axes.set_xlabel("x (m)")
    figure.legend(handles=_legend(ways), loc="outside lower center", ncols=6, fontsize=9)
    return figure


def _draw_way(axes: Axes, way: Way) -> None:
    draw_layout(axes, way.layout)
    path = np.array(way.places)
    axes.plot(*path.T, color=BLUE, lw=1.8)
    axes.plot(*path[way.skills].T, "|", color=VERMILLION, ms=6, mew=1.4)
    draw_start(axes, path[0])
    axes.plot(*path[-1], "s", color=BLACK, ms=6)
    as_floor(axes)
    axes.set(xlabel="", ylabel="")
    known = {None: "", 1.0: ", reached", 0.0: ", not reached"}
    outcome = known.get(way.success, f", success {way.success}")
    axes.set_title(f"seed {way.seed}: return {way.returned:.0f}{outcome}", fontsize=9)


def _legend(ways: dict[str, list[Way]]) -> list[Any]:
    from matplotlib.lines import Line2D

    every = [way for its in ways.values() for way in its]
    entries: dict[str, dict[str, Any]] = {
        "path": {"color": BLUE, "lw": 1.8},
        "start": {"marker": "*", "ls": "none", "mfc": "white", "mec": BLACK, "ms": 11},
        "end": {"marker": "s", "ls": "none", "color": BLACK},
    }
    if any(way.skills for way in every):
        entries["a new skill"] = {"marker": "|", "ls": "none", "color": VERMILLION, "mew": 1.4}
    if any(way.layout is not None for way in every):
        entries["target"] = {"marker": "o", "ls": "none", "mfc": ORANGE, "mec": BLACK, "ms": 9}
        entries["post"] = {"marker": "o", "ls": "none", "mfc": "0.45", "mec": BLACK, "ms": 7}
    return [Line2D([], [], label=label, **style) for label, style in entries.items()]
