"""Observations as the networks read them: float32, contiguous, images as uint8."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs


def float32_observations(env: gymnasium.Env, flatten: bool) -> gymnasium.Env:
    """Wrap ``env`` if its observations are a Box or a Dict of Boxes; else leave it alone.

    Raises:
        ValueError: a Dict entry that is no Box, or, when ``flatten``, an image.
    """
    space = env.observation_space
    if isinstance(space, spaces.Dict):
        return FlatObservations(env) if flatten else DictObservations(env)
    return BoxObservations(env) if isinstance(space, spaces.Box) else env


class FlatObservations(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A Dict of Boxes as one float32 vector, its keys joined in sorted order.

    Attributes:
        slices: which part of the vector holds which key, e.g. to plot or to mask one.
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        parts = {key: _as_float32(key, box) for key, box in _sorted_boxes(env).items()}
        self.slices: dict[str, slice] = {}
        end = 0
        for key, part in parts.items():
            if _is_image(part):
                raise ValueError(
                    f"observation {key!r} is an image and cannot be joined into one vector with "
                    "the others: use flatten=False"
                )
            begin, end = end, end + int(np.prod(part.shape))
            self.slices[key] = slice(begin, end)
        self._size = end
        self.observation_space = spaces.Box(
            np.concatenate([part.low.ravel() for part in parts.values()]),
            np.concatenate([part.high.ravel() for part in parts.values()]),
            dtype=np.float32,
        )

    def observation(self, observation: dict[str, Any]) -> np.ndarray:
        # gymnasium's FlattenObservation walks the space again on every step.
        parts = [observation[key] for key in self.slices]
        vector = np.empty(self._size, np.float32)
        try:
            return np.concatenate(parts, axis=None, out=vector, casting="same_kind")
        except ValueError:
            widths = {key: part.stop - part.start for key, part in self.slices.items()}
            wrong = {
                key: np.shape(observation[key])
                for key, width in widths.items()
                if np.size(observation[key]) != width
            }
            raise ValueError(
                f"observations have shapes {wrong}, which the environment's observation space "
                f"does not say"
            ) from None


class DictObservations(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A Dict of Boxes as a Dict of float32 Boxes, scalars as vectors of length 1."""

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._parts = {key: _as_float32(key, box) for key, box in _sorted_boxes(env).items()}
        self.observation_space = spaces.Dict(dict(self._parts))

    def observation(self, observation: dict[str, Any]) -> dict[str, np.ndarray]:
        return {key: _cast(observation[key], part) for key, part in self._parts.items()}


class BoxObservations(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A Box as a float32 Box of the same shape (a scalar as a vector of length 1)."""

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._box = _as_float32("observation", env.observation_space)
        self.observation_space = self._box

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return _cast(observation, self._box)


def _sorted_boxes(env: gymnasium.Env) -> dict[str, spaces.Space]:
    # dm_control's own order of keys differs from task to task; sorted is the same for all.
    assert isinstance(env.observation_space, spaces.Dict), env.observation_space
    return dict(sorted(env.observation_space.spaces.items()))


def _as_float32(key: str, space: spaces.Space) -> spaces.Box:
    if not isinstance(space, spaces.Box):
        raise ValueError(
            f"observation {key!r} is a {type(space).__name__} and no Box: turn it into numbers "
            "first, for example with gymnasium.wrappers.TransformObservation"
        )
    if _is_image(space):
        return space
    shape = space.shape or (1,)
    with np.errstate(over="ignore"):  # float64's largest number becomes inf, as it should
        low, high = (bound.astype(np.float32) for bound in (space.low, space.high))
    return spaces.Box(low.reshape(shape), high.reshape(shape), dtype=np.float32)


def _is_image(space: spaces.Box) -> bool:
    return space.dtype == np.uint8 and len(space.shape) >= 2


def _cast(value: np.ndarray, space: spaces.Box) -> np.ndarray:
    # A copy in every case: the simulator may write into its own array later.
    array = np.array(value, dtype=space.dtype, order="C")
    try:
        return array.reshape(space.shape)
    except ValueError:
        raise ValueError(
            f"an observation has shape {array.shape}, the environment's observation space says "
            f"{space.shape}"
        ) from None
