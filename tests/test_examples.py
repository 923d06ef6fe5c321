"""Every program of examples/ runs, with small budgets."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch
import yaml
from gymnasium.utils.env_checker import check_env
from ray.autoscaler._private.util import prepare_config, validate_config

from rllib_lsp.core.saved_agent import load_agent

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch, capsys):
    """Runs one as a program, in this process and with its Ray; what it printed."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    # An example may have asked for more threads than tests have.
    torch.set_num_threads(1)


def test_acting_from_a_checkpoint(example, saved):
    printed = example("act_from_checkpoint.py", saved(5, 1), "--action-repeat", 50)
    assert re.fullmatch(r"return \d+\.\d in 20 decisions\n", printed)


def test_planning_for_another_reward(example, saved, tmp_path):
    out = tmp_path / "rows.json"
    printed = example("zero_shot_reward.py", saved(20, 2), "--decisions", 12, "--out", out)
    assert len(printed.splitlines()) == len(yaml.safe_load(out.read_text())) == 8


@pytest.mark.filterwarnings("ignore:.*Box .* space.*:UserWarning")
def test_an_environment_of_ones_own(ray_session):
    names = runpy.run_path(str(EXAMPLES / "custom_env.py"))
    env = names["Crane"]({"seconds": 1.0})
    check_env(env, skip_render_check=True)
    config = names["config"].environment(env_config={"seconds": 1.0})
    budget = {"batch_size": 2, "batch_length": 8, "training_ratio": 0.5, "learning_starts": 40}
    config.training(size="tiny", **budget)
    algorithm = config.reporting(min_sample_timesteps_per_iteration=80).build_algo()
    result = algorithm.train()
    algorithm.stop()
    assert result["replay"]["updates_lifetime"] >= 1
    assert 0 <= result["env_runners"]["info"]["success"] <= 1
    assert set(names["stop"]) <= set(result)


def test_a_load_that_is_not_moved_hangs_still():
    crane = runpy.run_path(str(EXAMPLES / "custom_env.py"))["Crane"]({})
    crane.reset(seed=0)
    for _ in range(50):
        observation, *_ = crane.step([0.0])
    assert list(observation[:4]) == [0, 0, 0, 0]
    # Pulled to the right, the load stays behind.
    observation, *_ = crane.step([1.0])
    observation, *_ = crane.step([1.0])
    assert observation[0] > 0 > observation[2]


def test_a_sweep(example, ray_session, tmp_path):
    budget = ("--samples", 2, "--iterations", 1, "--size", "tiny")
    printed = example("tune_sweep.py", *budget, "--storage-path", tmp_path)
    assert re.search(r"best return \d", printed)
    # Tune prints much besides.
    checkpoint = re.findall(r"^checkpoint: (.*)$", printed, re.MULTILINE)[-1]
    duration = int(re.findall(r"^  skills: .*'duration': (\d+)", printed, re.MULTILINE)[-1])
    assert load_agent(checkpoint).agent.settings.skills.duration == (duration,)


def test_a_transfer(example, ray_session):
    printed = example("transfer_to_task.py", "--play", 1000, "--task", 1000, "--size", "tiny")
    play, transferred, scratch = printed.split(":\n")[1:]
    assert re.search(r"^policy +kept", transferred, re.MULTILINE)
    assert "policy" not in play + scratch
    for part in (play, transferred, scratch):
        assert re.search(r" 1,0\d\d decisions \| return", part)


def test_offline_pretraining(example, ray_session):
    budget = ("--episodes", 4, "--updates", 4, "--decisions", 40, "--evaluate", 1)
    printed = example("offline_pretraining.py", *budget, "--size", "tiny")
    assert re.search(r"^after 4 updates, no action yet: return \d", printed, re.MULTILINE)
    assert re.search(r"^after 40 decisions: return \d", printed, re.MULTILINE)


def test_the_cluster_is_one_that_rays_launcher_takes():
    text = (EXAMPLES / "cluster.yaml").read_text()
    cluster = prepare_config(yaml.safe_load(text))
    validate_config(cluster)
    node = cluster["available_node_types"][cluster["head_node_type"]]
    assert node["max_workers"] == len(cluster["provider"]["worker_ips"])
    # Its first comment shows a command on a file that is there.
    (experiment,) = re.findall(r"tuned_examples/\S+\.yaml", text)
    assert (EXAMPLES.parent / experiment).exists()
