"""The way a body went, drawn on the floor of a picture; its colour changes with the skill."""

from __future__ import annotations

import math
from itertools import pairwise

import mujoco
import numpy as np

Position = tuple[float, float]

# Easy to tell apart, also for the colour-blind; red is the target's and blue the posts'.
COLOURS = np.array(
    [
        [1.0, 1.0, 0.2, 1],  # yellow
        [0.8, 0.3, 0.8, 1],  # purple
        [0.0, 0.8, 0.4, 1],  # green
        [1.0, 1.0, 1.0, 1],  # white
        [1.0, 0.5, 0.0, 1],  # orange
    ],
    np.float32,
)
MAX_POINTS = 400  # a scene has room for 1000 shapes, the model's own among them
_SPACING = 0.1  # m
_HEIGHT = 0.03  # m above the floor, just over the target
_WIDTH = 3.0  # pixels
# Lines are unlit, so that a colour is the same everywhere, and cost a quarter of capsules.
_SHAPE = mujoco.mjtGeom.mjGEOM_LINE


class PathOverlay:
    """Remembers where the root was, (x, y) in m, and draws it as a row of lines.

    Points closer than 0.1 m to the last one are left out; a path that outgrows 400 points
    loses every second one, and its points keep twice the distance from then on.
    """

    def __init__(self, start: Position):
        # Each point with the number of the skill that led there.
        self._latest = (start, 0)
        self._points = [self._latest]
        self._skill = 0
        self._spacing = _SPACING

    def add(self, position: Position) -> None:
        """The body has moved to ``position``."""
        self._latest = (position, self._skill)
        if math.dist(position, self._points[-1][0]) >= self._spacing:
            self._keep_latest()

    def mark(self) -> None:
        """A new skill begins here: what follows is drawn in the next colour."""
        self._keep_latest()
        self._skill += 1

    def draw(self, scene: mujoco.MjvScene) -> None:
        """Add the path to a scene that is about to be rendered."""
        steps = list(pairwise([*self._points, self._latest]))
        first = scene.ngeom
        scene.ngeom += len(steps)  # before asking for them: dm_control hides those beyond
        geoms = scene.geoms[first : scene.ngeom]
        for geom, ((begin, _), (end, skill)) in zip(geoms, steps, strict=True):
            _make_line(geom, begin, end, COLOURS[skill % len(COLOURS)])

    def _keep_latest(self) -> None:
        self._points.append(self._latest)
        if len(self._points) > MAX_POINTS:
            del self._points[1::2]
            self._spacing *= 2


def _make_line(geom: mujoco.MjvGeom, begin: Position, end: Position, rgba: np.ndarray) -> None:
    mujoco.mjv_initGeom(geom, _SHAPE, np.zeros(3), np.zeros(3), np.eye(3).ravel(), rgba)
    ends = (np.array([*point, _HEIGHT]) for point in (begin, end))
    mujoco.mjv_connector(geom, _SHAPE, _WIDTH, *ends)
