"""The agent that acts: every few decisions the upper level chooses a goal, the lower follows it.

As of `core.agent`, `act` is the one acting path, and what is kept between two calls is an
explicit carry, batched over environments.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.encoder import ObservationSpec, check_observation
from rllib_lsp.core.hiro.settings import HIROSettings
from rllib_lsp.core.hiro.td3 import Level
from rllib_lsp.core.models import parse_view
from rllib_lsp.core.settings import SettingsError

Carry = dict[str, Tensor]
"""What is kept between two decisions of N environments: `choice` (N, k) of the present goal and
its `anchor` (N, k), see `goals`; `steps_left` (N,) decisions for which it is still held; `chosen`
(N,) whether it was chosen at the last decision."""


class HIROAgent(nn.Module):
    """The levels of one task, and how to act with them. Without goals, TD3."""

    goal_range: Tensor

    def __init__(self, spec: ObservationSpec, action: ActionSpec, settings: HIROSettings) -> None:
        """`spec`: shape of each observation; `action`: the action space."""
        super().__init__()
        check_fit(spec, action, settings)
        self.spec, self.action_spec, self.settings = dict(spec), action, settings
        self._view = view_indices(spec, settings)
        state, goal = sum(shape[0] for shape in spec.values()), len(self._view)
        self.low = Level(state + goal, action.size, settings.low)
        self.high = Level(state, goal, settings.high) if settings.learns_goals else None
        # Until it is measured: what the environment's units happen to be.
        given = settings.goals.range if goal and settings.goals.range else (1.0,)
        self.register_buffer("goal_range", torch.tensor(given).expand(goal).clone())

    @property
    def goal_width(self) -> int:
        """k; 0 without goals."""
        return len(self._view)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trained parameters by the loss that trains them."""
        groups = {}
        for name, level in self.levels().items():
            groups[f"{name}_actor"] = list(level.actor.parameters())
            groups[f"{name}_critic"] = list(level.critic.parameters())
        return groups

    def levels(self) -> dict[str, Level]:
        """Those that learn."""
        return {"low": self.low} if self.high is None else {"low": self.low, "high": self.high}

    def state(self, observation: Mapping[str, Tensor]) -> Tensor:
        """All of an observation {key: (..., width)} in one vector (..., D)."""
        check_observation(observation, self.spec)
        return torch.cat([observation[key] for key in self.spec], -1)

    @property
    def goal_names(self) -> list[str]:
        """Of the entries that goals are about: `position[0]`, ..."""
        names = [f"{key}[{index}]" for key, shape in self.spec.items() for index in range(shape[0])]
        return [names[index] for index in self._view]

    def view(self, state: Tensor) -> Tensor:
        """What goals are about: (..., D) → (..., k)."""
        return state[..., self._view]

    def low_inputs(self, state: Tensor, goal: Tensor) -> Tensor:
        """What the lower level sees, of goals in the view's units.

        (..., D), (..., k) → (..., D + k).
        """
        return torch.cat([state, goal / self.goal_range], -1)

    def initial_carry(self, batch: int) -> Carry:
        """The carry in which an episode begins: time for a new goal."""
        new = self.goal_range.new_zeros
        return {
            "choice": new(batch, self.goal_width),
            "anchor": new(batch, self.goal_width),
            "steps_left": new(batch, dtype=torch.int64),
            "chosen": new(batch, dtype=torch.bool),
        }

    @torch.inference_mode()
    def act(
        self,
        carry: Carry,
        observation: Mapping[str, Tensor],
        is_first: Tensor,
        explore: bool,
        generator: torch.Generator | None = None,
        *,
        random: bool = False,
    ) -> tuple[Carry, Tensor, dict[str, Tensor]]:
        """One decision for N environments.

        observation {key: (N, width)}; is_first (N,) bool: forget what was before; random: goals
        and actions are drawn uniformly.
        Returns the next carry, actions (N, A) in [-1, 1], and nothing to log.
        """
        state = self.state(observation)
        carry = self._choose(carry, state, is_first, explore, random, generator)
        if random:
            return carry, self._uniform(len(state), self.action_spec.size, generator), {}
        goal = carry["anchor"] + carry["choice"] * self.goal_range - self.view(state)
        return carry, self.low.act(self.low_inputs(state, goal), explore, generator), {}

    def _choose(
        self,
        carry: Carry,
        state: Tensor,
        is_first: Tensor,
        explore: bool,
        random: bool,
        generator: torch.Generator | None,
    ) -> Carry:
        """The carry after this decision, with new goals where the old ones have ended."""
        due = is_first | (carry["steps_left"] <= 0)
        left = torch.where(due, self.settings.goals.duration, carry["steps_left"]) - 1
        carry = {**carry, "steps_left": left, "chosen": due}
        if not self.goal_width or not bool(due.any()):
            return carry
        if random or self.high is None:
            choice = self._uniform(len(state), self.goal_width, generator)
        else:
            choice = self.high.act(state, explore, generator)
        chosen = {"choice": choice, "anchor": self.view(state)}
        where = due.unsqueeze(1)
        return carry | {key: torch.where(where, new, carry[key]) for key, new in chosen.items()}

    def _uniform(self, count: int, width: int, generator: torch.Generator | None) -> Tensor:
        like = self.goal_range
        return 2.0 * torch.rand(count, width, generator=generator, device=like.device) - 1.0

    def extra_repr(self) -> str:
        count = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"{count:,} trained parameters"


def check_fit(spec: ObservationSpec, action: ActionSpec, settings: HIROSettings) -> None:
    """Raises SettingsError where settings do not fit an environment."""
    for key, shape in spec.items():
        if len(shape) != 1:
            raise SettingsError(
                f"Observation {key!r} has shape {shape}: HIRO and TD3 see vectors only; train on "
                f"the state (without env_config.pixels), or use LSP for images."
            )
    if action.discrete:
        raise SettingsError(
            f"The action space is Discrete({action.size}): TD3's actions are continuous; "
            f"use LSP or Dreamer, which also choose."
        )
    wide, given = len(view_indices(spec, settings)), len(settings.goals.range)
    if settings.has_goals and given not in (0, 1, wide):
        raise SettingsError(
            f"goals.range has {given} entries, and the goal features have {wide}: give one for "
            f"each of them, or one number for all."
        )


def view_indices(spec: ObservationSpec, settings: HIROSettings) -> list[int]:
    """Where in the state the goal features lie; nowhere without goals."""
    if not settings.has_goals:
        return []
    names = settings.goals.features or tuple(spec)
    begins, end = {}, 0
    for key, shape in spec.items():
        begins[key], end = end, end + shape[0]
    parts = parse_view(names, spec, "goals.features")
    return [begins[key] + index for key, indices in parts for index in indices]
