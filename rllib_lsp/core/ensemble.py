"""An ensemble of small dynamics heads: where they disagree, the world model knows little."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_lsp.core.networks import mlp
from rllib_lsp.core.parallel import count_of_learners
from rllib_lsp.core.rssm import State, to_border
from rllib_lsp.core.settings import WorldModelSettings


class Ensemble(nn.Module):
    """Predicts the next stochastic state several times over (Plan2Explore, Sekar et al. 2020)."""

    def __init__(self, features: int, action: int, target: int, settings: WorldModelSettings):
        super().__init__()
        self.heads = nn.ModuleList(
            mlp(features + action, settings.head_hidden, 2, target, block=settings.block)
            for _ in range(settings.ensemble)
        )

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """(..., D), (..., A) that is taken there → predictions (heads, ..., X)."""
        inputs = torch.cat([features, to_border(action)], -1)
        return torch.stack([head(inputs) for head in self.heads])

    def disagreement(self, features: Tensor, action: Tensor) -> Tensor:
        """Variance over the heads, summed over the prediction: (..., D), (..., A) → (...)."""
        return self(features, action).var(0).sum(-1)

    def loss(self, states: State, action: Tensor, is_first: Tensor) -> Tensor:
        """Squared error on replayed states (B, T, ·) and actions (B, T, A) that led to them."""
        predicted = self(states.features[:, :-1], action[:, 1:])
        error = (predicted - states.stochastic[:, 1:]).square().sum(-1).mean(0)
        counts = ~is_first[:, 1:]
        return (error * counts).sum() / count_of_learners(counts)
