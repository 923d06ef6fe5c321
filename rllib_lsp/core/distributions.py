"""Probability distributions, as functions of tensors.

`torch.distributions` validates its arguments with device-to-host syncs on every call, so
the few distributions needed here are written out. Every sampler takes an optional
`torch.Generator`, so that acting can be reproduced bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)


def symlog(x: Tensor) -> Tensor:
    """sign(x)·log(1+|x|): compresses magnitudes, identity near zero (DreamerV3, eq. 1)."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


def normal_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density of a diagonal Normal, summed over the last axis: (..., D) → (...), in nats."""
    scaled = (x - mean) / std
    return -(0.5 * scaled.square() + torch.log(std) + 0.5 * LOG_2PI).sum(-1)


def normal_entropy(std: Tensor) -> Tensor:
    """Entropy of a diagonal Normal, summed over the last axis, in nats."""
    return (torch.log(std) + 0.5 * (1.0 + LOG_2PI)).sum(-1)


def normal_kl(mean_q: Tensor, std_q: Tensor, mean_p: Tensor, std_p: Tensor) -> Tensor:
    """KL(q ‖ p) of diagonal Normals, summed over the last axis: (..., D) → (...), in nats."""
    ratio = (std_q / std_p).square()
    shift = ((mean_q - mean_p) / std_p).square()
    return 0.5 * (ratio + shift - 1.0 - torch.log(ratio)).sum(-1)


def shared_noise(
    draw: Callable[..., Tensor],
    like: Tensor,
    shared: int,
    generator: torch.Generator | None,
) -> Tensor:
    """`draw` (torch.rand or randn) of the shape of `like` (N, ...), the same for each block of
    `shared` consecutive rows."""
    shape = (like.shape[0] // shared, *like.shape[1:]) if shared > 1 else like.shape
    noise = draw(shape, generator=generator, device=like.device, dtype=like.dtype)
    return noise.repeat_interleave(shared, 0) if shared > 1 else noise


def sample_normal(
    mean: Tensor, std: Tensor, generator: torch.Generator | None = None, shared: int = 1
) -> Tensor:
    """Reparameterised sample, the shape of `mean`; for `shared` see `shared_noise`."""
    return mean + std * shared_noise(torch.randn, mean, shared, generator)


class Latent(Protocol):
    """The stochastic part of the model state; see `GaussianLatent` and `CategoricalLatent`."""

    size: int
    """Width of a sample."""
    parameter_size: int
    """Width of the network output that parameterises the distribution."""

    def sample(
        self, parameters: Tensor, generator: torch.Generator | None = None, shared: int = 1
    ) -> Tensor:
        """Differentiable sample: (..., parameter_size) → (..., size).

        Each block of `shared` consecutive rows gets the same noise.
        """
        ...

    def kl(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """KL(posterior ‖ prior) from parameters, summed over the latent: → (...), in nats."""
        ...

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropy summed over the latent: → (...), in nats (differential for a Gaussian)."""
        ...


