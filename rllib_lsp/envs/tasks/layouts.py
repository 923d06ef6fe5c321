"""Where the target and the posts of an episode stand; the body starts at the origin.

Lengths are in metres. The quadruped spans 1.2 to 1.7 m and walks 10 m in 20 s, so a wall of
3.5 m across the way to a target at 4.5 m makes a detour of about 7 m.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

POST_RADIUS = 0.35
MAX_POSTS = 12
BODY_RADIUS = 0.9  # the quadruped, legs spread
NEAREST_WALLED_TARGET = 2.5  # below it the wall would touch the body at the start

_WALL_AT = 0.55  # of the way to the target
_WALL_POSTS = 5
_ARM_POSTS = 3
_SCATTER_RADIUS = 7.0
_SCATTER_GAP = 2.0  # between centres: the quadruped passes between any two posts
_TARGET_GAP = 1.5


@dataclass(frozen=True)
class Layout:
    """``target`` (2,) and the centres of the ``posts`` (n, 2), n = 0 or 4 to 12, on the floor."""

    target: np.ndarray
    posts: np.ndarray


def sample(name: str, ring: tuple[float, float], rng: np.random.Generator) -> Layout:
    """A target at a uniform angle and a uniform distance within ``ring``, and its posts."""
    angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(*ring)
    target = distance * np.array([np.cos(angle), np.sin(angle)])
    return Layout(target, LAYOUTS[name](target, rng))


def _open(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.empty((0, 2))


def _line(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Five touching posts across the straight way."""
    across = np.linspace(-1, 1, _WALL_POSTS) * (_WALL_POSTS - 1) * POST_RADIUS
    along = np.full(_WALL_POSTS, _WALL_AT * np.hypot(*target))
    return _along_the_way(target, along, across)


def _cove(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The line with an arm of three posts at either end, open towards the start."""
    behind = 2 * POST_RADIUS * np.arange(1, _ARM_POSTS + 1)
    along = np.tile(_WALL_AT * np.hypot(*target) - behind, 2)
    across = np.repeat([-1.0, 1.0], _ARM_POSTS) * (_WALL_POSTS - 1) * POST_RADIUS
    return np.vstack([_line(target, rng), _along_the_way(target, along, across)])


def _scattered(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Twelve posts at random, clear of the start, of the target and of each other."""
    taken = [(np.zeros(2), POST_RADIUS + BODY_RADIUS), (target, _TARGET_GAP)]
    posts: list[np.ndarray] = []
    while len(posts) < MAX_POSTS:
        candidate = rng.uniform(-_SCATTER_RADIUS, _SCATTER_RADIUS, 2)
        inside = np.hypot(*candidate) <= _SCATTER_RADIUS
        if inside and all(np.hypot(*(candidate - centre)) >= gap for centre, gap in taken):
            posts.append(candidate)
            taken.append((candidate, _SCATTER_GAP))
    return np.array(posts)


def _along_the_way(target: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    forward = target / np.hypot(*target)
    left = np.array([-forward[1], forward[0]])
    return np.outer(along, forward) + np.outer(across, left)


LAYOUTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "open": _open,
    "line": _line,
    "cove": _cove,
    "scattered": _scattered,
}
