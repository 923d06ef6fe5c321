"""What has to be right before any actor starts; each error names the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium as gym
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, TorchCompileWhatToCompile
from ray.rllib.env.env_context import EnvContext

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.encoder import ObservationSpec
from rllib_lsp.core.models import check_fit, resolve_reward_fn
from rllib_lsp.core.settings import GROUPS, Settings
from rllib_lsp.lsp.env_building import build_env
from rllib_lsp.lsp.spaces import action_spec, observation_spec
from rllib_lsp.lsp.transfer import check_options

if TYPE_CHECKING:
    from rllib_lsp.lsp.config import LSPConfig
    from rllib_lsp.lsp.replay_config import ReplayConfig

S = TypeVar("S")
Fits = Callable[[ObservationSpec, ActionSpec, S], None]
"""Raises ValueError where settings do not fit the sizes of an environment's spaces."""

_REPLAYED = "an update replays batch_size windows; see training_ratio for how often"
IGNORED = {
    "train_batch_size": _REPLAYED,
    "train_batch_size_per_learner": _REPLAYED,
    "minibatch_size": _REPLAYED,
    "num_epochs": _REPLAYED,
    "shuffle_batch_per_epoch": _REPLAYED,
    "grad_clip_by": "gradients are clipped to a norm, grad_clip, in each parameter group",
    "clip_rewards": "clip in a wrapper of the environment",
    "normalize_actions": "actions are always scaled from [-1, 1] to the environment's bounds",
    "num_aggregator_actors_per_learner": "an update's windows come from the replay, whole",
    "use_env_runner_state_server": "runners get new weights as they hand in what they saw",
    "_torch_grad_scaler_class": "bfloat16, see precision, needs no scaler",
    "_torch_lr_scheduler_classes": "give lr as a schedule: [[0, 1e-3], [100000, 1e-4]]",
    "model_config": "sizes of networks are options of training()",
    "observation_filter": "normalise in a wrapper of the environment, or by a connector",
}
"""Options of RLlib that this package has no use for, and what to do instead."""
PRECISIONS = ("float32", "bfloat16")
_SPECS: dict[tuple[Any, str], tuple[ObservationSpec, ActionSpec]] = {}
"""Of every environment that was built to see them."""


def validate(config: LSPConfig) -> None:
    """Check every option, and that the environment's spaces can be learned from.

    Raises ValueError for the first thing that cannot be used.
    """
    check_numbers(config, {"batch_length": 2, "offline_updates": 0}, GROUPS)
    _precision(config)
    _compilation(config)
    settings = config.settings()
    _windows(config, settings)
    resolve_reward_fn(settings.planner.reward_fn)
    _prior_has_a_teacher(config, settings)
    check_options(config.transfer_options)
    if config.env is not None and not config.in_evaluation and not config.disable_env_checking:
        check_spaces(config, settings, check_fit)


def _precision(config: LSPConfig) -> None:
    if config.precision not in PRECISIONS:
        raise ValueError(
            f"precision = {config.precision!r} is unknown: choose from {', '.join(PRECISIONS)}."
        )


def _compilation(config: LSPConfig) -> None:
    whole = TorchCompileWhatToCompile.COMPLETE_UPDATE
    if config.torch_compile_learner and config.torch_compile_learner_what_to_compile == whole:
        raise ValueError(
            f"torch_compile_learner_what_to_compile = {whole!r}: LSP compiles the step that "
            f"imagination repeats, not loops over time. Leave this option out."
        )
    if config.torch_compile_worker:
        raise ValueError(
            "torch_compile_worker = True: LSP's env runners compile nothing; batches of every "
            "size are planned for. torch_compile_learner compiles what is imagined in learning."
        )


def _prior_has_a_teacher(config: LSPConfig, settings: Settings) -> None:
    is_lesson = not config.in_evaluation and not config.transfer_options
    wants_one = settings.has_skills and settings.skills.learn_prior
    if is_lesson and wants_one and settings.planner.method == "none":
        raise ValueError(
            "planner.method = 'none' with skills.learn_prior: without plans the skill prior has "
            "nothing to learn from. Set skills.learn_prior to false for random skills, or plan "
            "while training and set planner.method in evaluation_config."
        )


