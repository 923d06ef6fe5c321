"""Planning over skills with the cross-entropy method (CEM), for many environments at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.settings import PlannerSettings

Score = Callable[[Tensor], Tensor]
"""Candidates (N, G, S, Z) → expected returns (N, G)."""


class Plan(NamedTuple):
    """A diagonal Normal over the next skills of N environments."""

    mean: Tensor
    """(N, S, Z)."""
    std: Tensor
    """(N, S, Z)."""
    gain: Tensor
    """(N,): expected return of the plan's mean less that of the mean it started from."""


def _sample(mean: Tensor, std: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    shape = (mean.shape[0], count, *mean.shape[1:])
    noise = torch.randn(shape, generator=generator, device=mean.device)
    return mean.unsqueeze(1) + std.unsqueeze(1) * noise


@torch.no_grad()
def plan_skills(
    score: Score,
    mean: Tensor,
    settings: PlannerSettings,
    generator: torch.Generator | None = None,
) -> Plan:
    """Refit N(mean, I) to the best-scoring candidates, `iterations` times (LSP, algorithm 1).

    mean (N, S, Z) is the plan to start from: zeros, or what is left of the previous one.
    Every iteration scores its own mean too, so a plan never loses its best known centre,
    and keeps the elites of the one before (iCEM, Pinneri et al. 2020).
    """
    std = torch.ones_like(mean)
    start_score = None
    elites = mean.new_zeros(mean.shape[0], 0, *mean.shape[1:])
    for _ in range(settings.iterations):
        fresh = _sample(mean, std, settings.candidates - 1, generator)
        candidates = torch.cat([mean.unsqueeze(1), fresh, elites], 1)
        scores = score(candidates)
        if start_score is None:
            start_score = scores[:, 0]
        best = scores.topk(settings.elites, 1).indices
        elites = candidates.gather(1, best[..., None, None].expand(-1, -1, *mean.shape[1:]))
        mean = elites.mean(1)
        std = elites.std(1, correction=0).clamp(min=settings.min_std)
    if start_score is None:
        return Plan(mean, std, mean.new_zeros(mean.shape[0]))
    return Plan(mean, std, score(mean.unsqueeze(1))[:, 0] - start_score)
