"""Every setting of the algorithm: one frozen dataclass a part, one place for each default.

Values are checked when a dataclass is made; `merge` turns a user's (nested) dict into one and
names unknown keys, wrong types and values out of range together with the fix.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_type_hints


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, the reason and the fix."""


def _check(part: str, name: str, value: Any, allowed: bool, reason: str) -> None:
    if not allowed:
        raise SettingsError(f"{part}.{name} = {value!r} cannot be used: {reason}.")


def _at_least(owner: Any, part: str, **bounds: float) -> None:
    for name, bound in bounds.items():
        value = getattr(owner, name)
        _check(part, name, value, value >= bound, f"it has to be at least {bound}")


def _one_of(owner: Any, part: str, name: str, choices: tuple[str, ...]) -> None:
    value = getattr(owner, name)
    _check(part, name, value, value in choices, f"choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class WorldModelSettings:
    """Sizes and loss of the world model."""

    latent: str = "categorical"
    """`categorical` (one-hot variables, DreamerV3) or `gaussian` (Dreamer v1)."""
    stochastic: int = 12
    """Categorical variables, or dimensions of the Gaussian."""
    classes: int = 12
    """Classes of each categorical variable."""
    deterministic: int = 256
    """Width of the recurrent state."""
    hidden: int = 256
    """Width of every hidden layer of the world model."""
    layers: int = 2
    """Hidden layers of encoder and decoder."""
    bins: int = 101
    """Bins of the two-hot reward and value distributions."""
    free_nats: float = 1.0
    """KL per state below which neither side is trained."""
    dynamics_scale: float = 1.0
    """Weight of the KL that trains the prior towards the posterior."""
    representation_scale: float = 0.1
    """Weight of the KL that keeps the posterior predictable."""

    def __post_init__(self) -> None:
        _one_of(self, "world_model", "latent", ("categorical", "gaussian"))
        _at_least(self, "world_model", stochastic=1, classes=2, deterministic=1, hidden=1)
        _at_least(self, "world_model", layers=1, bins=3, free_nats=0)
        _at_least(self, "world_model", dynamics_scale=0, representation_scale=0)


@dataclass(frozen=True)
class SkillSettings:
    """The skill z ~ N(0, I) and the mutual-information objective that gives it meaning."""

    dim: int = 3
    """Dimensions of a skill."""
    duration: int = 10
    """Decisions for which a skill is held (K)."""
    mi_coef: float = 0.1
    """Weight of log q(z|segment) per skill dimension, in units of the normalised return."""
    imagine: str = "mix"
    """Source of skills in imagination: `replay` (what the planner decided at the start state),
    `prior` (N(0, I)) or `mix` (half each)."""

    def __post_init__(self) -> None:
        _one_of(self, "skills", "imagine", ("replay", "prior", "mix"))
        _at_least(self, "skills", dim=1, duration=1, mi_coef=0)


@dataclass(frozen=True)
class BehaviourSettings:
    """Policy, value and predictor: sizes and how they learn in imagination."""

    hidden: int = 256
    """Width of the hidden layers."""
    layers: int = 3
    """Hidden layers of the policy; value and predictor have two."""
    horizon: int = 15
    """Decisions imagined from each start state (H')."""
    starts: int = 128
    """Posterior states of a batch from which imagination starts, drawn at random."""
    gamma: float = 0.99
    """Discount per decision."""
    lambda_: float = 0.95
    """Mixing of the λ-return."""
    entropy: float = 3e-4
    """Weight of the policy's entropy."""
    min_std: float = 0.1
    """Least deviation of the policy's actions, which live in [-1, 1]."""
    max_std: float = 1.0
    """Greatest deviation."""
    slow_value_rate: float = 0.02
    """Rate at which the slow copy of the value follows."""

    def __post_init__(self) -> None:
        _at_least(self, "behaviour", hidden=1, layers=1, horizon=1, starts=1, entropy=0)
        for name in ("gamma", "lambda_", "slow_value_rate"):
            value = getattr(self, name)
            _check("behaviour", name, value, 0 <= value <= 1, "it has to lie in [0, 1]")
        in_order = 0 < self.min_std <= self.max_std
        _check("behaviour", "min_std", self.min_std, in_order, "need 0 < min_std <= max_std")


@dataclass(frozen=True)
class PlannerSettings:
    """Cross-entropy method over skills."""

    candidates: int = 32
    """New skill sequences scored per iteration and environment (G); kept elites come on top."""
    elites: int = 6
    """Best candidates to which the plan is refitted (M)."""
    iterations: int = 2
    """Refits; 0 draws skills from the prior N(0, I) without planning."""
    skills: int = 2
    """Skills planned ahead; the horizon is this many skill durations."""
    min_std: float = 0.1
    """Floor of the plan's deviation, which keeps acting a little random."""

    def __post_init__(self) -> None:
        _at_least(self, "planner", candidates=2, elites=1, iterations=0, skills=1, min_std=0)
        fits = self.elites < self.candidates
        _check("planner", "elites", self.elites, fits, "it has to be smaller than candidates")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    world_model: WorldModelSettings = field(default_factory=WorldModelSettings)
    skills: SkillSettings = field(default_factory=SkillSettings)
    behaviour: BehaviourSettings = field(default_factory=BehaviourSettings)
    planner: PlannerSettings = field(default_factory=PlannerSettings)

    def __post_init__(self) -> None:
        horizon, duration = self.behaviour.horizon, self.skills.duration
        reason = (
            f"no skill of {duration} decisions ends within {horizon} imagined ones, so the "
            f"predictor would never see one; raise behaviour.horizon or lower skills.duration"
        )
        _check("behaviour", "horizon", horizon, horizon >= duration, reason)


PARTS = tuple(part.name for part in fields(Settings))
"""Names of the nested groups, which are also options of `LSPConfig`."""

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "world_model": {
            "stochastic": 4, "classes": 4, "deterministic": 16, "hidden": 16, "bins": 21,
        },
        "behaviour": {"hidden": 16, "layers": 1, "starts": 16},
        "planner": {"candidates": 8, "elites": 2, "iterations": 2},
    },
    "small": {
        "world_model": {"deterministic": 128, "hidden": 128},
        "behaviour": {"hidden": 128},
    },
    "medium": {},
    "large": {
        "world_model": {"deterministic": 512, "hidden": 400, "stochastic": 32, "classes": 32},
        "behaviour": {"hidden": 400, "starts": 1024},
        "planner": {"candidates": 64, "elites": 8, "iterations": 3},
    },
}  # fmt: skip
"""Named sizes: `tiny` for tests, `medium` is the default."""

S = TypeVar("S")


def nearest(name: str, valid: list[str]) -> str:
    """A hint for a misspelt name: the nearest valid one, or all of them."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are {', '.join(sorted(valid))}."


def _checked(part: str, name: str, value: Any, expected: type) -> Any:
    """`value` as `expected`; an int is welcome as a float, nothing else is converted."""
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise SettingsError(
            f"{part}.{name} = {value!r} is of type {type(value).__name__}, "
            f"it has to be of type {expected.__name__}."
        )
    if expected is float and value != value:
        raise SettingsError(f"{part}.{name} is NaN, write a number.")
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


def build_settings(size: str, groups: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Settings from a named size and a user's groups of options, which win.

    Raises SettingsError naming the first value that cannot be used.
    """
    if size not in SIZES:
        raise SettingsError(f"size = {size!r} is unknown: {nearest(str(size), list(SIZES))}")
    parts = {}
    for name in PARTS:
        default = getattr(Settings(), name)
        values = {**SIZES[size].get(name, {}), **groups.get(name, {})}
        parts[name] = merge(default, name, values)
    return Settings(**parts)
