"""Named presets and sizes, and how a user's options are merged into them.

Unknown keys, wrong types and values out of range are named together with the fix.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from rllib_lsp.core.settings import PARTS, Settings, SettingsError

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "world_model": {
            "stochastic": 4, "classes": 4, "deterministic": 16, "hidden": 16,
            "encoder_hidden": 16, "channels": 4, "head_hidden": 16, "bins": 21,
        },
        "behaviour": {"hidden": 16, "layers": 1, "starts": 16},
        "planner": {"candidates": 8, "elites": 2, "iterations": 2},
    },
    "small": {
        "world_model": {
            "stochastic": 12, "classes": 12, "deterministic": 128, "hidden": 128,
            "encoder_hidden": 128, "channels": 16, "head_hidden": 128, "bins": 101,
        },
        "behaviour": {"hidden": 128},
        "planner": {"candidates": 32, "elites": 6, "iterations": 2},
    },
    "medium": {},
    "large": {
        "world_model": {
            "stochastic": 32, "classes": 32, "deterministic": 512, "hidden": 400,
            "encoder_hidden": 400, "channels": 32, "head_hidden": 400,
        },
        "behaviour": {"hidden": 400, "starts": 1024},
    },
}  # fmt: skip
"""Named sizes: `tiny` for tests, `medium` is the default and leaves a preset's sizes alone."""

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "modern": {},
    # Dreamer v1's networks and losses (Hafner et al. 2020) under LSP's skills and planner.
    "paper": {
        "world_model": {
            "latent": "gaussian", "stochastic": 30, "deterministic": 200, "hidden": 200,
            "encoder_hidden": 256, "channels": 32, "head_hidden": 400, "layers": 2, "block": "elu",
            "symlog": False, "scalar": "normal", "continues": False,
            "vector_scale": 0.5, "image_scale": 0.5, "free_nats": 3.0, "free_nats_of": "batch",
            # Of the KL's gradient each side gets its whole share, as without stop-gradients.
            "dynamics_scale": 1.0, "representation_scale": 1.0,
        },
        "skills": {
            "dim": 3, "duration": 10, "mi": "objective", "mi_coef": 1.0, "predictor_min_std": 0.1,
            "imagine": "cem", "learn_prior": False,
        },
        "behaviour": {
            "hidden": 400, "layers": 4, "value_layers": 3, "block": "elu", "policy": "tanh",
            "entropy": 0.0, "action_noise": 0.3, "horizon": 15, "starts": 250, "gamma": 0.99,
            "lambda_": 0.95, "normalise_returns": False, "slow_value": 0.0, "replay_value": 0.0,
        },
        "planner": {
            "method": "cem", "candidates": 16, "elites": 4, "iterations": 4, "skills": 1,
            "include": [], "keep_elites": False, "warm_start": False, "min_std": 0.0,
            "noise": 0.1,
        },
    },
}  # fmt: skip
"""Named sets of ordinary options; `modern` is what the defaults are."""

S = TypeVar("S")


def nearest(name: str, valid: list[str]) -> str:
    """A hint for a misspelt name: the nearest valid one, or all of them."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are {', '.join(sorted(valid))}."


def _checked(part: str, name: str, value: Any, expected: Any) -> Any:
    """`value` as `expected`: an int is welcome as a float, one value as a tuple, a number of
    numpy's as Python's, nothing else."""
    if expected is Any:
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if get_origin(expected) is tuple:
        several = value if isinstance(value, list | tuple) else [value]
        return tuple(_checked(part, name, one, get_args(expected)[0]) for one in several)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise SettingsError(
            f"{part}.{name} = {value!r} is of type {type(value).__name__}, "
            f"it has to be of type {expected.__name__}."
        )
    if expected is float and not math.isfinite(value):
        found = "NaN" if value != value else "infinite"
        raise SettingsError(f"{part}.{name} is {found}, write a number.")
    return value


def merge(base: S, part: str, values: Mapping[str, Any]) -> S:
    """`base` with `values` in place; `part` is the group's name for messages.

    Raises SettingsError for an unknown key, a wrong type or a value out of range.
    """
    if not isinstance(values, Mapping):
        raise SettingsError(f"{part} = {values!r} has to be a dict of options.")
    hints = get_type_hints(type(base))
    for name in values:
        if name not in hints:
            raise SettingsError(f"Unknown option {part}.{name}: {nearest(str(name), list(hints))}")
    checked = {name: _checked(part, name, value, hints[name]) for name, value in values.items()}
    return dataclasses.replace(base, **checked)  # type: ignore[type-var]


def build_settings(
    groups: Mapping[str, Mapping[str, Any]], *, preset: str = "modern", size: str = "medium"
) -> Settings:
    """Settings from a preset, a named size, and a user's groups of options; the later wins.

    Raises SettingsError naming the first value that cannot be used.
    """
    for name, value, known in (("preset", preset, PRESETS), ("size", size, SIZES)):
        if not isinstance(value, str) or value not in known:
            raise SettingsError(
                f"{name} = {value!r} is unknown: {nearest(str(value), list(known))}"
            )
    parts = {}
    for name in PARTS:
        default = getattr(Settings(), name)
        presets, sizes = PRESETS[preset].get(name, {}), SIZES[size].get(name, {})
        parts[name] = merge(default, name, {**presets, **sizes, **groups.get(name, {})})
    return Settings(**parts)
