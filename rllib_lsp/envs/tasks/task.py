"""The options which all navigation tasks share, and what is wrong with a wrong one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from rllib_lsp.envs.tasks import layouts
from rllib_lsp.envs.tasks.rewards import REWARDS

_CHOICES: dict[str, tuple[str, ...]] = {
    "reward": tuple(REWARDS),
    "layout": tuple(layouts.LAYOUTS),
    "start": ("upright", "random"),
    "camera": ("chase", "top"),
}


@dataclass(frozen=True)
class Task:
    """The options of every task; keyword arguments of ``make_env``.

    Raises:
        ValueError: a name that does not exist, or a value of the wrong form or out of range.
    """

    reward: str = "reach"  # walk, reach, sparse, none
    layout: str = "open"  # open, line, cove, scattered
    start: str = "upright"  # upright with any heading, or any orientation at all
    target_ring: tuple[float, float] = (2.0, 5.0)  # m, distance of the target from the start
    time_limit: float = 20.0  # s
    observe_posts: bool = True  # else the posts are felt but not seen: same spaces, blank values
    camera: str = "chase"  # or top
    render_size: tuple[int, int] = (240, 320)  # height, width
    draw_path: bool = True  # into the pictures; see ``PathOverlay``

    def __post_init__(self) -> None:
        for name, valid in _CHOICES.items():
            value = getattr(self, name)
            if value not in valid:
                raise ValueError(f"{name} is {value!r}, must be one of {', '.join(valid)}")
        self._check_ring()
        if not (isinstance(self.time_limit, Real) and 0 < self.time_limit < math.inf):
            raise ValueError(f"time_limit is {self.time_limit!r}, must be > 0 seconds, e.g. 20.0")
        if not (_is_pair(self.render_size, Integral) and min(self.render_size) > 0):
            raise ValueError(
                f"render_size is {self.render_size!r}, must be (height, width) in pixels, "
                "e.g. (240, 320)"
            )

    def _check_ring(self) -> None:
        walled = self.layout in ("line", "cove")
        lowest = layouts.NEAREST_WALLED_TARGET if walled else 0.0
        ring = self.target_ring
        if not (_is_pair(ring, Real) and lowest <= ring[0] <= ring[1] < math.inf):
            raise ValueError(
                f"target_ring is {ring!r}, must be (near, far) in metres with "
                f"{lowest} <= near <= far for layout {self.layout!r}, e.g. (4.0, 5.0)"
            )


def _is_pair(value: Any, kind: type) -> bool:
    """Whether ``value`` is a tuple, or a list as in YAML, of two numbers of this kind."""
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(number, kind) for number in value)
    )
