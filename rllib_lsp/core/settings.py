"""Every setting of the algorithm: one frozen dataclass a part, one place for each default.

Values are checked when a dataclass is made; `presets.build_settings` makes one of a user's
nested dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, the reason and the fix."""


def check(part: str, name: str, value: Any, allowed: bool, reason: str) -> None:
    """Raises SettingsError, with the `reason`, unless the value is `allowed`."""
    if not allowed:
        raise SettingsError(f"{part}.{name} = {value!r} cannot be used: {reason}.")


def at_least(owner: Any, part: str, **bounds: float) -> None:
    """Check that options of a part have at least these values."""
    for name, bound in bounds.items():
        value = getattr(owner, name)
        check(part, name, value, value >= bound, f"it has to be at least {bound}")


def one_of(owner: Any, part: str, name: str, choices: tuple[str, ...]) -> None:
    """Check that an option is one of some words."""
    value = getattr(owner, name)
    check(part, name, value, value in choices, f"choose one of {', '.join(choices)}")


BLOCKS = ("norm_silu", "elu")


@dataclass(frozen=True)
class WorldModelSettings:
    """Sizes and loss of the world model."""

    latent: str = "categorical"
    """`categorical` (one-hot variables, DreamerV3) or `gaussian` (Dreamer v1)."""
    stochastic: int = 16
    """Categorical variables, or dimensions of the Gaussian."""
    classes: int = 16
    """Classes of each categorical variable."""
    deterministic: int = 256
    """Width of the recurrent state."""
    hidden: int = 256
    """Width of the hidden layers of the dynamics."""
    encoder_hidden: int = 256
    """Width of the hidden layers of encoder and decoder."""
    channels: int = 24
    """Channels of the first convolution for images, doubled at each of the three that follow."""
    head_hidden: int = 256
    """Width of the hidden layers of the reward and continue heads."""
    layers: int = 2
    """Hidden layers of encoder and decoder."""
    block: str = "norm_silu"
    """Hidden layers and GRU with LayerNorm and SiLU, or `elu`: plain ones (Dreamer v1)."""
    symlog: bool = True
    """Whether vectors are squashed by symlog, so that their scale does not matter."""
    scalar: str = "two_hot"
    """Rewards and values as `two_hot` over bins, or as `normal` with deviation 1 (Dreamer v1). Bins
    reach to ±22,025: what is larger is told as that much, so scale such rewards down."""
    bins: int = 255
    """Bins of the two-hot distributions."""
    continues: bool = True
    """Whether termination is learned; if not, imagination never ends."""
    vector_scale: float = 10.0
    """Weight of the squared error of vectors; 0.5 is the log-density of a Normal with deviation 1.
    What a task depends on may be small: at 1, centimetres cost less than the KL to tell them."""
    image_scale: float = 1.0
    """Weight of the squared error of images, summed over their pixels."""
    free_nats: float = 1.0
    """KL below which neither side is trained."""
    free_nats_of: str = "state"
    """What has these free nats: each `state` (DreamerV3) or the mean of a `batch` (Dreamer v1)."""
    dynamics_scale: float = 1.0
    """Weight of the KL that trains the prior towards the posterior."""
    representation_scale: float = 0.1
    """Weight of the KL that keeps the posterior predictable."""
    ensemble: int = 0
    """Heads that predict the next stochastic state; where they disagree the model is unsure."""

    def __post_init__(self) -> None:
        part = "world_model"
        one_of(self, part, "latent", ("categorical", "gaussian"))
        one_of(self, part, "block", BLOCKS)
        one_of(self, part, "scalar", ("two_hot", "normal"))
        one_of(self, part, "free_nats_of", ("state", "batch"))
        at_least(self, part, stochastic=1, classes=2, deterministic=1, hidden=1, layers=1)
        at_least(self, part, encoder_hidden=1, channels=1, head_hidden=1, bins=3)
        at_least(self, part, free_nats=0, ensemble=0)
        at_least(self, part, dynamics_scale=0, representation_scale=0, vector_scale=0)
        at_least(self, part, image_scale=0)
        check(part, "ensemble", self.ensemble, self.ensemble != 1, "one head cannot disagree")


