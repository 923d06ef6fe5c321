"""The environments of a runner: made with seeds of their own, and anew where they fail."""

from __future__ import annotations

import logging
from typing import Any

import gymnasium as gym
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.env_runner import ENV_RESET_TIMER
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_lsp.envs import env_seed
from rllib_lsp.envs.resumable import Resumable
from rllib_lsp.envs.seeding import ENVS_PER_WORKER
from rllib_lsp.lsp.env_building import build_env
from rllib_lsp.lsp.hooks import tell_of_environment

logger = logging.getLogger(__name__)
EVALUATION_SEED = 1_000_000
"""Evaluation environments are other ones than those that are trained in."""


class SeededEnvironments(SingleAgentEnvRunner):
    """A runner's vector of environments; what acts in them is in `lsp.env_runner`."""

    env: Any
    _seed: int | None
    _begun = 0
    """How many times the environments began with seeds of their own."""

    def make_env(self) -> None:
        """A synchronous vector of wrapped environments, each with a seed of its own."""
        if self.env is not None:
            self._close_env()
        config = self.config
        self.num_envs = config.num_envs_per_env_runner
        self._choose_seed()
        context = EnvContext(
            config.env_config, worker_index=self.worker_index, num_workers=self.num_workers
        )
        self.env = gym.vector.SyncVectorEnv(
            [lambda: Resumable(build_env(config, context))] * self.num_envs
        )
        tell_of_environment(self, context)

    def _close_env(self) -> None:
        try:
            self.env.close()
        except Exception as error:  # of a simulator that has died
            logger.warning("An environment could not be closed: %r", error)

    def _choose_seed(self) -> None:
        """Seeds of environments that begin, which are not those that they had before."""
        config, first = self.config, self._begun * self.num_envs % ENVS_PER_WORKER
        self._begun += 1
        self._seed = (
            None
            if config.seed is None
            else env_seed(config.seed, self.worker_index or 0, first)
            + (EVALUATION_SEED if config.in_evaluation else 0)
        )
        self._needs_initial_reset, self._is_seeded = True, False

    def _try_env_reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """RLlib's own makes environments anew as often as they fail, and always with one seed.

        Raises:
            RuntimeError: they failed more often than is tolerated.
            Exception: what the reset raised, where failed environments shall not be restarted.
        """
        failures = 0
        while True:
            try:
                with self.metrics.log_time(ENV_RESET_TIMER):
                    return self.env.reset(seed=seed, options=options)
            except Exception:  # whatever an environment raises
                if not self.config.restart_failed_sub_environments:
                    raise
                failures += 1
                self._tolerate(failures, "resets one after the other")
                logger.exception("An environment failed in its reset; all are made anew.")
            self.make_env()
            seed = self._seed

    def _tolerate(self, failures: int, what: str) -> None:
        """Raises RuntimeError where environments failed in more of `what` than the config says."""
        if failures > self.config.num_consecutive_env_runner_failures_tolerance:
            raise RuntimeError(
                f"The environments failed in {failures} {what}, though they were made anew each "
                "time; the log names each error."
            )
