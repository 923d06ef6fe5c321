"""`ReplayConfig`: the options of every algorithm that learns from replay, checked strictly."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.utils.from_config import NotProvided as NotProvidedType
from ray.util.debug import log_once

from rllib_lsp.core.settings import SettingsError
from rllib_lsp.envs import register
from rllib_lsp.lsp.pipelines import prepare_acting
from rllib_lsp.lsp.threads import AUTO, cpus_of_main_process
from rllib_lsp.lsp.validation import (
    check_env_runner,
    check_evaluation,
    refuse_ignored,
    refuse_unsupported,
)

if TYPE_CHECKING:
    from torch import nn

    from rllib_lsp.core.actions import ActionSpec
    from rllib_lsp.core.encoder import ObservationSpec

SPECIAL_KEYS = {
    "callbacks", "create_env_on_driver", "custom_eval_function", "framework", "input",
    "num_cpus_for_driver", "num_workers", "multiagent",
    "enable_rl_module_and_learner", "enable_env_runner_and_connector_v2", "_enable_new_api_stack",
}  # fmt: skip
"""Keys that RLlib's `update_from_dict` translates, so they are no attributes."""


class ReplayConfig(AlgorithmConfig):
    """Options of `ReplayAlgorithm`. Groups of options are dicts, which merge into what was set."""

    OPTION_GROUPS: ClassVar[tuple[str, ...]] = ("learning_rates",)

    env_runner_cls: Any
    num_cpus_for_main_process: Any
    output: Any

    def __init__(self, algo_class: Any) -> None:
        super().__init__(algo_class=algo_class)
        self.training_ratio: float
        self.batch_size: int
        self.learning_starts: int
        self.pretrain_updates = 0
        self.learning_rates: dict[str, float] = {}
        self.adam_epsilon = 1e-8
        self.replay_capacity = 1_000_000
        self.store_replay_in_checkpoints = True

        self.gamma = 0.99
        # One fragment is one skill, or one goal, of the default duration.
        self.rollout_fragment_length = 10
        # A runner that has answered goes on with the next while the main process is in an update.
        self.max_requests_in_flight_per_env_runner = 4
        self.min_time_s_per_iteration = None
        self.min_sample_timesteps_per_iteration = 1000
        self.evaluation_config = {"explore": False}
        # RLlib's waits of 30 and 60 s would make a lost runner stop the show.
        self.env_runner_health_probe_timeout_s = 0.2
        self.delay_between_env_runner_restarts_s = 1.0
        # Its blocking request to every runner would undo asynchronous sampling.
        self._dont_auto_sync_env_runner_states = True

    def training(
        self,
        *,
        training_ratio: float | NotProvidedType = NotProvided,
        batch_size: int | NotProvidedType = NotProvided,
        replay_capacity: int | NotProvidedType = NotProvided,
        store_replay_in_checkpoints: bool | NotProvidedType = NotProvided,
        learning_starts: int | NotProvidedType = NotProvided,
        pretrain_updates: int | NotProvidedType = NotProvided,
        adam_epsilon: float | NotProvidedType = NotProvided,
        learning_rates: dict[str, float] | NotProvidedType = NotProvided,
        **kwargs: Any,
    ) -> ReplayConfig:
        """Set training options.

        Args:
            training_ratio: decisions replayed for each decision sampled, over the whole run.
            batch_size: windows in a batch.
            replay_capacity: decisions kept for replay.
            store_replay_in_checkpoints: whether a restored run gets its replay back.
            learning_starts: decisions with random actions (after a transfer: with random
                skills) before learning begins.
            pretrain_updates: updates made at once when learning begins.
            adam_epsilon: of the optimizers.
            learning_rates: for single parameter groups, in place of `lr`.
            kwargs: RLlib's own training options, of which `lr`, `gamma` and `grad_clip` (norm
                of each group's gradient) are used.
        """
        self._set(
            training_ratio=training_ratio,
            batch_size=batch_size,
            replay_capacity=replay_capacity,
            store_replay_in_checkpoints=store_replay_in_checkpoints,
            learning_starts=learning_starts,
            pretrain_updates=pretrain_updates,
            adam_epsilon=adam_epsilon,
            learning_rates=learning_rates,
        )
        super().training(**kwargs)
        return self

    def _set(self, **options: Any) -> None:
        """Set options that were given; groups merge."""
        for name, value in options.items():
            if value is NotProvided:
                continue
            if name in self.OPTION_GROUPS:
                self._merge_group(name, value)
            else:
                setattr(self, name, value)

    def _merge_group(self, name: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            self._value_error(f"{name} = {values!r} has to be a dict of options.")
        setattr(self, name, {**getattr(self, name), **values})

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> ReplayConfig:
        """RLlib's, but option groups merge, and an unknown key raises ValueError."""
        rest = dict(config_dict)
        for name in self.OPTION_GROUPS:
            if name in rest:
                self._merge_group(name, rest.pop(name))
        allowed = {
            "env_config": Mapping,  # YAML's is None where nothing stands below it
            "evaluation_config": Mapping | AlgorithmConfig | None,
        }
        for key, kind in allowed.items():
            if key in rest and not isinstance(rest[key], kind):
                raise ValueError(f"{key} = {rest[key]!r} has to be a dict of options.")
        for key in rest:
            # Tune adds keys of its own, in double underscores.
            if key not in SPECIAL_KEYS and not key.startswith("__") and key not in vars(self):
                known = [name for name in vars(self) if not name.startswith("_")]
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"{type(self).__name__} has no option {key!r}.{hint}")
        super().update_from_dict({k: v for k, v in rest.items() if not k.startswith("__")})
        return self

    def learning_rate(self, group: str) -> float:
        """Learning rate of a parameter group."""
        return self.learning_rates.get(group, self.lr)  # type: ignore[return-value]

    def describe(self) -> str:
        """Every option as it is resolved, as YAML. Raises SettingsError."""
        raise NotImplementedError

    def __str__(self) -> str:
        """What `describe` says; of options that are no values yet, as Tune will draw them, not."""
        try:
            return self.describe()
        except SettingsError:
            return repr(self)

    def default_env_runner_class(self) -> type:
        """The env runner that acts as this algorithm does."""
        raise NotImplementedError

    def validate(self) -> None:
        """Check every option, and the environment's spaces, before any actor starts."""
        for name, value in list(vars(self).items()):
            if isinstance(value, np.generic):  # as of a grid; checks ask for Python's
                setattr(self, name, value.item())
        if isinstance(self.env, str):
            register(self.env)
        if self.env_runner_cls is None:
            self.env_runner_cls = self.default_env_runner_class()
        # RLlib would advise to go back to the old API stack, where there is no such algorithm.
        log_once(f"{self.algo_class.__name__}_on_new_api_stack")
        try:
            refuse_unsupported(self)
            refuse_ignored(self)
            check_env_runner(self)
            self.prepare()
            super().validate()
            self.validate_own()
            check_evaluation(self)
        except ValueError as error:
            self._value_error(str(error))

    def make_agent(self, observation: ObservationSpec, action: ActionSpec) -> nn.Module:
        """The networks of these options for an environment, with new weights."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Set those of RLlib's options that follow from others. Raises ValueError."""
        if self.num_cpus_for_main_process == AUTO:
            self.num_cpus_for_main_process = cpus_of_main_process(self)
        prepare_acting(self)

    def validate_own(self) -> None:
        """Check what RLlib knows nothing of. Raises ValueError."""
        raise NotImplementedError
