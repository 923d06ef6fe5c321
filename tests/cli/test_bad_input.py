"""Every mistake gets one paragraph: where, what, why, and what to write instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rllib_lsp.cli.algorithm import find_algorithm
from rllib_lsp.cli.algorithm_config import OLD_NAMES, valid_keys

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
    "restore nothing": (TINY + "  restore: /usr\n", ["bad.yaml:14", "/usr: holds no checkpoint"]),
    "env twice": (TINY + "    env: Acrobot-v1\n", ["bad.yaml:14", "bad.yaml:3", "Keep one"]),
    "number in quotes": (
        TINY.replace("lr: 1e-3", 'lr: "1e-4"'),
        ["bad.yaml:11", "`lr: '1e-4'`", "a number without quotes", "`lr: 5e-05`"],
    ),
    "placeholder": (TINY + "    buffer_size: 9\n", ["bad.yaml:14", "no config key `buffer_size`"]),
    "gone": (
        TINY + "    vf_share_layers: true\n",
        ["bad.yaml:14", "no config key `vf_share_layers`", "`model_config: {vf_share_layers"],
    ),
    "list for a number": (TINY + "    gamma: [1]\n", ["bad.yaml:14", "`gamma: [1]`", "a number"]),
    "flag for a number": (TINY + "    gamma: true\n", ["bad.yaml:14", "`gamma: True`", "a number"]),
    "flag in quotes": (
        TINY + '    use_gae: "true"\n',
        ["bad.yaml:14", "`use_gae: 'true'`", "true or false without quotes"],
    ),
    "search space in a list": (
        TINY + "    model_config:\n      fcnet_hiddens: [{grid_search: 8}, 8]\n",
        ["bad.yaml:15", "grid_search: 8", "wants a list"],
    ),
    "value in a list of a grid": (
        TINY + "    lambda: {grid_search: [0.9, '0.5']}\n",
        ["bad.yaml:14", "`lambda: '0.5'`", "a number without quotes"],
    ),
    "checkpoint score": (
        TINY + "  checkpoint_config: {checkpoint_score_attribute: returns}\n",
        ["bad.yaml:14", "`returns`", "no result has the key"],
    ),
    **{
        f"scheduler, {name}": (f"{TINY}  scheduler:\n    {lines}\n", parts)
        for name, lines, parts in (
            ("name", "type: ashha", ["bad.yaml:15", "`ashha`", "Did you mean `asha`?"]),
            ("no name", "max_t: 3", ["bad.yaml:14", "{'max_t': 3}", "{type: asha"]),
            ("number", "3", ["bad.yaml:14", "`scheduler` is 3", "{type: asha"]),
            (
                "argument",
                "type: asha\n    maxt: 3",
                ["bad.yaml:16", "no argument `maxt`", "Did you mean `max_t`?"],
            ),
            (
                "metric",
                "type: asha\n    metric: episode_return_mean",
                ["bad.yaml:16", "Did you mean `env_runners/episode_return_mean`?"],
            ),
            ("mode", "type: asha\n    mode: most", ["bad.yaml:16", "'most'", "'min' or 'max'"]),
            (
                "value",
                "type: asha\n    max_t: 1\n    grace_period: 5",
                ["bad.yaml:1", "grace_period must be <= max_t"],
            ),
            ("nothing to mutate", "type: pbt", ["bad.yaml:15", "`pbt`", "hyperparam_mutations"]),
            (
                "mutation",
                "type: pbt\n    hyperparam_mutations:\n      lrr: [1, 2]",
                ["bad.yaml:17", "`lrr`", "Did you mean `lr`?"],
            ),
            (
                "space of a mutation",
                "type: pbt\n    hyperparam_mutations:\n      lr: {uniform: 3}",
                ["bad.yaml:17", "uniform: 3", "two numbers"],
            ),
            (
                "value of a mutation",
                "type: pbt\n    hyperparam_mutations:\n      lr: [1e-4, fast]",
                ["bad.yaml:17", "`lr: 'fast'` wants a number"],
            ),
        )
    },
}

LSP = """bad:
  run: LSP
  env: dm_control/cartpole-swingup-v0
  stop: {training_iteration: 1}
  config:
    size: tiny
