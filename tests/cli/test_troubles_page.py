"""Messages that docs/troubleshooting.md shows are those that users get."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rllib_lsp import load_agent
from rllib_lsp.core.saved_agent import CheckpointError
from rllib_lsp.envs import wrap
from rllib_lsp.envs.checks import NotFiniteError
from rllib_lsp.envs.rendering import _HELP

PAGE = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text()
SHOWN = [block.strip() for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)]
COMMANDS = [block.removeprefix("$ rllib ").split("\n") for block in SHOWN if block[0] == "$"]


@pytest.mark.parametrize(("command", "output"), COMMANDS)
def test_the_command_says_what_the_page_says(rllib, command, output):
    # Refused before anything starts, so that the same is said without training.
    dry = ["--dry-run"] if command.startswith("train") else []
    result = rllib(*command.split(), *dry)
    assert result.exit_code == 2
    assert result.stderr == f"{output}\n"


class Broken(gym.Env):
    observation_space = gym.spaces.Dict({"position": gym.spaces.Box(-1, 1, (2,), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return {"position": np.zeros(2, np.float32)}, {}

    def step(self, action):
        return {"position": np.array([0.1, np.nan], np.float32)}, 0.0, False, False, {}


def test_errors_of_programs_say_what_the_page_says():
    env = wrap(Broken(), flatten=False)
    env.reset()
    with pytest.raises(NotFiniteError) as nan:
        env.step(np.zeros(1, np.float32))
    with pytest.raises(CheckpointError) as lost:
        load_agent("my_results")
    for error in (nan, lost):
        assert f"{error.type.__name__}: {error.value}" in SHOWN
    assert f"RuntimeError: {_HELP.format(choice='osmesa')}" in SHOWN
