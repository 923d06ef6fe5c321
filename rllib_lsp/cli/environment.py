"""Checks on the driver that an environment can be built, whatever kind of name it has.

A wrong name would otherwise come back from a remote worker as an IndexError.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli.messages import InputError, did_you_mean, first_paragraph

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


def check_env(env: Any, where: str) -> None:
    """Registers or finds an environment id; a class, which only Python can give, is one itself.

    Raises:
        InputError: not a string, or neither registered, nor a class path, nor a gymnasium id.
    """
    if isinstance(env, type):
        return
    if not isinstance(env, str):
        raise InputError(
            f"{where}: `env` is {env!r}, but wants a name, e.g. `env: CartPole-v1`, "
            "`env: dm_control/walker-walk-v0` or a class path `my_package.envs.MyEnv`."
        )
    from ray.tune.registry import ENV_CREATOR, _global_registry

    from rllib_lsp.envs import register

    try:
        register(env)
    except ValueError as error:
        raise InputError(f"{where}: env `{env}`: {first_paragraph(error)}") from None
    if not (_global_registry.contains(ENV_CREATOR, env) or _register_class(env, where)):
        _check_gymnasium(env, where)


def _register_class(env: str, where: str) -> bool:
    """Registers the class that a dotted path names; False if it is no such path.

    RLlib resolves a path in the algorithm, but not in its single-agent env runners.
    """
    module, _, attribute = env.rpartition(".")
    if not module or not all(part.isidentifier() for part in env.split(".")):
        return False
    from ray.tune import register_env

    try:
        register_env(env, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"{where}: env `{env}` looks like a class path but cannot be imported: "
            f"{first_paragraph(error)}. Correct it, or make its package importable (PYTHONPATH)."
        ) from None
    return True


def _check_gymnasium(env: str, where: str) -> None:
    import gymnasium

    try:
        gymnasium.spec(env)  # also imports the module of an id such as `package:Env-v0`
    except (gymnasium.error.Error, ImportError, ValueError) as error:
        raise InputError(
            f"{where}: there is no environment called `{env}` ({first_paragraph(error)})."
            f"{did_you_mean(env, gymnasium.registry)} An environment of your own is given by its "
            "class path, `env: my_package.envs.MyEnv`."
        ) from None


def cannot_be_built(config: AlgorithmConfig, error: Exception) -> InputError:
    """What to say of whatever an environment raised when it was made."""
    return InputError(
        f"environment `{config.env}` cannot be built with env_config {dict(config.env_config)}:"
        f" {type(error).__name__}: {first_paragraph(error)}"
    )
