"""Every setting of HIRO: one frozen dataclass a part; the constants are those of its authors.

Lengths of time are in decisions. Actions and choices of goals lie in [-1, 1], and so deviations
of noise are fractions of half an action's range, or of a goal's range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from rllib_lsp.core.presets import merge
from rllib_lsp.core.settings import at_least, check, one_of


@dataclass(frozen=True)
class LevelSettings:
    """TD3 (Fujimoto et al. 2018), as one level learns by it."""

    hidden: tuple[int, ...] = (300, 300)
    """Widths of the hidden layers of actor and critics, ReLU."""
    gamma: float = 0.99
    """Discount per step of this level."""
    reward_scale: float = 1.0
    """By what the level's rewards are multiplied."""
    noise: float = 0.1
    """Deviation of the noise added to exploring actions."""
    target_noise: float = 0.2
    """Deviation of the noise that smooths the target's action."""
    target_noise_clip: float = 0.5
    """Its bound."""
    policy_every: int = 2
    """Updates of the critics for one of the actor and of the targets."""
    target_rate: float = 0.005
    """Rate at which the targets follow (τ)."""

    def check(self, part: str) -> None:
        """Raises SettingsError for a value that the level called `part` cannot use."""
        wide = bool(self.hidden) and min(self.hidden) >= 1
        check(part, "hidden", self.hidden, wide, "give the width of each layer, at least 1")
        at_least(self, part, noise=0, target_noise=0, target_noise_clip=0, policy_every=1)
        for name in ("gamma", "target_rate"):
            value = getattr(self, name)
            check(part, name, value, 0 <= value <= 1, "it has to lie in [0, 1]")
        check(part, "reward_scale", self.reward_scale, self.reward_scale > 0, "it has to be > 0")


@dataclass(frozen=True)
class GoalSettings:
    """What the upper level asks of the lower: by how much parts of the observation shall change."""

    features: tuple[str, ...] = ()
    """The parts: observation keys, or `position[0:2]` of them. Empty: the whole observation."""
    range: tuple[float, ...] = ()
    """Greatest change that may be asked for, of every entry of the features (one number: of all).
    Empty: `range_std` deviations of what the random decisions before learning have seen."""
    range_std: float = 2.0
    """See `range`."""
    duration: int = 10
    """Decisions for which a goal is held (c)."""
    source: str = "learned"
    """Where goals come from: the upper level, `learned`, or `random`: uniform ones."""
    relabel: bool = True
    """Whether past goals are replaced by those that the lower level would follow today."""
    candidates: int = 8
    """Goals drawn for relabelling, besides the original and the change that was achieved."""
    candidate_std: float = 0.5
    """Their deviation around the achieved change, in units of the range."""

    def __post_init__(self) -> None:
        part = "goals"
        one_of(self, part, "source", ("learned", "random"))
        at_least(self, part, duration=1, candidates=0, candidate_std=0)
        positive = all(width > 0 for width in self.range)
        check(part, "range", self.range, positive, "every entry has to be above 0")
        check(part, "range_std", self.range_std, self.range_std > 0, "it has to be above 0")


@dataclass(frozen=True)
class HIROSettings:
    """All of it."""

    levels: int = 2
    """2, or 1: plain TD3."""
    low: LevelSettings = field(default_factory=LevelSettings)
    high: LevelSettings = field(default_factory=lambda: LevelSettings(reward_scale=0.1))
    goals: GoalSettings = field(default_factory=GoalSettings)

    def __post_init__(self) -> None:
        known = self.levels in (1, 2)
        check("HIRO", "levels", self.levels, known, "2 levels, or 1 for plain TD3")
        self.low.check("low")
        self.high.check("high")

    @property
    def has_goals(self) -> bool:
        """Whether the lower level acts for goals, learned or random."""
        return self.levels == 2

    @property
    def learns_goals(self) -> bool:
        """Whether there is an upper level that learns."""
        return self.has_goals and self.goals.source == "learned"


PARTS = tuple(part.name for part in fields(HIROSettings) if part.name != "levels")
"""Names of the nested groups, which are also options of `HIROConfig`."""

GROUPS = ("low_actor", "low_critic", "high_actor", "high_critic")
"""Every parameter group that an agent may have."""


def build_hiro_settings(levels: int, groups: Mapping[str, Mapping[str, Any]]) -> HIROSettings:
    """Settings from a user's groups of options.

    Raises SettingsError naming the first value that cannot be used.
    """
    default = HIROSettings(levels)
    parts = {name: merge(getattr(default, name), name, groups.get(name, {})) for name in PARTS}
    return HIROSettings(levels, **parts)
