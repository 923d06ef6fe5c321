"""Paths as users write them, in a trial of Ray Tune too."""

from __future__ import annotations

import os
from pathlib import Path


def local_path(text: str) -> Path:
    """A relative path is one of the directory that Tune was started in, not of the trial's."""
    return Path(os.environ.get("TUNE_ORIG_WORKING_DIR", "")) / Path(text).expanduser()
