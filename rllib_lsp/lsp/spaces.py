"""From gymnasium spaces to the plain sizes that `core` works with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_lsp.core.saved_agent import SINGLE_KEY

OBSERVATION_PREFIX = "observation."
"""Replay and batches are flat: each observation vector is a column of its own."""


class SpaceError(ValueError):
    """An observation or action space that the algorithm cannot learn from yet."""


def observation_spec(space: gym.Space) -> dict[str, int]:
    """Width of each observation vector; a plain Box is named `observation`.

    Raises SpaceError for anything but a 1-D Box or a flat Dict of them.
    """
    parts = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {SINGLE_KEY: space}
    return {key: _width(key, part) for key, part in parts.items()}


def _width(key: str, space: gym.Space) -> int:
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return space.shape[0]
    raise SpaceError(
        f"Observation space {key} = {space} is not supported: LSP reads 1-D Box vectors and "
        f"flat Dicts of them. Flatten it, e.g. with gymnasium.wrappers.FlattenObservation."
    )


def action_size(space: gym.Space) -> int:
    """Dimensions of a bounded 1-D Box of actions. Raises SpaceError for any other space."""
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise SpaceError(
            f"Action space {space} is not supported: LSP's policy acts in a bounded 1-D Box. "
            f"Wrap the environment so that its actions are a vector of floats."
        )
    if not np.isfinite([space.low, space.high]).all():
        raise SpaceError(
            f"Action space {space} has no finite bounds, so actions cannot be scaled to "
            f"[-1, 1]. Give the Box finite bounds, e.g. with "
            f"gymnasium.wrappers.RescaleAction or a ClipAction of your own."
        )
    return space.shape[0]


def named(observation: Any) -> dict[str, Any]:
    """An observation (array or tensor, or a dict of them), or a batch, as a dict."""
    if isinstance(observation, Mapping):
        return dict(observation)
    return {SINGLE_KEY: observation}
