"""Actions: what kinds there are, and the policy's distribution over each.

Inside the agent every action is a float vector: a Box in [-1, 1], or a one-hot choice.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rllib_lsp.core.distributions import normal_entropy, sample_normal
from rllib_lsp.core.settings import BehaviourSettings


class ActionSpec(NamedTuple):
    """An action space."""

    size: int
    """Dimensions of the Box, or number of choices."""
    discrete: bool = False

    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Uniform actions (count, size), float32."""
        if self.discrete:
            return np.eye(self.size, dtype=np.float32)[generator.integers(self.size, size=count)]
        return generator.uniform(-1.0, 1.0, (count, self.size)).astype(np.float32)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Actions (..., size) as the environment takes them: choices become their number."""
        return action.argmax(-1) if self.discrete else action

    def from_env(self, action: np.ndarray) -> np.ndarray:
        """Actions (..., size) in [-1, 1] of what an environment took: one-hot, or clipped."""
        if self.discrete:
            return np.eye(self.size, dtype=np.float32)[action]
        return np.clip(action, -1.0, 1.0).astype(np.float32)


class ActionDistribution(Protocol):
    """A distribution over actions, as functions of the policy network's output."""

    parameter_size: int

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Differentiable sample: (..., parameter_size) → (..., A)."""
        ...

    def mode(self, parameters: Tensor) -> Tensor:
        """What a greedy agent does: → (..., A)."""
        ...

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats, summed over the action: → (...)."""
        ...

    def add_noise(self, action: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`action` (..., A) with the exploration noise of the settings."""
        ...


def make_action_distribution(spec: ActionSpec, settings: BehaviourSettings) -> ActionDistribution:
    """The distribution for `spec` that the settings ask for."""
    if spec.discrete:
        return OneHot(spec.size, settings.action_noise)
    return (
        TanhNormal(spec.size, settings)
        if settings.policy == "tanh"
        else BoundedNormal(spec.size, settings)
    )


class BoundedNormal:
    """Normal with mean in (-1, 1) and deviation in [min_std, max_std] (DreamerV3)."""

    def __init__(self, size: int, settings: BehaviourSettings) -> None:
        self.parameter_size = 2 * size
        self._low, self._spread = settings.min_std, settings.max_std - settings.min_std
        self._noise = settings.action_noise

    def moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation, each (..., A)."""
        mean, raw_std = parameters.chunk(2, -1)
        # +2 starts exploration near the greatest deviation.
        return torch.tanh(mean), self._low + self._spread * torch.sigmoid(raw_std + 2.0)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return sample_normal(*self.moments(parameters), generator)

    def mode(self, parameters: Tensor) -> Tensor:
        return self.moments(parameters)[0]

    def entropy(self, parameters: Tensor) -> Tensor:
        return normal_entropy(self.moments(parameters)[1])

    def add_noise(self, action: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _noisy(action, self._noise, generator)


class TanhNormal:
    """tanh of a Normal, its mean softly bounded to ±5 (Dreamer v1)."""

    MEAN_SCALE, INITIAL_STD, MIN_STD = 5.0, 5.0, 1e-4

    def __init__(self, size: int, settings: BehaviourSettings) -> None:
        self.parameter_size = 2 * size
        self._noise = settings.action_noise
        # softplus of it is the initial deviation.
        self._raw_initial_std = math.log(math.expm1(self.INITIAL_STD))

    def moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation before the tanh, each (..., A)."""
        mean, raw_std = parameters.chunk(2, -1)
        std = F.softplus(raw_std + self._raw_initial_std) + self.MIN_STD
        return self.MEAN_SCALE * torch.tanh(mean / self.MEAN_SCALE), std

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.tanh(sample_normal(*self.moments(parameters), generator))

    def mode(self, parameters: Tensor) -> Tensor:
        """tanh of the mean, which is the median: the density may have its peaks at ±1."""
        return torch.tanh(self.moments(parameters)[0])

    def entropy(self, parameters: Tensor) -> Tensor:
        """With the tanh's contraction taken at the median, as it has no closed form."""
        mean, std = self.moments(parameters)
        contraction = torch.log1p(-torch.tanh(mean).square() + 1e-6)
        return normal_entropy(std) + contraction.sum(-1)

    def add_noise(self, action: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _noisy(action, self._noise, generator)


class OneHot:
    """A choice, with 1 % of uniform probability and straight-through gradients (DreamerV2/V3)."""

    UNIMIX = 0.01

    def __init__(self, size: int, noise: float) -> None:
        self.parameter_size = size
        self._noise = noise

    def probabilities(self, parameters: Tensor) -> Tensor:
        """(..., A)."""
        share = self.UNIMIX / self.parameter_size
        return torch.softmax(parameters, -1) * (1.0 - self.UNIMIX) + share

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        probabilities = self.probabilities(parameters)
        rows = probabilities.detach().flatten(0, -2)
        choice = torch.multinomial(rows, 1, generator=generator).view(parameters.shape[:-1])
        one_hot = F.one_hot(choice, self.parameter_size).to(parameters.dtype)
        # The difference is zero, and carries the gradient.
        return one_hot + (probabilities - probabilities.detach())

    def mode(self, parameters: Tensor) -> Tensor:
        best = parameters.argmax(-1)
        return F.one_hot(best, self.parameter_size).to(parameters.dtype)

    def entropy(self, parameters: Tensor) -> Tensor:
        p = self.probabilities(parameters)
        return -(p * torch.log(p)).sum(-1)

    def add_noise(self, action: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if not self._noise:
            return action
        uniform = torch.full_like(action, 1.0 / self.parameter_size)
        choice = torch.multinomial(uniform, 1, generator=generator).squeeze(-1)
        other = F.one_hot(choice, self.parameter_size).to(action.dtype)
        noisy = torch.rand(action.shape[:-1], generator=generator, device=action.device)
        return torch.where((noisy < self._noise).unsqueeze(-1), other, action)


def _noisy(action: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    if not std:
        return action
    return sample_normal(action, torch.full_like(action, std), generator).clamp(-1.0, 1.0)
