"""One plan: what was considered, what each candidate promised, and what came of the chosen one."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rllib_lsp.core.rssm import State
from rllib_lsp.plots.agents import Place, PlotError, Subject, episode, place_of, slices_of
from rllib_lsp.plots.arena import as_floor, draw_layout, draw_start
from rllib_lsp.plots.style import BLACK, BLUE, GREY, SCORES, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Considered = tuple[State, Tensor, Tensor, Tensor]
"""What a `core.agent.PlanWatcher` is told."""


@dataclass(frozen=True)
class PlanTrace:
    """The candidates (G, S, Z) of each iteration, and the returns (G,) imagined of them."""

    candidates: list[np.ndarray]
    returns: list[np.ndarray]
    before: float
    """Imagined return of the mean that planning started from."""
    after: float
    """Of the plan's mean."""
    chosen: np.ndarray
    """(S, Z), that mean."""
    imagined: np.ndarray | None
    """(G + 1, H + 1, 2) in m: the decoded paths of the last candidates, and of the chosen; None
    where the model knows no place."""
    happened: np.ndarray | None
    """(T + 1, 2) in m: where the body then went, in as many decisions, planning anew as usual."""
    layout: Any | None = None
    """Target and posts, see `rllib_lsp.envs.tasks.layouts.Layout`."""


@dataclass
class _Watcher:
    """Keeps what the last plan considered."""

    calls: list[Considered] = field(default_factory=list)

    def __call__(self, *call: Any) -> None:
        self.calls.append(call)


def trace_plan(subject: Subject, number: int = 0) -> PlanTrace:
    """The `number`-th plan of an episode, and what followed.

    Raises PlotError for an agent that does not plan, and for an episode with fewer plans.
    """
    agent, watcher = subject.agent, _Watcher()
    planner = agent.settings.planner
    if planner.method == "none" or not planner.iterations:
        raise PlotError(
            f"{subject.agent_name} does not plan: its policy acts by itself, or under skills that "
            "are drawn. Give a checkpoint of LSP, LSP-FixedPolicy or PlaNet."
        )
    agent.watch_plan = watcher
    try:
        steps = episode(subject)
        places, plans = [place_of(next(steps).info)], 0
        for step in steps:
            plans += bool(step.extras["planned"])
            if plans > number:
                break
            watcher.calls.clear()
            places = [place_of(step.info)]
        else:
            raise PlotError(f"the episode has {plans} plans, counted from 0: there is no {number}.")
    finally:
        agent.watch_plan = None
    each = 1 if agent.settings.plans_actions else agent.settings.skills.longest
    horizon = planner.skills * each
    places += [place_of(s.info) for s in [step, *islice(steps, horizon - 1)]]
    return _trace(subject, watcher.calls, places)


def _trace(subject: Subject, calls: list[Considered], places: list[Place | None]) -> PlanTrace:
    *iterations, (state, ends, durations, returns) = calls
    candidates = [call[1][0] for call in iterations]
    imagined = None
    if places[0] is not None:
        shown = torch.cat([candidates[-1], ends[0, 1:]])
        imagined = _decode_places(subject, state, shown, durations)
    return PlanTrace(
        [part.numpy() for part in candidates],
        [call[3][0].numpy() for call in iterations],
        float(returns[0, 0]),
        float(returns[0, 1]),
        ends[0, 1].numpy(),
        imagined,
        None if places[0] is None else np.array(places),
        getattr(subject.env.unwrapped, "layout", None),
    )


def _decode_places(
    subject: Subject, state: State, candidates: Tensor, durations: Tensor
) -> np.ndarray | None:
    """Where the model sees itself go under candidates (G, S, Z): (G, H + 1, 2) in m."""
    key, part = slices_of(subject).get("position", ("", slice(0)))
    if part.stop - part.start != 2:
        return None
    agent = subject.agent
    with torch.inference_mode():
        imagined = agent.follow(state, candidates[None], durations, subject.generator())
        decoded = agent.world_model.decoder.decode_vectors(imagined.features)[key]
    return decoded[..., part].transpose(0, 1).numpy()


def draw_plan(shown: PlanTrace, title: str) -> Figure:
    """Returns over iterations, the last candidates as skills, and where they would lead."""
    panels = 2 if shown.imagined is None else 3
    figure = new_figure(4.2 * panels, 4.4)
    figure.suptitle(title, fontsize=11)
    returns, space, *floor = figure.subplots(1, panels)
    _draw_returns(returns, shown)
    _draw_space(space, shown)
    if floor:
        _draw_floor(floor[0], shown)
    figure.colorbar(_scale(shown), ax=[space, *floor], label="imagined return", shrink=0.8)
    return figure


def _scale(shown: PlanTrace) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(shown.returns[-1].min(), shown.returns[-1].max()), SCORES)


def _draw_returns(axes: Axes, shown: PlanTrace) -> None:
    for iteration, returns in enumerate(shown.returns, 1):
        # Side by side, in no meaningful order.
        beside = iteration + 0.3 * np.linspace(-1, 1, len(returns))
        label = "candidate" if iteration == 1 else None
        axes.plot(beside, returns, ".", color=GREY, ms=4, label=label)
    numbers = np.arange(1, len(shown.returns) + 1)
    middle = [np.median(returns) for returns in shown.returns]
    axes.plot(numbers, middle, "s-", color=BLUE, ms=6, label="their median")
    axes.plot(0, shown.before, "D", color=BLACK, ms=7, mfc="white", label="mean before")
    axes.plot(numbers[-1] + 1, shown.after, "*", color=VERMILLION, ms=13, label="plan")
    axes.set_xticks([0, *numbers, numbers[-1] + 1], ["start", *numbers, "plan"])
    axes.set(xlabel="iteration", ylabel="imagined return")
    axes.set_title(f"gain {shown.after - shown.before:+.3g}", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)


def _draw_space(axes: Axes, shown: PlanTrace) -> None:
    """The first two dimensions of the first skill."""
    first = shown.candidates[-1][:, 0]
    of = f", 2 of {first.shape[1]} dimensions" if first.shape[1] > 2 else ""
    flat, chosen = _flat(first), _flat(shown.chosen[:1])[0]
    colours = _scale(shown).to_rgba(shown.returns[-1])
    axes.scatter(flat[:, 0], flat[:, 1], c=colours, s=28)
    axes.plot(*chosen, "*", color=VERMILLION, ms=14, mec=BLACK)
    axes.set(xlabel="$z_1$", ylabel="$z_2$" if first.shape[1] > 1 else "")
    axes.set_title(f"last candidates, first skill{of}", fontsize=10)
    axes.grid(alpha=0.25)


def _flat(skills: np.ndarray) -> np.ndarray:
    """(n, Z) → (n, 2)."""
    return np.pad(skills[:, :2], ((0, 0), (0, max(0, 2 - skills.shape[1]))))


def _draw_floor(axes: Axes, shown: PlanTrace) -> None:
    assert shown.imagined is not None
    assert shown.happened is not None
    *others, chosen = shown.imagined
    colours = _scale(shown).to_rgba(shown.returns[-1])
    draw_layout(axes, shown.layout)
    for index in np.argsort(shown.returns[-1]):
        axes.plot(*others[index].T, color=colours[index], lw=0.9)
    axes.plot(*chosen.T, color=VERMILLION, lw=2.4, ls="--", label="plan, imagined")
    axes.plot(*shown.happened.T, color=BLACK, lw=2.0, label="what happened")
    draw_start(axes, shown.happened[0])
    as_floor(axes)
    axes.set_title("where they would lead", fontsize=10)
    axes.legend(fontsize=8)
