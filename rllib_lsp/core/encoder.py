"""Observations to embeddings and model features back to observations.

An observation is a dict of named vectors; a plain Box is a dict with one key. Vectors are
squashed by symlog, so that no normalisation statistics have to travel with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rllib_lsp.core.distributions import symlog
from rllib_lsp.core.networks import mlp

ObservationSpec = Mapping[str, int]
"""Width of each named observation vector."""


def _concatenate(observation: Mapping[str, Tensor], spec: ObservationSpec) -> Tensor:
    """Named vectors (..., width) in the order of `spec` → one symlog vector (..., sum)."""
    for key, width in spec.items():
        if key not in observation:
            raise KeyError(f"observation lacks {key!r}; it has {sorted(observation)}")
        if observation[key].shape[-1] != width:
            shape = tuple(observation[key].shape)
            raise ValueError(f"observation {key!r} has shape {shape}, expected (..., {width})")
    return symlog(torch.cat([observation[key] for key in spec], -1))


class Encoder(nn.Module):
    """Named vectors → embedding (..., hidden)."""

    def __init__(self, spec: ObservationSpec, hidden: int, layers: int) -> None:
        super().__init__()
        self.spec = dict(spec)
        self.size = hidden
        self.network = mlp(sum(spec.values()), hidden, layers)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """{key: (..., width)} → (..., hidden)."""
        return self.network(_concatenate(observation, self.spec))


class Decoder(nn.Module):
    """Model features → reconstruction of every named vector, in symlog units."""

    def __init__(self, spec: ObservationSpec, features: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.spec = dict(spec)
        self.network = mlp(features, hidden, layers, sum(spec.values()))

    def loss(self, features: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """Squared error in symlog units, summed over the observation: → (...)."""
        target = _concatenate(observation, self.spec)
        return (self.network(features) - target).square().sum(-1)
