"""From gymnasium spaces to the plain sizes that `core` works with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.convolutions import SIDE_UNIT
from rllib_lsp.core.saved_agent import SINGLE_KEY

OBSERVATION_PREFIX = "observation."
"""Replay and batches are flat: each observation vector or image is a column of its own."""
MAX_CHANNELS = 16
"""Of an image: four stacked RGB frames have 12. More is a picture with its channels first."""
WRAPPERS = "gymnasium.wrappers"


class SpaceError(ValueError):
    """An observation or action space that the algorithm cannot learn from yet."""


def observation_spec(space: gym.Space) -> dict[str, tuple[int, ...]]:
    """Shape of each observation vector (width,) and image (height, width, channels).

    A plain Box is named `observation`. Raises SpaceError for anything but 1-D Boxes of floats,
    uint8 images with the channels last, and flat Dicts of both.
    """
    if not isinstance(space, gym.spaces.Dict):
        return {SINGLE_KEY: _shape(SINGLE_KEY, space)}
    if not space.spaces:
        raise SpaceError("Observation space is an empty Dict: give it at least one Box.")
    return {key: _shape(key, part) for key, part in space.spaces.items()}


def _shape(key: str, space: gym.Space) -> tuple[int, ...]:
    fault = _fault(space)
    if fault:
        raise SpaceError(f"Observation space {key!r} = {space} cannot be used: {fault}")
    return space.shape


def _fault(space: gym.Space) -> str | None:
    """What is wrong with an observation and how to mend it; None if nothing is."""
    if isinstance(space, gym.spaces.Dict):
        return f"Dicts cannot be nested; flatten it, e.g. with {WRAPPERS}.FlattenObservation."
    if not isinstance(space, gym.spaces.Box):
        return (
            f"a {type(space).__name__} is no Box; make it a vector of floats, e.g. with "
            f"{WRAPPERS}.FlattenObservation or TransformObservation."
        )
    if 0 in space.shape:
        return "it is empty; leave it out."
    if len(space.shape) == 3:
        return _image_fault(space)
    if len(space.shape) != 1:
        return (
            f"vectors have one dimension and images three; use {WRAPPERS}.FlattenObservation, or "
            f"for a grey image ReshapeObservation(env, (height, width, 1))."
        )
    if not np.issubdtype(space.dtype, np.floating):
        return f"vectors are of floats; use {WRAPPERS}.DtypeObservation(env, np.float32)."
    return None


def _image_fault(space: gym.spaces.Box) -> str | None:
    height, width, channels = space.shape
    if channels > MAX_CHANNELS:
        return (
            f"an image has its channels last, and at most {MAX_CHANNELS}; reorder it with "
            f"{WRAPPERS}.TransformObservation and np.moveaxis."
        )
    if space.dtype != np.uint8:
        return f"images are uint8 from 0 to 255; convert it with {WRAPPERS}.TransformObservation."
    if height % SIDE_UNIT or width % SIDE_UNIT:
        return (
            f"height and width of an image are multiples of {SIDE_UNIT}; resize it, e.g. with "
            f"{WRAPPERS}.ResizeObservation(env, (64, 64))."
        )
    return None


def action_spec(space: gym.Space) -> ActionSpec:
    """Of a bounded 1-D Box of floats or a Discrete space. Raises SpaceError for any other."""
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return ActionSpec(int(space.n), discrete=True)
    one_dimension = isinstance(space, gym.spaces.Box) and len(space.shape) == 1
    if not one_dimension or 0 in space.shape or not np.issubdtype(space.dtype, np.floating):
        raise SpaceError(
            f"Action space {space} is not supported: LSP's policy acts in a bounded 1-D Box of "
            f"floats or in Discrete(n). Wrap the environment so that its actions are one of "
            f"these, e.g. with gymnasium.wrappers.TransformAction."
        )
    if not np.isfinite([space.low, space.high]).all():
        raise SpaceError(
            f"Action space {space} has no finite bounds, so actions cannot be scaled to "
            f"[-1, 1]. Give the Box finite bounds, e.g. with "
            f"gymnasium.wrappers.RescaleAction or a ClipAction of your own."
        )
    return ActionSpec(space.shape[0])


def named(observation: Any) -> dict[str, Any]:
    """An observation (array or tensor, or a dict of them), or a batch, as a dict."""
    if isinstance(observation, Mapping):
        return dict(observation)
    return {SINGLE_KEY: observation}
