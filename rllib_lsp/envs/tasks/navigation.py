"""A body on a floor with a target and posts: what the point mass and the quadruped share."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from dm_control import mujoco
from dm_control.suite import common
from gymnasium import spaces

from rllib_lsp.envs.tasks import layouts
from rllib_lsp.envs.tasks.metrics import EpisodeMetrics
from rllib_lsp.envs.tasks.path_overlay import PathOverlay
from rllib_lsp.envs.tasks.rewards import REWARDS
from rllib_lsp.envs.tasks.task import Task

HERE = Path(__file__).parent
ASSETS = {**common.ASSETS, "arena.xml": (HERE / "arena.xml").read_bytes()}

NEAREST_POSTS = 4
_NO_POST = (0.0, 0.0, 1.0)
_POST_CENTRE = 0.4  # m above the floor
# 64 x 64 pixels in software, one core: 6 frames/s, 17 without shadows, 29 without both.
_PLAIN = {"shadow": False, "reflection": False}

Point = tuple[float, float]


class Navigation(gymnasium.Env):
    """One body, one target, up to twelve posts; episodes end by truncation only.

    Observations are a Dict of float32 vectors: those of the body, ``target`` (4: horizontal unit
    vector in the body's frame, tanh(distance / 5 m)) and ``posts`` (12: for each of the four
    nearest its unit vector's x and y, tanh(gap / 2 m); 0, 0, 1 where there is none).

    ``info`` holds ``position`` (x, y in m) and ``distance`` (m) at every step, and at the last
    one ``EpisodeMetrics.summary()`` and ``still_return``, the return of a body that stands
    upright and still where it started: only what exceeds it is navigation. ``layout`` is where
    target and posts stand since the last reset.
    """

    layout: layouts.Layout

    def __init__(
        self,
        physics: mujoco.Physics,
        root: str,
        control_timestep: float,
        task: Task,
        render_mode: str | None,
    ):
        self.physics = physics
        self.task = task
        self.render_mode = render_mode
        self._timestep = control_timestep
        self._substeps = round(control_timestep / physics.timestep())
        self._limit = round(task.time_limit / control_timestep)
        self._reward = REWARDS[task.reward]
        self._root = root
        self._bind()
        self._target: Point = (0.0, 0.0)
        self._posts: list[Point] = []
        self._path: PathOverlay | None = None
        self.action_space = _action_space(physics)
        self.observation_space = spaces.Dict(
            {
                **self._body_spaces(),
                "target": spaces.Box(-1, 1, (4,), np.float32),
                "posts": spaces.Box(-1, 1, (3 * NEAREST_POSTS,), np.float32),
            }
        )

    def _bind(self) -> None:
        """Views into the simulator's memory: named indexing would take longer than the physics."""
        body = self.physics.model.name2id(self._root, "body")
        self._position = self.physics.data.xpos[body]
        self._rotation = self.physics.data.xmat[body].reshape(3, 3)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy has a simulator of its own, and its views would be of nobody's.
        self.__dict__.update(state)
        self._bind()

    @abstractmethod
    def _body_spaces(self) -> dict[str, spaces.Space]:
        """The spaces of what the body feels of itself."""

    @abstractmethod
    def _body_observation(self) -> dict[str, np.ndarray]:
        """What the body feels of itself."""

    @abstractmethod
    def _place_body(self) -> None:
        """Put the body at the origin, as ``task.start`` says, touching nothing."""

    @abstractmethod
    def _upright(self) -> float:
        """Cosine of the body's tilt."""

    @abstractmethod
    def _speed(self) -> float:
        """Forward velocity in m/s."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.layout = layouts.sample(self.task.layout, self.task.target_ring, self.np_random)
        # Python's own numbers: for so few of them numpy takes twice as long and more.
        self._target = tuple(self.layout.target.tolist())
        self._posts = [tuple(post) for post in self.layout.posts.tolist()]
        with self.physics.reset_context():
            self._place_body()
            self._place_target_and_posts()
        self._steps = 0
        position, distance = self._whereabouts()
        self._metrics = EpisodeMetrics(position, self._timestep)
        self._still_return = self._limit * self._reward(1.0, 0.0, distance)
        if self.render_mode and self.task.draw_path:
            self._path = PathOverlay(position)
        return self._observation(position, distance), {"position": position, "distance": distance}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self.physics.set_control(action)
        self.physics.step(self._substeps)
        self._steps += 1
        position, distance = self._whereabouts()
        upright, speed = self._upright(), self._speed()
        self._metrics.add(position, distance, upright, speed)
        if self._path:
            self._path.add(position)
        info: dict[str, Any] = {"position": position, "distance": distance}
        truncated = self._steps >= self._limit
        if truncated:
            info |= self._metrics.summary() | {"still_return": self._still_return}
        reward = self._reward(upright, speed, distance)
        return self._observation(position, distance), reward, False, truncated, info

    def mark_skill(self) -> None:
        """A new skill begins: the pictures show the path from here in another colour."""
        if self._path:
            self._path.mark()

    def render(self) -> np.ndarray | None:
        """The frame (height, width, 3) of uint8 that ``task.camera`` sees, with the path."""
        if self.render_mode is None:
            return None
        height, width = self.task.render_size
        frame = self.physics.render(
            height,
            width,
            self.task.camera,
            render_flag_overrides=dict(_PLAIN),
            scene_callback=self._draw_path,
        )
        return np.ascontiguousarray(frame)

    def close(self) -> None:
        self.physics.free()

    def _draw_path(self, physics: mujoco.Physics, scene: Any) -> None:
        if self._path:
            self._path.draw(scene)

    def _place_target_and_posts(self) -> None:
        # mocap body 0 is the target; the others are the posts, parked by the reset.
        target, *posts = self.physics.data.mocap_pos
        target[:2] = self._target
        for post, centre in zip(posts, self._posts, strict=False):
            post[:] = *centre, _POST_CENTRE

    def _whereabouts(self) -> tuple[Point, float]:
        x, y, _ = self._position.tolist()
        return (x, y), math.dist((x, y), self._target)

    def _observation(self, position: Point, distance: float) -> dict[str, np.ndarray]:
        return {
            **self._body_observation(),
            "target": self._see_target(position, distance),
            "posts": self._see_posts(position),
        }

    def _see_target(self, position: Point, distance: float) -> np.ndarray:
        direction = _direction(self._rotation.tolist(), position, self._target, distance)
        return np.array((*direction, math.tanh(distance / 5)), np.float32)

    def _see_posts(self, position: Point) -> np.ndarray:
        posts = self._posts if self.task.observe_posts else []
        nearest = sorted((math.dist(position, post), post) for post in posts)[:NEAREST_POSTS]
        rotation = self._rotation.tolist()
        seen: list[float] = []
        for distance, post in nearest:
            x, y, _ = _direction(rotation, position, post, distance)
            seen += x, y, math.tanh((distance - layouts.POST_RADIUS) / 2)
        seen += _NO_POST * (NEAREST_POSTS - len(nearest))
        return np.array(seen, np.float32)


def _direction(
    rotation: list[list[float]], begin: Point, end: Point, distance: float
) -> tuple[float, float, float]:
    """The horizontal unit vector from one point to another, ``distance`` m away, in the frame of
    a body with this rotation matrix; nearly zero where both are the same."""
    (xx, xy, xz), (yx, yy, yz), _ = rotation
    length = max(distance, 1e-6)
    x, y = (end[0] - begin[0]) / length, (end[1] - begin[1]) / length
    return x * xx + y * yx, x * xy + y * yy, x * xz + y * yz


def _action_space(physics: mujoco.Physics) -> spaces.Box:
    low, high = physics.model.actuator_ctrlrange.astype(np.float32).T
    return spaces.Box(low, high, dtype=np.float32)
