"""Where a runner stands in its episodes, so that a restored run goes on as if never stopped."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX, named

if TYPE_CHECKING:
    from rllib_lsp.lsp.env_runner import LSPEnvRunner

logger = logging.getLogger(__name__)

KEPT = ("_carry", "_arrival", "_returns", "_lengths", "_fragments", "_needs_initial_reset")


def capture(runner: LSPEnvRunner) -> dict[str, Any]:
    """Everything that decides what the runner does next, but for its weights."""
    generators = {
        "generator": runner._generator.get_state(),
        "random": runner._random.bit_generator.state,
    }
    # Episode objects that a user's hooks have seen, and may have changed, cannot be made again.
    if runner._hooks or not hasattr(runner, "_arrival"):
        return generators
    return {
        **generators,
        "runner": copy.deepcopy({name: getattr(runner, name) for name in KEPT}),
        "environments": [env.progress() for env in runner.env.envs],
    }


def resume(runner: LSPEnvRunner, state: dict[str, Any]) -> None:
    """Put a runner where `capture` was called.

    Where that cannot be, because the environments are others or do not repeat themselves, the
    episodes in progress are given up with a warning, and new ones begin.
    """
    runner._generator.set_state(state["generator"])
    runner._random.bit_generator.state = state["random"]
    runner._needs_initial_reset = True
    if runner._hooks or "runner" not in state:
        return
    runner._reset(explore=True)
    runner._needs_initial_reset = True
    try:
        _resume_environments(runner, state)
    except Exception as error:  # whatever an environment raises
        logger.warning("Episodes in progress are given up, new ones begin: %s", error)
        return
    for name, value in copy.deepcopy(state["runner"]).items():
        setattr(runner, name, value)


def _resume_environments(runner: LSPEnvRunner, state: dict[str, Any]) -> None:
    arrival, environments = state["runner"]["_arrival"], state["environments"]
    if len(environments) != runner.num_envs:
        raise RuntimeError(f"there were {len(environments)} environments, now {runner.num_envs}")
    ended = arrival["terminated"] | arrival["truncated"]
    for index, (env, progress) in enumerate(zip(runner.env.envs, environments, strict=True)):
        observation = env.resume(progress, bool(ended[index]))
        for key, value in named(observation).items():
            expected = arrival[f"{OBSERVATION_PREFIX}{key}"][index]
            if not np.array_equal(np.asarray(value, expected.dtype), expected):
                raise RuntimeError(f"environment {index} does not repeat itself")
