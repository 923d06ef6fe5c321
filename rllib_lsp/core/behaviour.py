"""Losses of policy, value and skill predictor on imagined trajectories."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rllib_lsp.core.distributions import normal_entropy, normal_log_prob, sample_normal
from rllib_lsp.core.imagination import ReturnScale, Trajectory, imagine, lambda_return
from rllib_lsp.core.policy import Policy, Value
from rllib_lsp.core.rssm import State
from rllib_lsp.core.settings import Settings
from rllib_lsp.core.skills import SkillPredictor, segments, skills_needed
from rllib_lsp.core.world_model import WorldModel


class Evaluation(NamedTuple):
    """What the world model and the value expect of imagined trajectories."""

    returns: Tensor
    """(H, N) λ-returns of states 0 … H-1."""
    value_logits: Tensor
    """(H + 1, N, bins)."""
    discount: Tensor
    """(H, N): γ·continue of states 1 … H."""


def evaluate(
    world_model: WorldModel, value: Value, trajectory: Trajectory, settings: Settings
) -> Evaluation:
    """λ-returns of a trajectory; differentiable with respect to its features."""
    behaviour = settings.behaviour
    reached = trajectory.features[1:]
    discount = behaviour.gamma * world_model.continues(reached)
    logits = value.logits(trajectory.features)
    returns = lambda_return(
        world_model.reward(reached), discount, value.two_hot.mean(logits), behaviour.lambda_
    )
    return Evaluation(returns, logits, discount)


class Skills(NamedTuple):
    """Skills to imagine with, and where they come from."""

    skills: Tensor
    """(N, S, Z)."""
    log_prob: Tensor
    """(N, S): log-density of each under the distribution it was drawn from, in nats."""


def draw_skills(plan_mean: Tensor, plan_std: Tensor, settings: Settings) -> Skills:
    """Skills for imagination, from plans (N, S, Z) made at the N start states.

    `replay` draws from the plans, `prior` from N(0, I), `mix` from a plan for a random half
    of the states. Skills beyond the planned ones come from the prior.
    """
    horizon, duration = settings.behaviour.horizon, settings.skills.duration
    count, needed = plan_mean.shape[0], skills_needed(horizon, duration)
    planned = min(needed, plan_mean.shape[1])
    share = {"prior": 0.0, "mix": 0.5, "replay": 1.0}[settings.skills.imagine]
    use_plan = torch.rand(count, 1, 1, device=plan_mean.device) < share
    mean = plan_mean.new_zeros(count, needed, settings.skills.dim)
    std = torch.ones_like(mean)
    mean[:, :planned] = torch.where(use_plan, plan_mean[:, :planned], mean[:, :planned])
    std[:, :planned] = torch.where(use_plan, plan_std[:, :planned], std[:, :planned])
    skills = sample_normal(mean, std)
    return Skills(skills, normal_log_prob(skills, mean, std))


def behaviour_losses(
    world_model: WorldModel,
    policy: Policy,
    value: Value,
    predictor: SkillPredictor,
    return_scale: ReturnScale,
    start: State,
    start_continues: Tensor,
    drawn: Skills,
    settings: Settings,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Scalar losses and scalars to log.

    start (N, ·) detached posterior states; start_continues (N,) 0 where the episode
    terminated, whose imagination counts for nothing.
    Each loss is meant for one group of parameters only, see `Agent.parameter_groups`.
    """
    behaviour, duration = settings.behaviour, settings.skills.duration
    skills = drawn.skills
    trajectory = imagine(
        world_model.rssm,
        policy,
        start,
        skills,
        duration=duration,
        horizon=behaviour.horizon,
        explore=True,
    )
    evaluation = evaluate(world_model, value, trajectory, settings)
    returns = evaluation.returns
    # Probability, discounted, that state t is reached (Dreamer v1).
    first = start_continues.unsqueeze(0)
    weight = torch.cat([first, first * evaluation.discount[:-1].detach().cumprod(0)])
    likelihood = torch.stack(
        [
            predictor.log_prob(segment, skills[:, index])
            for index, segment in enumerate(segments(trajectory.features, duration))
        ]
    )
    scale = return_scale.update(returns.detach())
    entropy = normal_entropy(trajectory.action_std)
    objective = returns / scale + behaviour.entropy * entropy
    mutual_information = (likelihood / settings.skills.dim * start_continues).mean()
    policy_loss = -(weight * objective).mean() - settings.skills.mi_coef * mutual_information
    value_loss, value_mean = _value_loss(value, trajectory.features, evaluation, weight)
    predictor_loss = -likelihood.mean()
    losses = {
        "policy": policy_loss,
        "value": value_loss,
        "skill_predictor": predictor_loss,
    }
    density = drawn.log_prob[:, : likelihood.shape[0]].mean()
    metrics = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "skill_predictor_loss": predictor_loss,
        "imagined_return": returns.mean(),
        "return_scale": scale,
        "value": value_mean,
        "policy_entropy": entropy.mean(),
        "skill_log_likelihood_per_dim": likelihood.mean() / settings.skills.dim,
        "mutual_information_bound": likelihood.mean() - density,
    }
    return losses, metrics


def _value_loss(
    value: Value, features: Tensor, evaluation: Evaluation, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy to the λ-returns and, to steady it, to the slow copy (DreamerV3, eq. 10)."""
    logits, two_hot = evaluation.value_logits[:-1], value.two_hot
    target, slow = evaluation.returns.detach(), value.slow(features[:-1].detach())
    fit = two_hot.log_prob(logits, target) + two_hot.log_prob(logits, slow)
    return -(weight * fit).mean(), slow.mean()