"""
BAD_LSP = {
    "number in quotes": (
        '    planner:\n      iterations: 2\n      candidates: "64"\n',
        ["bad.yaml:9", "planner.candidates = '64'", "type int"],
    ),
    "unknown option": (
        "    planner:\n      iterations: 2\n      candidats: 64\n",
        ["bad.yaml:9", "planner.candidats", "did you mean 'candidates'?"],
    ),
    "flag": (
        "    skills:\n      learn_prior: 1\n",
        ["bad.yaml:8", "skills.learn_prior = 1", "type bool"],
    ),
    "list": (
        "    behaviour:\n      horizon: 5\n      lambda_: [0.9]\n",
        ["bad.yaml:9", "behaviour.lambda_ = [0.9]", "type float"],
    ),
    "range": (
        "    planner: {candidates: 8,\n              elites: 9}\n",
        ["bad.yaml:8", "elites"],
    ),
    "learning rate": (
        "    learning_rates:\n      policy: fast\n",
        ["bad.yaml:8", "learning_rates.policy = 'fast'", "a number above 0"],
    ),
    "one value of a grid": (
        "    planner:\n      candidates: {grid_search: [8, 0.5]}\n",
        ["bad.yaml:8", "planner.candidates = 0.5", "type int"],
    ),
    "option of a mutation": (
        "  scheduler:\n    type: pbt\n    hyperparam_mutations:\n      planner:\n"
        "        candidats: [8, 16]\n",
        ["bad.yaml:11", "planner.candidats", "did you mean 'candidates'?"],
    ),
    "group": ("    planner: cem\n", ["bad.yaml:7", "planner = 'cem'", "dict of options"]),
}


@pytest.mark.parametrize(("text", "parts"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file(rllib, tmp_path, text, parts):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert_one_paragraph(rllib("train", "file", path, "--dry-run"), parts)


@pytest.mark.parametrize(("lines", "parts"), BAD_LSP.values(), ids=BAD_LSP)
def test_bad_option_of_a_group(rllib, tmp_path, lines, parts):
    path = tmp_path / "bad.yaml"
    path.write_text(LSP + lines)
    assert_one_paragraph(rllib("train", "file", path, "--dry-run"), parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--set", "lrr=1"], ["--set lrr", "Did you mean `lr`?"]),
        (["--set", "lr"], ["--set lr", "wants KEY=VALUE"]),
        (["--set", "lr.x=1"], ["--set lr.x", "`tiny.config.lr` is 0.001"]),
        (["--stop", "{training_iter: 3}"], ["--stop", "Did you mean `training_iteration`"]),
        (["--env", "CartPoel-v1"], ["--env", "Did you mean `CartPole-v1`?"]),
        (["--restore", "nowhere"], ["--restore", "nowhere", "checkpoint_00000N"]),
        (["--checkpoint-score-attr", "min-returns"], ["--checkpoint-score-attr", "`returns`"]),
        (["--scheduler", "ashha"], ["--scheduler", "Did you mean `asha`?"]),
        (["--scheduler", "asha", "--scheduler-config", "{maxt: 3}"], ["--scheduler", "`max_t`?"]),
        (["--scheduler-config", "{max_t: 3}"], ["--scheduler-config", "name the scheduler"]),
        (["--scheduler-config", "3"], ["--scheduler-config 3", "with keys"]),
        (["--local-mode"], ["--local-mode", "no local mode any more", "num_env_runners=0"]),
        (["--framework=tf2"], ["--framework=tf2", "written in torch"]),
        (["--resources-per-trial", "{}"], ["--resources-per-trial", "num_gpus_per_learner"]),
    ],
)
def test_bad_option(rllib, tiny_yaml, options, parts):
    assert_one_paragraph(rllib("train", "file", tiny_yaml, *options, "--dry-run"), parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--env", "CartPole-v1"], ["no algorithm", "rllib train --run PPO"]),
        (["--run", "PPO", "--env", "CartPole-v1", "--no-local-mode"], ["--set num_env_runners=0"]),
        (["--run", "SACC", "--env", "CartPole-v1"], ["`SACC`", "Did you mean `SAC`?"]),
        (["--run", "PPO"], ["has no `env`", "--env"]),
        (["--run", "PPO", "--env", "x", "--config", "{"], ["--config", "not valid YAML"]),
        (["--run", "PPO", "--config", "3"], ["`config` is 3", "indented `key: value`"]),
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


def test_every_old_name_is_that_of_an_option_of_today():
    configs = [find_algorithm(name, "test").get_default_config() for name in ("PPO", "DQN", "APPO")]
    valid = set().union(*map(valid_keys, configs))
    assert set(OLD_NAMES.values()) <= valid
    assert not set(OLD_NAMES) & valid
    # LSP has an option by a name that is old elsewhere.
    lsp = find_algorithm("LSP", "test").get_default_config()
    assert "learning_starts" in valid_keys(lsp)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_workers", "num_env_runners"),
        ("sgd_minibatch_size", "minibatch_size"),
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


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        (["--ray-address", "127.0.0.1:1"], ["--ray-address 127.0.0.1:1", "refused"]),
        (["--ray-object-store-memory", "100"], ["100 bytes", "minimum"]),
    ],
)
def test_a_ray_that_does_not_start(tiny_yaml, option, parts):
    """In a process of its own: here Ray runs already, and would be used."""
    command = [Path(sys.executable).with_name("rllib"), "train", "file", tiny_yaml, *option]
    end = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert end.returncode == 2
    assert "Traceback" not in end.stderr
    assert all(part in end.stderr for part in [*parts, "ray start --head"]), end.stderr


@pytest.mark.parametrize(
    ("run", "env"), [("SAC", "Pendulum-v1"), ("DQN", "CartPole-v1"), ("DreamerV3", "CartPole-v1")]
)
def test_rllibs_own_algorithms_are_known_by_name(rllib, run, env):
    stop = ("--stop", "training_iteration=1")
    result = rllib(
        "train", "--run", run, "--env", env, *stop, "--set", "num_workers=0", "--dry-run"
    )
    assert result.exit_code == 0, result.output
    assert f"{run}-{env}: {run} on {env}" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["train"],
        ["train", "file"],
        ["evaluate"],
        ["example", "list"],
        ["example", "get"],
        ["example", "run"],
    ],
)
def test_help_ends_with_examples_that_are_commands(rllib, command):
    shown = rllib(*command, "--help").stdout.split("Examples")[1]
    assert f"rllib {' '.join(command)}".strip() in shown
