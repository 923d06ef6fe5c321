"""Navigation of a point mass: the quadruped's tasks at a fraction of the cost.

A decision takes 0.1 s and top speed is that of walking, 0.5 m/s along an axis: the straight way
of 5 m takes 60 to 90 of the 200 decisions of an episode. Exploring needs skills: uniformly random
forces end 0.5 m from the start (mean of 60 episodes; none went beyond 1.3 m) and visit 4 cells,
forces held for 10 decisions end at 1.8 m (4.4 m at most) and visit 11.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from dm_control import mujoco
from gymnasium import spaces

from rllib_lsp.envs.tasks.navigation import ASSETS, HERE, Navigation
from rllib_lsp.envs.tasks.task import Task


class PointMass(Navigation):
    """Two forces move a disc; it has no heading, so its frame is the world's.

    Observes ``position`` (2, m), ``velocity`` (2, m/s), ``target`` and ``posts``.
    Its ``forward_velocity`` is its speed. Keyword arguments: the fields of ``Task``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None, **task: Any):
        physics = mujoco.Physics.from_xml_string((HERE / "point_mass.xml").read_text(), ASSETS)
        super().__init__(physics, "body", 0.1, Task(**task), render_mode)

    def _bind(self) -> None:
        super()._bind()
        self._place, self._velocity = self.physics.data.qpos, self.physics.data.qvel

    def _body_spaces(self) -> dict[str, spaces.Space]:
        return {key: spaces.Box(-np.inf, np.inf, (2,)) for key in ("position", "velocity")}

    def _body_observation(self) -> dict[str, np.ndarray]:
        return {
            "position": self._place.astype(np.float32),
            "velocity": self._velocity.astype(np.float32),
        }

    def _place_body(self) -> None:
        pass  # the reset has put it at the origin, and it has no orientation

    def _upright(self) -> float:
        return 1.0

    def _speed(self) -> float:
        return math.hypot(*self._velocity.tolist())
