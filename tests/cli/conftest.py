"""What the tests of the command share: tiny experiments, and a way to run the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rllib_lsp import LSPConfig

PYTHON_FILE = """
from ray.rllib.algorithms.ppo import PPOConfig

config = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(num_env_runners=0)
    .training(train_batch_size_per_learner=100, minibatch_size=50, num_epochs=1, lr=1e-3)
)
stop = {"training_iteration": 2}
"""


@dataclass(frozen=True)
class Trained:
    """An experiment that the command has trained, and what it printed."""

    output: str
    experiment: Path

    @property
    def trial(self) -> Path:
        (trial,) = self.experiment.glob("PPO_*/")
        return trial

    @property
    def checkpoint(self) -> Path:
        return sorted(self.trial.glob("checkpoint_*"))[-1]


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


@pytest.fixture(scope="session")
def trained(ray_session, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """PPO on CartPole from a Python file, two iterations with a checkpoint each, one kept."""
    from rllib_lsp.cli.app import app

    directory = tmp_path_factory.mktemp("trained")
    file = directory / "my_ppo.py"
    file.write_text(PYTHON_FILE)
    words = ["train", "file", str(file), "--storage-path", str(directory), "--set", "lr=5e-4"]
    words += ["--seed", "3", "--checkpoint-freq", "1", "--keep-checkpoints-num", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return Trained(result.stdout, directory / "my_ppo")


@pytest.fixture(scope="session")
def lsp_checkpoint(ray_session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LSP on a task with metrics of its own and pictures, before its first update."""
    config = LSPConfig().environment("rllib_lsp/point-reach-v0", env_config={"time_limit": 4.0})
    path = tmp_path_factory.mktemp("lsp")
    config.offline_data(output=str(path.with_name("recorded")))
    algorithm = config.training(size="tiny").debugging(seed=0).build_algo()
    try:
        return Path(algorithm.save_to_path(path))
    finally:
        algorithm.stop()
