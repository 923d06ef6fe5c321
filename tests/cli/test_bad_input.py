"""Every mistake gets one paragraph: where, what, why, and what to write instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TINY = Path(__file__).with_name("tiny.yaml").read_text()

BAD_FILES = {
    "no run": (TINY.replace("  run: PPO\n", ""), ["bad.yaml:1", "has no `run`", "run: PPO"]),
    "no env": (TINY.replace("  env: CartPole-v1\n", ""), ["bad.yaml:1", "has no `env`", "--env"]),
    "empty": ("", ["bad.yaml", "holds no experiment", "run: PPO"]),
    "flat": ("run: PPO\nenv: CartPole-v1\n", ["bad.yaml:1", "'PPO'", "indent the rest"]),
    "algorithm": (TINY.replace("PPO", "PPPO"), ["bad.yaml:2", "`PPPO`", "Did you mean `PPO`?"]),
    "algorithm path": (TINY.replace("PPO", "no.such.Algo"), ["bad.yaml:2", "cannot be imported"]),
    "not an algorithm": (TINY.replace("PPO", "pathlib.Path"), ["bad.yaml:2", "not a subclass"]),
    "env id": (TINY.replace("CartPole-", "CartPol-"), ["bad.yaml:3", "`CartPole-v1`?"]),
    "dm_control id": (
        TINY.replace("CartPole-v1", "dm_control/walker-wolk-v0"),
        ["bad.yaml:3", "dm_control/walker-wolk-v0", "dm_control/walker-walk-v0"],
    ),
    "env path": (TINY.replace("CartPole-v1", "no.such.Env"), ["bad.yaml:3", "cannot be imported"]),
    "env number": (TINY.replace("CartPole-v1", "3"), ["bad.yaml:3", "`env` is 3", "CartPole-v1"]),
    "env in grid": (
        TINY.replace("CartPole-v1", "{grid_search: [CartPole-v1, CartPole-v7]}"),
        ["bad.yaml:3", "`CartPole-v7`", "`CartPole-v1`?"],
    ),
    "experiment key": (
        TINY.replace("  stop:", "  stopp:"),
        ["bad.yaml:4", "no key `stopp`", "Did you mean `stop`?"],
    ),
    "resources": (
        TINY + "  resources_per_trial: {cpu: 2}\n",
        ["bad.yaml:14", "`resources_per_trial`", "`num_env_runners`"],
    ),
    "stop key": (
        TINY.replace("training_iteration: 2", "training_iterations: 2"),
        ["bad.yaml:5", "`training_iterations`", "never stop", "Did you mean `training_iteration`"],
    ),
    "stop key without group": (
        TINY.replace("training_iteration: 2", "episode_return_mean: 2"),
        ["bad.yaml:5", "Did you mean `env_runners/episode_return_mean`?"],
    ),
    "near miss of a stop key": (
        TINY.replace("training_iteration: 2", "env_runners/episode_return_men: 2"),
        ["bad.yaml:5", "Did you mean `env_runners/episode_return_mean`?"],
    ),
    "stop value": (
        TINY.replace("training_iteration: 2", "training_iteration: soon"),
        ["bad.yaml:5", "'soon'", "wants a number"],
    ),
    "config key": (
        TINY.replace("    lr:", "    lrr:"),
        ["bad.yaml:11", "`lrr: 0.001`", "PPO has no config key", "Did you mean `lr`?"],
    ),
    "config type": (
        TINY.replace("num_epochs: 1", "num_epochs: many"),
        ["bad.yaml:10", "'many'", "wants a number"],
    ),
    "config flag": (TINY + "    use_gae: 3\n", ["bad.yaml:14", "`use_gae: 3`", "true or false"]),
    "config value": (
        TINY.replace("minibatch_size: 50", "minibatch_size: 500"),
        ["bad.yaml:9", "(500)", "must be <= `train_batch_size_per_learner`"],
    ),
    "one value of a grid": (
        TINY.replace("minibatch_size: 50", "minibatch_size: {grid_search: [50, 500]}"),
        ["bad.yaml:9", "(500)", "must be <="],
    ),
    "search space": (
        TINY.replace("lr: 1e-3", "lr: {grid_search: 3}"),
        ["bad.yaml:11", "grid_search: 3", "wants a list"],
    ),
    "checkpoint key": (
        TINY + "  checkpoint_config: {checkpoint_freq: 2}\n",
        ["bad.yaml:14", "`checkpoint_freq`", "Did you mean `checkpoint_frequency`?"],
    ),
    "number": (TINY + "  num_samples: 0\n", ["bad.yaml:14", "`num_samples` is 0", "at least 1"]),
    "restore": (TINY + "  restore: nowhere\n", ["bad.yaml:14", "nowhere", "checkpoint_00000N"]),
    "env twice": (TINY + "    env: Acrobot-v1\n", ["bad.yaml:14", "bad.yaml:3", "Keep one"]),
}


@pytest.mark.parametrize(("text", "parts"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file(rllib, tmp_path, text, parts):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert_one_paragraph(rllib("train", "file", path, "--dry-run"), parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--set", "lrr=1"], ["--set lrr", "Did you mean `lr`?"]),
        (["--set", "lr"], ["--set lr", "wants KEY=VALUE"]),
        (["--set", "lr.x=1"], ["--set lr.x", "`tiny.config.lr` is 0.001"]),
        (["--stop", "{training_iter: 3}"], ["--stop", "Did you mean `training_iteration`"]),
        (["--env", "CartPoel-v1"], ["--env", "Did you mean `CartPole-v1`?"]),
    ],
)
def test_bad_option(rllib, tiny_yaml, options, parts):
    assert_one_paragraph(rllib("train", "file", tiny_yaml, *options, "--dry-run"), parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--env", "CartPole-v1"], ["no algorithm", "rllib train --run PPO"]),
        (["--run", "SACC", "--env", "CartPole-v1"], ["`SACC`", "Did you mean `SAC`?"]),
        (["--run", "PPO"], ["has no `env`", "--env"]),
        (["--run", "PPO", "--env", "x", "--config", "{"], ["--config", "not valid YAML"]),
        (["--seed", "3", "file", "x.yaml"], ["belong behind the file's name"]),
        (["file", "x.yaml"], ["x.yaml", "cannot be read", "Check the path"]),
    ],
)
def test_bad_command(rllib, arguments, parts):
    assert_one_paragraph(rllib("train", *arguments), parts)


def assert_one_paragraph(result, parts):
    assert result.exit_code == 2, result.output
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert [part for part in parts if part not in message] == [], message
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_workers", "num_env_runners"),
        ("num_sgd_iter", "num_epochs"),
        ("episode_reward_mean", "env_runners/episode_return_mean"),
    ],
)
def test_old_names_are_translated(rllib, tmp_path, old, new):
    path = tmp_path / "old.yaml"
    stop = TINY.replace("training_iteration", "env_runners/episode_return_mean")
    path.write_text(stop.replace(new, old))
    result = rllib("train", "file", path, "--dry-run")
    assert result.exit_code == 0, result.output
    assert f"key `{old}` is now `{new}`" in result.stderr


def test_help_does_not_import_ray():
    code = "import sys, rllib_lsp.cli.app; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
