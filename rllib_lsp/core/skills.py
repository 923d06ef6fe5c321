"""Skills and the predictor q(z | {s}, s0), which tells them apart by where they lead.

Its likelihood is a lower bound on the mutual information between a skill and the states it
leads to (LSP, section 3.2; Barber & Agakov 2003):
MI(z, {s} | s0) >= E[log q(z | {s}, s0)] + H[p(z | s0)].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_lsp.core.distributions import normal_log_prob
from rllib_lsp.core.networks import mlp

PREDICTOR_LAYERS = 2
MIN_STD = 0.1


class SkillPredictor(nn.Module):
    """q(z | {s}, s0): which skill led along these states?"""

    def __init__(self, features: int, skill: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(3 * features, hidden, PREDICTOR_LAYERS, 2 * skill)

    def forward(self, segment: Tensor) -> tuple[Tensor, Tensor]:
        """Segments (K + 1, N, D), start state first → mean and std of z, each (N, Z)."""
        start, end = segment[0], segment[-1]
        summary = torch.cat([end - start, start, segment[1:].mean(0)], -1)
        mean, raw_std = self.network(summary).chunk(2, -1)
        return mean, F.softplus(raw_std) + MIN_STD

    def log_prob(self, segment: Tensor, skill: Tensor) -> Tensor:
        """log q of the skill (N, Z) held along segments (K + 1, N, D): → (N,), in nats."""
        return normal_log_prob(skill, *self(segment))


def segments(features: Tensor, duration: int) -> list[Tensor]:
    """Whole skill segments of a trajectory: (H + 1, N, D) → list of (duration + 1, N, D).

    A last skill that the horizon cuts short gives none.
    """
    whole = (features.shape[0] - 1) // duration
    return [features[i * duration : (i + 1) * duration + 1] for i in range(whole)]


def skills_needed(horizon: int, duration: int) -> int:
    """How many skills `horizon` decisions take when each is held for `duration`."""
    return -(-horizon // duration)
