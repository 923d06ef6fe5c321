"""Real runs: PPO on CartPole, for a few iterations."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from ray.tune import register_env


def crashing_env() -> type[gymnasium.Env]:
    """A class without a module, so that Ray's workers get it by value."""

    class CrashingEnv(gymnasium.Env):
        """Raises in its 150th step."""

        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self, config: Any = None) -> None:
            self.steps = 0

        def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
            return np.zeros(2, np.float32), {}

        def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
            self.steps += 1
            if self.steps == 150:
                raise RuntimeError("the pole is broken")
            return np.zeros(2, np.float32), 1.0, self.steps % 20 == 0, False, {}

    return CrashingEnv


@pytest.mark.usefixtures("ray_session")
def test_train_then_resume_with_a_raised_stop(rllib, tiny_yaml, tmp_path):
    storage = ("--storage-path", tmp_path / "results")
    first = rllib("train", "file", tiny_yaml, *storage, "--seed", 1)
    assert first.exit_code == 0, first.output
    (trial,) = (tmp_path / "results" / "tiny").glob("PPO_*/")
    summary = json.loads((trial / "summary.json").read_text())
    assert (summary["experience"], summary["iterations"], summary["status"]) == (
        200,
        2,
        "TERMINATED",
    )
    assert summary["judged_by"] == "evaluation"
    assert summary["first_return"] > 0
    assert (trial / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert summary["checkpoint"] == str(trial / "checkpoint_000000")
    assert first.stdout.count("steps ") >= 2
    for part in (
        "return ",
        "learning_curve.png",
        "checkpoint_000000",
        "continue with: rllib train",
    ):
        assert part in first.stdout

    again = rllib("train", "file", tiny_yaml, *storage, "--seed", 1, "--resume")
    assert again.exit_code == 0
    assert "has met its stop criteria already" in again.stdout

    more = ("--resume", "--stop", "training_iteration=3", "--set", "lr=0.5")
    second = rllib("train", "file", tiny_yaml, *storage, "--seed", 1, *more)
    assert second.exit_code == 0, second.output
    assert "`lr: 0.5` does not count" in second.stderr
    assert len((trial / "result.json").read_text().splitlines()) == 3
    assert json.loads((trial / "summary.json").read_text())["experience"] == 300


@pytest.mark.usefixtures("ray_session")
def test_a_failed_trial_shows_the_cause(rllib, tiny_yaml, tmp_path):
    register_env("crashing", crashing_env())
    env = ("--env", "crashing", "--set", "evaluation_interval=0")
    result = rllib("train", "file", tiny_yaml, "--storage-path", tmp_path, *env)
    assert result.exit_code == 1
    assert "the pole is broken" in result.stderr
    assert "error.txt" in result.stderr


@pytest.mark.usefixtures("ray_session")
def test_too_few_cpus_are_an_error_instead_of_a_long_wait(rllib, tiny_yaml, tmp_path):
    many = ("--set", "num_env_runners=500", "--storage-path", tmp_path)
    result = rllib("train", "file", tiny_yaml, *many)
    assert result.exit_code == 2
    assert "a trial needs 501 CPU" in result.stderr


def test_nothing_to_resume(rllib, tiny_yaml, tmp_path, ray_session):
    result = rllib("train", "file", tiny_yaml, "--storage-path", tmp_path, "--resume")
    assert result.exit_code == 2
    assert "no experiment to resume" in result.stderr
    assert "--storage-path" in result.stderr


def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path):
    command = "import sys; sys.argv[0] = 'rllib'; from rllib_lsp.cli import main; main()"
    inline = '{"num_env_runners": 0, "train_batch_size_per_learner": 100, "minibatch_size": 50}'
    arguments = ["train", "--run", "PPO", "--env", "CartPole-v1", "--config", inline]
    arguments += ["--stop", '{"training_iteration": 100000}', "--ray-num-cpus", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments, "--storage-path", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "ETA" in line and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            break
    lines += process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 130, lines
    assert any("checkpoint_000000" in line for line in lines)
    assert lines[-1].startswith("continue with: rllib train --run PPO")
    assert lines[-1].endswith("--resume")
