"""`HIRO`: what its two levels learn from, and how far a goal may reach."""

from __future__ import annotations

from ray.tune import register_trainable

from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.learning import measured_range
from rllib_lsp.hiro.config import HIROConfig
from rllib_lsp.hiro.learner import PAIRS, WINDOWS
from rllib_lsp.lsp.asking import ask_agents
from rllib_lsp.lsp.replay_algorithm import ReplayAlgorithm
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX
from rllib_lsp.replay import Rows

BEGIN = "chosen"
"""Column of the rows in which a goal was chosen."""


class HIRO(ReplayAlgorithm):
    """Hierarchical reinforcement learning with off-policy correction (Nachum et al. 2018)."""

    config: HIROConfig

    @classmethod
    def get_default_config(cls) -> HIROConfig:
        return HIROConfig(algo_class=cls)

    def setup(self, config: HIROConfig) -> None:
        super().setup(config)
        self._settings = self.config.settings()

    @property
    def _updates_per_round(self) -> int:
        return self.config.updates_per_round

    @property
    def _segment_rows(self) -> int:
        return self._settings.goals.duration + 1

    def _can_sample(self) -> bool:
        has_segments = not self._settings.learns_goals or self.replay.can_sample(
            self._segment_rows, BEGIN
        )
        return has_segments and self.replay.can_sample(2)

    def _sample_columns(self) -> Rows:
        batch, updates = self.config.batch_size, self.config.updates_per_round
        pairs = self.replay.sample(batch * updates, 2)
        columns = {
            f"{PAIRS}{key}": value.reshape(batch, updates, *value.shape[1:])
            for key, value in pairs.items()
        }
        if self._settings.learns_goals:
            windows = self.replay.sample(batch, self._segment_rows, BEGIN)
            columns |= {f"{WINDOWS}{key}": value for key, value in windows.items()}
        return columns

    def _update(self) -> None:
        goals = self._settings.goals
        if self._settings.has_goals and not goals.range and not self.progress["updates"]:
            self._measure_range()
        super()._update()

    def _measure_range(self) -> None:
        """From the random decisions, before the first update; it is part of the weights then."""
        rows = self.replay.sample(len(self.replay), 1)

        def measure(agent: HIROAgent) -> None:
            tensors = {
                key: agent.goal_range.new_tensor(rows[f"{OBSERVATION_PREFIX}{key}"][:, 0])
                for key in agent.spec
            }
            agent.goal_range.copy_(measured_range(agent, agent.state(tensors)))

        ask_agents(self.learner_group, measure)


# `Tuner("HIRO", ...)` and `run: HIRO` look the name up here.
register_trainable("HIRO", HIRO)
