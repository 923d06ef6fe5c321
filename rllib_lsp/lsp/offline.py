"""Recorded episodes, of any algorithm, as rows of the replay: what is learned from them first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.offline.offline_data import OfflineData

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.lsp.episodes import columns_of
from rllib_lsp.lsp.paths import local_path
from rllib_lsp.lsp.recording import unpack
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX, action_spec, observation_spec
from rllib_lsp.replay import Rows

if TYPE_CHECKING:
    from rllib_lsp.lsp.algorithm import LSP
    from rllib_lsp.lsp.config import LSPConfig

IN_REPLAY = "<replay>"
"""As `input_` of a checkpoint's config: the episodes came along in the replay."""
STREAM = "recorded"
"""All episodes are one stream of the replay: windows may cross them, as they do any others."""


def find_files(paths: str | Sequence[str]) -> list[Path]:
    """Every Parquet file at, or anywhere below, each of some paths.

    Raises ValueError for a path that has none.
    """
    found: list[Path] = []
    for text in [paths] if isinstance(paths, str) else paths:
        path = local_path(text)
        files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not files:
            what = "holds no Parquet files" if path.exists() else "does not exist"
            raise ValueError(
                f"offline_data(input_=...): {path} {what}. Name a directory, or files, which "
                f"RLlib recorded with offline_data(output=..., output_write_episodes=True)."
            )
        found += files
    return found


class RecordedEpisodes(OfflineData):
    """`Algorithm.offline_data` of LSP. RLlib's own reads batches when a learner asks for some;
    this one is read once, into the replay, which samples windows."""

    def __init__(self, config: LSPConfig) -> None:
        self.config = config
        self.files = [] if config.input_ == IN_REPLAY else find_files(config.input_)

    def fill(self, algorithm: LSP) -> None:
        """Add every episode to the replay.

        Raises ValueError for episodes of other spaces, or more than the replay holds.
        """
        spaces = algorithm.spaces[DEFAULT_MODULE_ID]
        plan = _no_plan(algorithm.config, action_spec(spaces[1]))
        for episode in unpack(self.files):
            rows = to_rows(episode, spaces, self.config.actions_in_input_normalized)
            count = len(rows["reward"])
            if len(algorithm.replay) + count > algorithm.replay.capacity:
                raise ValueError(
                    f"The episodes at {self.config.input_} are more than the replay holds; raise "
                    f"replay_capacity, which is {algorithm.replay.capacity}."
                )
            tiled = {key: np.repeat(value[None], count, 0) for key, value in plan.items()}
            algorithm.replay.add(STREAM, rows | tiled)
        if self.files and not len(algorithm.replay):
            raise ValueError(f"The files at {self.config.input_} hold no episodes.")


def to_rows(
    episode: SingleAgentEpisode, spaces: tuple[gym.Space, gym.Space], normalized: bool
) -> Rows:
    """An episode of T decisions as T + 1 rows, as an env runner writes them.

    spaces: of observations and actions, as a module has them;
    normalized: actions in a Box are in [-1, 1] already, whatever the bounds of the Box are.
    Raises ValueError where the episode does not fit the spaces, or has NaN or infinity.
    """
    episode.to_numpy()
    observation = columns_of(episode.get_observations())
    expected = {
        f"{OBSERVATION_PREFIX}{key}": shape for key, shape in observation_spec(spaces[0]).items()
    }
    shapes = {key: value.shape[1:] for key, value in observation.items()}
    if shapes != expected:
        raise ValueError(
            f"Recorded observations have the shapes {_told(shapes)}, those of the environment "
            f"{_told(expected)}: record in the same environment, with the same wrappers."
        )
    action = _unit_actions(episode, spaces[1], normalized)
    _check_finite(episode, observation | {"action": action, "reward": episode.get_rewards()})
    steps = len(action)
    return observation | {
        "action": np.concatenate([np.zeros_like(action[:1]), action]),
        "reward": np.append(0.0, episode.get_rewards()).astype(np.float32),
        "is_first": np.arange(steps + 1) == 0,
        "terminated": (np.arange(steps + 1) == steps) & episode.is_terminated,
    }


def _check_finite(episode: SingleAgentEpisode, columns: Rows) -> None:
    """Training would skip updates one by one, and end with another cause in mind."""
    for key, values in columns.items():
        wrong = ~np.isfinite(values.reshape(len(values), -1)).all(1)
        if wrong.any():
            raise ValueError(
                f"Recorded episode {episode.id_} has NaN or infinity in its "
                f"{key.removeprefix(OBSERVATION_PREFIX)} of step {wrong.argmax()}: leave it "
                f"out, or record it again."
            )


def _unit_actions(episode: SingleAgentEpisode, space: gym.Space, normalized: bool) -> np.ndarray:
    """Actions (T, A) as the agent knows them: one-hot, or in [-1, 1]."""
    spec, action = action_spec(space), episode.get_actions()
    # Without bounds of its own, an episode has to be in units that need none.
    own: Any = episode.action_space or (space if spec.discrete or normalized else None)
    fits = isinstance(own, type(space)) and action.shape[1:] == own.shape == space.shape
    if not fits or (spec.discrete and own.n != spec.size):
        raise ValueError(
            f"Recorded actions are of {own}, those of the environment of {space}: record in the "
            f"same environment. Episodes that name no action space have to hold actions in "
            f"[-1, 1], and need actions_in_input_normalized=True."
        )
    if not spec.discrete and not normalized:
        action = 2.0 * (action - own.low) / (own.high - own.low) - 1.0
    return spec.from_env(action)


def _no_plan(config: LSPConfig, action: ActionSpec) -> dict[str, np.ndarray]:
    """The columns of one row that was not planned: N(0, I) for every skill."""
    settings = config.settings()
    width = action.size if settings.plans_actions else settings.skills.dim
    mean = np.zeros((settings.planner.skills, width), np.float32)
    return {"plan_mean": mean, "plan_std": mean + 1.0, "planned": np.zeros((), bool)}


def _told(shapes: dict[str, Any]) -> str:
    return ", ".join(f"{k.removeprefix(OBSERVATION_PREFIX)} {v}" for k, v in sorted(shapes.items()))
