"""`rllib train file X.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_bad_input import assert_one_paragraph


def test_a_config_in_python_is_trained_with_the_options_of_the_command(trained):
    results = [json.loads(line) for line in (trained.trial / "result.json").open()]
    assert [result["training_iteration"] for result in results] == [1, 2]
    config = json.loads((trained.trial / "params.json").read_text())
    assert (config["lr"], config["minibatch_size"], config["seed"]) == (5e-4, 50, 3)
    assert [path.name for path in trained.trial.glob("checkpoint_*")] == ["checkpoint_000001"]
    assert "PPO on CartPole-v1" in trained.output


def test_a_file_may_define_its_environment_and_algorithm_and_import_its_neighbours(rllib, tmp_path):
    (tmp_path / "my_sizes.py").write_text("HIDDEN = [8]\n")
    (tmp_path / "own.py").write_text(
        "import gymnasium, numpy\n"
        "from my_sizes import HIDDEN\n"
        "from ray import tune\n"
        "from ray.rllib.algorithms.ppo import PPO, PPOConfig\n"
        "class MyEnv(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "class MyPPO(PPO):\n"
        "    pass\n"
        "config = PPOConfig(MyPPO).environment(MyEnv).training(lr=tune.loguniform(1e-5, 1e-3))\n"
        "config.rl_module(model_config={'fcnet_hiddens': HIDDEN})\n"
    )
    result = rllib("train", "file", tmp_path / "own.py", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "own: MyPPO on MyEnv" in result.stdout
    assert "no `stop`" in result.stderr


BAD = {
    "no config": ("stop = {}\n", ["bad.py", "defines no `config`", "PPOConfig()"]),
    "dict": ("config = {'lr': 1}\n", ["bad.py", "type dict", "AlgorithmConfig"]),
    "no algorithm": (
        "from ray.rllib.algorithms.algorithm_config import AlgorithmConfig\n"
        "config = AlgorithmConfig()\n",
        ["bad.py", "of no algorithm", "PPOConfig()"],
    ),
    "exception": ("x = 1\ny = x / 0\n", ["bad.py:2", "ZeroDivisionError", "division by zero"]),
    "import": ("import no_such_module\n", ["bad.py:1", "No module named 'no_such_module'"]),
    "exit": ("raise SystemExit(3)\n", ["bad.py:1", "SystemExit"]),
    "syntax": ("x = 1\nconfig = (\n", ["bad.py:2", "not valid Python", "never closed"]),
    "no env": (
        "from ray.rllib.algorithms.ppo import PPOConfig\nconfig = PPOConfig()\n",
        ["bad.py", "has no `env`", "--env"],
    ),
    "stop": (
        "from ray.rllib.algorithms.ppo import PPOConfig\n"
        "config = PPOConfig().environment('CartPole-v1')\n"
        "stop = {'training_iterations': 3}\n",
        ["bad.py", "never stop", "Did you mean `training_iteration`"],
    ),
}


@pytest.mark.parametrize(("text", "parts"), BAD.values(), ids=BAD)
def test_mistakes(rllib, tmp_path, text, parts):
    path = tmp_path / "bad.py"
    path.write_text(text)
    assert_one_paragraph(rllib("train", "file", path, "--dry-run"), parts)


def test_the_example_of_an_environment_is_taken(rllib):
    file = Path(__file__).parents[2] / "examples/custom_env.py"
    result = rllib("train", "file", file, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "custom_env: LSP on Crane" in result.stdout
