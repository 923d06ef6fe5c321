"""The env runner: steps a vector of environments with the planning agent.

A lean loop: one batched `Agent.act` and one vector step per decision, arrays in and out. RLlib's
own loop spends 1.7 ms a step in connectors and episode objects; here they are made only when
somebody asks for episodes (`sample`, as evaluation does) or hangs something in, see `lsp.hooks`.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env.env_runner import ENV_STEP_FAILURE
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_lsp.callbacks import TaskMetrics, numbers_of
from rllib_lsp.core.agent import Agent
from rllib_lsp.lsp.environments import SeededEnvironments
from rllib_lsp.lsp.episodes import columns_of, to_episodes, write_step
from rllib_lsp.lsp.hooks import Hooks, needs_episodes
from rllib_lsp.lsp.recording import Recorder
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX
from rllib_lsp.replay import Rows

NUM_FRAMES = "num_frames_sampled"
NUM_FRAMES_LIFETIME = "num_frames_sampled_lifetime"
PLANNER_GAIN = "planner_gain"


class Fragment(NamedTuple):
    """What a runner saw in a few decisions of each of its N environments."""

    rows: Rows
    """{column: (N, T, ...)}, see `core.world_model.Batch`."""
    worker_index: int
    number: int
    """Counts this runner's fragments, so that a lost one is noticed."""
    decisions: int
    """Actions that an environment executed; a reset is a row, and no decision."""
    frames: int
    weights: int
    """Rounds of updates that the learner had made when these weights were sent."""


