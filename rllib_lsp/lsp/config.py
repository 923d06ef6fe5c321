"""`LSPConfig`: the algorithm's options in RLlib's own form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.from_config import NotProvided as NotProvidedType

from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import PRESETS, build_settings, nearest
from rllib_lsp.core.settings import PARTS, Settings
from rllib_lsp.lsp.pipelines import prepare_recorded
from rllib_lsp.lsp.replay_config import ReplayConfig
from rllib_lsp.lsp.threads import AUTO
from rllib_lsp.lsp.transfer import IS_DONE
from rllib_lsp.lsp.validation import validate

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

    from rllib_lsp.core.actions import ActionSpec
    from rllib_lsp.core.encoder import ObservationSpec

TRAINING_PRESETS: dict[str, dict[str, Any]] = {
    "modern": {
        "training_ratio": 64.0, "batch_size": 16, "batch_length": 32, "learning_starts": 1000,
        "pretrain_updates": 0, "lr": 4e-4, "learning_rates": {}, "adam_epsilon": 1e-8,
        "grad_clip": 100.0,
    },
    # One update of 50 x 50 decisions for every 5; 5000 frames at an action repeat of 2.
    "paper": {
        "training_ratio": 500.0, "batch_size": 50, "batch_length": 50, "learning_starts": 2500,
        "pretrain_updates": 100, "lr": 8e-5, "learning_rates": {"world_model": 6e-4},
        "adam_epsilon": 1e-7, "grad_clip": 100.0,
    },
}  # fmt: skip
"""What a preset says of training; of networks, skills and planner see `core.presets`."""


class LSPConfig(ReplayConfig):
    """Options of `LSP`. The dict-valued ones merge into the defaults of their group:

    LSPConfig().environment("dm_control/walker-walk-v0", env_config={"action_repeat": 2})
               .training(size="small", planner={"candidates": 32})
    """

    TRANSLATED_KEYS = ("preset", "transfer")
    """Keys of `update_from_dict` that are methods here; `rllib train` takes them, too."""

    OPTION_GROUPS = (*PARTS, "learning_rates")

    input_: Any

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        if algo_class is None:
            from rllib_lsp.lsp.algorithm import LSP

            algo_class = LSP
        super().__init__(algo_class=algo_class)
        self.preset_name = "modern"
        self.size = "medium"
        self.world_model: dict[str, Any] = {}
        self.skills: dict[str, Any] = {}
        self.behaviour: dict[str, Any] = {}
        self.planner: dict[str, Any] = {}
        self.batch_length: int
        self.precision = "float32"
        self.preset("modern")
        # In place of RLlib's 1: what the env runners leave of the machine.
        self.num_cpus_for_main_process = AUTO
        self.transfer_options: dict[str, Any] = {}
        self.offline_updates = 0
        self.offline_only = False

    def preset(self, name: str) -> LSPConfig:
        """Set ordinary options to those of a preset, `modern` (the defaults) or `paper`.

        Options set afterwards win, as do the groups of options set before.
        """
        if name not in PRESETS:
            raise ValueError(f"preset = {name!r} is unknown: {nearest(str(name), list(PRESETS))}")
        self.preset_name = name
        for key, value in TRAINING_PRESETS[name].items():
            setattr(self, key, dict(value) if isinstance(value, dict) else value)
        return self

    def transfer(
        self,
        checkpoint: str,
        *,
        keep: Sequence[str] = (),
        reset: Sequence[str] = (),
        freeze: Sequence[str] = (),
    ) -> LSPConfig:
        """Begin with what another agent, of LSP or of a baseline, has learned.

        Args:
            checkpoint: its checkpoint directory.
            keep: components to take over besides the usual ones, see docs/transfer.md.
            reset: components to begin anew, though they are usually taken over.
            freeze: components that are not trained any more.
        """
        given = {"keep": keep, "reset": reset, "freeze": freeze}
        named = {key: names for key, names in given.items() if names}
        self._merge_transfer({"checkpoint": checkpoint, **named})
        return self

    def training(
        self,
        *,
        size: str | NotProvidedType = NotProvided,
        world_model: dict[str, Any] | NotProvidedType = NotProvided,
        skills: dict[str, Any] | NotProvidedType = NotProvided,
        behaviour: dict[str, Any] | NotProvidedType = NotProvided,
        planner: dict[str, Any] | NotProvidedType = NotProvided,
        batch_length: int | NotProvidedType = NotProvided,
        precision: str | NotProvidedType = NotProvided,
        **kwargs: Any,
    ) -> LSPConfig:
        """Set training options.

        Args:
            size: named size of all networks: tiny, small, medium or large.
            world_model, skills, behaviour, planner: options of each part, see
                `rllib_lsp.core.settings`; they merge into what was set before.
            batch_length: decisions in a window.
            precision: of the learner's networks, float32, or bfloat16 by autocast: for GPUs.
                Weights, states, distributions and losses are float32 either way.
            kwargs: see `ReplayConfig.training`; the parameter groups of `learning_rates` are
                world_model, policy, value, skill_predictor, skill_value, skill_prior, ensemble.
        """
        self._set(
            size=size,
            world_model=world_model,
            skills=skills,
            behaviour=behaviour,
            planner=planner,
            batch_length=batch_length,
            precision=precision,
        )
        super().training(**kwargs)
        return self

    def offline_data(
        self,
        *,
        offline_updates: int | NotProvidedType = NotProvided,
        offline_only: bool | NotProvidedType = NotProvided,
        **kwargs: Any,
    ) -> LSPConfig:
        """Record episodes, or begin with recorded ones.

        Args:
            offline_updates: updates made on the episodes at `input_` before the first action.
            offline_only: never to act, except in evaluation.
            kwargs: RLlib's own options, of which `output`, `output_max_rows_per_file`,
                `input_`, `actions_in_input_normalized` and `dataset_num_iters_per_learner`
                (updates in an offline iteration; None: an epoch) are used.
        """
        plain = {"offline_updates": offline_updates, "offline_only": offline_only}
        for name, value in plain.items():
            if value is not NotProvided:
                setattr(self, name, value)
        super().offline_data(**kwargs)
        return self

    def _merge_transfer(self, options: Any) -> None:
        allowed = ("checkpoint", "keep", "reset", "freeze")
        if not isinstance(options, Mapping) or not set(options) <= set(allowed):
            raise ValueError(f"transfer = {options!r} has to be a dict of {', '.join(allowed)}.")
        merged = {**self.transfer_options, **options}
        if "checkpoint" in options:  # to begin with, though this config is of one that has begun
            merged.pop(IS_DONE, None)
        for key in allowed[1:]:
            if key in merged:  # one name, as YAML has it, is no list of letters
                names = merged[key]
                merged[key] = [names] if isinstance(names, str) else list(names or ())
        self.transfer_options = merged

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> LSPConfig:
        """RLlib's, but a `preset` comes first, and see `ReplayConfig`."""
        rest = dict(config_dict)
        if "preset" in rest:
            self.preset(rest.pop("preset"))
        if "transfer" in rest:
            self._merge_transfer(rest.pop("transfer"))
        if "lambda" in rest:
            self._merge_group("behaviour", {"lambda_": rest.pop("lambda")})
        super().update_from_dict(rest)
        return self

    def settings(self) -> Settings:
        """The resolved settings of the core. Raises SettingsError."""
        return build_settings(self._groups(), preset=self.preset_name, size=self.size)

    def describe(self) -> str:
        """Every option as it is resolved, as YAML."""
        names = ("size", "precision", *TRAINING_PRESETS["modern"], "replay_capacity",
                 "store_replay_in_checkpoints", "gamma")  # fmt: skip
        parts = {"preset": self.preset_name, **{name: getattr(self, name) for name in names}}
        if self.is_offline:
            parts |= {"offline_updates": self.offline_updates, "offline_only": self.offline_only}
        if self.transfer_options:
            parts["transfer"] = self.transfer_options
        groups = dataclasses.asdict(self.settings())
        reward_fn = groups["planner"]["reward_fn"]
        groups["planner"]["reward_fn"] = str(reward_fn) if reward_fn else None
        return yaml.safe_dump(json.loads(json.dumps(parts | groups, default=str)), sort_keys=False)

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Options of every part; RLlib's own `gamma` stands in for `behaviour.gamma`."""
        groups = {name: dict(getattr(self, name)) for name in PARTS}
        groups["behaviour"].setdefault("gamma", float(self.gamma))
        return groups

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the RLModule is built from, on learners and env runners alike."""
        evaluation: Any = self.evaluation_config
        overrides = evaluation if isinstance(evaluation, Mapping) else {}
        own = {
            "preset": self.preset_name,
            "size": self.size,
            "freeze": self.frozen,
            "evaluation_planner": dict(overrides.get("planner") or {}),
        }
        return super()._model_config_auto_includes | own | self._groups()

    @property
    def frozen(self) -> list[str]:
        """Components that are not trained."""
        return list(self.transfer_options.get("freeze", ()))

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_lsp.lsp.rl_module import LSPTorchRLModule

        return RLModuleSpec(module_class=LSPTorchRLModule)

    def get_default_learner_class(self) -> type:
        from rllib_lsp.lsp.learner import LSPTorchLearner

        return LSPTorchLearner

    def default_env_runner_class(self) -> type:
        from rllib_lsp.lsp.env_runner import LSPEnvRunner

        return LSPEnvRunner

    def make_agent(self, observation: ObservationSpec, action: ActionSpec) -> Agent:
        return Agent(observation, action, self.settings())

    def prepare(self) -> None:
        super().prepare()
        prepare_recorded(self)

    def validate_own(self) -> None:
        validate(self)
