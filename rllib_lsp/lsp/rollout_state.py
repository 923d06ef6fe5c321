"""Where a runner stands in its episodes, so that a restored run goes on as if never stopped."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_lsp.lsp.env_runner import LSPEnvRunner
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX, named

if TYPE_CHECKING:
    from ray.rllib.env.env_runner import EnvRunner
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

logger = logging.getLogger(__name__)

KEPT = ("_carry", "_arrival", "_returns", "_lengths", "_fragments", "_needs_initial_reset")


def capture(runner: LSPEnvRunner) -> dict[str, Any]:
    """Everything that decides what the runner does next, but for its weights."""
    generators = _generators(runner)
    # Episode objects that a user's hooks have seen, and may have changed, cannot be made again.
    if runner._hooks or not hasattr(runner, "_arrival"):
        return generators
    return {
        **generators,
        "runner": copy.deepcopy({name: getattr(runner, name) for name in KEPT}),
        "environments": [env.progress() for env in runner.env.envs],
    }


def _generators(runner: LSPEnvRunner) -> dict[str, Any]:
    return {
        "generator": runner._generator.get_state(),
        "random": runner._random.bit_generator.state,
    }


def begin_elsewhere(
    group: EnvRunnerGroup, decisions: int, workers: list[int] | None = None
) -> None:
    """Let runners, all or those remote ones, begin with episodes that a run has not had which
    goes on after so many `decisions`."""
    if not decisions:
        return

    def begin(runner: EnvRunner) -> None:
        if isinstance(runner, LSPEnvRunner):  # what evaluates may be the user's
            runner.begin_elsewhere(decisions)

    # Nobody waits: what runners are asked for later comes behind it in their queues.
    group.foreach_env_runner(
        begin,
        local_env_runner=workers is None,
        remote_worker_ids=workers,
        timeout_seconds=0.0,
    )


def capture_starts(runner: LSPEnvRunner) -> dict[str, Any]:
    """What decides how the episodes begin that come next: those in progress are given up, as
    every evaluation does that counts episodes."""
    starts = [env.starts for env in runner.env.envs] if runner._is_seeded else []
    return {**_generators(runner), "begun": runner._begun, "starts": starts}


def resume_starts(runner: LSPEnvRunner, state: dict[str, Any]) -> None:
    """Let the runner begin with the episodes that come after those of `capture_starts`."""
    runner._begun = state["begun"] - 1
    runner._choose_seed()
    _set_generators(runner, state)
    if len(state["starts"]) == runner.num_envs:
        runner._is_seeded = True
        for env, starts in zip(runner.env.envs, state["starts"], strict=True):
            env.starts = starts


def _set_generators(runner: LSPEnvRunner, state: dict[str, Any]) -> None:
    runner._generator.set_state(state["generator"])
    runner._random.bit_generator.state = state["random"]


def resume(runner: LSPEnvRunner, state: dict[str, Any]) -> None:
    """Put a runner where `capture` was called.

    Where that cannot be, because the environments are others or do not repeat themselves, the
    episodes in progress are given up with a warning, and new ones begin.
    """
    _set_generators(runner, state)
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
    fresh = runner._agent.initial_carry(runner.num_envs)
    if any(fresh[key].shape != kept.shape for key, kept in state["runner"]["_carry"].items()):
        raise RuntimeError("other skills were planned than are now")
    ended = arrival["terminated"] | arrival["truncated"]
    for index, (env, progress) in enumerate(zip(runner.env.envs, environments, strict=True)):
        observation = env.resume(progress, bool(ended[index]))
        for key, value in named(observation).items():
            expected = arrival[f"{OBSERVATION_PREFIX}{key}"][index]
            if not np.array_equal(np.asarray(value, expected.dtype), expected):
                raise RuntimeError(f"environment {index} does not repeat itself")
