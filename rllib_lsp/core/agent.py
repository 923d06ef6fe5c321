"""The agent: its networks, how it acts and what it learns from a batch.

`Agent.act` is the one acting path (filter, skill clock, plan, policy), used by the RLlib env
runner, by the RLModule's forward methods and outside Ray alike. What an agent keeps between
two calls is an explicit `Carry`, batched over environments.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rllib_lsp.core.behaviour import behaviour_losses, draw_skills, evaluate
from rllib_lsp.core.distributions import sample_normal
from rllib_lsp.core.encoder import ObservationSpec
from rllib_lsp.core.imagination import ReturnScale, imagine
from rllib_lsp.core.planner import Plan, plan_skills
from rllib_lsp.core.policy import Policy, Value
from rllib_lsp.core.rssm import State
from rllib_lsp.core.settings import Settings
from rllib_lsp.core.skills import SkillPredictor
from rllib_lsp.core.world_model import Batch, WorldModel

Carry = dict[str, Tensor]
"""What is kept between two decisions of N environments: `deterministic` (N, H), `stochastic`
(N, X), `action` (N, A) last taken, `skill` (N, Z), `steps_left` (N,) decisions for which the
skill is still held, `plan_mean` and `plan_std` (N, S, Z), the current skill first."""


PARAMETER_GROUPS = ("world_model", "policy", "value", "skill_predictor")
"""What has a loss and an optimizer of its own; names of the agent's parts."""


