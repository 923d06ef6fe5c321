"""What an agent learns from a batch of replayed windows: every loss, and its own gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rllib_lsp.core.agent import Agent
from rllib_lsp.core.behaviour import (
    Losses,
    Metrics,
    Skills,
    behaviour_losses,
    draw_skills,
    replay_value_loss,
)
from rllib_lsp.core.distributions import normal_entropy
from rllib_lsp.core.parallel import learners
from rllib_lsp.core.policy import Policy, Value
from rllib_lsp.core.rssm import State
from rllib_lsp.core.skills import draw_durations
from rllib_lsp.core.world_model import Batch


def compile_steps(agent: Agent, **options: Any) -> None:
    """Compile what imagination repeats: an action, and a step of the dynamics.

    `options` are those of `torch.compile`. Where a compiler is missing or fails, torch says so and
    goes on without.
    """
    torch._dynamo.config.suppress_errors = True
    rssm = agent.world_model.rssm
    rssm.imagine_step = torch.compile(rssm.imagine_step, **options)  # type: ignore[method-assign]
    if isinstance(agent.policy, Policy):
        agent.policy.act = torch.compile(agent.policy.act, **options)  # type: ignore[method-assign]


def losses(agent: Agent, batch: Batch) -> tuple[Losses, Metrics]:
    """Scalar losses by parameter group, and scalars to log, all attached to one forward pass.

    The gradient of each loss is to be taken for its own group only (`backward`).
    """
    behaviour = agent.settings.behaviour
    model_loss, states, metrics = agent.world_model.loss(batch)
    found = {"world_model": model_loss}
    states = states.map(torch.Tensor.detach)
    if agent.ensemble is not None:
        found["ensemble"] = agent.ensemble.loss(states, batch.action, batch.is_first)
        metrics["ensemble_loss"] = found["ensemble"]
    if agent.value is not None:
        rows = _starts(batch.reward, max(1, behaviour.starts // learners()))
        start = states.map(lambda part: part.flatten(0, 1)[rows])
        goes_on = 1.0 - batch.terminated.flatten()[rows].to(batch.reward.dtype)
        durations = draw_durations(
            agent.settings.skills.duration, len(rows), None, batch.reward.device
        )
        skills = _skills(agent, start, durations, batch, rows)
        imagined, imagined_metrics = behaviour_losses(agent, start, goes_on, skills, durations)
        found |= imagined
        metrics |= imagined_metrics
        # Replay knows the task's reward, which is not what the value predicts with another one.
        if behaviour.replay_value and behaviour.reward == "task" and not behaviour.disagreement:
            replayed = replay_value_loss(agent, states, batch)
            found["value"] = found["value"] + behaviour.replay_value * replayed
            metrics["replay_value_loss"] = replayed
    if agent.skill_prior is not None:
        plan = batch.plan_mean[..., 0, :], batch.plan_std[..., 0, :]
        found["skill_prior"] = agent.skill_prior.loss(states.features, *plan, batch.planned)
        metrics["skill_prior_loss"] = found["skill_prior"]
    if agent.plan_width:
        metrics["plan_entropy"] = normal_entropy(batch.plan_std[..., 0, :]).mean()
    return found, metrics


def _starts(steps: Tensor, count: int) -> Tensor:
    """Indices of a random subset of the (B, T) steps, from which to imagine."""
    return torch.randperm(steps.numel(), device=steps.device)[:count]


def _skills(agent: Agent, start: State, durations: Tensor, batch: Batch, rows: Tensor) -> Skills:
    """Skills to imagine with from the start states, which stand at `rows` of the batch."""
    mean, std = (plan.flatten(0, 1)[rows] for plan in (batch.plan_mean, batch.plan_std))
    if agent.settings.has_skills and agent.settings.skills.imagine == "cem":
        plan = agent.plan(start, torch.zeros_like(mean), durations, torch.zeros_like(mean[:, 0]))
        mean, std = plan.mean, plan.std
        # Older torch (pytorch#165068) reuses what autocast has cast here, without gradients.
        torch.clear_autocast_cache()
    return draw_skills(mean, std, agent.settings)


def backward(agent: Agent, losses: Mapping[str, Tensor]) -> None:
    """Accumulate each loss's gradient in its own parameter group and nowhere else.

    `inputs=` prunes what a group does not need, which is both the isolation (the policy's
    loss runs *through* the world model, and never into it) and a quarter of the time.
    Raises ValueError when a group has no loss, or a loss no group.
    """
    if set(losses) != set(agent.settings.groups):
        raise ValueError(
            f"losses {sorted(losses)} do not match groups {sorted(agent.settings.groups)}"
        )
    for name, parameters in agent.parameter_groups().items():
        torch.autograd.backward(losses[name], inputs=parameters, retain_graph=True)


def step(
    agent: Agent, optimizers: Mapping[str, torch.optim.Optimizer], clip: float | None
) -> dict[str, Tensor]:
    """Clip each group's gradient to norm `clip` and step; slow copies follow.

    `optimizers`: a fused Adam a parameter group. Returns the norms before clipping, scalars by
    group. A group whose norm is not finite stays as it is, and nobody waits for the device to
    know it.
    """
    norms = {}
    for name, optimizer in optimizers.items():
        parameters = optimizer.param_groups[0]["params"]
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip or float("inf"), foreach=True)
        # Torch's own protocol for mixed precision, with which a fused optimizer skips a step.
        optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        optimizer.step()
        part = getattr(agent, name)
        if isinstance(part, Value):
            part.update_slow()
        norms[name] = norm
    return norms
