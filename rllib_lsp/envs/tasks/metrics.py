"""What an episode of navigation came to, beyond its return."""

from __future__ import annotations

import math

from rllib_lsp.envs.tasks.rewards import TARGET_RADIUS

CELL = 0.5  # m
UPRIGHT = 0.9  # cosine of the tilt: about 25 degrees


class EpisodeMetrics:
    """Sums over the control steps of one episode; cheap enough for every step.

    Args:
        position: where the body starts, (x, y) in m.
        timestep: seconds per control step.
    """

    def __init__(self, position: tuple[float, float], timestep: float):
        self._timestep = timestep
        self._position = position
        self._steps = 0
        self._reached_at: int | None = None
        self._path = 0.0
        self._speed = 0.0
        self._upright = 0
        self._distance = math.inf
        self._cells = {_cell(position)}

    def add(
        self, position: tuple[float, float], distance: float, upright: float, speed: float
    ) -> None:
        """One control step: the state after it, in m, m, cosine of tilt, and m/s."""
        self._steps += 1
        if self._reached_at is None and distance <= TARGET_RADIUS:
            self._reached_at = self._steps
        self._path += math.dist(position, self._position)
        self._speed += speed
        self._upright += upright >= UPRIGHT
        self._distance = distance
        self._cells.add(_cell(position))
        self._position = position

    def summary(self) -> dict[str, float]:
        """The metrics so far.

        ``success`` is 1 if the body was ever inside the target; ``time_to_target`` (s) is the
        length of the episode if it was not; ``final_distance`` and ``path_length`` are in m,
        ``forward_velocity`` is the mean in m/s; ``visited_cells`` are squares of 0.5 m.
        """
        steps = max(self._steps, 1)
        reached = self._reached_at is not None
        return {
            "success": float(reached),
            "time_to_target": (self._reached_at or self._steps) * self._timestep,
            "final_distance": self._distance,
            "forward_velocity": self._speed / steps,
            "upright_fraction": self._upright / steps,
            "path_length": self._path,
            "visited_cells": float(len(self._cells)),
        }


def _cell(position: tuple[float, float]) -> tuple[int, int]:
    return math.floor(position[0] / CELL), math.floor(position[1] / CELL)
