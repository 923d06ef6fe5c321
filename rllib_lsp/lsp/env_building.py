"""One environment from a config, the same way on the driver (to check it) and on every runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from ray.tune.registry import ENV_CREATOR, _global_registry

from rllib_lsp.envs import make_env, wrap
from rllib_lsp.envs.checks import Checked

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


def build_env(config: AlgorithmConfig, env_context: Mapping[str, Any]) -> gym.Env:
    """An environment with float32 observations and actions in [-1, 1].

    `config.env` may be an id registered with Ray Tune, a gymnasium or dm_control id (for
    which `env_config` takes the options of `make_env`, such as `action_repeat`), or a class.
    """
    env = config.env
    if isinstance(env, str) and _global_registry.contains(ENV_CREATOR, env):
        built = _global_registry.get(ENV_CREATOR, env)(env_context)
    elif isinstance(env, str):
        built = make_env(env, **env_context)
    else:
        built = env(env_context)
    return built if isinstance(built, Checked) else wrap(built, flatten=False)
