"""The skill-conditioned policy q(a | s, z) and the value v(s)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rllib_lsp.core.distributions import TwoHot
from rllib_lsp.core.networks import mlp
from rllib_lsp.core.settings import BehaviourSettings

VALUE_LAYERS = 2


class Policy(nn.Module):
    """q(a | s, z): Normal with mean in (-1, 1) and a bounded deviation (DreamerV3)."""

    def __init__(self, features: int, skill: int, action: int, settings: BehaviourSettings) -> None:
        super().__init__()
        self.min_std, self.max_std = settings.min_std, settings.max_std
        # A small output keeps first actions near zero and deviations in mid range.
        self.network = mlp(
            features + skill, settings.hidden, settings.layers, 2 * action, output_scale=0.01
        )

    def forward(self, features: Tensor, skill: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D), (..., Z) → mean and std of the action, each (..., A)."""
        raw_mean, raw_std = self.network(torch.cat([features, skill], -1)).chunk(2, -1)
        # +2 starts exploration near the greatest deviation.
        spread = self.max_std - self.min_std
        return torch.tanh(raw_mean), self.min_std + spread * torch.sigmoid(raw_std + 2.0)


class Value(nn.Module):
    """v(s), not conditioned on the skill, with a slow copy that steadies its targets."""

    def __init__(self, features: int, bins: int, settings: BehaviourSettings) -> None:
        super().__init__()
        self.two_hot = TwoHot(bins)
        self.network = mlp(features, settings.hidden, VALUE_LAYERS, bins, output_scale=0.0)
        self.slow_network = copy.deepcopy(self.network).requires_grad_(False)
        self._rate = settings.slow_value_rate

    def logits(self, features: Tensor) -> Tensor:
        """(..., D) → (..., bins)."""
        return self.network(features)

    @torch.no_grad()
    def slow(self, features: Tensor) -> Tensor:
        """The slow copy's value: (..., D) → (...)."""
        return self.two_hot.mean(self.slow_network(features))

    @torch.no_grad()
    def update_slow(self) -> None:
        """Move the slow copy towards the value; call once after each optimiser step."""
        slow = [p.data for p in self.slow_network.parameters()]
        fast = [p.data for p in self.network.parameters()]
        torch._foreach_lerp_(slow, fast, self._rate)
