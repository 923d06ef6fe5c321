"""`HIROConfig`: the algorithm's options in RLlib's own form."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import yaml
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.from_config import NotProvided as NotProvidedType

from rllib_lsp.core.hiro.agent import HIROAgent, check_fit
from rllib_lsp.core.hiro.settings import GROUPS, PARTS, HIROSettings, build_hiro_settings
from rllib_lsp.lsp.replay_config import ReplayConfig
from rllib_lsp.lsp.validation import check_numbers, check_spaces

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

    from rllib_lsp.core.actions import ActionSpec
    from rllib_lsp.core.encoder import ObservationSpec

PLAIN = (
    "levels", "training_ratio", "batch_size", "updates_per_round", "learning_starts",
    "replay_capacity", "lr", "learning_rates", "adam_epsilon",
)  # fmt: skip
"""Options that `describe` shows besides the groups."""


class HIROConfig(ReplayConfig):
    """Options of `HIRO`. The dict-valued ones merge into the defaults of their group:

    HIROConfig().environment("rllib_lsp/point-reach-v0", env_config={"flatten": False})
                .training(goals={"features": ["position"]}, high={"gamma": 0.95})
    """

    OPTION_GROUPS = (*PARTS, "learning_rates")

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        if algo_class is None:
            from rllib_lsp.hiro.algorithm import HIRO

            algo_class = HIRO
        super().__init__(algo_class=algo_class)
        self.levels = 2
        self.low: dict[str, Any] = {}
        self.high: dict[str, Any] = {}
        self.goals: dict[str, Any] = {}
        self.batch_size = 100
        # One update of the lower level a decision.
        self.training_ratio = 100.0
        self.updates_per_round = 10
        self.learning_starts = 10_000
        self.replay_capacity = 200_000
        self.lr = 1e-3
        self.learning_rates = {"low_actor": 1e-4, "high_actor": 1e-4}

    def training(
        self,
        *,
        levels: int | NotProvidedType = NotProvided,
        low: dict[str, Any] | NotProvidedType = NotProvided,
        high: dict[str, Any] | NotProvidedType = NotProvided,
        goals: dict[str, Any] | NotProvidedType = NotProvided,
        updates_per_round: int | NotProvidedType = NotProvided,
        **kwargs: Any,
    ) -> HIROConfig:
        """Set training options.

        Args:
            levels: 2, or 1: plain TD3.
            low, high, goals: options of each level and of what is between them, see
                `rllib_lsp.core.hiro.settings`; they merge into what was set before.
            updates_per_round: updates of the lower level for one of the upper; the learner makes
                so many in one call.
            kwargs: see `ReplayConfig.training`. `training_ratio` counts what the lower level
                replays; `learning_rates` are of low_actor, low_critic, high_actor, high_critic.
        """
        self._set(
            levels=levels, low=low, high=high, goals=goals, updates_per_round=updates_per_round
        )
        super().training(**kwargs)
        return self

    def settings(self) -> HIROSettings:
        """The resolved settings of the core. Raises SettingsError."""
        return build_hiro_settings(self.levels, self._groups())

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Options of every part; RLlib's own `gamma` stands in for that of both levels."""
        groups = {name: dict(getattr(self, name)) for name in PARTS}
        for name in ("low", "high"):
            groups[name].setdefault("gamma", float(self.gamma))
        return groups

    def describe(self) -> str:
        """Every option as it is resolved, as YAML."""
        options = {key: getattr(self, key) for key in PLAIN}
        groups = dataclasses.asdict(self.settings())
        return yaml.safe_dump(json.loads(json.dumps(groups | options)), sort_keys=False)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the RLModule is built from, on learners and env runners alike."""
        own = {"levels": self.levels, **self._groups()}
        return super()._model_config_auto_includes | own

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_lsp.hiro.rl_module import HIROTorchRLModule

        return RLModuleSpec(module_class=HIROTorchRLModule)

    def get_default_learner_class(self) -> type:
        from rllib_lsp.hiro.learner import HIROTorchLearner

        return HIROTorchLearner

    def default_env_runner_class(self) -> type:
        from rllib_lsp.hiro.env_runner import HIROEnvRunner

        return HIROEnvRunner

    def make_agent(self, observation: ObservationSpec, action: ActionSpec) -> HIROAgent:
        return HIROAgent(observation, action, self.settings())

    def validate_own(self) -> None:
        check_numbers(self, {"updates_per_round": 1}, GROUPS)
        settings = self.settings()
        if self.grad_clip is not None:
            raise ValueError(f"grad_clip = {self.grad_clip!r}: TD3 does not clip; set it to None.")
        if self.torch_compile_learner or self.torch_compile_worker:
            raise ValueError(
                "torch_compile_learner, torch_compile_worker: HIRO compiles nothing, its networks "
                "are small. Leave both out."
            )
        if self.is_offline:
            raise ValueError(
                f"input_ = {self.input_!r}: HIRO learns from what it samples itself, not from "
                f"recorded episodes."
            )
        if self.num_learners > 1:
            raise ValueError(
                f"num_learners = {self.num_learners}: HIRO's updates are too small to share; use 0 "
                f"(in the main process) or 1 (an actor of its own)."
            )
        streams = self.num_envs_per_env_runner * max(1, self.num_env_runners)
        shortest = 2 * streams * (settings.goals.duration + 1)
        if self.replay_capacity < shortest:
            raise ValueError(
                f"replay_capacity = {self.replay_capacity} is too small for goals of "
                f"{settings.goals.duration} decisions in {streams} environments; it has to be at "
                f"least {shortest}."
            )
        if settings.has_goals and not settings.goals.range and self.learning_starts < 2:
            raise ValueError(
                f"learning_starts = {self.learning_starts}: the range of goals is measured from "
                f"random decisions before learning; raise it, or give goals.range."
            )
        if self.env is not None and not self.in_evaluation and not self.disable_env_checking:
            check_spaces(self, settings, check_fit)
