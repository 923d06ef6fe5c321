"""Errors that name what went wrong, where it went wrong."""

from __future__ import annotations

import math
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs


class NotFiniteError(FloatingPointError):
    """An observation, a reward or an action holds NaN or infinity."""


class Checked(gymnasium.Wrapper, RecordConstructorArgs):
    """Checks what goes into an environment and what comes out.

    Raises:
        NotFiniteError: NaN or infinity in an action (the environment is not stepped), an
            observation or a reward; names the key and the decision within the episode.
        ValueError: a Box action of the wrong shape (scaling would broadcast it), or an
            observation of another shape than the space says.
        RuntimeError: ``step`` before ``reset`` or after the end (shimmy resets silently).
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        space = env.action_space
        self._action_shape = space.shape if isinstance(space, spaces.Box) else None
        self._observation_space = env.observation_space
        self._running = False
        self._decision = 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._running, self._decision = True, 0
        self._check_observation(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        if not self._running:
            raise RuntimeError("the episode has ended or never began: call reset() before step()")
        self._decision += 1
        if self._action_shape is not None:
            self._check_action(np.asarray(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._running = not (terminated or truncated)
        if not math.isfinite(float(reward)):
            raise NotFiniteError(f"reward is {reward} {self._where()}")
        self._check_observation(observation)
        return observation, reward, terminated, truncated, info

    def _check_action(self, action: np.ndarray) -> None:
        if action.shape != self._action_shape:
            raise ValueError(f"action has shape {action.shape}, expected {self._action_shape}")
        if not _all_finite(action):
            raise NotFiniteError(f"action is {action} {self._where()}")

    def _check_observation(self, observation: Any) -> None:
        if isinstance(observation, dict):
            for key, value in observation.items():
                self._check_array(key, value, self._observation_space[key].shape)
        elif isinstance(observation, np.ndarray):
            self._check_array(None, observation, self._observation_space.shape)

    def _check_array(self, key: str | None, value: np.ndarray, shape: tuple[int, ...]) -> None:
        if value.shape != shape:
            raise ValueError(
                f"observation{f' {key!r}' if key else ''} has shape {value.shape} "
                f"{self._where()}, the environment's observation space says {shape}"
            )
        if value.dtype != np.uint8 and not _all_finite(value):
            key = key or self._key_of(int(np.flatnonzero(~np.isfinite(value))[0]))
            raise NotFiniteError(f"observation {key!r} is not finite {self._where()}: {value}")

    def _key_of(self, index: int) -> str:
        if not self.env.has_wrapper_attr("slices"):
            return f"[{index}]"
        slices: dict[str, slice] = self.env.get_wrapper_attr("slices")
        return next(key for key, part in slices.items() if part.start <= index < part.stop)

    def _where(self) -> str:
        return f"at decision {self._decision} of the episode (0 is the reset)"


def _all_finite(value: np.ndarray) -> bool:
    # NaN and infinity survive the sum of squares, which takes a quarter of the time of
    # isfinite().all(); the latter settles whether a large sum has merely overflowed.
    return math.isfinite(np.vdot(value, value)) or bool(np.isfinite(value).all())
