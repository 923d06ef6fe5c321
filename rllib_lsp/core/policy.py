"""The skill-conditioned policy q(a | s, z) and values."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rllib_lsp.core.actions import ActionSpec, make_action_distribution
from rllib_lsp.core.distributions import Scalar
from rllib_lsp.core.networks import mlp
from rllib_lsp.core.settings import BehaviourSettings


class Policy(nn.Module):
    """q(a | s, z)."""

    def __init__(
        self, features: int, told: int, action: ActionSpec, settings: BehaviourSettings
    ) -> None:
        """`told`: width of what is known of the skill, see `SkillSettings.told`."""
        super().__init__()
        self.distribution = make_action_distribution(action, settings)
        # A small output keeps first actions near zero and deviations near their greatest.
        self.network = mlp(
            features + told,
            settings.hidden,
            settings.layers,
            self.distribution.parameter_size,
            block=settings.block,
            output_scale=0.01,
        )

    def forward(self, features: Tensor, skill: Tensor) -> Tensor:
        """(..., D), (..., told) → parameters of the action's distribution."""
        return self.network(torch.cat([features, skill], -1))

    def act(
        self,
        features: Tensor,
        skill: Tensor,
        explore: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Differentiable actions (..., A), samples or modes, and the entropies (...), in nats."""
        parameters = self(features, skill)
        entropy = self.distribution.entropy(parameters)
        if explore:
            return self.distribution.sample(parameters, generator), entropy
        return self.distribution.mode(parameters), entropy


class PlannedActions(nn.Module):
    """In place of a policy where actions themselves are planned (PlaNet): plans are actions."""

    def act(
        self,
        features: Tensor,
        skill: Tensor,
        explore: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As of `Policy`, from a planned action (..., A)."""
        return skill.clamp(-1.0, 1.0), skill.new_zeros(skill.shape[:-1])


class Value(nn.Module):
    """v(s), or of anything else that predicts a return, with a slow copy that steadies it."""

    def __init__(self, inputs: int, scalar: Scalar, settings: BehaviourSettings) -> None:
        super().__init__()
        self.scalar = scalar
        self.network = mlp(
            inputs,
            settings.hidden,
            settings.value_layers,
            scalar.size,
            block=settings.block,
            output_scale=0.0,
        )
        self.slow_network = copy.deepcopy(self.network).requires_grad_(False)
        self._rate = settings.slow_value_rate

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) → parameters of the return's distribution (..., scalar.size)."""
        return self.network(inputs)

    @torch.no_grad()
    def slow(self, inputs: Tensor) -> Tensor:
        """The slow copy's value: (..., inputs) → (...)."""
        return self.scalar.mean(self.slow_network(inputs))

    @torch.no_grad()
    def update_slow(self) -> None:
        """Move the slow copy towards the value; call once after each optimiser step."""
        slow = [p.data for p in self.slow_network.parameters()]
        fast = [p.data for p in self.network.parameters()]
        torch._foreach_lerp_(slow, fast, self._rate)
