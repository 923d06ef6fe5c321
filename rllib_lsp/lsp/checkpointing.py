"""Checkpoints that are whole or not there; the replay in them is array files, not a pickle."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.fs
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.checkpoints import Checkpointable

from rllib_lsp.replay import SequenceReplay

METADATA = Algorithm.METADATA_FILE_NAME
REPLAY = "replay"
"""Not in every checkpoint (`store_replay_in_checkpoints`). A transfer may keep it, as if it were a
component; usually a new task begins with an empty one."""


class ReplayCheckpoint(Checkpointable):
    """Saves and restores a `SequenceReplay` through any pyarrow file system."""

    def __init__(self, replay: SequenceReplay) -> None:
        self.replay = replay

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Only a summary: the rows go to files, see `save_to_path`."""
        return {"rows": len(self.replay)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Nothing: the summary restores nothing."""

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        return (self.replay.capacity,), {}

    def save_to_path(
        self,
        path: str | pathlib.Path | None = None,
        *,
        state: Any = None,
        filesystem: pyarrow.fs.FileSystem | None = None,
        use_msgpack: bool = False,
    ) -> str:
        target = str(path)
        if _is_local(filesystem):
            self.replay.save(pathlib.Path(target))
            return target
        with tempfile.TemporaryDirectory() as directory:
            self.replay.save(pathlib.Path(directory))
            pyarrow.fs.copy_files(directory, target, destination_filesystem=filesystem)
        return target

    def restore_from_path(
        self,
        path: str | pathlib.Path,
        *,
        component: str | None = None,
        filesystem: pyarrow.fs.FileSystem | None = None,
        **kwargs: Any,
    ) -> None:
        if _is_local(filesystem):
            self.replay.load(pathlib.Path(path))
            return
        with tempfile.TemporaryDirectory() as directory:
            pyarrow.fs.copy_files(str(path), directory, source_filesystem=filesystem)
            self.replay.load(pathlib.Path(directory))


@contextmanager
def whole_or_nothing(
    path: str | pathlib.Path | None, filesystem: pyarrow.fs.FileSystem | None
) -> Iterator[str | None]:
    """Where to write a checkpoint that shall appear at `path` only when it is complete.

    An older checkpoint at `path` stays until then. Where other things lie beside it they stay for
    good, and the older one is taken apart before the new one is put there. Elsewhere than on a
    local disk it is written in place.
    """
    if path is None or "://" in str(path) or not _is_local(filesystem):
        yield None if path is None else str(path)
        return
    target = pathlib.Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.partial-*"):
        shutil.rmtree(left, ignore_errors=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    previous = target.with_name(f".{target.name}.previous")
    if previous.is_dir() and not target.exists():
        # Killed between the two renames below.
        previous.rename(target)
    try:
        yield str(partial)
        here = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
        new = {entry.name for entry in partial.iterdir()}
        stale = {REPLAY} & here - new if METADATA in here else set()
        if here - new - stale:
            # First goes, and last comes what makes a checkpoint of it: of two halves it is none.
            (target / METADATA).unlink(missing_ok=True)
            for name in stale:
                shutil.rmtree(target / name)
            for name in sorted(new, key=lambda name: name == METADATA):
                _replace(target / name, partial / name)
        elif here:
            shutil.rmtree(previous, ignore_errors=True)
            target.rename(previous)
            try:
                partial.rename(target)
            except OSError:
                previous.rename(target)
                raise
            shutil.rmtree(previous)
        else:
            # Onto an empty directory this is one step.
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(old: pathlib.Path, new: pathlib.Path) -> None:
    """Put a file or directory where another may be."""
    if old.is_dir():
        shutil.rmtree(old)
    new.replace(old)


def size_of(path: str, filesystem: pyarrow.fs.FileSystem | None) -> int:
    """Bytes of all files below `path`."""
    if filesystem is None:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(path)
    selector = pyarrow.fs.FileSelector(path, recursive=True)
    return sum(file.size or 0 for file in filesystem.get_file_info(selector))


def _is_local(filesystem: pyarrow.fs.FileSystem | None) -> bool:
    return filesystem is None or isinstance(filesystem, pyarrow.fs.LocalFileSystem)
