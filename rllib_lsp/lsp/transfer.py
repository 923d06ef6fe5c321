"""Transfer within RLlib: its options, and the weights and replay of the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.rllib.core import DEFAULT_MODULE_ID

from rllib_lsp.core import transfer as core
from rllib_lsp.core.models import COMPONENTS
from rllib_lsp.core.presets import nearest
from rllib_lsp.core.saved_agent import read_agent

if TYPE_CHECKING:
    from rllib_lsp.lsp.algorithm import LSP

REPLAY = "replay"
"""May be kept as if it were a component; usually a new task begins with an empty one."""


def check_options(options: Mapping[str, Any]) -> None:
    """Raises ValueError, naming the option, for what cannot be used."""
    choices = {
        "keep": (*COMPONENTS, REPLAY), "reset": (*COMPONENTS, REPLAY), "freeze": tuple(COMPONENTS),
    }  # fmt: skip
    for option, known in choices.items():
        for name in options.get(option, ()):
            if name not in known:
                hint = nearest(str(name), list(known))
                raise ValueError(f"transfer.{option} names {name!r}: {hint}")
    both = set(options.get("keep", ())) & set(options.get("reset", ()))
    if both:
        raise ValueError(f"transfer.keep and transfer.reset both name {', '.join(sorted(both))}.")
    checkpoint = options.get("checkpoint")
    if options and not checkpoint:
        raise ValueError(
            "transfer.checkpoint is missing: name the checkpoint directory of the agent to begin "
            "with, for example ~/ray_results/<experiment>/<trial>/checkpoint_000003."
        )
    if checkpoint and not Path(str(checkpoint)).expanduser().exists():
        raise ValueError(f"transfer.checkpoint = {str(checkpoint)!r} does not exist.")


def begin_with(algorithm: LSP, options: Mapping[str, Any]) -> str:
    """Give an algorithm that has just been built what `options` say; a table for the reader."""
    keep = [name for name in options.get("keep", ()) if name != REPLAY]
    source = read_agent(options["checkpoint"])

    def load(learner: Any) -> list[core.Row]:
        agent = learner.module[DEFAULT_MODULE_ID].unwrapped().agent
        return core.transfer(agent, source, keep, options.get("reset", ()))

    results = [result.get() for result in algorithm.learner_group.foreach_learner(load)]
    for result in results:
        # RLlib hands over what an actor raised as a value.
        if isinstance(result, Exception):
            raise result
    if REPLAY in options.get("keep", ()):
        algorithm.replay.load(_replay_directory(Path(options["checkpoint"]).expanduser()))
    algorithm.env_runner_group.sync_weights(
        from_worker_or_learner_group=algorithm.learner_group, inference_only=True
    )
    return core.table(results[0], options.get("freeze", ()))


def _replay_directory(checkpoint: Path) -> Path:
    found = sorted(checkpoint.rglob("replay.json")) if checkpoint.is_dir() else []
    if len(found) != 1:
        raise ValueError(
            f"transfer.keep = 'replay': {len(found)} replays lie in {checkpoint}; it has to be a "
            f"checkpoint that was written with store_replay_in_checkpoints."
        )
    return found[0].parent
