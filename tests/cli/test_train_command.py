"""Real runs: PPO on CartPole, for a few iterations."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from ray.tune import ExperimentAnalysis, register_env

from rllib_lsp.cli.execute import _as_text
from rllib_lsp.cli.report import report
from rllib_lsp.cli.stopping import StopControl
from rllib_lsp.cli.train import _goals_beyond, _program


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
    assert summary["met"] == ["training_iteration"]
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
        "--resume --stop training_iteration=4",
    ):
        assert part in first.stdout

    again = rllib("train", "file", tiny_yaml, *storage, "--seed", 1, "--resume")
    assert again.exit_code == 0
    assert "has met its stop criteria already" in again.stdout

    more = ("--resume", "--stop", "training_iteration=4", "--set", "lr=0.5", "--num-samples", 3)
    kept = ("--checkpoint-freq", 1, "--keep-checkpoints-num", 2)
    second = rllib("train", "file", tiny_yaml, *storage, "--seed", 1, *more, *kept)
    assert second.exit_code == 0, second.output
    assert "`lr: 0.5` does not count" in second.stderr
    assert "`num_samples: 3` does not count: the run was started with 1 trials" in second.stderr
    assert len((trial / "result.json").read_text().splitlines()) == 4
    assert json.loads((trial / "summary.json").read_text())["experience"] == 400
    # The first one, of the second iteration, had to go.
    checkpoints = sorted(path.name for path in trial.glob("checkpoint_*"))
    assert checkpoints == ["checkpoint_000001", "checkpoint_000002"]


def test_several_trials_of_one_seed_are_pointed_out(rllib, tiny_yaml):
    several = ("train", "file", tiny_yaml, "--dry-run", "--num-samples", 3)
    alike = rllib(*several, "--seed", 1)
    assert alike.exit_code == 0, alike.output
    assert "its 3 trials are alike, as `seed` is 1 in all of them" in " ".join(alike.stderr.split())
    for other in (
        (),
        ("--set", "seed={grid_search: [0, 1]}"),
        ("--seed", 1, "--set", "lr={choice: [1e-3, 1e-4]}"),
    ):
        assert "alike" not in rllib(*several, *other).stderr


@pytest.mark.parametrize(
    ("stop", "result", "options"),
    [
        # Only what was met is raised, and a negative goal is raised towards zero.
        ({"a": 10, "b/c": 5}, {"a": 3, "b": {"c": 6}}, " --stop b/c=10"),
        ({"a": -200}, {"a": -150}, " --stop a=-100"),
        ({"frames": 1234567}, {"frames": 1234568}, " --stop frames=2469134"),
        # Ended by something else, such as a time budget: the goal stays.
        ({"a": 10}, {"a": 3}, ""),
        ({"a": 10}, None, ""),
    ],
)
def test_goals_that_were_met_are_raised(stop, result, options):
    assert _goals_beyond([SimpleNamespace(last_result=result)], stop) == options


def test_a_trial_without_results_has_not_started(capsys, tmp_path):
    """Whatever status Tune gave it when it was interrupted."""
    filled_in = {"trial_id": "a", "pid": 7}
    trial = SimpleNamespace(path=str(tmp_path), last_result=filled_in, status="TERMINATED")
    assert report([trial], {})
    assert "not started" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_function_of_a_file_that_is_read_again_is_the_same():
    first, second = (lambda: None for _ in range(2))
    assert str(first) != str(second)
    assert _as_text(first) == _as_text(second)


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


INLINE = '{"num_env_runners": 0, "train_batch_size_per_learner": 100, "minibatch_size": 50}'
ENDLESS = (
    "train", "--run", "PPO", "--env", "CartPole-v1", "--config", INLINE,
    "--stop", "training_iteration=100000", "--checkpoint-freq", "1",
)  # fmt: skip


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen]:
    """The command in a process of its own."""
    command = "import sys; sys.argv[0] = 'rllib'; from rllib_lsp.cli import main; main()"
    words = [str(argument) for argument in (*arguments, "--ray-num-cpus", "1")]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *words], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, number):
    with running(*ENDLESS, "--storage-path", tmp_path) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "ETA" in line:
                process.send_signal(number)
                break
        lines += process.communicate(timeout=100)[0].splitlines()
    assert process.returncode == 130, lines
    (trial,) = (tmp_path / "PPO-CartPole-v1").glob("PPO_*/")
    kept = sorted(trial.glob("checkpoint_*"))[-1]
    assert f"  checkpoint: {kept}" in lines
    assert lines[-1].startswith("continue with: rllib train --run PPO")
    assert lines[-1].endswith("--resume")


def test_a_signal_waits_for_the_trials_that_ran_and_for_no_others():
    """Tune begins trials that wait as soon as there is room, also while others are to end."""
    told = []
    before = signal.signal(signal.SIGUSR1, lambda *_: told.append(True))
    manager = SimpleNamespace(checkpoint_manager=SimpleNamespace())
    first, second, third = (
        SimpleNamespace(trial_id=name, status=status, run_metadata=manager)
        for name, status in (("a", "RUNNING"), ("b", "RUNNING"), ("c", "PENDING"))
    )
    experiment = SimpleNamespace(stop={}, max_failures=0, checkpoint_config={}, time_budget_s=None)
    control = StopControl(experiment)
    try:
        control.interrupted = True
        control.on_step_begin(1, [first, second, third])
        first.status, third.status = "TERMINATED", "RUNNING"
        control.on_step_begin(2, [first, second, third])
        assert not told
        second.status = "TERMINATED"
        control.on_step_begin(3, [first, second, third])
        assert told
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_reader_who_leaves_stops_nothing():
    code = "from rllib_lsp.cli.progress import say; [say('line ' * 99) for _ in range(9999)]"
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    first.stdout.readline()
    first.stdout.close()
    assert first.wait(60) == 0


@pytest.mark.usefixtures("ray_session")
def test_another_algorithm_cannot_go_on_with_a_run(rllib, trained, tmp_path):
    shutil.copytree(trained.experiment, tmp_path / trained.experiment.name)
    named = ("--experiment-name", trained.experiment.name, "--storage-path", tmp_path, "--resume")
    result = rllib("train", "--run", "APPO", "--env", "CartPole-v1", *named)
    assert result.exit_code == 2
    assert "was started with `run: PPO`" in result.stderr


@pytest.mark.parametrize(
    "given", [("--set", "env=CartPole-v1"), ("--config", "{env: CartPole-v1}")]
)
def test_an_experiment_is_named_after_its_environment(rllib, given):
    assert "/PPO-CartPole-v1" in rllib("train", "--run", "PPO", *given, "--dry-run").stdout


@pytest.mark.parametrize("found", [True, False])
def test_what_continues_a_run_can_be_typed(monkeypatch, tmp_path, found):
    """After `make demo` no shell knows `rllib`, which lies in .venv."""
    program = tmp_path / "rllib"
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program), "train"])
    monkeypatch.setenv("PATH", str(tmp_path if found else tmp_path / "nothing"))
    assert _program() == ("rllib" if found else str(program))


def noted_checkpoint(experiment: Path) -> bool:
    try:
        return any(trial.checkpoint for trial in ExperimentAnalysis(experiment).trials)
    except ValueError:  # nothing is there yet
        return False


@pytest.mark.usefixtures("ray_session")
def test_a_killed_run_continues_from_its_last_checkpoint(rllib, tmp_path):
    storage = ("--storage-path", tmp_path)
    with running(*ENDLESS, *storage) as process:
        # Tune notes every few seconds which checkpoints there are.
        while not noted_checkpoint(tmp_path / "PPO-CartPole-v1"):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    (trial,) = (tmp_path / "PPO-CartPole-v1").glob("PPO_*/")

    def iterations() -> list[int]:
        lines = (trial / "result.json").read_text().splitlines()
        return [json.loads(line)["training_iteration"] for line in lines]

    before = iterations()
    stop = ("--stop", f"training_iteration={before[-1] + 2}")
    again = rllib(*ENDLESS, *storage, "--resume", *stop)
    assert again.exit_code == 0, again.output
    after = iterations()[len(before) :]
    # What came after the checkpoint is done again, and nothing before it.
    assert 1 < after[0] <= before[-1] + 1
    assert after == list(range(after[0], before[-1] + 3))


@pytest.mark.usefixtures("ray_session")
def test_experiments_of_a_file_with_spaces_a_scheduler_and_a_checkpoint_to_start_from(
    rllib, trained, tmp_path
):
    options = (
        "    num_env_runners: 0\n    train_batch_size_per_learner: 100\n    minibatch_size: 50\n"
    )
    file = tmp_path / "two.yaml"
    file.write_text(
        "compared:\n"
        "  run: PPO\n"
        "  env: CartPole-v1\n"
        "  stop: {training_iteration: 3}\n"
        "  scheduler:\n"
        "    type: asha\n"
        "    metric: learners/default_policy/default_optimizer_learning_rate\n"
        "  config:\n" + options + "    lr: {grid_search: [1e-3, 1e-4]}\n"
        "    model_config: {fcnet_hiddens: [{choice: [8]}]}\n"
        "    num_cpus_for_main_process: 4\n"  # all there are: one after the other
        "more:\n"
        "  run: PPO\n"
        "  env: CartPole-v1\n"
        f"  restore: {trained.checkpoint}\n"
        "  stop: {training_iteration: 3}\n"
        "  config:\n" + options + "long:\n"
        "  run: PPO\n"
        "  env: Pendulum-v1\n"
        "  stop: {training_iteration: 3}\n"
        "  scheduler: asha\n"
        "  config:\n" + options
    )
    result = rllib("train", "file", file, "--storage-path", tmp_path, "--checkpoint-freq", 0)
    assert result.exit_code == 0, result.output
    first, second = sorted((tmp_path / "compared").glob("PPO_*/"), key=lambda path: path.name)
    # Better by a metric that is known beforehand: the second trial ends at its first rung.
    assert len((first / "result.json").read_text().splitlines()) == 3
    assert len((second / "result.json").read_text().splitlines()) == 1
    params = json.loads((second / "params.json").read_text())
    assert (params["lr"], params["_model_config"]["fcnet_hiddens"]) == (1e-4, [8])
    assert result.stdout.count("0 0=8,lr=0.0010 | steps ") == 3
    assert "0 0=8,lr=0.0010 | done, 1 of 2 trials" in result.stdout
    (restored,) = (tmp_path / "more").glob("PPO_*/")
    (line,) = (restored / "result.json").read_text().splitlines()
    assert json.loads(line)["training_iteration"] == 3
    assert json.loads(line)["num_env_steps_sampled_lifetime"] == 300
    # An episode is longer than an iteration: at first there is no return to schedule by.
    (long,) = (tmp_path / "long").glob("PPO_*/")
    results = [json.loads(line) for line in (long / "result.json").read_text().splitlines()]
    returns = [result["env_runners"].get("episode_return_mean") for result in results]
    assert len(returns) == 3
    assert returns[0] is None
    assert returns[1] < 0.0
