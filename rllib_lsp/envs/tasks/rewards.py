"""Rewards of one control step, from how upright the body is, its speed and its distance.

``upright`` is the cosine of the body's tilt, ``speed`` its forward velocity in m/s,
``distance`` the horizontal distance to the target in m. All rewards lie in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

TARGET_RADIUS = 0.8
_MARGIN = 5.0
_WALK_SPEED = 0.5


def walk(upright: float, speed: float, distance: float) -> float:
    """dm_control's quadruped-walk. Half of it is paid for standing upright and still."""
    return _standing(upright) * min(1.0, max(0.0, 1.0 + speed - _WALK_SPEED))


def reach(upright: float, speed: float, distance: float) -> float:
    """Falls linearly from 1 at the target's rim to 0 five metres farther out."""
    return _standing(upright) * min(1.0, max(0.0, 1.0 - (distance - TARGET_RADIUS) / _MARGIN))


def sparse(upright: float, speed: float, distance: float) -> float:
    """1 inside the target, else 0."""
    return float(distance <= TARGET_RADIUS)


def none(upright: float, speed: float, distance: float) -> float:
    """Nothing: to study what a body explores by itself."""
    return 0.0


def _standing(upright: float) -> float:
    return (1.0 + upright) / 2


REWARDS: dict[str, Callable[[float, float, float], float]] = {
    "walk": walk,
    "reach": reach,
    "sparse": sparse,
    "none": none,
}
