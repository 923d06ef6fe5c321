"""The agent that acts: filter, skill clock, planning, policy.

`Agent.act` is the one acting path, used by the RLlib env runner, by the RLModule's forward
methods and outside Ray alike. What an agent keeps between two calls is an explicit `Carry`,
batched over environments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rllib_lsp.core.behaviour import discounts, imagined_reward
from rllib_lsp.core.distributions import sample_normal
from rllib_lsp.core.imagination import Trajectory, imagine, lambda_return
from rllib_lsp.core.models import Models
from rllib_lsp.core.planner import Plan, Proposals, finite, plan_skills
from rllib_lsp.core.policy import Policy
from rllib_lsp.core.rssm import State
from rllib_lsp.core.settings import SettingsError
from rllib_lsp.core.skills import draw_durations, schedule, tell

Carry = dict[str, Tensor]
"""What is kept between two decisions of N environments: `deterministic` (N, H), `stochastic`
(N, X), `action` (N, A) last taken, `skill` (N, Z), `steps_left` (N,) decisions for which the
skill is still held, `held` (N,) decisions since it was chosen, `plan_mean` and `plan_std`
(N, S, Z), the current skill first. Where actions are planned, they stand for skills."""

PlanWatcher = Callable[[State, Tensor, Tensor, Tensor], None]
"""States (N, ·), candidates (N, G, S, Z), durations (N,) and expected returns (N, G) → nothing."""

ROWS_AT_ONCE = 2048
"""Roll-outs that are imagined in one batch, where more environments are planned for than that
takes: some 100 MB at the default sizes."""


class Agent(Models):
    """All models of one task, and how to act with them."""

    watch_plan: PlanWatcher | None = None
    """Told of whatever planning considers; for pictures of it."""

    def initial_carry(self, batch: int) -> Carry:
        """The carry in which an episode begins: no memory, no plan, time for a new skill."""
        like = self.world_model.rssm.initial(batch)
        plan_shape = (batch, self.settings.planner.skills, self.plan_width)
        new = like.deterministic.new_zeros
        return {
            "deterministic": like.deterministic,
            "stochastic": like.stochastic,
            "action": new(batch, self.action_spec.size),
            "skill": new(batch, self.plan_width),
            "steps_left": new(batch, dtype=torch.int64),
            "held": new(batch, dtype=torch.int64),
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
        *,
        random_skills: bool = False,
    ) -> tuple[Carry, Tensor, dict[str, Tensor]]:
        """One decision for N environments.

        observation {key: (N, *shape)}; is_first (N,) bool: forget what was before;
        random_skills: draw skills from N(0, I) instead of planning them.
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
        due = self._due(carry)
        gain = torch.zeros_like(due, dtype=state.deterministic.dtype)
        if bool(due.any()):
            carry, gain[due] = self._choose_skills(
                carry, state, due, explore, random_skills, generator
            )
        told = carry["skill"]
        if self.settings.has_skills:
            told = tell(told, carry["steps_left"], self.settings.skills)
        action, _ = self.policy.act(state.features, told, explore, generator)
        if explore and isinstance(self.policy, Policy):
            action = self.policy.distribution.add_noise(action, generator)
        action = action.clamp(-1.0, 1.0)
        carry = {
            **carry,
            "deterministic": state.deterministic,
            "stochastic": state.stochastic,
            "action": action,
            "steps_left": carry["steps_left"] - 1,
            "held": carry["held"] + 1,
        }
        return carry, action, {"planned": due, "planner_gain": gain}

    def _due(self, carry: Carry) -> Tensor:
        """Where a skill has to be chosen now: (N,) bool."""
        if self.plan_width == 0:
            return torch.zeros_like(carry["held"], dtype=torch.bool)
        due = carry["steps_left"] <= 0
        every = self.settings.planner.replan_every
        return due | (carry["held"] >= every) if every else due

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
        random_skills: bool,
        generator: torch.Generator | None,
    ) -> tuple[Carry, Tensor]:
        """New skills for the environments marked in `chosen` (N,) only; their gains come back."""
        planner = self.settings.planner
        here = state.map(lambda part: part[chosen])
        durations = self._draw_durations(here, generator)
        previous = {key: carry[key][chosen] for key in ("plan_mean", "skill", "steps_left")}
        if random_skills:
            plan = self._unplanned(here)
        else:
            start = self._start_of_plan(previous["plan_mean"], previous["steps_left"] <= 0)
            plan = self.plan(here, start, durations, previous["skill"], generator)
        mean, std = plan.mean[:, 0], plan.std[:, 0]
        # Where a plan *is* N(0, I) even a greedy agent draws: its mean is no better than any other.
        unguided = planner.method == "none" and self.skill_prior is None
        blind = random_skills or planner.iterations == 0 or unguided
        skill = sample_normal(mean, std, generator) if explore or blind else mean
        if explore and planner.random:
            skill = self._sometimes_random(skill, generator)
        if planner.bound:
            skill = skill.clamp(-planner.bound, planner.bound)
        updates = {
            "skill": skill,
            "plan_mean": plan.mean,
            "plan_std": plan.std,
            "steps_left": durations,
            "held": torch.zeros_like(durations),
        }
        carry = dict(carry)
        for key, value in updates.items():
            carry[key] = carry[key].clone()
            carry[key][chosen] = value
        return carry, plan.gain

    def _sometimes_random(self, skills: Tensor, generator: torch.Generator | None) -> Tensor:
        """Skills (N, Z), a share of which is replaced by draws from N(0, I)."""
        drawn = sample_normal(torch.zeros_like(skills), torch.ones_like(skills), generator)
        chance = torch.rand(skills.shape[0], 1, generator=generator, device=skills.device)
        return torch.where(chance < self.settings.planner.random, drawn, skills)

    def _draw_durations(self, state: State, generator: torch.Generator | None) -> Tensor:
        durations = (1,) if self.settings.plans_actions else self.settings.skills.duration
        like = state.deterministic
        return draw_durations(durations, like.shape[0], generator, like.device)

    def _start_of_plan(self, previous: Tensor, ended: Tensor) -> Tensor:
        """Means (N, S, Z) to plan from: the previous ones, less a first skill that has ended."""
        if not self.settings.planner.warm_start:
            return torch.zeros_like(previous)
        shifted = torch.cat([previous[:, 1:], torch.zeros_like(previous[:, :1])], 1)
        return torch.where(ended[:, None, None], shifted, previous)

    def _unplanned(self, state: State) -> Plan:
        """N(0, I) for every skill."""
        count = state.deterministic.shape[0]
        mean = state.deterministic.new_zeros(count, self.settings.planner.skills, self.plan_width)
        return Plan(mean, torch.ones_like(mean), mean.new_zeros(count))

    @torch.no_grad()
    def plan(
        self,
        state: State,
        start: Tensor,
        durations: Tensor,
        current: Tensor,
        generator: torch.Generator | None = None,
    ) -> Plan:
        """Plan skills from states (N, ·).

        start (N, S, Z): means to plan from; durations (N,) of the skills; current (N, Z): the
        skill that is held, as a candidate. With `method: none` the learned prior's answer.
        """
        planner = self.settings.planner
        learned = None if self.skill_prior is None else self.skill_prior(state.features)
        if planner.method == "none":
            plan = self._unplanned(state)
            if learned is not None:
                plan.mean[:, 0], plan.std[:, 0] = learned
            return plan

        def score(candidates: Tensor) -> Tensor:
            at_once = max(1, ROWS_AT_ONCE // candidates.shape[1])
            groups = (part.split(at_once) for part in (*state, candidates, durations))
            scores = torch.cat(
                [
                    self._score(State(deterministic, stochastic), some, each, generator)
                    for deterministic, stochastic, some, each in zip(*groups, strict=True)
                ]
            )
            if self.watch_plan is not None:
                self.watch_plan(state, candidates, durations, scores)
            return scores

        return plan_skills(score, start, planner, Proposals(current, learned), generator)

    def _score(
        self,
        state: State,
        candidates: Tensor,
        durations: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Expected returns (N, G) of skill sequences (N, G, S, Z) from states (N, ·)."""
        trajectory = self.follow(state, candidates, durations, generator)
        return self._return(trajectory)[0].unflatten(0, (-1, candidates.shape[1]))

    @torch.no_grad()
    def follow(
        self,
        state: State,
        candidates: Tensor,
        durations: Tensor,
        generator: torch.Generator | None = None,
    ) -> Trajectory:
        """What is imagined of skill sequences (N, G, S, Z) from states (N, ·): N · G roll-outs."""
        settings, count = self.settings, candidates.shape[1]
        skills = candidates.flatten(0, 1)
        if settings.plans_actions:
            horizon, told = candidates.shape[2], skills.transpose(0, 1)
        else:
            horizon = settings.planner.skills * settings.skills.longest
            each = durations.repeat_interleave(count, 0)
            told = tell(*schedule(skills, each, horizon), settings.skills)
        return imagine(
            self.world_model.rssm,
            self.policy,
            state.map(lambda part: part.repeat_interleave(count, 0)),
            told,
            horizon=horizon,
            explore=False,
            generator=generator,
            # Common random numbers: candidates differ by their skills, not by their luck.
            shared=count,
        )

    def _return(self, trajectory: Trajectory) -> Tensor:
        """λ-returns (H, N) as planning sees them; plain sums where there is no fitting value."""
        planner, behaviour = self.settings.planner, self.settings.behaviour
        replaced = self.reward_fn is not None and planner.reward_mode == "replace"
        reward = torch.zeros_like(trajectory.entropy)
        if not replaced:
            reward = imagined_reward(self, trajectory)
        if self.reward_fn is not None:
            decoded = self.world_model.decoder.decode(trajectory.reached)
            given = self.reward_fn(decoded, trajectory.reached, trajectory.actions)
            if not isinstance(given, Tensor) or given.shape != reward.shape:
                found = tuple(given.shape) if isinstance(given, Tensor) else repr(given)
                raise SettingsError(
                    f"planner.reward_fn returned {found}: it has to return a tensor of the reward "
                    f"of every imagined step, {tuple(reward.shape)} here."
                )
            # In a λ-return infinities would become NaN, of which the planner knows no sign.
            reward = reward + finite(given)
        if self.ensemble is not None and planner.disagreement:
            unsure = self.ensemble.disagreement(trajectory.features[:-1], trajectory.actions)
            reward = reward - planner.disagreement * unsure
        discount = discounts(self, trajectory)
        if self.value is None or replaced:
            nothing = torch.zeros_like(trajectory.features[..., 0])
            return lambda_return(reward, discount, nothing, 1.0)
        value = self.value.scalar.mean(self.value(trajectory.features))
        return lambda_return(reward, discount, value, behaviour.lambda_)
