"""An environment of one's own, and how it is trained: a file for the `rllib` command.

    rllib train file examples/custom_env.py
    rllib evaluate ~/ray_results/custom_env --episodes 5

A crane moves along a rail, a load swings below it; the load shall hang still above the mark. A few
minutes on one core.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from rllib_lsp import LSPConfig

STEP = 0.05
"""Seconds."""


class Crane(gym.Env):
    """Observation: place (m) and speed of the crane, angle (rad) and speed of the load, the mark.

    Reward of a step: 1 where the load hangs above the mark, falling to 0 at a distance of 1 m.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
    """Acceleration of the crane, m/s²."""

    def __init__(self, env_config: dict[str, Any]) -> None:
        self._seconds = env_config.get("seconds", 10.0)
        self._rope = env_config.get("rope", 1.0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._state = np.zeros(4)
        self._mark, self._step = self.np_random.uniform(-2.0, 2.0), 0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._state = self._moved(float(action[0]))
        self._step += 1
        place, _, angle, _ = self._state
        distance = float(abs(place + self._rope * np.sin(angle) - self._mark))
        fell_off = bool(abs(place) > 4.0)
        out_of_time = self._step * STEP >= self._seconds
        # What `info` says at the end of an episode is in the results, as env_runners/info/<name>.
        info = {"success": distance < 0.1, "final_distance": distance}
        return self._observation(), max(0.0, 1.0 - distance), fell_off, out_of_time, info

    def _moved(self, acceleration: float) -> np.ndarray:
        """The state one step later."""
        place, speed, angle, turning = self._state
        pull = -(9.81 * np.sin(angle) + acceleration * np.cos(angle)) / self._rope
        turning += STEP * (pull - 0.2 * turning)
        speed += STEP * acceleration
        return np.array([place + STEP * speed, speed, angle + STEP * turning, turning])

    def _observation(self) -> np.ndarray:
        return np.append(self._state, self._mark).astype(np.float32)


config = (
    LSPConfig()
    .environment(Crane, env_config={"seconds": 10.0})
    .env_runners(num_envs_per_env_runner=4)
    .training(size="small", training_ratio=32)
    .evaluation(evaluation_interval=4, evaluation_duration=4)
    .debugging(seed=0)
)
stop = {"num_env_steps_sampled_lifetime": 12_000}
