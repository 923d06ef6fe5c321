"""`LSPConfig`: the algorithm's options in RLlib's own form."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.from_config import NotProvided as NotProvidedType
from ray.util.debug import log_once

from rllib_lsp.core.agent import PARAMETER_GROUPS
from rllib_lsp.core.settings import PARTS, Settings, SettingsError, build_settings
from rllib_lsp.envs import register
from rllib_lsp.lsp.env_building import build_env
from rllib_lsp.lsp.spaces import SpaceError, action_size, observation_spec

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

SPECIAL_KEYS = {
    "callbacks", "create_env_on_driver", "custom_eval_function", "framework", "input", "lambda",
    "num_cpus_for_driver", "num_workers", "multiagent",
    "enable_rl_module_and_learner", "enable_env_runner_and_connector_v2", "_enable_new_api_stack",
}  # fmt: skip
"""Keys that RLlib's `update_from_dict` translates, so they are no attributes."""

_CHECKED_ENVIRONMENTS: set[str] = set()

RUNNER_CALLBACKS = (
    "on_environment_created", "on_episode_created", "on_episode_start", "on_episode_step",
    "on_episode_end", "on_sample_end",
)  # fmt: skip


class LSPConfig(AlgorithmConfig):
    """Options of `LSP`. The dict-valued ones merge into the defaults of their group:

    LSPConfig().environment("dm_control/walker-walk-v0", env_config={"action_repeat": 2})
               .training(size="small", planner={"candidates": 32})
    """

    env_runner_cls: Any

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        if algo_class is None:
            from rllib_lsp.lsp.algorithm import LSP

            algo_class = LSP
        super().__init__(algo_class=algo_class)
        self.size = "medium"
        self.world_model: dict[str, Any] = {}
        self.skills: dict[str, Any] = {}
        self.behaviour: dict[str, Any] = {}
        self.planner: dict[str, Any] = {}
        self.training_ratio = 64.0
        self.batch_size = 16
        self.batch_length = 32
        self.replay_capacity = 1_000_000
        self.store_replay_in_checkpoints = True
        self.learning_starts = 1000
        self.learning_rates: dict[str, float] = {}

        self.lr = 4e-4
        self.gamma = 0.99
        self.grad_clip = 100.0
        # One fragment is one skill of the default duration.
        self.rollout_fragment_length = 10
        self.max_requests_in_flight_per_env_runner = 2
        self.min_time_s_per_iteration = None
        self.min_sample_timesteps_per_iteration = 1000
        self.evaluation_config = {"explore": False}
        # RLlib's waits of 30 and 60 s would make a lost runner stop the show.
        self.env_runner_health_probe_timeout_s = 1.0
        self.delay_between_env_runner_restarts_s = 1.0
        # Its blocking request to every runner would undo asynchronous sampling.
        self._dont_auto_sync_env_runner_states = True

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
            learning_starts: decisions with random actions before learning begins.
            learning_rates: for single parameter groups (world_model, policy, value,
                skill_predictor), in place of `lr`.
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
        }
        for name, value in plain.items():
            if value is not NotProvided:
                setattr(self, name, value)
        super().training(**kwargs)
        return self

    def _merge_group(self, name: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            self._value_error(f"{name} = {values!r} has to be a dict of options.")
        setattr(self, name, {**getattr(self, name), **values})

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> LSPConfig:
        """RLlib's, but option groups merge and an unknown key raises ValueError."""
        rest = dict(config_dict)
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
        return build_settings(self.size, self._groups())

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Options of every part; RLlib's own `gamma` stands in for `behaviour.gamma`."""
        groups = {name: dict(getattr(self, name)) for name in PARTS}
        groups["behaviour"].setdefault("gamma", float(self.gamma))
        return groups

    def learning_rate(self, group: str) -> float:
        """Learning rate of a parameter group."""
        return self.learning_rates.get(group, self.lr)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the RLModule is built from, on learners and env runners alike."""
        return super()._model_config_auto_includes | {"size": self.size, **self._groups()}

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
        self._validate_unsupported()
        super().validate()
        self._validate_numbers()
        try:
            settings = self.settings()
        except SettingsError as error:
            self._value_error(str(error))
            return
        self._validate_windows(settings)
        if self.env is not None and not self.in_evaluation and not self.disable_env_checking:
            self._validate_spaces()

    def _validate_numbers(self) -> None:
        at_least = {
            "batch_size": 1, "batch_length": 2, "learning_starts": 0, "replay_capacity": 2,
            "rollout_fragment_length": 1,
        }  # fmt: skip
        for name, bound in at_least.items():
            value = getattr(self, name)
            if type(value) is not int or value < bound:
                self._value_error(f"{name} = {value!r} has to be an integer of at least {bound}.")
        rates = {f"learning_rates.{key}": value for key, value in self.learning_rates.items()}
        for name, value in {"training_ratio": self.training_ratio, **rates}.items():
            if not isinstance(value, int | float) or not value > 0:
                self._value_error(f"{name} = {value!r} has to be a number above 0.")
        for key in self.learning_rates:
            if key not in PARAMETER_GROUPS:
                self._value_error(
                    f"learning_rates.{key} is unknown: valid are {', '.join(PARAMETER_GROUPS)}."
                )

    def _validate_windows(self, settings: Settings) -> None:
        streams = self.num_envs_per_env_runner * max(1, self.num_env_runners)
        if self.replay_capacity < 2 * streams * self.batch_length:
            self._value_error(
                f"replay_capacity = {self.replay_capacity} is too small for windows of "
                f"batch_length = {self.batch_length} decisions from {streams} environments; it "
                f"has to be at least {2 * streams * self.batch_length}."
            )
        if settings.behaviour.starts > self.batch_size * self.batch_length:
            self._value_error(
                f"behaviour.starts = {settings.behaviour.starts} exceeds the "
                f"{self.batch_size * self.batch_length} decisions of a batch (batch_size x "
                f"batch_length); lower it or enlarge the batch."
            )

    def _validate_unsupported(self) -> None:
        """Say so where RLlib offers what is not here yet, rather than ignore it."""
        if self.framework_str != "torch":
            self._value_error(f"framework = {self.framework_str!r}: LSP is written in torch.")
        if self.num_learners > 1:
            self._value_error(
                f"num_learners = {self.num_learners} is not supported yet; use 0 (in the main "
                f"process) or 1 (an actor of its own)."
            )
        if self.is_multi_agent:
            self._value_error("LSP is a single-agent algorithm; remove the policies.")
        names = ("_env_to_module_connector", "_module_to_env_connector", "_learner_connector")
        if any(getattr(self, name) for name in names):
            self._value_error(
                "Custom connectors are not supported yet: transform observations and actions "
                "in an environment wrapper instead."
            )
        if self.output:
            self._value_error(f"output = {self.output!r}: recording is not supported yet.")
        if gym.VectorizeMode(self.gym_env_vectorize_mode) != gym.VectorizeMode.SYNC:
            # Forking a process that runs Ray's threads can hang, besides.
            self._value_error(
                f"gym_env_vectorize_mode = {self.gym_env_vectorize_mode!r}: LSP steps a runner's "
                f"environments in one process ('sync'), which costs less than messages between "
                f"processes. To use more cores, raise num_env_runners."
            )
        classes = self.callbacks_class
        for cls in classes if isinstance(classes, list | tuple) else [classes]:
            for name in RUNNER_CALLBACKS:
                own = getattr(cls, name, None) is not getattr(RLlibCallback, name)
                if own or getattr(self, f"callbacks_{name}", None):
                    self._value_error(
                        f"The callback {name} is not supported yet: LSP's env runner keeps no "
                        f"episode objects. Those of the algorithm, such as on_train_result "
                        f"and on_evaluate_end, are."
                    )

    def _validate_spaces(self) -> None:
        # `validate` runs several times a trial; building an environment takes 0.1 s and more.
        key = repr((self.env, sorted(self.env_config.items(), key=str)))
        if key in _CHECKED_ENVIRONMENTS:
            return
        try:
            probe = build_env(self, self.env_config)
            observation_spec(probe.observation_space)
            action_size(probe.action_space)
        except (SpaceError, ValueError, TypeError, gym.error.Error) as error:
            self._value_error(f"Environment {self.env!r} cannot be used: {error}")
            return
        probe.close()
        _CHECKED_ENVIRONMENTS.add(key)
