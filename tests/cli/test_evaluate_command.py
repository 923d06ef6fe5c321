"""`rllib evaluate`: episodes that can be played again, whatever algorithm acts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import gymnasium
import imageio.v3
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from ray.tune import register_env

from rllib_lsp import load_agent, make_env
from rllib_lsp.cli.caption import HEIGHT, Caption
from rllib_lsp.cli.episode_file import write
from rllib_lsp.cli.playing import Moment, Played
from rllib_lsp.envs.rendering import import_simulator
from rllib_lsp.lsp.environments import EVALUATION_SEED
from tests.cli.test_bad_input import assert_one_paragraph


def figures(output):
    """(seed, return, length) of every line of an episode."""
    found = re.findall(r"seed (\d+) \| return ([-\d.e+]+) \| (\d+) decisions", output)
    return [(int(seed), float(value), int(length)) for seed, value, length in found]


@pytest.fixture(scope="module")
def can_render():
    try:
        import_simulator(render=True)
    except RuntimeError:
        pytest.skip("no OpenGL on this machine")


def test_what_is_written_is_what_happens_when_the_actions_are_played_again(
    rllib, trained, tmp_path
):
    file = tmp_path / "episodes.json"
    arguments = ("evaluate", trained.experiment, "--episodes", 3, "--seed", 7)
    result = rllib(*arguments, "--out", file)
    assert result.exit_code == 0, result.output
    assert f"PPO on CartPole-v1 of {trained.checkpoint}, without exploration" in result.stdout
    episodes = json.loads(file.read_text())
    env = gymnasium.make("CartPole-v1")
    for episode, printed in zip(episodes, figures(result.stdout), strict=True):
        assert printed == (episode["seed"], episode["return"], episode["length"])
        observation, _ = env.reset(seed=episode["seed"])
        observations, rewards, end = [observation], [], False
        for action in episode["actions"]:
            assert not end
            observation, reward, *ends, _ = env.step(action)
            observations.append(observation)
            rewards.append(reward)
            end = any(ends)
        assert ends == [episode["terminated"], episode["truncated"]]
        assert rewards == episode["rewards"]
        np.testing.assert_allclose(observations, episode["obs"], rtol=1e-6)
    returns = [episode["return"] for episode in episodes]
    mean, deviation = np.mean(returns), np.std(returns)
    assert f"return  {mean:.4g} ± {deviation:.3g}  (min {min(returns):.4g}" in result.stdout
    assert figures(rllib(*arguments).stdout) == figures(result.stdout)


def test_exploration_is_seeded_and_arrays_hold_the_same(rllib, trained, tmp_path):
    file = tmp_path / "episodes.npz"
    arguments = ("evaluate", trained.trial, "--episodes", 2, "--explore")
    first, second = (rllib(*arguments, "--out", file) for _ in range(2))
    assert "with exploration" in first.stdout
    assert figures(first.stdout) == figures(second.stdout)
    without = rllib(*arguments[:-1])
    assert figures(first.stdout) != figures(without.stdout)
    data = np.load(file)
    lengths = data["length"]
    columns = [data[key].tolist() for key in ("seed", "return", "length")]
    assert list(zip(*columns, strict=True)) == figures(first.stdout)
    assert data["obs"].shape == (sum(lengths) + 2, 4)
    assert data["actions"].shape == data["rewards"].shape == (sum(lengths),)


def test_arrays_hold_every_part_of_a_tuple(tmp_path):
    file = tmp_path / "episodes.npz"
    parts = np.arange(2), np.arange(6.0).reshape(2, 3)
    steps = (np.zeros((3, 1)), {"deep": np.ones((3, 2))}), parts, np.ones(2)
    write(file, [Played(seed, *steps, True, False, {}) for seed in (1, 2)])
    data = np.load(file)
    for place, part in enumerate(parts):
        np.testing.assert_array_equal(data[f"actions/{place}"], np.concatenate([part, part]))
    assert data["obs/0"].shape == (6, 1)
    assert data["obs/1/deep"].shape == (6, 2)


def test_arrays_hold_what_only_some_episodes_say(tmp_path):
    file = tmp_path / "episodes.npz"
    infos: list[dict[str, float]] = [{"left": 1.0}, {"success": 1.0}]
    steps = np.zeros((3, 2)), np.zeros((2, 1)), np.ones(2)
    write(file, [Played(seed, *steps, True, False, info) for seed, info in enumerate(infos)])
    data = np.load(file)
    np.testing.assert_array_equal(data["info/left"], [1.0, np.nan])
    np.testing.assert_array_equal(data["info/success"], [np.nan, 1.0])
    assert data["obs"].shape == (6, 2)


def test_a_planner_of_another_size_and_the_metrics_of_the_task(rllib, lsp_checkpoint, tmp_path):
    arguments = ("evaluate", lsp_checkpoint, "--episodes", 2)
    file = tmp_path / "episodes.json"
    result = rllib(*arguments, "--out", file, "--set", "planner.candidates=4")
    assert result.exit_code == 0, result.output
    assert "LSP on rllib_lsp/point-reach-v0" in result.stdout
    for name in ("success", "final_distance", "path_length"):
        assert re.search(rf"^  {name} +\S+ ± \S+  \(min", result.stdout, re.MULTILINE), name
    usual = rllib(*arguments)
    assert figures(usual.stdout) != figures(result.stdout)
    # It is played for who asks, and no part of what training has recorded.
    assert not lsp_checkpoint.with_name("recorded").exists()
    # The learned prior decides; for learning, it would lack a teacher.
    unplanned = rllib(*arguments, "--set", "planner.method=none")
    assert unplanned.exit_code == 0, unplanned.output
    assert figures(unplanned.stdout) != figures(usual.stdout)
    # The first decision is that of the very agent which acts without Ray.
    first = json.loads(file.read_text())[0]
    module = lsp_checkpoint / "learner_group/learner/rl_module/default_policy"
    # Its noise has the seed of the evaluation's environments.
    agent = load_agent(module, seed=EVALUATION_SEED, planner={"candidates": 4})
    env = make_env("rllib_lsp/point-reach-v0", time_limit=4.0)
    observation, _ = env.reset(seed=first["seed"])
    np.testing.assert_allclose(observation, first["obs"][0], rtol=1e-6)
    np.testing.assert_allclose(agent.act(observation), first["actions"][0], atol=1e-5)
    assert len(first["actions"]) == first["length"] == 40


@pytest.mark.usefixtures("can_render")
@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_film_of_an_episode(rllib, lsp_checkpoint, tmp_path, suffix):
    file = tmp_path / f"film.{suffix}"
    result = rllib("evaluate", lsp_checkpoint, "--episodes", 1, "--video", file)
    assert result.exit_code == 0, result.output
    pictures = imageio.v3.imread(file)
    assert f"film: {file} (41 pictures)" in result.stdout
    # A gif leaves out what looks like the picture before.
    assert pictures.shape[1:] == (240 + HEIGHT, 320, 3)
    assert 10 <= len(pictures) <= 41
    assert np.abs(pictures[0].astype(int) - pictures[-1]).max() > 50


def test_a_caption_says_what_the_agent_holds():
    class Blank(gymnasium.Env):
        def render(self):
            return np.zeros((40, 200, 3), np.uint8)

    def strip(steps_left, skill, planned=False):
        decision = {"skill": np.array(skill), "steps_left": np.array(steps_left)}
        decision |= {"planned": np.array(planned), "planner_gain": np.array(0.5)}
        return caption.below(Moment(Blank(), {}, False, 1.5, decision))[40:].astype(int)

    caption = Caption()
    fresh, held = strip(9, [1.0, -1.0], planned=True), strip(4, [1.0, -1.0])
    assert fresh.shape == (HEIGHT, 200, 3)
    # The bar of the decisions left is half as long, and the skill's are where they were.
    lengths = [int((part[-7] == 255).all(-1).sum()) for part in (fresh, held)]
    assert lengths[1] == pytest.approx(lengths[0] * 4 / 9, abs=2)
    skill = np.s_[: HEIGHT - 10, 100:]
    np.testing.assert_array_equal(fresh[skill], held[skill])
    assert np.abs(strip(4, [-1.0, 1.0])[skill] - held[skill]).max() > 100
    # Without skills there is the return alone.
    bare = caption.below(Moment(Blank(), {}, False, 1.5, {}))[40:]
    assert (bare[:, 100:] == 0).all()
    assert bare.any()


def test_the_trial_is_to_be_named_where_there_are_several(rllib, trained, tmp_path):
    for name in ("PPO_a", "PPO_b"):
        shutil.copytree(trained.checkpoint, tmp_path / name / "checkpoint_000000")
    parts = ["holds 2 trials", "PPO_a/checkpoint_000000", "PPO_b/checkpoint_000000"]
    assert_one_paragraph(rllib("evaluate", tmp_path), parts)
    # One that was cut off while it was written does not count.
    for part in ("class_and_ctor_args.pkl", "rllib_checkpoint.json"):
        (tmp_path / "PPO_b/checkpoint_000000" / part).unlink()
        result = rllib("evaluate", tmp_path, "--episodes", 1)
        assert result.exit_code == 0, result.output
        assert "PPO_a" in result.stdout


BAD = {
    "seed": (["--set", "seed=5"], ["--set seed", "given by --seed"]),
    "config key": (["--set", "lrr=1"], ["--set lrr", "Did you mean `lr`?"]),
    "option group": (["--set", "planner.x=1"], ["--set planner.x", "no config key `planner`"]),
    "no environment": (["--env", "CartPoel-v1"], ["--env", "Did you mean `CartPole-v1`?"]),
    "other spaces": (["--env", "Acrobot-v1"], ["weights do not fit", "(", "Leave out --env"]),
    "other sizes": (
        ["--set", "model_config.fcnet_hiddens=[8]"],
        ["weights do not fit", "shape", "--set that changes"],
    ),
    "file type": (["--out", "x.csv"], ["--out x.csv", ".json or .npz"]),
    "film type": (["--video", "x.avi"], ["--video x.avi", ".mp4 or .gif"]),
    "no directory": (["--out", "no/where.json"], ["--out no/where.json", "Make it first"]),
    "both": (["--video", "x.gif", "--render"], ["--video and --render exclude each other"]),
}


@pytest.mark.parametrize(("options", "parts"), BAD.values(), ids=BAD)
def test_mistakes(rllib, trained, options, parts):
    assert_one_paragraph(rllib("evaluate", trained.checkpoint, *options), parts)


class Broken(CartPoleEnv):
    """CartPole until it begins to fall."""

    def __init__(self, config=None):
        super().__init__()

    def step(self, action):
        if abs(self.state[3]) > 0.5:
            raise RuntimeError("the pole is broken")
        return super().step(action)


def test_an_environment_that_fails_shows_where(rllib, trained):
    register_env("broken", Broken)
    result = rllib("evaluate", trained.checkpoint, "--env", "broken", "--seed", 5)
    assert result.exit_code == 1
    assert "failed in the episode from seed" in result.stderr
    assert "the pole is broken" in result.stderr
    assert "test_evaluate_command.py" in result.stderr


def test_a_window_needs_a_display(rllib, trained, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    result = rllib("evaluate", trained.checkpoint, "--render")
    assert_one_paragraph(result, ["--render", "no display", "--video FILE.mp4"])


def test_no_renderer_is_an_error_that_says_what_to_set(lsp_checkpoint, tmp_path):
    command = "import sys; from rllib_lsp.cli import main; sys.exit(main())"
    words = ["evaluate", str(lsp_checkpoint), "--video", str(tmp_path / "x.gif")]
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    result = subprocess.run(
        [sys.executable, "-c", command, *words], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 2
    message = result.stderr.strip().splitlines()[-1]
    for part in ("point-reach", "no OpenGL renderer", "MUJOCO_GL=egl"):
        assert part in message


def test_a_path_without_checkpoint(rllib, trained, tmp_path):
    assert_one_paragraph(rllib("evaluate", "gs://bucket/run"), ["is an address", "Copy it"])
    assert_one_paragraph(rllib("evaluate", tmp_path), ["no checkpoint", "--checkpoint-freq N"])
    lost = rllib("evaluate", tmp_path / "lost")
    assert_one_paragraph(lost, [str(tmp_path / "lost"), "no such directory", "checkpoint_00000N"])
    shutil.copytree(trained.checkpoint, tmp_path / "old")
    (tmp_path / "old/class_and_ctor_args.pkl").unlink()
    (tmp_path / "old/policies").mkdir()
    assert_one_paragraph(rllib("evaluate", tmp_path / "old"), ["old API stack", "Train again"])