class LSPEnvRunner(SeededEnvironments):
    """Acts with `Agent.act` in N environments at once."""

    _callbacks: list[RLlibCallback]
    _weights_seq_no: int

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        if self.worker_index:
            torch.set_num_threads(max(1, int(config.num_cpus_per_env_runner)))
        self._generator = torch.Generator(self._device)
        self._seed_noise()
        self._fragments = 0
        self._extras: dict[str, torch.Tensor] = {}
        # What it logs is logged here anyway, without an episode object.
        self._callbacks = [c for c in self._callbacks if type(c) is not TaskMetrics]
        self._hooks = Hooks(self) if needs_episodes(config, self._callbacks) else None
        self._recorder = Recorder(config, self.worker_index or 0) if config.output else None
        if self.module is not None:
            self.module.eval()

    def _seed_noise(self) -> None:
        if self._seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self._seed)
        self._random = np.random.default_rng(self._seed)

    def begin_elsewhere(self, decisions: int) -> None:
        """Other episodes and noise than those that the run began with, as it goes on after so
        many `decisions`."""
        if self.env is None:
            return
        self._begun = int(np.random.SeedSequence(decisions).generate_state(1)[0])
        self._choose_seed()
        self._seed_noise()

    @property
    def _agent(self) -> Agent:
        return self.module.agent

    def set_state(self, state: dict[str, Any]) -> None:
        """RLlib skips weights whose number is not higher than the runner's; but those of a
        checkpoint restored into a running algorithm have a lower or even the same number."""
        if COMPONENT_RL_MODULE in state:
            self._weights_seq_no = 0
        super().set_state(state)

    def sample_fragment(
        self, steps: int, random: str | None = None
    ) -> tuple[Fragment, dict[str, Any]]:
        """`steps` decisions in every environment, and the metrics since the last call.

        `random`: whether `actions`, or only `skills`, are drawn at random, as to begin with.
        """
        explore = self.config.explore
        if self._needs_initial_reset:
            self._reset(explore)
        rows, decisions, frames = self._roll_out(steps, explore, random)
        fragment = Fragment(
            rows,
            self.worker_index or 0,
            self._fragments,
            decisions,
            frames,
            self._weights_seq_no,
        )
        if self._hooks:
            cut = self.config.batch_mode == "truncate_episodes"
            self._hooks.sampled(self._record(self._hooks.take(cut=cut)))
        return fragment, self.get_metrics()

    def _record(self, episodes: list[SingleAgentEpisode]) -> list[SingleAgentEpisode]:
        if self._recorder:
            self._recorder.add(episodes)
        return episodes

    def stop(self) -> None:
        """Write what is recorded, and close the environments."""
        if self._recorder:
            self._recorder.flush()
        super().stop()

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        """RLlib's `sample`: at least so many steps, or finished episodes, as episodes."""
        if self._needs_initial_reset or force_reset or num_episodes is not None:
            self._reset(explore)
        parts, steps, finished = [], 0, 0
        while steps < (num_timesteps or 0) or finished < (num_episodes or 0):
            random = "actions" if random_actions else None
            rows, decisions, _ = self._roll_out(1, explore, random)
            parts.append(rows)
            steps += decisions
            finished += int(self._done().sum())
        self._needs_initial_reset = num_episodes is not None
        if self._hooks:
            return self._record(self._hooks.take(cut=num_episodes is None))
        if not parts:
            return []
        joined = {key: np.concatenate([part[key] for part in parts], 1) for key in parts[0]}
        episodes = to_episodes(joined, self._arrival, self.env)
        if self.episodes_to_numpy:
            episodes = [episode.to_numpy() for episode in episodes]
        return [episode for episode in episodes if episode.is_done or num_episodes is None]

    def _reset(self, explore: bool) -> None:
        if self._hooks:
            self._hooks.create()
        # Once with seeds: later resets go on from there, so that evaluations see new starts.
        observation, infos = self._try_env_reset(seed=None if self._is_seeded else self._seed)
        self._needs_initial_reset, self._is_seeded = False, True
        if self._hooks:
            observation = self._hooks.begin(observation, infos, explore)
        self._carry = self._agent.initial_carry(self.num_envs)
        count = self.num_envs
        self._arrival = columns_of(observation) | {
            "action": np.zeros((count, self._agent.action_spec.size), np.float32),
            "reward": np.zeros(count, np.float32),
            "is_first": np.ones(count, bool),
            "terminated": np.zeros(count, bool),
            "truncated": np.zeros(count, bool),
        }
        self._returns, self._lengths = np.zeros(count), np.zeros(count, np.int64)
        self._started = np.full(count, time.perf_counter())

    def _done(self) -> np.ndarray:
        return self._arrival["terminated"] | self._arrival["truncated"]

    def _roll_out(self, steps: int, explore: bool, random: str | None) -> tuple[Rows, int, int]:
        """Rows (N, steps, ...), how many decisions were executed, and frames."""
        rows: Rows = {}
        decisions = frames = episodes = step = failures = 0
        gains: list[float] = []
        # Counted before, and reset until done: should an exception end this, the next
        # fragment neither has this one's number nor goes on in the middle of it.
        self._fragments += 1
        self._needs_initial_reset = True
        while step < steps:
            action = self._decide(explore, random, gains)
            write_step(rows, step, steps, self._arrival | self._decided(random))
            env_action = self._agent.action_spec.to_env(action)
            if self._hooks:
                action, env_action = self._hooks.act(action, explore)
                self._carry["action"] = torch.from_numpy(action).to(self._device)
            result = self._try_env_step(env_action)
            if result is ENV_STEP_FAILURE:
                failures += 1
                self._tolerate(failures, "steps of one fragment")
                # All environments were made anew: what was begun here has no end.
                rows, decisions, frames, episodes, step = {}, 0, 0, 0, 0
                self._fragments += 1
                self._reset(explore)
                self._needs_initial_reset = True
                continue
            acted = ~self._done()
            if self._hooks:
                observation = self._hooks.step(action, acted, result, explore)
                result = (observation, *result[1:])
            frames += self._receive(action, acted, result)
            decisions += int(acted.sum())
            episodes += self._log_finished()
            step += 1
        self._needs_initial_reset = False
        self._log_sampled(decisions, frames, episodes, gains)
        return rows, decisions, frames

    def _decide(self, explore: bool, random: str | None, gains: list[float]) -> np.ndarray:
        """Actions (N, A) of the next decision."""
        if random == "actions":
            return self._random_action()
        return self._act(explore, random == "skills", gains)

    def _decided(self, random: str | None) -> Rows:
        """What was decided besides the action, as columns of rows: (N, ...)."""
        plan = {key: self._carry[key].cpu().numpy() for key in ("plan_mean", "plan_std")}
        # A skill that was planned now has been held for this one decision. What is planned
        # where an episode has ended is not carried out.
        planned = (self._carry["held"].cpu().numpy() == 1) & (random is None)
        return plan | {"planned": planned & ~self._done()}

    def _random_action(self) -> np.ndarray:
        """Uniform actions. The agent is not asked, and knows only what was done last."""
        action = self._agent.action_spec.random(self.num_envs, self._random)
        self._carry = self._agent.initial_carry(self.num_envs)
        self._carry["action"] = torch.from_numpy(action).to(self._device)
        return action

    def _act(self, explore: bool, random_skills: bool, gains: list[float]) -> np.ndarray:
        self._carry, action, extras = self._agent.act(
            self._carry,
            *self._seen(),
            explore,
            self._generator,
            random_skills=random_skills,
        )
        self._extras = extras
        gains += extras["planner_gain"][extras["planned"]].tolist()
        return action.cpu().numpy()

    def decision(self) -> dict[str, np.ndarray]:
        """What the agent's last decision rested on, in each environment, for who looks on.

        `skill` (N, Z), the decisions `steps_left` (N,) for which it is held after this one,
        whether it was `planned` now (N,), and the `planner_gain` (N,), 0 where it was not.
        """
        held = {key: self._carry[key] for key in ("skill", "steps_left")}
        return {key: value.cpu().numpy() for key, value in (held | self._extras).items()}

    def _seen(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The observation {key: (N, ...)}, and where it begins an episode, (N,)."""
        observation = {
            key.removeprefix(OBSERVATION_PREFIX): torch.from_numpy(value).to(self._device)
            for key, value in self._arrival.items()
            if key.startswith(OBSERVATION_PREFIX)
        }
        return observation, torch.from_numpy(self._arrival["is_first"]).to(self._device)

    def _receive(self, action: np.ndarray, acted: np.ndarray, result: Any) -> int:
        """Take in what a vector step brought; returns the frames it took.

        gymnasium resets an environment in the step *after* its end, ignoring the action:
        that step brings the first observation of the next episode.
        """
        observation, reward, terminated, truncated, self._infos = result
        self._arrival = columns_of(observation) | {
            "action": action * acted[:, None],
            "reward": np.where(acted, reward, 0.0).astype(np.float32),
            "is_first": ~acted,
            "terminated": terminated,
            "truncated": truncated,
        }
        self._returns += self._arrival["reward"]
        self._lengths += acted
        self._started[~acted] = time.perf_counter()
        return int(np.sum(self._infos["frames"], where=acted)) if acted.any() else 0

    def _log_finished(self) -> int:
        """Log the episodes that ended in this step; returns their number."""
        done = np.flatnonzero(self._done()).tolist()
        for index in done:
            self._log_episode_metrics(
                int(self._lengths[index]),
                float(self._returns[index]),
                time.perf_counter() - self._started[index],
            )
            self._returns[index], self._lengths[index] = 0.0, 0
            self._log_info(index)
        return len(done)

    def _log_info(self, index: int) -> None:
        """Log what the environment says of an episode in its last `info`: every number."""
        window = self.config.metrics_num_episodes_for_smoothing
        # Not from the vector's: there all values have the type of the first environment's.
        for key, value in numbers_of(self.env.envs[index].info).items():
            self.metrics.log_value(("info", key), value, window=window)

    def _log_sampled(self, decisions: int, frames: int, episodes: int, gains: list[float]) -> None:
        self._increase_sampled_metrics(decisions, episodes)
        self.metrics.log_value(NUM_FRAMES, frames, reduce="sum")
        self.metrics.log_value(NUM_FRAMES_LIFETIME, frames, reduce="lifetime_sum")
        if gains:
            self.metrics.log_value(PLANNER_GAIN, float(np.mean(gains)), window=100)
