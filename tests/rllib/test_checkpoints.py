"""What a checkpoint keeps, and what becomes of one that is interrupted."""

import os
import pathlib
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from rllib_lsp import LSP, load_agent
from rllib_lsp.core.saved_agent import CheckpointError
from rllib_lsp.lsp.checkpointing import METADATA, whole_or_nothing
from tests.rllib.conftest import EPISODE_DECISIONS
from tests.rllib.test_hiro import tiny as tiny_hiro


def everything_learned(algorithm):
    learner = algorithm.learner_group._learner
    optimizers = learner._get_optimizer_state()
    return {
        **{f"module.{key}": value for key, value in learner.module.get_state().items()},
        **{
            f"{name}.{index}.{key}": value
            for name, optimizer in optimizers.items()
            for index, moments in optimizer["state"]["state"].items()
            for key, value in moments.items()
        },
    }


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(actual[key], value)
        else:
            np.testing.assert_array_equal(actual[key], value, err_msg=key)


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(build, tiny, tmp_path, iterations, caplog):
    """In the midst of episodes, and where some have just ended, to the last bit."""
    config = tiny(replay_capacity=400).env_runners(num_envs_per_env_runner=2)
    config.evaluation(
        evaluation_interval=1,
        evaluation_duration=1,
        evaluation_config={"num_envs_per_env_runner": 1},
    )
    config.reporting(min_sample_timesteps_per_iteration=EPISODE_DECISIONS)
    algorithm = build(config)
    for _ in range(iterations):
        algorithm.train()
    path = algorithm.save_to_path(tmp_path / "saved")
    expected = [algorithm.train() for _ in range(2)]
    learned = everything_learned(algorithm)

    torch.manual_seed(12345)
    restored = LSP.from_checkpoint(path)
    found = [restored.train() for _ in range(2)]
    assert_same(everything_learned(restored), learned)
    for key in ("episode_return_mean", "num_env_steps_sampled_lifetime", "planner_gain"):
        assert [r["env_runners"].get(key) for r in found] == [
            r["env_runners"].get(key) for r in expected
        ], key
    evaluated = [[r["evaluation"]["env_runners"]["episode_return_mean"] for r in results]
                 for results in (found, expected)]  # fmt: skip
    assert evaluated[0] == evaluated[1]
    windows, others = algorithm.replay.sample(8, 16), restored.replay.sample(8, 16)
    assert_same(others, windows)
    assert "given up" not in caplog.text
    restored.stop()


@pytest.mark.parametrize("kind", ["parts", "choices", "two levels"])
def test_episodes_of_every_kind_are_taken_up(build, tiny, tmp_path, caplog, kind):
    config = {
        "parts": tiny().environment(env_config={"flatten": False}),
        "choices": tiny().environment("CartPole-v1", env_config={}),
        "two levels": tiny_hiro(),
    }[kind]
    algorithm = build(config)
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "saved")
    expected = algorithm.train()["env_runners"]
    restored = type(algorithm).from_checkpoint(path)
    found = restored.train()["env_runners"]
    for key in ("episode_return_mean", "num_env_steps_sampled_lifetime"):
        assert found[key] == expected[key], key
    assert_same(restored.replay.sample(8, 16), algorithm.replay.sample(8, 16))
    assert "given up" not in caplog.text
    restored.stop()


def first_observations(algorithm):
    """Those of all episodes in the replay."""
    windows = algorithm.replay.sample(64, 16, begin="is_first")
    return {first.tobytes() for first in windows["observation.observation"][:, 0]}


def test_remote_runners_of_a_resumed_run_do_not_begin_again_with_its_first_episodes(
    build, tiny, tmp_path
):
    config = tiny(store_replay_in_checkpoints=False).env_runners(num_env_runners=1)
    algorithm = build(config)
    algorithm.train()
    begun = first_observations(algorithm)
    path = algorithm.save_to_path(tmp_path / "saved")
    algorithm.stop()  # there may be no core for two
    restored = LSP.from_checkpoint(path)
    restored.train()
    again = first_observations(restored)
    restored.stop()
    assert begun
    assert again
    assert not begun & again


def test_a_checkpoint_is_restored_where_no_runner_is_local(build, tiny, tmp_path):
    config = tiny().env_runners(num_env_runners=1, create_local_env_runner=False)
    algorithm = build(config)
    algorithm.train()
    rows = len(algorithm.replay)
    algorithm.restore_from_path(algorithm.save_to_path(tmp_path / "saved"))
    assert len(algorithm.replay) == rows > 0


def test_results_tell_what_a_checkpoint_costs(build, tiny, tmp_path):
    algorithm = build(tiny())
    assert "checkpoint" not in algorithm.train()
    path = algorithm.save_to_path(tmp_path / "saved")
    on_disk = sum(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(path)
        for file in files
    )
    cost = algorithm.train()["checkpoint"]
    assert cost["megabytes"] == pytest.approx(on_disk / 1e6)
    assert cost["seconds"] > 0


def test_a_path_may_be_a_uri(build, tiny, tmp_path):
    algorithm = build(tiny())
    path = (tmp_path / "saved").as_uri()
    assert algorithm.save_to_path(path) == path
    assert algorithm.train()["checkpoint"]["megabytes"] > 0
    algorithm.restore_from_path(path)
    assert algorithm.progress["decisions"] == 0


def test_rates_are_those_of_the_configuration_not_of_the_checkpoint(build, tiny, tmp_path):
    """Population-based training restores a better trial's checkpoint under other rates."""
    path = build(tiny().training(lr=1e-3)).save_to_path(tmp_path / "saved")
    other = build(tiny(learning_rates={"policy": 7e-5}, adam_epsilon=1e-5).training(lr=2e-4))
    other.restore_from_path(path)
    learner = other.learner_group._learner
    rates = {
        name: (group["lr"], group["eps"])
        for name in ("world_model", "policy")
        for group in learner.get_optimizer("default_policy", name).param_groups
    }
    assert rates == {"world_model": (2e-4, 1e-5), "policy": (7e-5, 1e-5)}


