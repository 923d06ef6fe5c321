"""Pictures of episodes as a film: .mp4 through ffmpeg, .gif without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_lsp.cli.messages import InputError

SUFFIXES = (".mp4", ".gif")
_DEFAULT_FPS = 30


class Film:
    """A file that grows by a picture at a time. Use as a context manager.

    Raises:
        InputError: another suffix than those above, no ffmpeg, or no place to write to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fps = _DEFAULT_FPS
        self.frames = 0
        self._writer: Any = None
        if path.suffix not in SUFFIXES:
            raise InputError(f"--video {path}: wants a name in {' or '.join(SUFFIXES)}.")
        if not path.parent.is_dir():
            raise InputError(f"--video {path}: there is no directory {path.parent}. Make it first.")
        if path.suffix == ".mp4":
            _require_ffmpeg(path)

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, picture: Any) -> None:
        """Appends a uint8 picture (height, width, 3)."""
        if self._writer is None:
            self._writer = self._open()
        self._writer.append_data(picture)
        self.frames += 1

    def _open(self) -> Any:
        import imageio

        if self.path.suffix == ".gif":
            return imageio.get_writer(self.path, duration=1000 / self.fps, loop=0)
        # H.264 wants even sides; the default of 16 would scale more pictures than needed.
        return imageio.get_writer(self.path, fps=self.fps, macro_block_size=2)


def _require_ffmpeg(path: Path) -> None:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"--video {path}: .mp4 needs ffmpeg ({error}). Install it with `pip install "
            "'rllib-lsp[video]'`, or write a .gif."
        ) from None
