"""Transfer within RLlib: its options, and the weights and replay of the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_lsp.core import transfer as core
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.models import COMPONENTS
from rllib_lsp.core.presets import nearest
from rllib_lsp.core.saved_agent import find_agent, read_agent
from rllib_lsp.lsp.asking import ask_agents
from rllib_lsp.lsp.checkpointing import REPLAY
from rllib_lsp.lsp.paths import local_path

if TYPE_CHECKING:
    from rllib_lsp.lsp.algorithm import LSP

IS_DONE = "is_done"
"""Marks the options of an agent that has begun already."""


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
    if options and not options.get("checkpoint"):
        raise ValueError(
            "transfer.checkpoint is missing: name the checkpoint directory of the agent to begin "
            "with, for example ~/ray_results/<experiment>/<trial>/checkpoint_000003."
        )
    # A checkpoint of the agent itself holds what was taken over; see `LSP.setup`.
    if options and not options.get(IS_DONE):
        try:
            find_agent(source_path(options))
        except ValueError as error:
            raise ValueError(f"transfer.checkpoint: {error}") from error


def source_path(options: Mapping[str, Any]) -> Path:
    """Where the source lies."""
    return local_path(str(options["checkpoint"]))


def begin_with(algorithm: LSP, options: Mapping[str, Any]) -> str:
    """Give an algorithm that has just been built what `options` say; a table for the reader."""
    keep = [name for name in options.get("keep", ()) if name != REPLAY]
    source = read_agent(source_path(options))

    reset, frozen = options.get("reset", ()), algorithm.config.frozen

    def load(agent: Agent) -> list[core.Row]:
        return core.transfer(agent, source, keep, reset, frozen)

    results = ask_agents(algorithm.learner_group, load)
    if REPLAY in options.get("keep", ()):
        # Runs that begin with the same replay differ by their seeds all the same.
        algorithm.replay.load(_replay_directory(source_path(options)), draws=False)
        fit_plans(algorithm)
    algorithm.env_runner_group.sync_weights(
        from_worker_or_learner_group=algorithm.learner_group, inference_only=True
    )
    return core.table(results[0], frozen)


def fit_plans(algorithm: LSP) -> None:
    """Let the plans in the replay be as many skills as are planned now; those that were not
    planned are N(0, I). Raises ValueError if skills have other dimensions."""
    settings, shapes = algorithm.config.settings(), algorithm.replay.row_shapes
    if not shapes:
        return
    width = shapes["action"][0] if settings.plans_actions else settings.skills.dim
    entries, found = settings.planner.skills, shapes["plan_mean"]
    if found[1] != width:
        raise ValueError(
            f"The skills in the replay have {found[1]} dimensions, those of this configuration "
            f"{width}: set skills.dim to the same, or leave the replay."
        )
    if found[0] != entries:
        algorithm.replay.resize("plan_mean", entries, 0.0)
        algorithm.replay.resize("plan_std", entries, 1.0)


def _replay_directory(checkpoint: Path) -> Path:
    found = sorted(checkpoint.rglob("replay.json")) if checkpoint.is_dir() else []
    if len(found) != 1:
        raise ValueError(
            f"transfer.keep = 'replay': {len(found)} replays lie in {checkpoint}; it has to be a "
            f"checkpoint that was written with store_replay_in_checkpoints."
        )
    return found[0].parent
