"""What has to be right before any actor starts; each error names the value and the fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import gymnasium as gym
from ray.rllib.callbacks.callbacks import RLlibCallback

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

RUNNER_CALLBACKS = (
    "on_environment_created", "on_episode_created", "on_episode_start", "on_episode_step",
    "on_episode_end", "on_sample_end",
)  # fmt: skip

_CHECKED: set[str] = set()
"""Environments, with the settings that have to fit them."""


def validate(config: LSPConfig) -> None:
    """Check every option, and that the environment's spaces can be learned from.

    Raises ValueError for the first thing that cannot be used.
    """
    check_numbers(config, {"batch_length": 2}, GROUPS)
    settings = config.settings()
    _windows(config, settings)
    resolve_reward_fn(settings.planner.reward_fn)
    _prior_has_a_teacher(config, settings)
    check_options(config.transfer_options)
    if config.env is not None and not config.in_evaluation and not config.disable_env_checking:
        check_spaces(config, settings, check_fit)


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
        "rollout_fragment_length": 1, "pretrain_updates": 0, **own,
    }  # fmt: skip
    for name, bound in at_least.items():
        value = getattr(config, name)
        if type(value) is not int or value < bound:
            raise ValueError(f"{name} = {value!r} has to be an integer of at least {bound}.")
    rates = {f"learning_rates.{key}": value for key, value in config.learning_rates.items()}
    positive = {"training_ratio": config.training_ratio, "adam_epsilon": config.adam_epsilon}
    for name, value in (positive | rates).items():
        if not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name} = {value!r} has to be a number above 0.")
    for key in config.learning_rates:
        if key not in groups:
            raise ValueError(f"learning_rates.{key} is unknown: valid are {', '.join(groups)}.")


def _windows(config: LSPConfig, settings: Settings) -> None:
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
    if config.framework_str != "torch":
        raise ValueError(f"framework = {config.framework_str!r}: LSP is written in torch.")
    if config.num_learners > 1:
        raise ValueError(
            f"num_learners = {config.num_learners} is not supported yet; use 0 (in the main "
            f"process) or 1 (an actor of its own)."
        )
    if config.is_multi_agent:
        raise ValueError("LSP is a single-agent algorithm; remove the policies.")
    names = ("_env_to_module_connector", "_module_to_env_connector", "_learner_connector")
    if any(getattr(config, name) for name in names):
        raise ValueError(
            "Custom connectors are not supported yet: transform observations and actions "
            "in an environment wrapper instead."
        )
    if config.output:
        raise ValueError(f"output = {config.output!r}: recording is not supported yet.")
    if gym.VectorizeMode(config.gym_env_vectorize_mode) != gym.VectorizeMode.SYNC:
        # Forking a process that runs Ray's threads can hang, besides.
        raise ValueError(
            f"gym_env_vectorize_mode = {config.gym_env_vectorize_mode!r}: LSP steps a runner's "
            f"environments in one process ('sync'), which costs less than messages between "
            f"processes. To use more cores, raise num_env_runners."
        )
    classes = config.callbacks_class
    for cls in classes if isinstance(classes, list | tuple) else [classes]:
        for name in RUNNER_CALLBACKS:
            own = getattr(cls, name, None) is not getattr(RLlibCallback, name)
            if own or getattr(config, f"callbacks_{name}", None):
                raise ValueError(
                    f"The callback {name} is not supported yet: LSP's env runner keeps no "
                    f"episode objects. Those of the algorithm, such as on_train_result "
                    f"and on_evaluate_end, are."
                )


def check_spaces(config: ReplayConfig, settings: S, fits: Fits[S]) -> None:
    """Build the environment once, to see whether it can be learned from. Raises ValueError."""
    # `validate` runs several times a trial; building an environment takes 0.1 s and more.
    key = repr((config.env, sorted(config.env_config.items(), key=str), settings))
    if key in _CHECKED:
        return
    try:
        probe = build_env(config, config.env_config)
        spec = observation_spec(probe.observation_space)
        action = action_spec(probe.action_space)
    except Exception as error:  # whatever an environment raises when it is made
        raise ValueError(f"Environment {config.env!r} cannot be used: {error}") from error
    probe.close()
    fits(spec, action, settings)
    _CHECKED.add(key)
