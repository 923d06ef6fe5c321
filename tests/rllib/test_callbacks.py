"""What ``TaskMetrics`` logs of an info; tests/envs/test_ppo.py trains with it."""

from enum import IntEnum
from types import SimpleNamespace

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from rllib_lsp import LSPConfig, TaskMetrics


class StepType(IntEnum):
    LAST = 2


def ended(info):
    episode = SingleAgentEpisode()
    episode.add_env_reset(np.zeros(1), infos={"early": 1.0})
    episode.add_env_step(np.zeros(1), 0, 0.0, infos=info, truncated=True)
    return episode


def test_numbers_of_the_last_info_are_averaged_over_episodes():
    logger = MetricsLogger(root=True)
    runner = SimpleNamespace(config=LSPConfig())
    for success, steps in ((True, np.int64(3)), (False, np.int64(5))):
        info = {
            "success": success,
            "steps": steps,
            "frames": 2,
            "position": (1.0, 2.0),
            "ragged": [[1], [1, 2]],
            "text": "far",
            "step_type": StepType.LAST,
        }
        TaskMetrics().on_episode_end(
            episode=ended(info), env_runner=runner, metrics_logger=logger, env_index=0
        )
    assert logger.reduce() == {"info": {"success": 0.5, "steps": 4.0}}
