"""Episodes of a checkpoint's agent, one after the other, each from a seed of its own.

The algorithm's own env runner acts, alone: without learner, replay, or a Ray to start. So any
algorithm acts here just as in its evaluations.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.spaces.space_utils import batch

from rllib_lsp.callbacks import numbers_of
from rllib_lsp.cli.checkpoint import Checkpoint
from rllib_lsp.cli.environment import cannot_be_built
from rllib_lsp.cli.messages import InputError, first_paragraph
from rllib_lsp.lsp.env_runner import LSPEnvRunner

CONNECTORS = ("env_to_module_connector", "module_to_env_connector")


@dataclass(frozen=True)
class Played:
    """One episode of T decisions; observations and actions may be dicts or tuples of arrays.

    Observations are (T + 1, ...), the last one that of the end; actions (T, ...), as the
    environment got them from the agent; rewards (T,).
    """

    seed: int
    observations: Any
    actions: Any
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    info: dict[str, float]

    @property
    def returned(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum())

    @property
    def length(self) -> int:
        """T."""
        return len(self.rewards)


class Moment(NamedTuple):
    """An episode after a decision, or at its beginning."""

    env: gymnasium.Env
    info: Mapping[str, Any]
    is_first: bool
    returned: float
    """The sum of the rewards so far."""
    decision: Mapping[str, np.ndarray]
    """The one that led here, see `LSPEnvRunner.decision`, of one environment; empty where there
    was none, or by an agent that has neither skills nor goals."""


Watcher = Callable[[Moment], None]


class Watched(gymnasium.Wrapper):
    """Begins each episode from the seed it is told, and shows what its runner does not."""

    def __init__(self, env: gymnasium.Env, runner: SingleAgentEnvRunner, watcher: Watcher | None):
        super().__init__(env)
        self.seed = 0
        self.info: dict[str, Any] = {}
        self._runner = runner if isinstance(runner, LSPEnvRunner) else None
        self._watcher = watcher
        self._returned = 0.0
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        observation, self.info = self.env.reset(seed=self.seed, options=options)
        self._returned, self.actions = 0.0, []
        self._show({}, is_first=True)
        return observation, self.info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        decision = self._decision()
        if decision.get("planned") and hasattr(self.env.unwrapped, "mark_skill"):
            self.env.unwrapped.mark_skill()
        self.actions.append(copy.deepcopy(action))
        observation, reward, terminated, truncated, self.info = self.env.step(action)
        self._returned += float(reward)
        self._show(decision)
        return observation, reward, terminated, truncated, self.info

    def _decision(self) -> dict[str, np.ndarray]:
        if self._runner is None or self._watcher is None:
            return {}
        decision = {key: value[0] for key, value in self._runner.decision().items()}
        return decision if decision["skill"].size else {}

    def _show(self, decision: Mapping[str, np.ndarray], is_first: bool = False) -> None:
        if self._watcher is not None:
            self._watcher(Moment(self.env, self.info, is_first, self._returned, decision))


def evaluation_config(
    trained: AlgorithmConfig, overrides: dict[str, Any], render_mode: str | None
) -> AlgorithmConfig:
    """What the algorithm evaluates with, for one environment in this process."""
    config = trained.copy(copy_frozen=False).get_evaluation_config_object()
    config.output = None  # what is played here is no part of what was recorded in training
    config.update_from_dict(overrides)
    config.env_runners(
        num_env_runners=0,
        num_envs_per_env_runner=1,
        gym_env_vectorize_mode="sync",
        create_env_on_local_worker=True,
    )
    # An error of the environment is to be seen, not to be survived.
    config.fault_tolerance(restart_failed_sub_environments=False)
    if render_mode is not None:
        config.env_config = {**config.env_config, "render_mode": render_mode}
    return config


def build_runner(checkpoint: Checkpoint, config: AlgorithmConfig) -> SingleAgentEnvRunner:
    """The runner with the checkpoint's weights and connector states.

    Raises:
        InputError: the environment cannot be built, does not draw as it is asked to, or the
            weights do not fit.
    """
    kind = config.env_runner_cls or SingleAgentEnvRunner
    try:
        runner = kind(config=config, worker_index=0)
    except Exception as error:  # whatever an environment raises when it is made
        raise cannot_be_built(config, error) from error
    wanted = config.env_config.get("render_mode")
    (env,) = runner.env.unwrapped.envs
    if wanted is not None and env.render_mode != wanted:
        raise InputError(
            f"environment `{config.env}` has render_mode {env.render_mode!r} instead of "
            f"{wanted!r}: it has to take `render_mode` from its env_config."
        )
    _load_weights(runner, checkpoint)
    for name in CONNECTORS:
        state = checkpoint.path / "env_runner" / name
        state = state if state.is_dir() else checkpoint.path / name  # without a local env runner
        if state.is_dir():
            runner.restore_from_path(state, component=name)
    return runner


def play(
    runner: SingleAgentEnvRunner, seeds: range, *, explore: bool, watcher: Watcher | None = None
) -> Iterator[Played]:
    """Plays an episode from each seed; the ``watcher`` is shown its beginning and each decision."""
    envs = runner.env.unwrapped.envs
    watched = envs[0] = Watched(envs[0], runner, watcher)
    torch.manual_seed(seeds.start)  # from which RLlib's own modules explore
    for watched.seed in seeds:
        (episode,) = runner.sample(num_episodes=1, explore=explore)
        yield _played(episode.to_numpy(), watched)


def _played(episode: SingleAgentEpisode, watched: Watched) -> Played:
    return Played(
        seed=watched.seed,
        observations=episode.get_observations(),
        # An episode of RLlib has its module's, which are scaled and clipped for an environment.
        actions=batch(watched.actions),
        rewards=np.asarray(episode.get_rewards(), np.float64),
        terminated=bool(episode.is_terminated),
        truncated=bool(episode.is_truncated),
        info=numbers_of(watched.info),
    )


def _load_weights(runner: SingleAgentEnvRunner, checkpoint: Checkpoint) -> None:
    try:
        runner.module.restore_from_path(checkpoint.module)
    except (RuntimeError, ValueError) as error:  # other sizes, or parts that are not there
        what, *mismatches = first_paragraph(error).split("size mismatch for ")
        reason = f"{mismatches[0]}({len(mismatches)} such) " if mismatches else what
        raise InputError(
            f"{checkpoint.path}: its weights do not fit this environment and config: {reason}"
            "Leave out --env, or the --set that changes their sizes."
        ) from error
