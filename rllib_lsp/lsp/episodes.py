"""Rows of arrays: of what an environment says, and to RLlib's episodes for who asks to `sample`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_lsp.core.saved_agent import SINGLE_KEY
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX, named
from rllib_lsp.replay import Rows


def columns_of(observation: Any) -> Rows:
    """Named columns of an observation batch, float32 vectors and uint8 images.

    Copied: vector envs reuse their buffers.
    """
    return {
        f"{OBSERVATION_PREFIX}{key}": np.array(
            value, np.uint8 if value.dtype == np.uint8 else np.float32
        )
        for key, value in named(observation).items()
    }


def write_step(rows: Rows, step: int, steps: int, values: Rows) -> None:
    """Put (N, ...) values into column arrays (N, steps, ...), which the first call makes."""
    for key, value in values.items():
        if key not in rows:
            rows[key] = np.empty((value.shape[0], steps, *value.shape[1:]), value.dtype)
        rows[key][:, step] = value


def to_episodes(rows: Rows, arrival: Rows, env: Any) -> list[SingleAgentEpisode]:
    """Episodes, or chunks of them, from columns (N, T, ...) and what came after the last row."""
    columns = {
        key: np.concatenate([value, arrival[key][:, None]], 1)
        for key, value in rows.items()
        if key in arrival
    }
    episodes = []
    for index in range(rows["reward"].shape[0]):
        one = {key: value[index] for key, value in columns.items()}
        starts = np.flatnonzero(one["is_first"]).tolist()
        borders = sorted({0, *starts, len(one["reward"])})
        for start, end in pairwise(borders):
            # A lone reset observation has no step yet; the next chunk begins with it.
            if end - start > 1:
                episodes.append(_episode({key: v[start:end] for key, v in one.items()}, env))
    return episodes


def _episode(rows: Rows, env: Any) -> SingleAgentEpisode:
    observations = {key: value for key, value in rows.items() if key.startswith(OBSERVATION_PREFIX)}
    names = [key.removeprefix(OBSERVATION_PREFIX) for key in observations]
    single = names == [SINGLE_KEY]
    count = len(rows["reward"])
    return SingleAgentEpisode(
        observations=[
            observations[OBSERVATION_PREFIX + SINGLE_KEY][t]
            if single
            else {name: observations[OBSERVATION_PREFIX + name][t] for name in names}
            for t in range(count)
        ],
        actions=list(_env_actions(rows["action"][1:], env.single_action_space)),
        rewards=rows["reward"][1:].tolist(),
        terminated=bool(rows["terminated"][-1]),
        truncated=bool(rows["truncated"][-1]),
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        len_lookback_buffer=0,
    )


def _env_actions(actions: np.ndarray, space: gym.Space) -> np.ndarray:
    return actions.argmax(-1) if isinstance(space, gym.spaces.Discrete) else actions
