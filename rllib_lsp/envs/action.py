"""Actions: rescaled to [-1, 1], and repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

# dm_control writes MuJoCo's largest number for an actuator without limits.
MUJOCO_UNLIMITED = 1e10


class UnitActions(gymnasium.ActionWrapper, RecordConstructorArgs):
    """Float Box actions become float32 in [-1, 1]; values outside are clipped first.

    Raises:
        ValueError: a bound is infinite (or MuJoCo's 1e10).
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ActionWrapper.__init__(self, env)
        native = env.action_space
        assert isinstance(native, spaces.Box), native
        unlimited = ~(np.maximum(abs(native.low), abs(native.high)) < MUJOCO_UNLIMITED)
        if unlimited.any():
            index = tuple(int(i) for i in np.argwhere(unlimited)[0])
            raise ValueError(
                f"action {index} is bounded by [{native.low[index]}, {native.high[index]}] and "
                "cannot be rescaled to [-1, 1]: give the environment a finite action space, "
                "for example with gymnasium.wrappers.TransformAction"
            )
        self.action_space = spaces.Box(-1.0, 1.0, native.shape, np.float32)
        low, high = native.low.astype(np.float64), native.high.astype(np.float64)
        self._centre = (low + high) / 2
        self._half_width = (high - low) / 2
        # As in most of dm_control's suite: then there is nothing to scale.
        self._is_unit = bool((low == -1.0).all() and (high == 1.0).all())
        self._dtype = native.dtype

    @staticmethod
    def applies_to(space: spaces.Space) -> bool:
        """Whether actions of this space are rescaled: Boxes of floats only."""
        return isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)

    def action(self, action: np.ndarray) -> np.ndarray:
        unit = np.minimum(np.maximum(action, -1.0), 1.0)  # np.clip takes twice as long
        scaled = unit if self._is_unit else self._centre + self._half_width * unit
        return scaled.astype(self._dtype, copy=False)


class ActionRepeat(gymnasium.Wrapper, RecordConstructorArgs):
    """One decision is ``repeat`` simulator steps with the same action.

    Rewards are summed; repeating stops at the end of the episode. ``info["frames"]`` is
    the number of simulator steps which the decision took, also when ``repeat`` is 1. There is a
    picture for each decision, so ``metadata["render_fps"]`` is divided by ``repeat``.

    Raises:
        ValueError: ``repeat`` is no integer of at least 1.
    """

    def __init__(self, env: gymnasium.Env, repeat: int):
        if not isinstance(repeat, int) or repeat < 1:
            raise ValueError(f"action_repeat must be an integer >= 1, got {repeat!r}")
        RecordConstructorArgs.__init__(self, repeat=repeat)
        gymnasium.Wrapper.__init__(self, env)
        self._repeat = repeat
        self._counts_below = any(isinstance(layer, ActionRepeat) for layer in _layers(env))
        if env.metadata.get("render_fps"):
            fps = env.metadata["render_fps"] / repeat
            self.metadata = {**env.metadata, "render_fps": fps}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        total, frames = 0.0, 0
        for _ in range(self._repeat):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            # One that repeats actions itself, under a wrapper of the user's, has counted; what
            # else an environment may call its frames is no business of ours.
            frames += info["frames"] if self._counts_below else 1
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, {**info, "frames": frames}


def _layers(env: gymnasium.Env) -> Iterator[gymnasium.Env]:
    """The environment and whatever it wraps."""
    yield env
    if isinstance(env, gymnasium.Wrapper):
        yield from _layers(env.env)
