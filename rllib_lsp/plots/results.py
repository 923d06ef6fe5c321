"""The few numbers of an RLlib result that a person reads, by name instead of by key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

FRAMES = "env_runners/num_frames_sampled_lifetime"
STEPS = ("num_env_steps_sampled_lifetime", "env_runners/num_env_steps_sampled_lifetime")
RETURN = "env_runners/episode_return_mean"
EVALUATION_RETURN = "evaluation/env_runners/episode_return_mean"
EVALUATION_DURATION = "evaluation/env_runners/episode_duration_sec_mean"


def number(result: Mapping[str, Any], key: str) -> float | None:
    """The finite number at ``a/b/c`` of a nested result; None where there is none."""
    node: Any = result
    for part in key.split("/"):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    is_number = isinstance(node, int | float) and not isinstance(node, bool)
    return float(node) if is_number and math.isfinite(node) else None


def experience(result: Mapping[str, Any]) -> tuple[str, float]:
    """Frames seen so far; environment steps where the algorithm does not count frames."""
    frames = number(result, FRAMES)
    if frames is not None:
        return "frames", frames
    steps = (number(result, key) for key in STEPS)
    return "steps", next((value for value in steps if value is not None), 0.0)


def number_keys(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys ``a/b/c`` of all finite numbers in nested results, as they come."""
    found: dict[str, None] = {}
    for result in results:
        found |= dict.fromkeys(_keys(result, ""))
    return list(found)


def _keys(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}/")
        elif number(node, key) is not None:
            yield f"{prefix}{key}"
