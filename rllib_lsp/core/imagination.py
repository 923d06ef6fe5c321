"""Roll-outs of the policy in the world model under held skills, and their returns.

Imagined tensors are time-major, (H, N, ...): they are made one step at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.distributions import sample_normal
from rllib_lsp.core.policy import Policy
from rllib_lsp.core.rssm import RSSM, State


class Trajectory(NamedTuple):
    """N roll-outs of H steps."""

    features: Tensor
    """(H + 1, N, D), the start state first."""
    action_std: Tensor
    """(H, N, A), deviations of the policy."""


def imagine(
    rssm: RSSM,
    policy: Policy,
    start: State,
    skills: Tensor,
    *,
    duration: int,
    horizon: int,
    explore: bool,
    generator: torch.Generator | None = None,
) -> Trajectory:
    """Roll the prior dynamics forward with q(a | s, z).

    start (N, ·); skills (N, S, Z), each held for `duration` steps, S·duration >= horizon.
    Gradients reach the policy through its actions and the dynamics; its inputs are
    cut off (Dreamer v1). With `explore` actions are sampled, else they are the mean.
    """
    state, features, deviations = start, [start.features], []
    for step in range(horizon):
        skill = skills[:, step // duration]
        mean, std = policy(features[-1].detach(), skill)
        action = sample_normal(mean, std, generator) if explore else mean
        state = rssm.imagine_step(state, action, generator)
        features.append(state.features)
        deviations.append(std)
    return Trajectory(torch.stack(features), torch.stack(deviations))


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
        low, high = torch.quantile(
            returns.flatten(), torch.tensor([self.LOW, self.HIGH], device=returns.device)
        )
        # One bad batch must not spoil the scale for ever.
        width = torch.where(torch.isfinite(high - low), high - low, self.scale)
        self.scale.lerp_(width, 1.0 - self.DECAY)
        return self.scale.clamp(min=self.FLOOR)
