"""What the tests of the command share: a tiny experiment and a way to run the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner


@pytest.fixture
def tiny_yaml(tmp_path: Path) -> Path:
    return Path(shutil.copy(Path(__file__).with_name("tiny.yaml"), tmp_path))


@pytest.fixture
def rllib(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command in this process, with the arguments it would see in ``sys.argv``."""
    from rllib_lsp.cli.app import app

    def run(*arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr("sys.argv", ["rllib", *words])
        return CliRunner().invoke(app, words)

    return run