@dataclass(frozen=True)
class SkillSettings:
    """The skill z ~ N(0, I) and the mutual-information objective that gives it meaning."""

    dim: int = 3
    """Dimensions of a skill; 0: no skills at all, which is Dreamer."""
    duration: tuple[int, ...] = (10,)
    """Decisions for which a skill is held (K). Of several, e.g. `[5, 10, 20]`, one is drawn for
    each skill, and the policy is told how much of it is left."""
    mi: str = "reward"
    """log q(z|segment) as an `objective` of the policy (LSP), or as an intrinsic `reward` at the
    end of each skill, with a value of its own."""
    mi_coef: float = 0.1
    """Weight of log q(z|segment) per skill dimension, in units of the normalised return."""
    predictor_features: tuple[str, ...] = ()
    """What q(z|segment) reads, and so in what skills shall differ: observation keys, or parts
    of them such as `position[0:2]`, as the model decodes them. Empty: all model features."""
    predictor_min_std: float = 0.5
    """Least deviation of q(z|segment), where skills have 1: telling a skill more exactly than this
    earns the policy hardly anything, so that it need not give up return for it."""
    imagine: str = "mix"
    """Source of skills in imagination: `replay` (what the planner decided at the start state),
    `prior` (N(0, I)), `mix` (half each), or `cem` (planned anew for each start state)."""
    learn_prior: bool = True
    """Whether a skill prior p(z|s) is distilled from the plans in the replay."""

    def __post_init__(self) -> None:
        one_of(self, "skills", "mi", ("objective", "reward"))
        one_of(self, "skills", "imagine", ("replay", "prior", "mix", "cem"))
        at_least(self, "skills", dim=0, mi_coef=0)
        std = self.predictor_min_std
        check("skills", "predictor_min_std", std, 0.0 < std < 1.0, "give more than 0, less than 1")
        positive = bool(self.duration) and min(self.duration) >= 1
        check("skills", "duration", self.duration, positive, "give decisions of at least 1")

    @property
    def longest(self) -> int:
        """The longest duration."""
        return max(self.duration)

    @property
    def told(self) -> int:
        """Width of what the policy is told of a skill: z, and the time left if that varies."""
        return self.dim + (len(self.duration) > 1) if self.dim else 0


@dataclass(frozen=True)
class BehaviourSettings:
    """Policy, value and predictor: sizes and how they learn in imagination."""

    hidden: int = 256
    """Width of the hidden layers."""
    layers: int = 3
    """Hidden layers of the policy."""
    value_layers: int = 2
    """Hidden layers of the value and the predictor."""
    block: str = "norm_silu"
    """Hidden layers with LayerNorm and SiLU, or `elu`: plain ones (Dreamer v1)."""
    policy: str = "bounded"
    """Actions in a box: Normal with `bounded` deviation (DreamerV3) or `tanh` of a Normal
    (Dreamer v1). Discrete actions are always one-hot samples."""
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
    """Least deviation of the bounded policy's actions, which live in [-1, 1]."""
    max_std: float = 1.0
    """Greatest deviation."""
    action_noise: float = 0.0
    """Deviation of the noise added to exploring actions; for discrete ones the share of
    random actions."""
    normalise_returns: bool = True
    """Whether the policy's objective is divided by the range of the returns (DreamerV3)."""
    slow_value: float = 1.0
    """Weight of the pull of the value towards its slow copy."""
    slow_value_rate: float = 0.02
    """Rate at which the slow copy of the value follows."""
    replay_value: float = 0.3
    """Weight of the value's loss on replayed, not imagined, rewards (DreamerV3)."""
    reward: str = "task"
    """`task`: the reward that the environment gives; `none`: only what is intrinsic."""
    disagreement: float = 0.0
    """Intrinsic reward per unit of the ensemble's disagreement (needs world_model.ensemble)."""

    def __post_init__(self) -> None:
        part = "behaviour"
        one_of(self, part, "block", BLOCKS)
        one_of(self, part, "policy", ("bounded", "tanh"))
        one_of(self, part, "reward", ("task", "none"))
        at_least(self, part, hidden=1, layers=1, value_layers=1, horizon=1, starts=1, entropy=0)
        at_least(self, part, slow_value=0, replay_value=0, action_noise=0)
        for name in ("gamma", "lambda_", "slow_value_rate"):
            value = getattr(self, name)
            check(part, name, value, 0 <= value <= 1, "it has to lie in [0, 1]")
        in_order = 0 < self.min_std <= self.max_std
        check(part, "min_std", self.min_std, in_order, "need 0 < min_std <= max_std")


