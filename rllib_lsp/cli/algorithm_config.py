"""Strict config keys and values, which RLlib itself takes silently.

``AlgorithmConfig.update_from_dict`` sets whatever it is given: a misspelt option becomes a
new attribute without effect.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli.document import Document, KeyPath
from rllib_lsp.cli.messages import InputError, did_you_mean, first_paragraph, warn
from rllib_lsp.cli.search_space import alternatives, samples

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

# Names that the new API stack refuses, or takes and ignores.
OLD_NAMES = {
    "num_workers": "num_env_runners",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "num_learner_workers": "num_learners",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "num_gpus": "num_gpus_per_learner",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "recreate_failed_workers": "restart_failed_env_runners",
    "sgd_minibatch_size": "minibatch_size",
    "num_sgd_iter": "num_epochs",
    "model": "model_config",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "target_update_frequency": "target_network_update_freq",
    "timesteps_per_iteration": "min_sample_timesteps_per_iteration",
    "min_sample_timesteps_per_reporting": "min_sample_timesteps_per_iteration",
    "min_train_timesteps_per_reporting": "min_train_timesteps_per_iteration",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "min_iter_time_s": "min_time_s_per_iteration",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "collect_metrics_timeout": "metrics_episode_collection_timeout_s",
    "evaluation_num_episodes": "evaluation_duration",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "max_requests_in_flight_per_sampler_worker": "max_requests_in_flight_per_env_runner",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
}
# Options that it ignores and that have no other name.
GONE = {
    "vf_share_layers": " Write `model_config: {vf_share_layers: true}`.",
    "observation_filter": " Normalise in a wrapper of the environment, or in a Python file with "
    "the connector MeanStdFilter.",
}
# Keys that `update_from_dict` itself translates to attributes.
TRANSLATED = (
    "callbacks",
    "create_env_on_driver",
    "custom_eval_function",
    "framework",
    "input",
    "lambda",
    "multiagent",
    "num_cpus_for_driver",
)


def translate_old_names(
    document: Document, path: KeyPath, config: dict[str, Any], default: AlgorithmConfig
) -> dict[str, Any]:
    """The config under today's names; each old one costs a line of warning.

    Raises:
        InputError: an option is given under its old and its new name.
    """
    valid, renamed = valid_keys(default), {}
    for key, value in config.items():
        new = OLD_NAMES.get(key, key)
        if new != key and new in valid:
            where = document.where(*path, key)
            if new in config:
                raise InputError(f"{where}: `{key}` is the old name of `{new}`: give only one.")
            warn(f"{where}: config key `{key}` is now `{new}`.")
            document.places[(*path, new)] = where
        renamed[_settable(default, new if new in valid else key)] = value
    return renamed


def check_config(
    document: Document, path: KeyPath, config: dict[str, Any], default: AlgorithmConfig
) -> None:
    """Checks every key, the type of plain values, and what the config's own ``validate`` says.

    Raises:
        InputError: with place, reason and fix.
    """
    valid = valid_keys(default)
    for key, value in config.items():
        where = document.where(*path, key)
        if key not in valid:
            raise InputError(
                f"{where}: `{key}: {value}`: {_algorithm_name(default)} has no config key "
                f"`{key}`.{GONE.get(key) or did_you_mean(str(key), valid)}"
            )
        for alternative in alternatives(value):
            attribute = "lambda_" if key == "lambda" else key
            _check_type(where, key, alternative, getattr(default, attribute, None))
    for literal in samples(config):
        _build(document, path, literal, default)


def describe(config: dict[str, Any], default: AlgorithmConfig) -> str:
    """All options as they are resolved, if the algorithm's config can say so; else nothing."""
    if not hasattr(default, "describe"):
        return ""
    first = default.copy(copy_frozen=False)
    first.update_from_dict(copy.deepcopy(next(iter(samples(config)))))
    return first.describe()


def valid_keys(default: AlgorithmConfig) -> set[str]:
    """Attributes and working properties of the config, and the keys RLlib translates."""
    kind = type(default)
    properties = {
        name
        for name in dir(kind)
        if isinstance(getattr(kind, name), property) and _is_alive(default, name)
    }
    translated = {*TRANSLATED, *getattr(kind, "TRANSLATED_KEYS", ())}
    own = {*vars(default), *properties, *translated}
    # An algorithm may have an option by a name that is old elsewhere.
    old = {name for name, new in OLD_NAMES.items() if new in own}
    return own - {"_is_frozen", "algo_class", *GONE, *old, *_placeholders(default)}


def _placeholders(default: AlgorithmConfig) -> set[str]:
    """Attributes of RLlib's own that only stand for an option that is no more."""
    from ray._common.deprecation import DEPRECATED_VALUE
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    base = vars(AlgorithmConfig())
    return {
        name
        for name, value in vars(default).items()
        if name in base
        and all(type(v) is int and v == DEPRECATED_VALUE for v in (value, base[name]))
    }


def _is_alive(default: AlgorithmConfig, name: str) -> bool:
    try:  # a property of a removed option raises
        getattr(default, name)
    except ValueError:
        return False
    except Exception:  # a real one may need a finished config
        return True
    return True


def _settable(default: AlgorithmConfig, key: str) -> str:
    """``model_config`` is a read-only property in RLlib; its value lives in ``_model_config``."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    own_update = type(default).update_from_dict is not AlgorithmConfig.update_from_dict
    return "_model_config" if key == "model_config" and not own_update else key


def _check_type(where: str, key: str, value: Any, default: Any) -> None:
    no_flag = isinstance(default, bool) and not isinstance(value, bool | None)
    no_number = type(default) in (int, float) and not _may_be_number(value)
    if no_flag or no_number:
        wanted = "true or false" if no_flag else "a number"
        quoted = " without quotes" if isinstance(value, str) else ""
        raise InputError(
            f"{where}: `{key}: {value!r}` wants {wanted}{quoted}, e.g. "
            f"`{key}: {str(default).lower()}`."
        )


def _may_be_number(value: Any) -> bool:
    """True for a number, a schedule ``[[step, value], ...]``, ``auto``, and null."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(point, list) for point in value)
    return value is None or value in ("auto", "inf") or type(value) in (int, float)


def _build(
    document: Document, path: KeyPath, literal: dict[str, Any], default: AlgorithmConfig
) -> None:
    config = default.copy(copy_frozen=False)
    try:
        # A copy, because `update_from_dict` replaces class paths in place by classes.
        config.update_from_dict(copy.deepcopy(literal))
        config.validate()
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        where = document.where(*path, *_mentioned(str(error), literal))
        reason = first_paragraph(error).split(" To suppress all validation errors")[0]
        raise InputError(
            f"{where}: {_algorithm_name(default)} refuses this config: {reason}"
        ) from error


def _mentioned(message: str, literal: dict[str, Any]) -> KeyPath:
    """The path of the deepest key of the config that an error message quotes."""
    found: KeyPath = ()
    stack: list[KeyPath] = [(key,) for key in literal]
    while stack:
        path = stack.pop()
        value: Any = literal
        for key in path:
            value = value[key]
        quoted = any(f"{mark}{path[-1]}{mark}" in message for mark in "`'\"")
        named = message.startswith(f"{path[-1]} ")
        dotted = len(path) > 1 and ".".join(map(str, path)) in message
        if (quoted or named or dotted) and len(path) > len(found):
            found = path
        if isinstance(value, dict):
            stack += [(*path, key) for key in value]
    return found


def _algorithm_name(default: AlgorithmConfig) -> str:
    return default.algo_class.__name__ if default.algo_class else type(default).__name__
