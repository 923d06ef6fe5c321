"""RLlib callbacks that are useful with any algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger


class TaskMetrics(RLlibCallback):
    """Brings what an environment says of an episode in its last ``info`` into the results.

    Every number in it is logged as ``env_runners/info/<name>``: as with the return, the mean over
    the episodes that ended since the last result, at most
    ``metrics_num_episodes_for_smoothing`` of them. For RLlib's own algorithms, one agent per
    environment. LSP logs the same by itself; given to LSP too, it counts nothing twice.
    """

    def on_episode_end(
        self,
        *,
        episode: SingleAgentEpisode,
        env_runner: EnvRunner,
        metrics_logger: MetricsLogger,
        **kwargs: Any,
    ) -> None:
        window = env_runner.config.metrics_num_episodes_for_smoothing
        for key, value in numbers_of(episode.get_infos(-1)).items():
            metrics_logger.log_value(("info", key), value, window=window)


def numbers_of(info: Mapping[str, Any]) -> dict[str, float]:
    """What an episode's last ``info`` says in numbers."""
    # "frames" counts those of the last decision only.
    return {k: float(v) for k, v in info.items() if k != "frames" and _is_number(v)}


def _is_number(value: Any) -> bool:
    # Not isinstance(value, int): an enum such as dm_control's step type has no mean.
    return type(value) in (bool, int, float) or isinstance(value, np.number | np.bool_)
