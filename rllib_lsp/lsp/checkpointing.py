"""The replay as a component of RLlib's checkpoints, written as array files, not as a pickle."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import pyarrow.fs
from ray.rllib.utils.checkpoints import Checkpointable

from rllib_lsp.replay import SequenceReplay


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


def _is_local(filesystem: pyarrow.fs.FileSystem | None) -> bool:
    return filesystem is None or isinstance(filesystem, pyarrow.fs.LocalFileSystem)
