"""Skills: how long each is held, the predictor that tells them apart, and their learned prior.

The predictor's likelihood is a lower bound on the mutual information between a skill and the
states it leads to (LSP, section 3.2; Barber & Agakov 2003):
MI(z, {s} | s0) >= E[log q(z | {s}, s0)] + H[p(z | s0)].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_lsp.core.distributions import normal_kl, normal_log_prob
from rllib_lsp.core.networks import mlp
from rllib_lsp.core.parallel import count_of_learners
from rllib_lsp.core.settings import BehaviourSettings, SkillSettings


def draw_durations(
    durations: tuple[int, ...], count: int, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """One of `durations` for each of `count` skills: (count,) int64."""
    if len(durations) == 1:
        return torch.full((count,), durations[0], device=device)
    choice = torch.randint(len(durations), (count,), generator=generator, device=device)
    return torch.tensor(durations, device=device)[choice]


def tell(skill: Tensor, left: Tensor, settings: SkillSettings) -> Tensor:
    """What the policy is told: the skill (..., Z) and, if durations vary, the decisions that are
    `left` of it (...): → (..., told)."""
    if settings.told == skill.shape[-1]:
        return skill
    return with_time_left(skill, left, settings)


def with_time_left(skill: Tensor, left: Tensor, settings: SkillSettings) -> Tensor:
    """The skill (..., Z) and the share of the longest that is `left` of it: → (..., Z + 1)."""
    return torch.cat([skill, (left / settings.longest).unsqueeze(-1)], -1)


class Schedule(NamedTuple):
    """Which skills N roll-outs are under in their states 0 … H."""

    skill: Tensor
    """(H + 1, N, Z)."""
    left: Tensor
    """(H + 1, N): decisions until it ends."""


def schedule(skills: Tensor, durations: Tensor, horizon: int) -> Schedule:
    """Skills (N, S, Z) one after the other, each of a row held for `durations` (N,) decisions.

    The last one is held for longer if need be.
    """
    step = torch.arange(horizon + 1, device=skills.device).unsqueeze(1)
    index = (step // durations).clamp(max=skills.shape[1] - 1)
    held = skills.transpose(0, 1).gather(0, index.unsqueeze(-1).expand(-1, -1, skills.shape[-1]))
    return Schedule(held, durations - step % durations)


class Segment(NamedTuple):
    """The states along which one skill was held, summarised, for N roll-outs."""

    start: Tensor
    """(N, D)."""
    end: Tensor
    """(N, D)."""
    mean: Tensor
    """(N, D), of the states after the start."""
    last: Tensor
    """(N,) int64: step of the end state."""
    whole: Tensor
    """(N,) bool: the skill ended within the roll-out; where not, the rest is of no meaning."""


def segments(states: Tensor, durations: Tensor, shortest: int) -> list[Segment]:
    """The 1st, 2nd, … skill segment of each roll-out: states (H + 1, N, D), durations (N,)."""
    horizon = states.shape[0] - 1
    summed = states.cumsum(0)
    found = []
    for number in range(horizon // shortest):
        first, last = number * durations, (number + 1) * durations
        whole = last <= horizon
        ends = [_at(summed, step.clamp(max=horizon)) for step in (first, last)]
        mean = (ends[1] - ends[0]) / durations.unsqueeze(-1)
        start, end = (_at(states, step.clamp(max=horizon)) for step in (first, last))
        found.append(Segment(start, end, mean, last.clamp(max=horizon), whole))
    return found


def _at(states: Tensor, step: Tensor) -> Tensor:
    """Row n of `states` (H + 1, N, D) at `step[n]`: → (N, D)."""
    return states[step, torch.arange(states.shape[1], device=states.device)]


class SkillPredictor(nn.Module):
    """q(z | {s}, s0): which skill led along these states?"""

    def __init__(self, states: int, skills: SkillSettings, behaviour: BehaviourSettings) -> None:
        super().__init__()
        self.network = mlp(
            3 * states,
            behaviour.hidden,
            behaviour.value_layers,
            2 * skills.dim,
            block=behaviour.block,
        )
        self.min_std = skills.predictor_min_std

    def forward(self, segment: Segment) -> tuple[Tensor, Tensor]:
        """Mean and std of z, each (N, Z)."""
        summary = torch.cat([segment.end - segment.start, segment.start, segment.mean], -1)
        mean, raw_std = self.network(summary).chunk(2, -1)
        return mean, F.softplus(raw_std) + self.min_std

    def log_prob(self, segment: Segment, skill: Tensor) -> Tensor:
        """log q of the skill (N, Z) that was held along the segment: → (N,), in nats."""
        return normal_log_prob(skill, *self(segment))


class SkillPrior(nn.Module):
    """p(z | s), distilled from plans: what the planner would probably decide here."""

    def __init__(self, features: int, skill: int, settings: BehaviourSettings) -> None:
        super().__init__()
        self.network = mlp(
            features,
            settings.hidden,
            settings.value_layers,
            2 * skill,
            block=settings.block,
            output_scale=0.0,
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) → mean and std of z, each (..., Z); N(0, I) before any training."""
        mean, raw_std = self.network(features).chunk(2, -1)
        # softplus(0.54) = 1.
        return mean, F.softplus(raw_std + 0.5413) + 1e-3

    def loss(self, features: Tensor, mean: Tensor, std: Tensor, planned: Tensor) -> Tensor:
        """KL(plan ‖ prior) where a plan was made: scalar, in nats.

        features (..., D); mean, std (..., Z) of the plans; planned (...) bool.
        """
        kl = normal_kl(mean, std, *self(features))
        return (kl * planned).sum() / count_of_learners(planned)


def skills_needed(horizon: int, duration: int) -> int:
    """How many skills `horizon` decisions take when each is held for `duration`."""
    return -(-horizon // duration)
