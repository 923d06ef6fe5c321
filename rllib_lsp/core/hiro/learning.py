"""What an agent learns from replay: the lower level from single steps, the upper from segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.goals import Segments, distance, relabelled, transition
from rllib_lsp.core.hiro.td3 import Optimizers, Transitions
from rllib_lsp.core.settings import SettingsError


class Rows(NamedTuple):
    """Windows of consecutive replayed rows, (B, T, ·) and (B, T); a row holds what arrived
    together (the action that led there, ...) and the goal that was held from there on."""

    state: Tensor
    action: Tensor
    reward: Tensor
    is_first: Tensor
    terminated: Tensor
    choice: Tensor
    """See `goals`: (B, T, k) in [-1, 1]."""
    anchor: Tensor
    """(B, T, k)."""


@torch.no_grad()
def low_steps(agent: HIROAgent, rows: Rows) -> Transitions:
    """Pairs of rows, T = 2, as steps of the lower level, whose reward is to come near its goal."""
    state, after = rows.state.unbind(1)
    reward = rows.reward[:, 1]
    inputs, next_inputs = state, after
    if agent.goal_width:
        view, next_view = agent.view(state), agent.view(after)
        goal = rows.anchor[:, 0] + rows.choice[:, 0] * agent.goal_range - view
        reward = -distance(view, goal, next_view)
        inputs = agent.low_inputs(state, goal)
        # As in the paper, the goal goes on where its time is up, rather than change to the next.
        next_inputs = agent.low_inputs(after, transition(view, goal, next_view))
    goes_on, weight = 1.0 - rows.terminated[:, 1].float(), 1.0 - rows.is_first[:, 1].float()
    return Transitions(inputs, rows.action[:, 1], reward, next_inputs, goes_on, weight)


@torch.no_grad()
def segments(agent: HIROAgent, rows: Rows) -> Segments:
    """Windows of T = c + 1 rows, each of which begins where a goal was chosen."""
    # What follows the end of an episode is another one's.
    happened = 1.0 - rows.is_first[:, 1:].float().cummax(1).values
    ended = (rows.terminated[:, 1:].float() * happened).amax(1)
    return Segments(
        rows.state,
        agent.view(rows.state),
        rows.action[:, 1:],
        rows.reward[:, 1:],
        rows.choice[:, 0],
        happened,
        1.0 - ended,
    )


@torch.no_grad()
def high_steps(
    agent: HIROAgent, found: Segments, generator: torch.Generator | None = None
) -> Transitions:
    """Segments as steps of the upper level, with goals as the lower level is today."""
    goals = agent.settings.goals
    choice = found.choice
    if goals.relabel:
        choice = relabelled(agent.low.actor, found, agent.goal_range, goals, generator)
    reward = (found.reward * found.happened).sum(1)
    # A goal that was chosen in the last state of an episode has led nowhere.
    weight = found.happened[:, 0]
    return Transitions(found.state[:, 0], choice, reward, found.end, found.goes_on, weight)


def learn(
    agent: HIROAgent,
    pairs: Rows,
    updates: int,
    windows: Rows | None,
    optimizers: Mapping[str, Optimizers],
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """So many `updates` of the lower level, on equal parts of `pairs`, then one of the upper on
    `windows`.

    Returns scalars to log, means over the updates.
    """
    logged: dict[str, list[Tensor]] = {}
    steps = low_steps(agent, pairs)
    if agent.goal_width:
        # A pair over the end of an episode is no step.
        counted = steps.weight.sum().clamp(min=1)
        logged["goal_distance"] = [-(steps.reward * steps.weight).sum() / counted]
    for parts in zip(*(part.chunk(updates) for part in steps), strict=True):
        part = Transitions(*parts)
        _collect(logged, "low", agent.low.update(part, optimizers["low"], generator))
    if agent.high is not None and windows is not None:
        found = segments(agent, windows)
        steps = high_steps(agent, found, generator)
        changed = (steps.action != found.choice).any(-1).float().mean()
        logged["relabelled"] = [changed]
        _collect(logged, "high", agent.high.update(steps, optimizers["high"], generator))
    return {name: torch.stack(values).mean() for name, values in logged.items()}


def _collect(logged: dict[str, list[Tensor]], level: str, found: Mapping[str, Tensor]) -> None:
    for name, value in found.items():
        logged.setdefault(f"{level}_{name}", []).append(value)


def measured_range(agent: HIROAgent, state: Tensor) -> Tensor:
    """Ranges (k,) of goals from states (n, D) that random decisions led to.

    Raises SettingsError naming an entry that never changed.
    """
    deviation = agent.view(state).std(0)
    still = zip(agent.goal_names, (deviation > 0).tolist(), strict=True)
    constant = [name for name, changed in still if not changed]
    if constant:
        raise SettingsError(
            f"goals.features holds {', '.join(constant)}, which did not change in {len(state)} "
            f"random decisions: leave it out, or give goals.range."
        )
    return agent.settings.goals.range_std * deviation