@pytest.mark.parametrize("skills", [1, 3])
def test_a_run_may_go_on_with_plans_of_another_length(build, tiny, tmp_path, caplog, skills):
    """As population-based training does that mutates it. `tiny` plans two skills."""
    algorithm = build(tiny())
    algorithm.train()
    other = build(tiny(planner={"skills": skills}))
    other.restore_from_path(algorithm.save_to_path(tmp_path / "saved"))
    assert "given up, new ones begin: other skills were planned" in caplog.text
    assert len(other.replay) == len(algorithm.replay)
    assert np.isfinite(other.train()["learners"]["default_policy"]["policy_loss"])


SAVES_FOR_EVER = """
import sys
from rllib_lsp import LSP
algorithm = LSP.from_checkpoint(sys.argv[1])
while True:
    algorithm.save_to_path(sys.argv[1])
    print("saved", flush=True)
"""


def test_a_kill_in_the_midst_of_saving_leaves_the_checkpoint_whole(build, tiny, tmp_path):
    algorithm = build(tiny())
    algorithm.train()
    path = tmp_path / "saved"
    algorithm.save_to_path(path)
    rows, weights = len(algorithm.replay), algorithm.get_module().get_state()
    saver = subprocess.Popen(
        [sys.executable, "-c", SAVES_FOR_EVER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    # Killed while the second one is half there.
    assert saver.stdout.readline() == "saved\n"
    while not list(tmp_path.glob(".saved.partial-*")):
        assert saver.poll() is None, "the saver has ended by itself"
    os.killpg(saver.pid, signal.SIGKILL)
    saver.wait()
    restored = LSP.from_checkpoint(path)
    assert len(restored.replay) == rows
    assert_same(restored.get_module().get_state(), weights)
    # What is left of the other is cleared away by the next.
    restored.save_to_path(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]
    restored.stop()


def test_what_else_lies_in_the_directory_stays(build, tiny, tmp_path):
    """However often it is saved there; `save_to_path(".")` is to cost nobody a project."""
    (tmp_path / "notes.txt").write_text("mine")
    algorithm = build(tiny())
    link = tmp_path.with_name("link")
    link.symlink_to(tmp_path)
    for path in (tmp_path, link, tmp_path):
        algorithm.train()
        algorithm.save_to_path(path)
        assert (tmp_path / "notes.txt").read_text() == "mine"
    assert link.is_symlink()
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))
    restored = LSP.from_checkpoint(tmp_path)
    assert len(restored.replay) == len(algorithm.replay)
    assert_same(restored.get_module().get_state(), algorithm.get_module().get_state())
    restored.stop()


def write(path, text, *parts):
    """A checkpoint as far as `whole_or_nothing` can tell: metadata and directories."""
    with whole_or_nothing(path, None) as target:
        for part in parts:
            (pathlib.Path(target) / part).mkdir(parents=True)
            (pathlib.Path(target) / part / "file").write_text(text)
        (pathlib.Path(target) / METADATA).write_text(text)


def texts(path):
    files = [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_text() for file in files}


WHOLE = {METADATA: "first", "learner_group/file": "first", "replay/file": "first"}


@pytest.mark.parametrize("how", ["fails", "is killed"])
def test_what_cannot_be_put_in_its_place_leaves_the_checkpoint_before(tmp_path, monkeypatch, how):
    path, rename = tmp_path / "saved", pathlib.Path.rename
    write(path, "first", "learner_group", "replay")

    def broken(self, target):
        if how == "is killed" and ".previous" in self.name:
            raise SystemExit  # Who is killed puts nothing back.
        if ".partial-" in self.name:
            raise OSError("the disk is gone")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "rename", broken)
        with pytest.raises((OSError, SystemExit)):
            write(path, "second", "learner_group", "replay")
    with whole_or_nothing(path, None) as target:
        pathlib.Path(target).mkdir()
        assert texts(path) == WHOLE


def test_of_two_halves_of_checkpoints_none_is_one(tmp_path, monkeypatch):
    write(tmp_path, "first", "learner_group", "replay")
    (tmp_path / "notes.txt").write_text("mine")

    def fails(self, target):
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(pathlib.Path, "replace", fails)
        with pytest.raises(OSError, match="the disk is gone"):
            write(tmp_path, "second", "learner_group", "replay")
    assert METADATA not in texts(tmp_path)
    assert texts(tmp_path)["notes.txt"] == "mine"


@pytest.mark.parametrize("beside", [{}, {"notes.txt": "mine"}])
def test_a_replay_does_not_outlive_the_checkpoint_that_it_belongs_to(tmp_path, beside):
    path = tmp_path / "saved"
    write(path, "first", "learner_group", "replay")
    for name, text in beside.items():
        (path / name).write_text(text)
    write(path, "second", "learner_group")
    assert texts(path) == {METADATA: "second", "learner_group/file": "second", **beside}


def test_a_replay_without_a_checkpoint_is_something_else(tmp_path):
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "file").write_text("mine")
    write(tmp_path, "first", "learner_group")
    assert texts(tmp_path)["replay/file"] == "mine"


class Code:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [b"", b"torn", pickle.dumps(Code())], ids=["", "torn", "code"])
def test_weights_are_read_as_weights_and_nothing_else(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"agent\.pt cannot be read.*another checkpoint"):
        load_agent(tmp_path)
    torch.save({"version": 2, "weights": Code()}, tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="other things than weights"):
        load_agent(tmp_path)
    assert not (tmp_path / "executed").exists()
