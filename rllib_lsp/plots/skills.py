"""Where fixed skills lead: the paths of a body that holds one skill and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rllib_lsp.plots.agents import PlotError, Subject, episode, needed_place
from rllib_lsp.plots.arena import as_floor, draw_start
from rllib_lsp.plots.style import BLACK, COLOURS, GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSIDE, OUTSIDE = 0.6, 1.6
"""Lengths of the skills, in deviations of N(0, I), from which skills come."""


@dataclass(frozen=True)
class SkillPaths:
    """Skills (n, Z), and the path (T + 1, 2) in m of each."""

    skills: np.ndarray
    paths: list[np.ndarray]


def fixed_skills(dim: int, count: int, seed: int) -> np.ndarray:
    """Pairs of skills (count, dim) in one direction each, one inside the unit ball, one outside.

    Directions go round the circle evenly; in more dimensions they are drawn.
    """
    pairs = (count + 1) // 2
    if dim == 1:
        # There are two directions only, so lengths have to differ.
        half = np.linspace(0.0, 2.0, pairs + 1)[1:]
        return np.concatenate([-half, half])[:count, None]
    directions = np.random.default_rng(seed).standard_normal((pairs, dim))
    if dim == 2:
        angles = 2 * np.pi * np.arange(pairs) / pairs
        directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.stack([INSIDE * directions, OUTSIDE * directions], 1).reshape(-1, dim)[:count]


def skill_paths(subject: Subject, skills: np.ndarray, decisions: int | None = None) -> SkillPaths:
    """An episode under each skill (n, Z), or its first `decisions`, all from the same start.

    Raises PlotError for an agent without skills, and where nobody knows where the body is.
    """
    if not subject.agent.settings.has_skills:
        raise PlotError(
            f"{subject.agent_name} has no skills: its policy acts, or plans actions, without any. "
            "Give a checkpoint of LSP, LSP-RandomSkills or LSP-FixedPolicy."
        )
    return SkillPaths(skills, [_path(subject, skill, decisions) for skill in skills])


def _path(subject: Subject, skill: np.ndarray, decisions: int | None) -> np.ndarray:
    held = {
        "skill": torch.as_tensor(skill, dtype=torch.float32)[None],
        # Never over; a policy that is told of the time left hears that all of it is.
        "steps_left": torch.tensor([subject.agent.settings.skills.longest]),
        "held": torch.zeros(1, dtype=torch.int64),
    }
    end = None if decisions is None else decisions + 1
    steps = islice(episode(subject, held), end)
    return np.array([needed_place(step.info, subject.env_name) for step in steps])


def draw_skills(shown: SkillPaths, title: str) -> Figure:
    """The skills beside their paths, each pair in one colour."""
    figure = new_figure(9.6, 5.4)
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    figure.suptitle(title, fontsize=11)
    _draw_space(left, shown.skills)
    for index, (skill, path) in enumerate(zip(shown.skills, shown.paths, strict=True)):
        style = _style(index, skill)
        right.plot(*path.T, lw=1.8, markevery=[-1], **style)
    draw_start(right, shown.paths[0][0])
    as_floor(right)
    right.set_title("where the body goes while it holds one skill", fontsize=10)
    right.legend(handles=_legend(), loc="best", fontsize=9)
    return figure


def _draw_space(axes: Axes, skills: np.ndarray) -> None:
    """The first two dimensions of the skills, and the unit circle."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, 0), 1, fc="0.93", ec=GREY))
    flat = np.zeros((len(skills), 2))
    flat[:, : skills.shape[1]] = skills[:, :2]
    for index, (skill, place) in enumerate(zip(skills, flat, strict=True)):
        axes.plot(*place, **_style(index, skill))
    reach = 1.15 * max(1.0, np.abs(flat).max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set(xlabel="$z_1$", ylabel="$z_2$" if skills.shape[1] > 1 else "")
    of = f", first 2 of {skills.shape[1]} dimensions" if skills.shape[1] > 2 else ""
    axes.set_title(f"skills{of}; grey: the unit ball", fontsize=10)


def _style(index: int, skill: np.ndarray) -> dict[str, Any]:
    """Of the pair its colour, filled and solid inside the unit ball, open and dashed outside."""
    inside = np.linalg.norm(skill) < 1
    colour = COLOURS[index // 2 % len(COLOURS)]
    shape = _INSIDE_STYLE if inside else _OUTSIDE_STYLE
    return {"color": colour, "mfc": colour if inside else "white", "ms": 8, "mew": 1.6, **shape}


_INSIDE_STYLE: dict[str, Any] = {"linestyle": "-", "marker": "o"}
_OUTSIDE_STYLE: dict[str, Any] = {"linestyle": (0, (4, 1.5)), "marker": "^"}


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    styles: dict[str, dict[str, Any]] = {
        "skill inside the unit ball": {**_INSIDE_STYLE, "mfc": BLACK},
        "skill outside": {**_OUTSIDE_STYLE, "mfc": "white"},
        "start": {"marker": "*", "ls": "none", "mfc": "white"},
    }
    return [Line2D([], [], color=BLACK, ms=8, label=k, **v) for k, v in styles.items()]