class Agent(nn.Module):
    """World model, skill policy, value and skill predictor of one task."""

    def __init__(self, spec: ObservationSpec, action: int, settings: Settings) -> None:
        """`spec`: width of each observation vector; `action`: dimensions, each in [-1, 1]."""
        super().__init__()
        self.settings, self.action_size = settings, action
        skill, behaviour = settings.skills.dim, settings.behaviour
        self.world_model = WorldModel(spec, action, settings.world_model)
        features = self.world_model.rssm.feature_size
        self.policy = Policy(features, skill, action, behaviour)
        self.value = Value(features, settings.world_model.bins, behaviour)
        self.skill_predictor = SkillPredictor(features, skill, behaviour.hidden)
        self.return_scale = ReturnScale()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trained parameters by the loss that trains them, and which nothing else touches."""
        return {
            name: [p for p in getattr(self, name).parameters() if p.requires_grad]
            for name in PARAMETER_GROUPS
        }

    def initial_carry(self, batch: int) -> Carry:
        """The carry in which an episode begins: no memory, no plan, time for a new skill."""
        skills = self.settings.skills
        like = self.world_model.rssm.initial(batch)
        plan_shape = (batch, self.settings.planner.skills, skills.dim)
        new = like.deterministic.new_zeros
        return {
            "deterministic": like.deterministic,
            "stochastic": like.stochastic,
            "action": new(batch, self.action_size),
            "skill": new(batch, skills.dim),
            "steps_left": new(batch, dtype=torch.int64),
            "plan_mean": new(plan_shape),
            "plan_std": new(plan_shape) + 1.0,
        }

    @torch.inference_mode()
    def act(
        self,
        carry: Carry,
        observation: Mapping[str, Tensor],
        is_first: Tensor,
        explore: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[Carry, Tensor, dict[str, Tensor]]:
        """One decision for N environments.

        observation {key: (N, width)}; is_first (N,) bool: forget what was before.
        Returns the next carry, actions (N, A) in [-1, 1] and, for logging and replay,
        `planned` (N,) bool: a new skill was chosen now, and `planner_gain` (N,): the
        expected return which planning added, 0 where nothing was planned.
        """
        carry = self._forget(carry, is_first)
        state = self.world_model.rssm.observe_step(
            State(carry["deterministic"], carry["stochastic"]),
            self.world_model.encoder(observation),
            carry["action"],
            is_first,
            generator,
        )
        planned = carry["steps_left"] == 0
        gain = torch.zeros_like(planned, dtype=state.deterministic.dtype)
        if bool(planned.any()):
            carry, gain[planned] = self._choose_skills(carry, state, planned, explore, generator)
        mean, std = self.policy(state.features, carry["skill"])
        action = sample_normal(mean, std, generator) if explore else mean
        action = action.clamp(-1.0, 1.0)
        carry = {
            **carry,
            "deterministic": state.deterministic,
            "stochastic": state.stochastic,
            "action": action,
            "steps_left": carry["steps_left"] - 1,
        }
        return carry, action, {"planned": planned, "planner_gain": gain}

    def _forget(self, carry: Carry, is_first: Tensor) -> Carry:
        if not bool(is_first.any()):
            return carry
        fresh = self.initial_carry(is_first.shape[0])
        mask = {key: is_first.view(-1, *[1] * (value.dim() - 1)) for key, value in carry.items()}
        return {key: torch.where(mask[key], fresh[key], value) for key, value in carry.items()}

    def _choose_skills(
        self,
        carry: Carry,
        state: State,
        chosen: Tensor,
        explore: bool,
        generator: torch.Generator | None,
    ) -> tuple[Carry, Tensor]:
        """Plan for the environments marked in `chosen` (N,) only; their gains come back."""
        previous = carry["plan_mean"][chosen]
        shifted = torch.cat([previous[:, 1:], torch.zeros_like(previous[:, :1])], 1)
        plan = self.plan(state.map(lambda part: part[chosen]), shifted, generator)
        mean, std = plan.mean[:, 0], plan.std[:, 0]
        # Without planning the plan *is* the prior, from which even a greedy agent draws.
        draw = explore or self.settings.planner.iterations == 0
        updates = {
            "skill": sample_normal(mean, std, generator) if draw else mean,
            "plan_mean": plan.mean,
            "plan_std": plan.std,
            "steps_left": torch.full_like(
                carry["steps_left"][chosen], self.settings.skills.duration
            ),
        }
        carry = dict(carry)
        for key, value in updates.items():
            carry[key] = carry[key].clone()
            carry[key][chosen] = value
        return carry, plan.gain

    @torch.no_grad()
    def plan(self, state: State, mean: Tensor, generator: torch.Generator | None = None) -> Plan:
        """Plan skills from states (N, ·), starting from plan means (N, S, Z)."""
        settings, duration = self.settings, self.settings.skills.duration

        def score(candidates: Tensor) -> Tensor:
            count = candidates.shape[1]
            trajectory = imagine(
                self.world_model.rssm,
                self.policy,
                state.map(lambda part: part.repeat_interleave(count, 0)),
                candidates.flatten(0, 1),
                duration=duration,
                horizon=settings.planner.skills * duration,
                explore=False,
                generator=generator,
            )
            returns = evaluate(self.world_model, self.value, trajectory, settings).returns
            return returns[0].unflatten(0, (-1, count))

        return plan_skills(score, mean, settings.planner, generator)

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses by parameter group, and scalars to log, all attached to one forward pass.

        The gradient of each loss is to be taken for its own group only (`backward`).
        """
        model_loss, states, metrics = self.world_model.loss(batch)
        rows = self._starts(batch.reward)
        start = states.map(lambda part: part.detach().flatten(0, 1)[rows])
        skills = draw_skills(
            batch.plan_mean.flatten(0, 1)[rows], batch.plan_std.flatten(0, 1)[rows], self.settings
        )
        losses, behaviour_metrics = behaviour_losses(
            self.world_model,
            self.policy,
            self.value,
            self.skill_predictor,
            self.return_scale,
            start,
            1.0 - batch.terminated.flatten()[rows].to(batch.reward.dtype),
            skills,
            self.settings,
        )
        losses = {"world_model": model_loss, **losses}
        return losses, {**metrics, **behaviour_metrics}

    def _starts(self, steps: Tensor) -> Tensor:
        """Indices of a random subset of the (B, T) steps, from which to imagine."""
        count = steps.numel()
        return torch.randperm(count, device=steps.device)[: self.settings.behaviour.starts]

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Accumulate each loss's gradient in its own parameter group and nowhere else.

        `inputs=` prunes what a group does not need, which is both the isolation (the
        policy's loss runs *through* the world model, and never into it) and a quarter of
        the time.
        """
        groups = self.parameter_groups()
        if losses.keys() != groups.keys():
            raise ValueError(f"losses {sorted(losses)} do not match groups {sorted(groups)}")
        for name, loss in losses.items():
            torch.autograd.backward(loss, inputs=groups[name], retain_graph=True)

    def extra_repr(self) -> str:
        count = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"{count:,} trained parameters"
