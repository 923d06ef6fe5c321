"""How RLlib learns of an environment id."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium

from rllib_lsp.envs.build import make_env
from rllib_lsp.envs.ids import NAMESPACES, ensure_known


def register(env_id: str) -> None:
    """Let RLlib build ``env_id`` on every node: registers a creator with ``ray.tune``.

    Idempotent. Ids outside ``dm_control/`` and ``rllib_lsp/`` are left to RLlib.

    Raises:
        ValueError: an id of our name spaces that does not exist; names the nearest ones.
    """
    if not env_id.startswith(NAMESPACES):
        return
    ensure_known(env_id)
    from ray.tune import register_env

    register_env(env_id, partial(create, env_id))


def create(env_id: str, env_context: Mapping[str, Any]) -> gymnasium.Env:
    """RLlib's creator: ``env_config`` holds the keyword arguments of ``make_env``."""
    return make_env(env_id, **env_context)
