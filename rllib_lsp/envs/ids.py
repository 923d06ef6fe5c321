"""Environment ids: which name spaces are ours, and which ids exist in them."""

from __future__ import annotations

import difflib

import gymnasium

from rllib_lsp.envs.rendering import import_simulator

DM_CONTROL = "dm_control/"
OURS = "rllib_lsp/"
NAMESPACES = (DM_CONTROL, OURS)


def ensure_known(env_id: str, render: bool = False) -> None:
    """Make ``env_id`` known to gymnasium's registry of this process, if it is one of ours.

    That registry is per process: a remote worker knows dm_control's ids only after shimmy
    was registered *there*, hence this call in front of every ``gymnasium.make``. It also
    imports the simulator, with a renderer only if ``render``.

    Raises:
        ValueError: an id of our name spaces that does not exist; names the nearest ones.
        RuntimeError: no renderer loads.
    """
    if not env_id.startswith(NAMESPACES):
        return
    import_simulator(render)
    if env_id.startswith(DM_CONTROL):
        _register_shimmy()
    if env_id not in gymnasium.registry:
        raise ValueError(f"unknown environment {env_id!r}; the nearest ids are {_nearest(env_id)}")


def _register_shimmy() -> None:
    import shimmy

    if f"{DM_CONTROL}cartpole-swingup-v0" not in gymnasium.registry:
        gymnasium.register_envs(shimmy)


def _nearest(env_id: str) -> str:
    space = env_id.partition("/")[0] + "/"
    known = sorted(name for name in gymnasium.registry if name.startswith(space))
    return ", ".join(difflib.get_close_matches(env_id, known, n=3) or known[:3])
