"""An episode in progress that can be taken up again in another process."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np

LONGEST = 20_000
"""Decisions of an episode beyond which it is not kept: taking it up would take too long."""


class Resumable(gymnasium.Wrapper):
    """Remembers how an episode began and what was done in it.

    No simulator's state can be saved in general; but the same seed and the same actions lead to
    the same state. So that every episode has a seed to begin with, each reset without one takes
    ``episode_seed`` of the first reset's seed and the episode's number.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._seed = 0
        self._episode = 0
        self._actions: list[np.ndarray] = []
        self._has_ended = False
        self.info: dict[str, Any] = {}
        """What the environment said last."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._seed, self._episode = seed, 0
        elif self._episode == 0:
            self._seed = int(np.random.default_rng().integers(2**31))
        return self._begin(options)

    def _begin(self, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._actions, self._has_ended = [], False
        seed = episode_seed(self._seed, self._episode)
        self._episode += 1
        observation, self.info = self.env.reset(seed=seed, options=options)
        return observation, self.info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        if self._has_ended:
            # As a vector environment does, which does not know that this one was taken up.
            observation, info = self._begin()
            return observation, 0.0, False, False, info
        if len(self._actions) <= LONGEST:
            self._actions.append(np.array(action))
        observation, reward, terminated, truncated, self.info = self.env.step(action)
        return observation, reward, terminated, truncated, self.info

    @property
    def starts(self) -> tuple[int, int]:
        """The first reset's seed, and how many episodes have begun: what decides how the next
        one begins."""
        return self._seed, self._episode

    @starts.setter
    def starts(self, starts: tuple[int, int]) -> None:
        self._seed, self._episode = starts

    def progress(self) -> dict[str, Any]:
        """What `resume` needs."""
        return {"seed": self._seed, "episode": self._episode, "actions": list(self._actions)}

    def resume(self, progress: dict[str, Any], has_ended: bool) -> Any:
        """Go to where `progress` was made; gives the observation there.

        `has_ended`: the episode is over, and the next step, whatever its action, begins another.
        Raises RuntimeError for an episode that was too long to be kept.
        """
        if len(progress["actions"]) > LONGEST:
            raise RuntimeError(f"the episode had more than {LONGEST} decisions")
        self._seed, self._episode = progress["seed"], progress["episode"] - 1
        observation, _ = self._begin()
        for action in progress["actions"]:
            observation, *_ = self.step(action)
        self._has_ended = has_ended
        return observation


def episode_seed(seed: int, episode: int) -> int:
    """The reset seed of an episode, counted from 0, in an environment that began with `seed`."""
    if episode == 0:
        return seed
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0] >> 1)