def check_numbers(config: ReplayConfig, own: Mapping[str, int], groups: tuple[str, ...]) -> None:
    """The plain options of any `ReplayConfig`, and its `own` integers with their least values;
    `groups`: parameter groups that may have a learning rate. Raises ValueError."""
    at_least = {
        "batch_size": 1, "learning_starts": 0, "replay_capacity": 2,
        "rollout_fragment_length": 1, "pretrain_updates": 0, "num_envs_per_env_runner": 1,
        "max_requests_in_flight_per_env_runner": 1, "num_env_runners": 0, "num_learners": 0, **own,
    }  # fmt: skip
    for name, bound in at_least.items():
        value = getattr(config, name)
        if type(value) is not int or value < bound:
            raise ValueError(f"{name} = {value!r} has to be an integer of at least {bound}.")
    if config.seed is not None and (type(config.seed) is not int or config.seed < 0):
        raise ValueError(
            f"seed = {config.seed!r} has to be an integer of at least 0, or None for a random one."
        )
    if config.pretrain_updates and not config.learning_starts:
        raise ValueError(
            f"pretrain_updates = {config.pretrain_updates} need decisions to learn from: raise "
            f"learning_starts above 0, or leave them out."
        )
    rates = {f"learning_rates.{key}": value for key, value in config.learning_rates.items()}
    positive = {name: getattr(config, name) for name in ("training_ratio", "adam_epsilon")}
    if not isinstance(config.lr, list | tuple):  # a schedule, which RLlib checks
        positive["lr"] = config.lr
    if config.grad_clip is not None:
        positive["grad_clip"] = config.grad_clip
    for name, value in (positive | rates).items():
        if not _is_number(value) or not 0 < value < math.inf:
            hint = ", or None for no bound" if name == "grad_clip" else ""
            raise ValueError(f"{name} = {value!r} has to be a number above 0{hint}.")
    for key in config.learning_rates:
        if key not in groups:
            raise ValueError(f"learning_rates.{key} is unknown: valid are {', '.join(groups)}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _windows(config: LSPConfig, settings: Settings) -> None:
    learners = max(1, config.num_learners)
    if config.batch_size % learners:
        raise ValueError(
            f"batch_size = {config.batch_size} cannot be shared by num_learners = {learners}; make "
            f"it a multiple of {learners}."
        )
    streams = config.num_envs_per_env_runner * max(1, config.num_env_runners)
    if config.replay_capacity < 2 * streams * config.batch_length:
        raise ValueError(
            f"replay_capacity = {config.replay_capacity} is too small for windows of "
            f"batch_length = {config.batch_length} decisions from {streams} environments; it "
            f"has to be at least {2 * streams * config.batch_length}."
        )
    if settings.behaviour.starts > config.batch_size * config.batch_length:
        raise ValueError(
            f"behaviour.starts = {settings.behaviour.starts} exceeds the "
            f"{config.batch_size * config.batch_length} decisions of a batch (batch_size x "
            f"batch_length); lower it or enlarge the batch."
        )


def refuse_unsupported(config: ReplayConfig) -> None:
    """Say so where RLlib offers what is not here yet, rather than ignore it."""
    if not (config.enable_rl_module_and_learner and config.enable_env_runner_and_connector_v2):
        raise ValueError("api_stack(False, False): LSP is written for the new API stack only.")
    if not _is_number(config.gamma):
        raise ValueError(f"gamma = {config.gamma!r} has to be a number.")
    if config.framework_str != "torch":
        raise ValueError(f"framework = {config.framework_str!r}: LSP is written in torch.")
    if config.is_multi_agent:
        raise ValueError("LSP is a single-agent algorithm; remove the policies.")
    if gym.VectorizeMode(config.gym_env_vectorize_mode) != gym.VectorizeMode.SYNC:
        # Forking a process that runs Ray's threads can hang, besides.
        raise ValueError(
            f"gym_env_vectorize_mode = {config.gym_env_vectorize_mode!r}: LSP steps a runner's "
            f"environments in one process ('sync'), which costs less than messages between "
            f"processes. To use more cores, raise num_env_runners."
        )


def refuse_ignored(config: ReplayConfig) -> None:
    """Options of RLlib that would do nothing here, where they are not as RLlib has them."""
    given, usual = vars(config), vars(AlgorithmConfig())
    for name, advice in IGNORED.items():
        # Asked for by its public name, RLlib works a batch for each learner out.
        key = f"_{name}" if f"_{name}" in usual else name
        value = given[key]
        if value != usual[key]:
            raise ValueError(f"{name} = {value!r} would do nothing: {advice}.")


def check_env_runner(config: ReplayConfig) -> None:
    """Raises ValueError for a class that does not sample as replay needs it."""
    wanted = config.default_env_runner_class()
    given = config.env_runner_cls
    if not config.in_evaluation and not issubclass(given, wanted):
        raise ValueError(
            f"env_runner_cls = {given.__name__} cannot plan while it samples: derive it from "
            f"{wanted.__name__} (`{wanted.__module__}`)."
        )


def check_spaces(config: ReplayConfig, settings: S, fits: Fits[S]) -> None:
    """Whether the environment can be learned from, with these settings. Raises ValueError."""
    fits(*_specs(config), settings)


def check_evaluation(config: ReplayConfig) -> None:
    """Whether what evaluation has of its own can be used, and with the networks that are trained.

    Raises ValueError.
    """
    if config.in_evaluation:
        return
    try:
        evaluation: Any = config.get_evaluation_config_object()
        evaluation.validate()
        if config.env is None or config.disable_env_checking or evaluation.disable_env_checking:
            return
        specs, evaluated = _specs(config), _specs(evaluation)
        if specs != evaluated:
            raise ValueError(f"the agent sees and does {specs}, and in evaluation {evaluated}.")
        if evaluation.settings() == config.settings():
            return
        with torch.device("meta"):
            trained, other = config.make_agent(*specs), evaluation.make_agent(*specs)
        shapes = {name: tuple(weight.shape) for name, weight in trained.state_dict().items()}
        for name, weight in other.state_dict().items():
            if shapes.get(name) != tuple(weight.shape):
                raise ValueError(
                    f"what is trained has not the networks that evaluation asks for ({name} is "
                    f"{shapes.get(name)}, not {tuple(weight.shape)}). Options of the planner and "
                    f"of the environment may differ, sizes may not."
                )
    except ValueError as error:
        reason, _, _ = str(error).partition("\nTo suppress")  # RLlib says it below, once more
        raise ValueError(f"evaluation_config: {reason}") from error


def _specs(config: ReplayConfig) -> tuple[ObservationSpec, ActionSpec]:
    """What the agent observes and does; the environment is built once, to see it.

    Raises ValueError where the environment cannot be built or learned from.
    """
    # `validate` runs several times a trial; building an environment takes 0.1 s and more.
    given = sorted(config.env_config.items(), key=str)
    # The class itself: one made anew under its old name, as in a notebook, is another.
    key = config.env, repr((given, config._env_to_module_connector))
    if key in _SPECS:
        return _SPECS[key]
    try:
        probe = build_env(config, EnvContext(config.env_config, worker_index=0))
        spec = observation_spec(_observed(config, probe))
        action = action_spec(probe.action_space)
    except Exception as error:  # whatever an environment raises when it is made
        raise ValueError(f"Environment {config.env!r} cannot be used: {error}") from error
    probe.close()
    _SPECS[key] = spec, action
    return spec, action


def _observed(config: ReplayConfig, env: gym.Env) -> gym.Space:
    """The space of what the agent sees: past the connectors, if there are any."""
    if not config._env_to_module_connector:
        return env.observation_space
    vector = gym.vector.SyncVectorEnv([lambda: env])
    return config.build_env_to_module_connector(env=vector).observation_space
