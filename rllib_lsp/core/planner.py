"""Planning over skills by sampling (CEM, iCEM, MPPI), for many environments at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.distributions import sample_normal
from rllib_lsp.core.settings import PlannerSettings

Score = Callable[[Tensor], Tensor]
"""Candidates (N, G, S, Z) → expected returns (N, G); one of NaN is taken for the worst."""
WORST = -1e9
"""Of a candidate whose score is no number. Finite, as are means of scores with it."""


class Plan(NamedTuple):
    """A diagonal Normal over the next skills of N environments."""

    mean: Tensor
    """(N, S, Z)."""
    std: Tensor
    """(N, S, Z)."""
    gain: Tensor
    """(N,): expected return of the plan's mean less that of the mean it started from."""


class Proposals(NamedTuple):
    """Where candidates may come from, besides the plan itself."""

    current: Tensor
    """(N, Z): the skill that is held now."""
    learned: tuple[Tensor, Tensor] | None = None
    """Mean and deviation (N, Z) of the learned skill prior."""


@torch.no_grad()
def plan_skills(
    score: Score,
    mean: Tensor,
    settings: PlannerSettings,
    proposals: Proposals,
    generator: torch.Generator | None = None,
) -> Plan:
    """Refit N(mean, I) to the best-scoring candidates, `iterations` times (LSP, algorithm 1).

    mean (N, S, Z) is the plan to start from: zeros, or what is left of the previous one.
    Elites that are kept from one iteration to the next, and proposals among the candidates,
    are those of iCEM (Pinneri et al. 2020); the softmax weights those of MPPI.
    """
    start, std = mean, torch.ones_like(mean)
    kept = mean[:, None][:, :0]
    for _ in range(settings.iterations):
        candidates = torch.cat([_candidates(mean, std, settings, proposals, generator), kept], 1)
        scores, best = _told_apart(score(candidates), settings, generator).topk(settings.elites, 1)
        elites = candidates.gather(1, best[..., None, None].expand(-1, -1, *mean.shape[1:]))
        weights = _weights(scores, settings)[..., None, None]
        mean = (weights * elites).sum(1)
        deviation = (weights * (elites - mean.unsqueeze(1)).square()).sum(1).sqrt()
        std = deviation.clamp(min=settings.min_std)
        if settings.keep_elites:
            kept = elites
    # A plan is drawn from N(mean, std) and has noise added, which is one wider Normal.
    std = (std.square() + settings.noise**2).sqrt()
    if settings.iterations == 0:
        return Plan(mean, std, mean.new_zeros(mean.shape[0]))
    before, after = finite(score(torch.stack([start, mean], 1))).unbind(1)
    return Plan(mean, std, after - before)


def finite(scores: Tensor) -> Tensor:
    """Scores or rewards within ±1e9: what is infinite at a bound, NaN at the lower."""
    return scores.clamp(WORST, -WORST).nan_to_num(WORST)


def _told_apart(
    scores: Tensor, settings: PlannerSettings, generator: torch.Generator | None
) -> Tensor:
    """Scores (N, G), of which those that differ by little are in an order of chance."""
    scores = finite(scores)
    if not settings.indifference:
        return scores
    return sample_normal(scores, torch.full_like(scores, settings.indifference), generator)


def _weights(scores: Tensor, settings: PlannerSettings) -> Tensor:
    """How much each elite counts, from their scores (N, M), best first: (N, M), sums to 1."""
    if settings.method == "cem":
        return torch.full_like(scores, 1.0 / scores.shape[1])
    spread = scores.std(1, correction=0, keepdim=True).clamp(min=1e-6)
    return torch.softmax((scores - scores[:, :1]) / (settings.temperature * spread), 1)


def _candidates(
    mean: Tensor,
    std: Tensor,
    settings: PlannerSettings,
    proposals: Proposals,
    generator: torch.Generator | None,
) -> Tensor:
    """`settings.candidates` sequences (N, G, S, Z): those that are always included, and draws
    from the plan."""
    quarter = settings.candidates // 4
    centre = mean.unsqueeze(1)
    zeros = torch.zeros_like(centre)
    included = []
    if "mean" in settings.include:
        included.append(centre)
    if "current" in settings.include:
        held = centre.clone()
        held[:, 0, 0] = proposals.current
        included.append(held)
    if "prior" in settings.include:
        wide = zeros.expand(-1, quarter, -1, -1)
        included.append(sample_normal(wide, torch.ones_like(wide), generator))
    count = settings.candidates - sum(part.shape[1] for part in included)
    drawn = sample_normal(
        centre.expand(-1, count, -1, -1), std.unsqueeze(1).expand(-1, count, -1, -1), generator
    )
    if "learned" in settings.include and proposals.learned is not None:
        # What follows is drawn from the plan: were it the plan's mean, for every one of them, a
        # good prior's would be the elites, and the later skills be left as they are.
        first_mean, first_std = (p[:, None].expand(-1, quarter, -1) for p in proposals.learned)
        drawn[:, :quarter, 0] = sample_normal(first_mean, first_std, generator)
    candidates = torch.cat([*included, drawn], 1)
    bound = settings.bound
    return candidates.clamp(-bound, bound) if bound else candidates
