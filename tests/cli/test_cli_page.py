"""What docs/cli.md shows is taken by the command, and its options exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from rllib_lsp.cli.app import app
from rllib_lsp.cli.classic import REFUSED
from rllib_lsp.cli.scheduler import NAMES

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()


def options(command):
    """The names of all options of a command and of those below it."""
    names = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    return names.union(*map(options, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize(("language", "name"), [("yaml", "shown.yaml"), ("python", "shown.py")])
def test_files_are_taken_as_they_are_written(rllib, tmp_path, language, name):
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / name).write_text(block)
    result = rllib("train", "file", tmp_path / name, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "PPO on CartPole-v1" in result.stdout


def test_options_and_schedulers_that_are_named_exist():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    known = options(typer.main.get_command(app)) | {"--help"}
    assert named - known == set(REFUSED) - {"-vv"}
    assert all(f"`{name}`" in PAGE for name in NAMES)
