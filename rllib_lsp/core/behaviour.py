"""What policy, values and skill predictor learn from imagined trajectories."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.distributions import normal_log_prob, sample_normal
from rllib_lsp.core.imagination import Trajectory, imagine, lambda_return, replay_return
from rllib_lsp.core.models import Models
from rllib_lsp.core.parallel import count_of_learners
from rllib_lsp.core.policy import Policy, Value
from rllib_lsp.core.rssm import State
from rllib_lsp.core.settings import Settings
from rllib_lsp.core.skills import (
    Schedule,
    schedule,
    segments,
    skills_needed,
    tell,
    with_time_left,
)
from rllib_lsp.core.world_model import Batch

Losses = dict[str, Tensor]
Metrics = dict[str, Tensor]


def imagined_reward(models: Models, trajectory: Trajectory) -> Tensor:
    """What the behaviour is trained for, on entering states 1 … H: (H, N)."""
    behaviour = models.settings.behaviour
    reward = torch.zeros_like(trajectory.entropy)
    if behaviour.reward == "task":
        reward = models.world_model.reward(trajectory.reached)
    if models.ensemble is not None and behaviour.disagreement:
        unsure = models.ensemble.disagreement(trajectory.features[:-1], trajectory.actions)
        reward = reward + behaviour.disagreement * unsure
    return reward


def discounts(models: Models, trajectory: Trajectory) -> Tensor:
    """γ times the probability that the episode goes on after states 1 … H: (H, N)."""
    return models.settings.behaviour.gamma * models.world_model.continues(trajectory.reached)


class Skills(NamedTuple):
    """Skills to imagine with, and where they come from."""

    skills: Tensor
    """(N, S, Z)."""
    log_prob: Tensor
    """(N, S): log-density of each under the distribution it was drawn from, in nats."""
    planned: Tensor
    """(N,) bool: whether the first ones come from a plan, not from N(0, I)."""


def draw_skills(plan_mean: Tensor, plan_std: Tensor, settings: Settings) -> Skills:
    """Skills for imagination, from plans (N, S, Z) made at the N start states.

    `replay` and `cem` draw from the plans, `prior` from N(0, I), `mix` from a plan for a random
    half of the states. Skills beyond the planned ones come from the prior.
    """
    shortest = min(settings.skills.duration)
    # The state at the horizon begins a skill, if one ends there.
    needed = skills_needed(settings.behaviour.horizon + 1, shortest)
    count = plan_mean.shape[0]
    planned = min(needed, plan_mean.shape[1])
    share = {"prior": 0.0, "mix": 0.5, "replay": 1.0, "cem": 1.0}[settings.skills.imagine]
    use_plan = torch.rand(count, 1, 1, device=plan_mean.device) < share
    mean = plan_mean.new_zeros(count, needed, settings.skills.dim)
    std = torch.ones_like(mean)
    mean[:, :planned] = torch.where(use_plan, plan_mean[:, :planned], mean[:, :planned])
    std[:, :planned] = torch.where(use_plan, plan_std[:, :planned], std[:, :planned])
    skills = sample_normal(mean, std)
    return Skills(skills, normal_log_prob(skills, mean, std), use_plan[:, 0, 0])


def behaviour_losses(
    models: Models, start: State, start_continues: Tensor, drawn: Skills, durations: Tensor
) -> tuple[Losses, Metrics]:
    """Losses of policy, values and predictor, by parameter group, and scalars to log.

    start (N, ·) detached posterior states; start_continues (N,) 0 where the episode
    terminated, whose imagination counts for nothing; durations (N,) of the skills.
    """
    settings, policy, value = models.settings, models.policy, models.value
    assert isinstance(policy, Policy)
    assert value is not None
    behaviour = settings.behaviour
    under = schedule(drawn.skills, durations, behaviour.horizon)
    told = tell(*under, settings.skills)
    trajectory = imagine(
        models.world_model.rssm, policy, start, told, horizon=behaviour.horizon, explore=True
    )
    discount = discounts(models, trajectory)
    # Probability, discounted, that state t is reached (Dreamer v1).
    first = start_continues.unsqueeze(0)
    weight = torch.cat([first, first * discount[:-1].detach().cumprod(0)])

    value_parameters = value(trajectory.features)
    returns = lambda_return(
        imagined_reward(models, trajectory),
        discount,
        value.scalar.mean(value_parameters),
        behaviour.lambda_,
    )
    scale = returns.new_ones(())
    if behaviour.normalise_returns and models.return_scale is not None:
        scale = models.return_scale.update(returns.detach())
    objective = returns / scale + behaviour.entropy * trajectory.entropy
    losses = {
        "value": _value_loss(
            value, value_parameters, trajectory.features, returns, weight, behaviour.slow_value
        )
    }
    metrics = {
        "value_loss": losses["value"],
        "imagined_return": returns.mean(),
        "return_scale": scale,
        "policy_entropy": trajectory.entropy.mean(),
    }
    if models.skill_predictor is not None:
        extra, skill_losses, skill_metrics = _skill_losses(
            models, trajectory, drawn, durations, under, discount, weight
        )
        objective = objective + settings.skills.mi_coef * extra
        losses |= skill_losses
        metrics |= skill_metrics
    losses["policy"] = metrics["policy_loss"] = -(weight * objective).mean()
    return losses, metrics


def _value_loss(
    value: Value, parameters: Tensor, inputs: Tensor, returns: Tensor, weight: Tensor, pull: float
) -> Tensor:
    """Fit to λ-returns (H, N) and, with weight `pull`, to the slow copy (DreamerV3, eq. 10).

    parameters (H + 1, N, ·) are the value's answer to `inputs` (H + 1, N, ·).
    """
    if not pull:
        return -(weight * value.scalar.log_prob(parameters[:-1], returns.detach())).mean()
    targets = torch.stack([returns.detach(), value.slow(inputs[:-1].detach())], -1)
    to_returns, to_slow = value.scalar.log_prob(parameters[:-1], targets).unbind(-1)
    return -(weight * (to_returns + pull * to_slow)).mean()


def _skill_losses(
    models: Models,
    trajectory: Trajectory,
    drawn: Skills,
    durations: Tensor,
    under: Schedule,
    discount: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Losses, Metrics]:
    """Mutual information of skills and states: the policy's share (H, N), losses and metrics.

    log q(z | segment) - log p(z), in nats per skill dimension, is credited to the policy at the
    end of each skill. As an `objective` (LSP) it counts once; as a `reward` it is an intrinsic
    reward with a λ-return and a value of its own, which reaches beyond the horizon.
    """
    predictor, settings = models.skill_predictor, models.settings
    assert predictor is not None
    states = models.seen_by_predictor(trajectory.features)
    reward = torch.zeros_like(weight)
    likelihoods, densities, counts = [], [], []
    columns = torch.arange(weight.shape[1], device=weight.device)
    for number, segment in enumerate(segments(states, durations, min(settings.skills.duration))):
        skill, density = drawn.skills[:, number], drawn.log_prob[:, number]
        likelihood = predictor.log_prob(segment, skill)
        information = (likelihood - density) / settings.skills.dim
        # A segment that the horizon cuts short adds nothing, at whatever step.
        credit = torch.where(segment.whole, information, torch.zeros_like(information))
        reward = reward.index_put((segment.last - 1, columns), credit, accumulate=True)
        likelihoods.append(likelihood)
        densities.append(density)
        counts.append(segment.whole)
    whole = torch.stack(counts).to(weight.dtype)
    ended = count_of_learners(whole)
    likelihood = (torch.stack(likelihoods) * whole).sum() / ended
    losses = {"skill_predictor": -likelihood}
    if models.skill_value is None:
        # Once per skill, whose weight shall not depend on the horizon.
        extra = reward * (weight.numel() / ended)
    else:
        value = models.skill_value
        inputs = torch.cat([trajectory.features, with_time_left(*under, settings.skills)], -1)
        parameters = value(inputs)
        extra = lambda_return(
            reward, discount, value.scalar.mean(parameters), settings.behaviour.lambda_
        )
        losses["skill_value"] = _value_loss(
            value, parameters, inputs, extra, weight, settings.behaviour.slow_value
        )
    # Of a plan, which is narrow, the predictor cannot tell as much as it says itself; what skills
    # mean shows in those from N(0, I), where there are any.
    shown = whole * (~drawn.planned | drawn.planned.all())
    bounds = torch.stack(likelihoods) - torch.stack(densities)
    metrics = {
        "skill_predictor_loss": losses["skill_predictor"],
        "skill_log_likelihood_per_dim": likelihood / settings.skills.dim,
        "mutual_information_bound": (bounds * shown).sum() / shown.sum().clamp(min=1),
    }
    return extra, losses, metrics


def replay_value_loss(models: Models, states: State, batch: Batch) -> Tensor:
    """Fit of the value to λ-returns of the replayed rewards (DreamerV3, section "critic")."""
    value, behaviour = models.value, models.settings.behaviour
    assert value is not None
    features = states.features.detach().transpose(0, 1)
    parameters = value(features)
    discount = behaviour.gamma * (1.0 - batch.terminated.transpose(0, 1).to(features.dtype))
    returns, counts = replay_return(
        batch.reward.transpose(0, 1),
        discount,
        value.scalar.mean(parameters).detach(),
        batch.is_first.transpose(0, 1),
        behaviour.lambda_,
    )
    fit = value.scalar.log_prob(parameters[:-1], returns)
    return -(fit * counts).sum() / count_of_learners(counts)
