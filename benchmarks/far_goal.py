"""A point in a round room, paid only near one place of the wall: the best skill is known.

No reward shows the way, and the noise of a policy does not get there. Skills that lead in
different directions do, and the best one is that which leads in the goal's direction.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

SPEED = 0.2
"""Greatest way in one decision."""
ROOM = 4.0
"""Radius of the room, in whose middle every episode begins."""
GOAL_RADIUS = 1.5
"""Of the goal, whose centre lies on the wall."""
DECISIONS = 40
"""Length of an episode, always cut off and never terminated."""
GOAL_ANGLE = 0.7
"""Direction of the goal from the middle of the room, in radians."""
GOAL = ROOM * np.array([np.cos(GOAL_ANGLE), np.sin(GOAL_ANGLE)])


class FarGoal(gym.Env):
    """Observes its position (2,); an action (2,) is a velocity; 1 for each decision at the goal.

    The wall stops what leads outwards and lets slide what leads along it.
    """

    observation_space = gym.spaces.Box(-ROOM, ROOM, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, _: Any = None) -> None:
        self._position = np.zeros(2)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._position = self.np_random.uniform(-0.1, 0.1, 2)
        self._step = 0
        return self._position.astype(np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        # As fast in every direction, so that none is easier than another.
        move = np.asarray(action, np.float64) / max(1.0, float(np.linalg.norm(action)))
        self._position = self._position + SPEED * move
        self._position *= min(1.0, ROOM / max(1e-9, float(np.linalg.norm(self._position))))
        self._step += 1
        reward = float(at_goal(self._position))
        return self._position.astype(np.float32), reward, False, self._step == DECISIONS, {}


def at_goal(positions: np.ndarray) -> np.ndarray:
    """(..., 2) → (...) bool."""
    return np.linalg.norm(positions - GOAL, axis=-1) < GOAL_RADIUS


def straight(position: np.ndarray) -> np.ndarray:
    """What the best policy does at a position (2,): go straight to the goal, (2,)."""
    way = GOAL - position
    return (way / max(1e-9, float(np.linalg.norm(way)))).astype(np.float32)
