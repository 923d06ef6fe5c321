"""Goals: what the upper level asks of the lower, and which it should have asked, by hindsight.

A goal is a wanted change of some entries of the observation. As these change while the goal is
held, it is told anew at each step, `h(s, g, s') = s[:k] + g - s'[:k]`: what is still missing.
The place aimed at, `s[:k] + g`, is the same all the while, and so a goal is remembered as the
*choice* in [-1, 1]^k that was made, in units of the range, and the *anchor* s[:k] where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.hiro.settings import GoalSettings

Actor = Callable[[Tensor], Tensor]
"""Inputs (..., D + k), a state and what is missing in units of the range → actions (..., A)."""

AT_ONCE = 10
"""Segments scored at once: what stays in a core's cache takes little more than half the time."""


class Segments(NamedTuple):
    """B stretches of a goal's duration c, some of them cut short by the end of an episode."""

    state: Tensor
    """What the lower level saw besides the goal, (B, c + 1, D)."""
    view: Tensor
    """The entries of it that goals are about, (B, c + 1, k)."""
    action: Tensor
    """Taken in each state but the last, (B, c, A)."""
    reward: Tensor
    """What they earned, (B, c)."""
    choice: Tensor
    """Made in the first state, (B, k) in [-1, 1]."""
    happened: Tensor
    """1 for decisions of this episode, 0 for what came after its end, (B, c)."""
    goes_on: Tensor
    """0 where the task ended within the segment, else 1, (B,)."""

    @property
    def length(self) -> Tensor:
        """Decisions that happened, (B,) int64."""
        return self.happened.sum(1).long()

    @property
    def end(self) -> Tensor:
        """The last state of the segment, (B, D)."""
        return _pick(self.state, self.length)

    @property
    def achieved(self) -> Tensor:
        """The change that came about, (B, k)."""
        return _pick(self.view, self.length) - self.view[:, 0]


def _pick(steps: Tensor, index: Tensor) -> Tensor:
    """Of each row of (B, T, ·) the step at `index` (B,): (B, ·)."""
    return steps[torch.arange(len(steps), device=steps.device), index]


def transition(view: Tensor, goal: Tensor, next_view: Tensor) -> Tensor:
    """h(s, g, s'): what of a goal is still missing after a step, (..., k) in the view's units."""
    return view + goal - next_view


def distance(view: Tensor, goal: Tensor, next_view: Tensor) -> Tensor:
    """‖s[:k] + g - s'[:k]‖: (..., k) → (...); its negative is the lower level's reward."""
    return torch.linalg.vector_norm(transition(view, goal, next_view), dim=-1)


def relabelled(
    actor: Actor,
    segments: Segments,
    scale: Tensor,
    settings: GoalSettings,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choices (B, k) under which today's lower level would most likely act as was acted.

    `scale` (k,): the range. All candidates of all segments are scored in one batch.
    """
    choices = candidates(segments, scale, settings, generator)
    best = scores(actor, segments, choices, scale).argmax(1)
    return _pick(choices, best)


def candidates(
    segments: Segments,
    scale: Tensor,
    settings: GoalSettings,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choices (B, n + 2, k): the original, the achieved change, and n drawn around the latter."""
    achieved = (segments.achieved / scale).unsqueeze(1)
    shape = (len(achieved), settings.candidates, achieved.shape[-1])
    noise = torch.randn(shape, generator=generator, device=achieved.device, dtype=achieved.dtype)
    drawn = achieved + settings.candidate_std * noise
    around = torch.cat([achieved, drawn], 1).clamp_(-1.0, 1.0)
    return torch.cat([segments.choice.unsqueeze(1), around], 1)


def scores(actor: Actor, segments: Segments, choices: Tensor, scale: Tensor) -> Tensor:
    """Log-likelihood, up to a constant, of the actions taken under choices (B, n, k): (B, n)."""
    steps = segments.action.shape[1]
    view = segments.view.unsqueeze(1)
    missing = (view[:, :, :1] - view[:, :, :steps]) / scale + choices.unsqueeze(2)
    state = segments.state[:, None, :steps].expand(-1, choices.shape[1], -1, -1)
    inputs = torch.cat([state, missing], -1).split(AT_ONCE)
    error = torch.cat([actor(part) for part in inputs]) - segments.action.unsqueeze(1)
    return -(error.square().sum(-1) * segments.happened.unsqueeze(1)).sum(-1)
