"""TD3 (Fujimoto et al. 2018): actor, twin critics, their targets, and one update of all."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_lsp.core.hiro.settings import LevelSettings


class Transitions(NamedTuple):
    """Steps of one level, batched: (B, ·) and (B,)."""

    inputs: Tensor
    """What the actor sees, (B, D)."""
    action: Tensor
    reward: Tensor
    """Not yet scaled."""
    next_inputs: Tensor
    goes_on: Tensor
    """0 where the task itself ended: there is nothing to bootstrap from; else 1."""
    weight: Tensor
    """0 for what is no step at all; else 1."""


class Optimizers(NamedTuple):
    """One for each parameter group of a level."""

    actor: torch.optim.Optimizer
    critic: torch.optim.Optimizer


class TwinCritic(nn.Module):
    """Two critics Q(x, a) whose layers are stacked, so that both are one matrix product."""

    def __init__(self, inputs: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise([inputs, *hidden, 1]))
        self.weights = nn.ParameterList(
            uniform((2, fan_in, outputs), fan_in) for fan_in, outputs in pairs
        )
        self.biases = nn.ParameterList(
            uniform((2, 1, outputs), fan_in) for fan_in, outputs in pairs
        )

    def forward(self, inputs: Tensor, action: Tensor) -> Tensor:
        """(B, D), (B, A) → values of both (2, B)."""
        x = torch.cat([inputs, action], -1).expand(2, -1, -1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, F.relu_(x) if index else x, weight)
        return x.squeeze(-1)

    def first(self, inputs: Tensor, action: Tensor) -> Tensor:
        """The first critic's values (B,), by which the actor learns."""
        x = torch.cat([inputs, action], -1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.addmm(bias[0], F.relu_(x) if index else x, weight[0])
        return x.squeeze(-1)


def uniform(shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    """U(-1, 1) / √fan_in, as `nn.Linear` begins."""
    return nn.Parameter(torch.empty(shape).uniform_(-1.0, 1.0) / fan_in**0.5)


def actor_network(inputs: int, hidden: tuple[int, ...], actions: int) -> nn.Sequential:
    """(..., D) → actions (..., A) in (-1, 1)."""
    modules: list[nn.Module] = []
    for fan_in, outputs in pairwise([inputs, *hidden]):
        modules += [nn.Linear(fan_in, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*modules, nn.Linear(hidden[-1], actions), nn.Tanh())


class Level(nn.Module):
    """One level: acts in [-1, 1]^A on inputs (…, D)."""

    updates: Tensor

    def __init__(self, inputs: int, actions: int, settings: LevelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.actor = actor_network(inputs, settings.hidden, actions)
        self.critic = TwinCritic(inputs + actions, settings.hidden)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        # A buffer, so that a restored run's actor keeps its turn.
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def act(
        self, inputs: Tensor, explore: bool, generator: torch.Generator | None = None
    ) -> Tensor:
        """(N, D) → actions (N, A) in [-1, 1]."""
        action = self.actor(inputs)
        if explore and self.settings.noise:
            action = action + self.settings.noise * noise_like(action, generator)
        return action.clamp(-1.0, 1.0)

    @torch.no_grad()
    def returns(self, steps: Transitions, generator: torch.Generator | None = None) -> Tensor:
        """What the critics shall predict, (B,): the smaller twin's, at a smoothed action."""
        settings = self.settings
        action = self.target_actor(steps.next_inputs)
        noise = settings.target_noise * noise_like(action, generator)
        noise.clamp_(-settings.target_noise_clip, settings.target_noise_clip)
        values = self.target_critic(steps.next_inputs, (action + noise).clamp_(-1.0, 1.0))
        future = settings.gamma * steps.goes_on * values.amin(0)
        return settings.reward_scale * steps.reward + future

    def critic_loss(self, steps: Transitions, target: Tensor) -> Tensor:
        """Huber loss of both critics, a mean over the batch."""
        values = self.critic(steps.inputs, steps.action)
        error = F.huber_loss(values, target.expand(2, -1), reduction="none")
        return (error * steps.weight).sum() / steps.weight.sum().clamp(min=1.0)

    def actor_loss(self, steps: Transitions) -> Tensor:
        """Minus the first critic's value of what the actor would do."""
        values = self.critic.first(steps.inputs, self.actor(steps.inputs))
        return -(values * steps.weight).sum() / steps.weight.sum().clamp(min=1.0)

    def update(
        self,
        steps: Transitions,
        optimizers: Optimizers,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """One update of the critics and, every `policy_every`, of actor and targets.

        Returns scalars to log; `actor_loss` only when the actor had its turn.
        """
        target = self.returns(steps, generator)
        found = {"critic_loss": self.critic_loss(steps, target), "value": target.mean()}
        _step(optimizers.critic, found["critic_loss"], list(self.critic.parameters()))
        self.updates += 1
        if int(self.updates) % self.settings.policy_every == 0:
            found["actor_loss"] = self.actor_loss(steps)
            _step(optimizers.actor, found["actor_loss"], list(self.actor.parameters()))
            self.follow()
        return {name: value.detach() for name, value in found.items()}

    @torch.no_grad()
    def follow(self) -> None:
        """Move the targets towards what they copy."""
        slow = [p.data for p in (*self.target_actor.parameters(), *self.target_critic.parameters())]
        fast = [p.data for p in (*self.actor.parameters(), *self.critic.parameters())]
        torch._foreach_lerp_(slow, fast, self.settings.target_rate)


def noise_like(action: Tensor, generator: torch.Generator | None) -> Tensor:
    """N(0, I) of the shape of `action`."""
    return torch.randn(action.shape, generator=generator, device=action.device, dtype=action.dtype)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: list[nn.Parameter]) -> None:
    """One step of `parameters`; the gradient goes to nothing else that the loss depends on."""
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss, inputs=parameters)
    optimizer.step()