RewardFunction = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]
"""(decoded observation {key: (..., width)}, features (..., D), actions (..., A) that led there)
→ rewards (...), finite ones: what is not counts as ±1e9, and NaN as -1e9."""

CANDIDATES = ("mean", "current", "prior", "learned")


@dataclass(frozen=True)
class PlannerSettings:
    """Sampling-based planning over skills, or over actions."""

    method: str = "cem"
    """`cem` refits to the elites, `mppi` weighs them by exp(score / temperature); `none` takes
    the skill from the learned skill prior, or from N(0, I) if there is none."""
    space: str = "skills"
    """What is planned: `skills`, which the policy carries out, or `actions` themselves, one a
    decision and without policy and value (PlaNet)."""
    candidates: int = 64
    """Sequences scored per iteration and environment (G); kept elites come on top."""
    elites: int = 8
    """Best candidates to which the plan is refitted (M)."""
    iterations: int = 3
    """Refits; 0 draws skills from N(0, I) without planning."""
    skills: int = 2
    """Skills planned ahead; the horizon is this many skill durations. In the space of actions
    the decisions planned ahead."""
    include: tuple[str, ...] = CANDIDATES
    """What is always among the candidates: the `mean`, the `current` skill, a quarter from the
    `prior` N(0, I), a quarter from the `learned` skill prior."""
    keep_elites: bool = True
    """Whether elites take part in the next iteration (iCEM)."""
    warm_start: bool = True
    """Whether planning starts from what is left of the previous plan, or from N(0, I)."""
    min_std: float = 0.1
    """Floor of the plan's deviation, which keeps acting a little random."""
    noise: float = 0.0
    """Deviation of noise that is added to the finished plan (LSP: 0.1)."""
    random: float = 0.0
    """Share of skills that an exploring agent draws from N(0, I), whatever it has planned. Where
    nothing that is imagined pays, all plans are alike and their mean leads nowhere."""
    indifference: float = 0.0
    """Deviation of noise on the scores, in units of reward: what differs by less is as good. Where
    nothing that is imagined pays, plans then stay as wide as N(0, I) and skills go on exploring;
    without it they follow the smallest errors of the value."""
    clip: float = 0.0
    """Bound of every coordinate of a candidate, and of a skill that is acted out; 0: none (of
    actions 1)."""
    temperature: float = 0.5
    """Of `mppi`, in units of the scores' deviation among the elites."""
    replan_every: int = 0
    """Decisions after which is planned anew, before the skill has ended; 0: at its end."""
    disagreement: float = 0.0
    """Penalty per unit of the ensemble's disagreement (needs world_model.ensemble)."""
    reward_fn: Any = None
    """A reward of your own, see `RewardFunction`: a function, or its path `package.module:name`."""
    reward_mode: str = "replace"
    """Whether `reward_fn` shall `replace` the learned reward, and the value with it, or `add`."""

    @property
    def bound(self) -> float:
        """Of every coordinate of a plan, 0: none. Actions beyond 1 all do the same as 1, and plans
        would drift further and further out, where their deviation does nothing."""
        return min(self.clip or 1.0, 1.0) if self.space == "actions" else self.clip

    def __post_init__(self) -> None:
        part = "planner"
        one_of(self, part, "method", ("cem", "mppi", "none"))
        one_of(self, part, "space", ("skills", "actions"))
        one_of(self, part, "reward_mode", ("replace", "add"))
        for name in self.include:
            check(part, "include", name, name in CANDIDATES, f"choose from {CANDIDATES}")
        at_least(self, part, candidates=4, elites=1, iterations=0, skills=1, min_std=0, noise=0)
        at_least(self, part, indifference=0, clip=0, replan_every=0, disagreement=0)
        check(part, "temperature", self.temperature, self.temperature > 0, "it has to be above 0")
        share = 0.0 <= self.random <= 1.0
        check(part, "random", self.random, share, "it is a share, from 0 to 1")
        fits = self.elites < self.candidates
        check(part, "elites", self.elites, fits, "it has to be smaller than candidates")
        named = self.reward_fn is None or callable(self.reward_fn) or ":" in str(self.reward_fn)
        check(part, "reward_fn", self.reward_fn, named, "give a function or `package.module:name`")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    world_model: WorldModelSettings = field(default_factory=WorldModelSettings)
    skills: SkillSettings = field(default_factory=SkillSettings)
    behaviour: BehaviourSettings = field(default_factory=BehaviourSettings)
    planner: PlannerSettings = field(default_factory=PlannerSettings)

    def __post_init__(self) -> None:
        """What has to fit together."""
        horizon, longest = self.behaviour.horizon, self.skills.longest
        reason = (
            f"no skill of {longest} decisions ends within {horizon} imagined ones, so the "
            f"predictor would never see one; raise behaviour.horizon or lower skills.duration"
        )
        seen = horizon >= longest or not self.has_skills
        check("behaviour", "horizon", horizon, seen, reason)
        often, most = self.planner.replan_every, 1 if self.plans_actions else longest
        reason = f"what is planned lasts for {most} at most; 0 plans anew at its end, too"
        check("planner", "replan_every", often, often <= most, reason)
        without_skills = self.skills.dim == 0 and not self.plans_actions
        reason = "without skills there is nothing to plan; set planner.method to none"
        planless = not without_skills or self.planner.method == "none"
        check("planner", "method", self.planner.method, planless, reason)
        reason = "actions come from planning alone; choose cem or mppi"
        plans = not self.plans_actions or self.planner.method != "none"
        check("planner", "method", self.planner.method, plans, reason)
        for part in ("behaviour", "planner"):
            wanted = getattr(self, part).disagreement
            reason = "only an ensemble can disagree; set world_model.ensemble to 5 or so"
            possible = not wanted or self.world_model.ensemble > 0
            check(part, "disagreement", wanted, possible, reason)
        reason = "skills drawn from a plan need some deviation; give planner.min_std or noise"
        wide = self.planner.min_std > 0 or self.planner.noise > 0 or not self.has_skills
        check("planner", "min_std", self.planner.min_std, wide, reason)

    @property
    def plans_actions(self) -> bool:
        """Whether actions are planned, and neither policy nor value exist."""
        return self.planner.space == "actions"

    @property
    def has_skills(self) -> bool:
        """Whether there is a skill-conditioned policy."""
        return self.skills.dim > 0 and not self.plans_actions

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the agent's parts that have a loss and an optimizer of their own."""
        present = {
            "world_model": True,
            "ensemble": self.world_model.ensemble > 0,
            "policy": not self.plans_actions,
            "value": not self.plans_actions,
            "skill_predictor": self.has_skills,
            "skill_value": self.has_skills and self.skills.mi == "reward",
            "skill_prior": self.has_skills and self.skills.learn_prior,
        }
        return tuple(name for name, exists in present.items() if exists)


GROUPS = (
    "world_model", "ensemble", "policy", "value", "skill_predictor", "skill_value", "skill_prior",
)  # fmt: skip
"""Every parameter group that an agent may have; `Settings.groups` says which it has."""

PARTS = tuple(part.name for part in fields(Settings))
"""Names of the nested groups, which are also options of `LSPConfig`."""