class GaussianLatent:
    """Diagonal Normal, std = softplus(·) + 0.1 (Dreamer v1)."""

    MIN_STD = 0.1

    def __init__(self, size: int) -> None:
        self.size = size
        self.parameter_size = 2 * size

    def moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std, each (..., size)."""
        mean, raw_std = parameters.chunk(2, -1)
        return mean, F.softplus(raw_std) + self.MIN_STD

    def sample(
        self, parameters: Tensor, generator: torch.Generator | None = None, shared: int = 1
    ) -> Tensor:
        return sample_normal(*self.moments(parameters), generator, shared)

    def kl(self, posterior: Tensor, prior: Tensor) -> Tensor:
        return normal_kl(*self.moments(posterior), *self.moments(prior))

    def entropy(self, parameters: Tensor) -> Tensor:
        return normal_entropy(self.moments(parameters)[1])


class CategoricalLatent:
    """Independent one-hot variables with straight-through gradients (DreamerV2/V3).

    A share `UNIMIX` of uniform probability keeps every KL finite (DreamerV3).
    """

    UNIMIX = 0.01

    def __init__(self, variables: int, classes: int) -> None:
        self.variables, self.classes = variables, classes
        self.size = self.parameter_size = variables * classes

    def probabilities(self, parameters: Tensor) -> Tensor:
        """(..., variables·classes) logits → (..., variables, classes) probabilities."""
        logits = parameters.unflatten(-1, (self.variables, self.classes))
        return torch.softmax(logits, -1) * (1.0 - self.UNIMIX) + self.UNIMIX / self.classes

    def sample(
        self, parameters: Tensor, generator: torch.Generator | None = None, shared: int = 1
    ) -> Tensor:
        probabilities = self.probabilities(parameters)
        with torch.no_grad():
            # Inverse CDF: one uniform per variable, where Gumbel or multinomial sampling
            # draws one per class (an eighth of an update on a CPU).
            cdf = torch.cumsum(probabilities, -1)
            uniform = shared_noise(torch.rand, cdf[..., -1:], shared, generator)
            reached = (cdf >= uniform * cdf[..., -1:]).to(cdf.dtype)
            one_hot = torch.diff(reached, dim=-1, prepend=torch.zeros_like(reached[..., :1]))
        return (one_hot + (probabilities - probabilities.detach())).flatten(-2)

    def kl(self, posterior: Tensor, prior: Tensor) -> Tensor:
        q, p = self.probabilities(posterior), self.probabilities(prior)
        return (q * (torch.log(q) - torch.log(p))).sum((-2, -1))

    def entropy(self, parameters: Tensor) -> Tensor:
        p = self.probabilities(parameters)
        return -(p * torch.log(p)).sum((-2, -1))


class Scalar(Protocol):
    """A distribution over rewards or values; see `TwoHot` and `UnitNormal`."""

    size: int
    """Width of the network output that parameterises it."""

    def mean(self, parameters: Tensor) -> Tensor:
        """(..., size) → (...)."""
        ...

    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Log-likelihood of a target, in nats: (..., size), (...) → (...), or of several targets
        at once, which costs little more than one: (..., size), (..., K) → (..., K)."""
        ...


class UnitNormal:
    """Normal with deviation 1: squared error (Dreamer v1)."""

    size = 1

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.squeeze(-1)

    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        mean = parameters if target.dim() == parameters.dim() else parameters.squeeze(-1)
        return -0.5 * ((mean - target).square() + LOG_2PI)


class TwoHot:
    """Categorical over bins that are evenly spaced in symlog space, for rewards and values.

    A scalar target is spread over its two neighbouring bins, and what is told is symexp(Σ p·b),
    as in TD-MPC2. Where more than one outcome is possible that is less than the expectation: of
    156 with a chance of 1 in 10 it tells 0.7. Σ p·symexp(b), as in DreamerV3, was not found to
    learn better (docs/results.md); its bins reach to 5e8, which multiplies every error in p, and
    gradients *through* the mean, which the dynamics actor needs.
    """

    LIMIT = 10.0

    def __init__(self, bins: int) -> None:
        self.bins = self.size = bins
        self._step = 2.0 * self.LIMIT / (bins - 1)

    def _centres(self, like: Tensor) -> Tensor:
        return torch.linspace(
            -self.LIMIT, self.LIMIT, self.bins, device=like.device, dtype=like.dtype
        )

    def mean(self, logits: Tensor) -> Tensor:
        """(..., bins) → (...)."""
        # In bfloat16 a mean of bins would come out a percent off.
        with torch.autocast(logits.device.type, enabled=False):
            return symexp(torch.softmax(logits, -1) @ self._centres(logits))

    def log_prob(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy against the two-hot target, in nats: (..., bins), (...) → (...), or
        (..., bins), (..., K) → (..., K)."""
        if target.dim() < logits.dim():
            return self.log_prob(logits, target.unsqueeze(-1)).squeeze(-1)
        position = (symlog(target).clamp(-self.LIMIT, self.LIMIT) + self.LIMIT) / self._step
        low = position.floor().clamp(max=self.bins - 2)
        share = position - low
        # Of NaN the share is NaN, and so the answer; as an index it would end the program.
        index = low.nan_to_num().long()
        # One gather for all, as each costs a pass over the logits backwards.
        neighbours = torch.log_softmax(logits, -1).gather(-1, torch.cat([index, index + 1], -1))
        low_p, high_p = neighbours.chunk(2, -1)
        return low_p * (1.0 - share) + high_p * share
