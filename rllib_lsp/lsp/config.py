"""`LSPConfig`: the algorithm's options in RLlib's own form."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.from_config import NotProvided as NotProvidedType
from ray.util.debug import log_once

from rllib_lsp.core.presets import PRESETS, build_settings, nearest
from rllib_lsp.core.settings import PARTS, Settings
from rllib_lsp.envs import register
from rllib_lsp.lsp.pipelines import prepare
from rllib_lsp.lsp.validation import refuse_unsupported, validate

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

SPECIAL_KEYS = {
    "callbacks", "create_env_on_driver", "custom_eval_function", "framework", "input",
    "num_cpus_for_driver", "num_workers", "multiagent",
    "enable_rl_module_and_learner", "enable_env_runner_and_connector_v2", "_enable_new_api_stack",
}  # fmt: skip
"""Keys that RLlib's `update_from_dict` translates, so they are no attributes."""

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


class LSPConfig(AlgorithmConfig):
    """Options of `LSP`. The dict-valued ones merge into the defaults of their group:

    LSPConfig().environment("dm_control/walker-walk-v0", env_config={"action_repeat": 2})
               .training(size="small", planner={"candidates": 32})
    """

    TRANSLATED_KEYS = ("preset", "transfer")
    """Keys of `update_from_dict` that are methods here; `rllib train` takes them, too."""

    env_runner_cls: Any
    output: Any
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
        self.training_ratio: float
        self.batch_size: int
        self.batch_length: int
        self.learning_starts: int
        self.pretrain_updates: int
        self.learning_rates: dict[str, float]
        self.adam_epsilon: float
        self.preset("modern")
        self.replay_capacity = 1_000_000
        self.store_replay_in_checkpoints = True
        self.transfer_options: dict[str, Any] = {}
        self.offline_updates = 0
        self.offline_only = False

        self.gamma = 0.99
        # One fragment is one skill of the default duration.
        self.rollout_fragment_length = 10
        self.max_requests_in_flight_per_env_runner = 2
        self.min_time_s_per_iteration = None
        self.min_sample_timesteps_per_iteration = 1000
        self.evaluation_config = {"explore": False}
        # RLlib's waits of 30 and 60 s would make a lost runner stop the show.
        self.env_runner_health_probe_timeout_s = 0.2
        self.delay_between_env_runner_restarts_s = 1.0
        # Its blocking request to every runner would undo asynchronous sampling.
        self._dont_auto_sync_env_runner_states = True

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
            keep: components to take over besides the usual ones, see `lsp.transfer`.
            reset: components to begin anew, though they are usually taken over.
            freeze: components that are not trained any more.
        """
        given = {"keep": list(keep), "reset": list(reset), "freeze": list(freeze)}
        self.transfer_options = {
            **self.transfer_options,
            "checkpoint": checkpoint,
            **{key: names for key, names in given.items() if names},
        }
        return self

    def training(
        self,
        *,
        size: str | NotProvidedType = NotProvided,
        world_model: dict[str, Any] | NotProvidedType = NotProvided,
        skills: dict[str, Any] | NotProvidedType = NotProvided,
        behaviour: dict[str, Any] | NotProvidedType = NotProvided,
        planner: dict[str, Any] | NotProvidedType = NotProvided,
        training_ratio: float | NotProvidedType = NotProvided,
        batch_size: int | NotProvidedType = NotProvided,
        batch_length: int | NotProvidedType = NotProvided,
        replay_capacity: int | NotProvidedType = NotProvided,
        store_replay_in_checkpoints: bool | NotProvidedType = NotProvided,
        learning_starts: int | NotProvidedType = NotProvided,
        pretrain_updates: int | NotProvidedType = NotProvided,
        adam_epsilon: float | NotProvidedType = NotProvided,
        learning_rates: dict[str, float] | NotProvidedType = NotProvided,
        **kwargs: Any,
    ) -> LSPConfig:
        """Set training options.

        Args:
            size: named size of all networks: tiny, small, medium or large.
            world_model, skills, behaviour, planner: options of each part, see
                `rllib_lsp.core.settings`; they merge into what was set before.
            training_ratio: decisions replayed for each decision sampled, over the whole run.
            batch_size: windows in a batch.
            batch_length: decisions in a window.
            replay_capacity: decisions kept for replay.
            store_replay_in_checkpoints: whether a restored run gets its replay back.
            learning_starts: decisions with random actions (after a transfer: with random
                skills) before learning begins.
            pretrain_updates: updates made at once when learning begins.
            learning_rates: for single parameter groups (world_model, policy, value,
                skill_predictor, skill_value, skill_prior, ensemble), in place of `lr`.
            adam_epsilon: of the optimizers.
            kwargs: RLlib's own training options, of which `lr`, `gamma` and `grad_clip` (norm
                of each group's gradient) are used.
        """
        groups = {"world_model": world_model, "skills": skills, "behaviour": behaviour}
        groups |= {"planner": planner, "learning_rates": learning_rates}
        for name, values in groups.items():
            if values is not NotProvided:
                self._merge_group(name, values)
        plain = {
            "size": size,
            "training_ratio": training_ratio,
            "batch_size": batch_size,
            "batch_length": batch_length,
            "replay_capacity": replay_capacity,
            "store_replay_in_checkpoints": store_replay_in_checkpoints,
            "learning_starts": learning_starts,
            "pretrain_updates": pretrain_updates,
            "adam_epsilon": adam_epsilon,
        }
        for name, value in plain.items():
            if value is not NotProvided:
                setattr(self, name, value)
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

    def _merge_group(self, name: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            self._value_error(f"{name} = {values!r} has to be a dict of options.")
        setattr(self, name, {**getattr(self, name), **values})

    def _merge_transfer(self, options: Any) -> None:
        allowed = ("checkpoint", "keep", "reset", "freeze")
        if not isinstance(options, Mapping) or not set(options) <= set(allowed):
            raise ValueError(f"transfer = {options!r} has to be a dict of {', '.join(allowed)}.")
        self.transfer_options = {**self.transfer_options, **options}

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> LSPConfig:
        """RLlib's, but a `preset` comes first, option groups merge, and an unknown key raises
        ValueError."""
        rest = dict(config_dict)
        if "preset" in rest:
            self.preset(rest.pop("preset"))
        if "transfer" in rest:
            self._merge_transfer(rest.pop("transfer"))
        if "lambda" in rest:
            self._merge_group("behaviour", {"lambda_": rest.pop("lambda")})
        for name in (*PARTS, "learning_rates"):
            if name in rest:
                self._merge_group(name, rest.pop(name))
        for key in rest:
            # Tune adds keys of its own, in double underscores.
            if key not in SPECIAL_KEYS and not key.startswith("__") and key not in vars(self):
                known = [name for name in vars(self) if not name.startswith("_")]
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"LSPConfig has no option {key!r}.{hint}")
        super().update_from_dict({k: v for k, v in rest.items() if not k.startswith("__")})
        return self

    def settings(self) -> Settings:
        """The resolved settings of the core. Raises SettingsError."""
        return build_settings(self._groups(), preset=self.preset_name, size=self.size)

    def describe(self) -> str:
        """Every option as it is resolved, as YAML."""
        options = {key: getattr(self, key) for key in TRAINING_PRESETS["modern"]}
        options |= {"replay_capacity": self.replay_capacity, "gamma": self.gamma}
        parts = {"preset": self.preset_name, "size": self.size, **options}
        if self.transfer_options:
            parts["transfer"] = self.transfer_options
        groups = dataclasses.asdict(self.settings())
        reward_fn = groups["planner"]["reward_fn"]
        groups["planner"]["reward_fn"] = str(reward_fn) if reward_fn else None
        return yaml.safe_dump(json.loads(json.dumps(parts | groups, default=str)), sort_keys=False)

    __str__ = describe

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Options of every part; RLlib's own `gamma` stands in for `behaviour.gamma`."""
        groups = {name: dict(getattr(self, name)) for name in PARTS}
        groups["behaviour"].setdefault("gamma", float(self.gamma))
        return groups

    def learning_rate(self, group: str) -> float:
        """Learning rate of a parameter group."""
        return self.learning_rates.get(group, self.lr)  # type: ignore[return-value]

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

    def validate(self) -> None:
        """Check every option, and the environment's spaces, before any actor starts."""
        if isinstance(self.env, str):
            register(self.env)
        if self.env_runner_cls is None:
            from rllib_lsp.lsp.env_runner import LSPEnvRunner

            self.env_runner_cls = LSPEnvRunner
        # RLlib would advise to go back to the old API stack, where there is no LSP.
        log_once(f"{self.algo_class.__name__}_on_new_api_stack")
        try:
            refuse_unsupported(self)
            prepare(self)
            super().validate()
            validate(self)
        except ValueError as error:
            self._value_error(str(error))
