"""The floor that bodies move on, seen from above: target, posts, places, in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_lsp.plots.style import BLACK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def as_floor(axes: Axes) -> None:
    """Equal scales, metres on both axes."""
    axes.set_aspect("equal", adjustable="box")
    axes.set(xlabel="x (m)", ylabel="y (m)")
    axes.grid(alpha=0.25)


def draw_layout(axes: Axes, layout: Any | None) -> None:
    """The target and the posts of an episode; nothing where the task has none.

    layout: a `rllib_lsp.envs.tasks.layouts.Layout`.
    """
    if layout is None:
        return
    from matplotlib.patches import Circle

    from rllib_lsp.envs.tasks.layouts import POST_RADIUS
    from rllib_lsp.envs.tasks.rewards import TARGET_RADIUS

    target = Circle(layout.target, TARGET_RADIUS, fc=ORANGE, ec=BLACK, alpha=0.5, label="target")
    axes.add_patch(target)
    for post in layout.posts:
        axes.add_patch(Circle(post, POST_RADIUS, fc="0.45", ec=BLACK, hatch="//", lw=0.6))


def draw_start(axes: Axes, place: np.ndarray) -> None:
    """Where the body was to begin with."""
    axes.plot(*place, marker="*", ms=13, color="white", mec=BLACK, ls="none", zorder=5)
