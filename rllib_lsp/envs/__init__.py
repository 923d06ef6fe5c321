"""Environments: dm_control through shimmy, this package's own tasks, and their wrappers.

Nothing here knows Ray (``register`` alone imports ``ray.tune``, when called), and
importing this package imports no simulator: the tasks are registered by entry point.

    from rllib_lsp.envs import make_env
    env = make_env("dm_control/walker-walk-v0", action_repeat=2)
"""

from rllib_lsp.envs import tasks as _tasks  # noqa: F401  registers their ids
from rllib_lsp.envs.build import make_env, wrap
from rllib_lsp.envs.registry import register
from rllib_lsp.envs.seeding import env_seed

__all__ = ["env_seed", "make_env", "register", "wrap"]
