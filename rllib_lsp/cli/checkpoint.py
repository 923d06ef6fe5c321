"""Which checkpoint a path means, and the config that it was made with."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rllib_lsp.cli.messages import InputError, first_paragraph
from rllib_lsp.cli.options import on_disk

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

_METADATA = "rllib_checkpoint.json"
_ORIGIN = "class_and_ctor_args.pkl"
_MODULE = "learner_group/learner/rl_module"
_OLD_STACK = "policies"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk and the config of its algorithm, frozen."""

    path: Path
    config: AlgorithmConfig

    @property
    def module(self) -> Path:
        """The directory of the agent's RLModule."""
        return self.path / _MODULE / "default_policy"


def open_checkpoint(given: Path) -> Checkpoint:
    """The checkpoint at a path, or the last one of the only trial below it.

    Raises:
        InputError: there is none, there are several trials, or it cannot be read here.
    """
    path = find_checkpoint(on_disk(given))
    if (path / _OLD_STACK).is_dir():
        raise InputError(
            f"{path}: is a checkpoint of RLlib's old API stack, which Ray 2.60 does not restore. "
            "Train again, or evaluate it with the Ray that wrote it."
        )
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    try:
        with open(path / _ORIGIN, "rb") as stream:
            (state, *_), _ = pickle.load(stream)["ctor_args_and_kwargs"]
        config = AlgorithmConfig.from_state(state)
    except Exception as error:  # whatever the import of an algorithm's module raises
        raise InputError(
            f"{path}: its algorithm cannot be loaded: {type(error).__name__}: "
            f"{first_paragraph(error)} Install what it was trained with, or make it importable "
            "(PYTHONPATH)."
        ) from error
    if config.is_multi_agent:
        raise InputError(
            f"{path}: holds several agents, which `rllib evaluate` cannot play yet. Use "
            "`Algorithm.from_checkpoint(path).evaluate()` in Python."
        )
    config.freeze()
    return Checkpoint(path, config)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint at a path, or the last one of the only trial below it that has any.

    Raises:
        InputError: there is none, or there are several trials.
    """
    if _is_checkpoint(path):
        return path
    if not path.is_dir():
        raise InputError(
            f"{path}: there is no such directory. Give a `checkpoint_00000N`, or the directory of "
            "its trial or experiment."
        )
    last = [found[-1] for trial in (path, *_directories(path)) if (found := _checkpoints(trial))]
    if not last:
        raise InputError(
            f"{path}: holds no checkpoint. They are written at the end of training, and every N "
            "iterations with `--checkpoint-freq N`."
        )
    if len(last) > 1:
        names = ", ".join(str(found.relative_to(path)) for found in last)
        raise InputError(f"{path}: holds {len(last)} trials; name the checkpoint of one: {names}.")
    return last[0]


def _checkpoints(trial: Path) -> list[Path]:
    return [path for path in _directories(trial) if _is_checkpoint(path)]


def _directories(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir())


def _is_checkpoint(path: Path) -> bool:
    """False also where a kill has cut off Tune's copy of it, file by file in any order."""
    whole = (path / _ORIGIN).is_file() and (path / _MODULE).is_dir()
    return (path / _METADATA).is_file() and (whole or (path / _OLD_STACK).is_dir())
