"""Roll-outs of the policy in the world model under held skills, and their returns.

Imagined tensors are time-major, (H, N, ...): they are made one step at a time.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rllib_lsp.core.parallel import all_learners
from rllib_lsp.core.rssm import RSSM, State


class Actor(Protocol):
    """A `Policy`, or planned actions in place of one."""

    def act(
        self, features: Tensor, skill: Tensor, explore: bool, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Features (N, D), what is told of the skill (N, told) → actions (N, A), entropies (N,)."""
        ...


class Trajectory(NamedTuple):
    """N roll-outs of H steps."""

    features: Tensor
    """(H + 1, N, D), the start state first."""
    reached: Tensor
    """(H, N, D), all but the start: cut once, as each cut costs a pass over them backwards."""
    actions: Tensor
    """(H, N, A), that led to states 1 … H."""
    entropy: Tensor
    """(H, N), of the policy, in nats."""


def imagine(
    rssm: RSSM,
    actor: Actor,
    start: State,
    told: Tensor,
    *,
    horizon: int,
    explore: bool,
    generator: torch.Generator | None = None,
    shared: int = 1,
) -> Trajectory:
    """Roll the prior dynamics forward with q(a | s, z).

    start (N, ·); told (at least H, N, told): what the policy is told of the skill in states
    0 … H-1. Gradients reach the policy through its actions and the dynamics; its inputs are
    cut off (Dreamer v1). With `explore` actions are sampled, else they are the mode. The
    dynamics' noise is the same for each block of `shared` consecutive roll-outs.
    """
    state, features = start, [start.features]
    actions, entropies = [], []
    for step in range(horizon):
        action, entropy = actor.act(features[-1].detach(), told[step], explore, generator)
        state = rssm.imagine_step(state, action, generator, shared)
        features.append(state.features)
        actions.append(action)
        entropies.append(entropy)
    seen = torch.stack(features)
    return Trajectory(seen, seen[1:], torch.stack(actions), torch.stack(entropies))


def lambda_return(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float) -> Tensor:
    """λ-returns R_0 … R_{H-1} (Dreamer v1, eq. 6).

    reward (H, N): received on reaching states 1 … H; discount (H, N): γ times the
    probability that the episode goes on after those; value (H + 1, N) of states 0 … H.
    R_t = r_{t+1} + d_{t+1} [(1 - λ) v_{t+1} + λ R_{t+1}], and R_H = v_H.
    """
    ahead = value[-1]
    returns = []
    for step in reversed(range(reward.shape[0])):
        mixed = torch.lerp(value[step + 1], ahead, lambda_)
        ahead = reward[step] + discount[step] * mixed
        returns.append(ahead)
    return torch.stack(returns[::-1])


def replay_return(
    reward: Tensor, discount: Tensor, value: Tensor, is_first: Tensor, lambda_: float
) -> tuple[Tensor, Tensor]:
    """λ-returns of T - 1 replayed steps, where a next state may be that of another episode.

    All (T, B), time-major; reward and discount arrive with the state they led to. Across the
    border of an episode that ended by truncation a return is the state's value itself.
    Returns the λ-returns (T - 1, B) and where they hold a reward, (T - 1, B) bool.
    """
    ahead = value[-1]
    returns = []
    for step in reversed(range(reward.shape[0] - 1)):
        mixed = torch.lerp(value[step + 1], ahead, lambda_)
        ahead = torch.where(
            is_first[step + 1], value[step], reward[step + 1] + discount[step + 1] * mixed
        )
        returns.append(ahead)
    return torch.stack(returns[::-1]), ~is_first[1:]


class ReturnScale(torch.nn.Module):
    """Running range of the returns, by which the policy's objective is divided (DreamerV3)."""

    DECAY, LOW, HIGH, FLOOR = 0.99, 0.05, 0.95, 1.0

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))

    @torch.no_grad()
    def update(self, returns: Tensor) -> Tensor:
        """Fold in new returns of any shape; gives the divisor, at least 1."""
        points = returns.new_tensor([self.LOW, self.HIGH])
        low, high = torch.quantile(all_learners(returns.flatten()), points)
        # One bad batch must not spoil the scale for ever.
        width = torch.where(torch.isfinite(high - low), high - low, self.scale)
        self.scale.lerp_(width, 1.0 - self.DECAY)
        return self.scale.clamp(min=self.FLOOR)
