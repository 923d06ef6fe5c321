"""What goes wrong in a long run: environments, runners, learners, disks and stores."""

import os
import resource
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
import ray
import torch
from ray import tune
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_lsp import LSP, load_agent
from rllib_lsp.lsp import remote_sampling

HANGS_S = 15.0


class Faulty(gym.Env):
    """Counts its steps; does what the file `fault` in its folder says, once, in runner 1."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, context):
        self._order = context["folder"] / "fault"
        self._listens = context.worker_index == context.get("worker", 1)
        self._step = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step = 0
        if self._listens:
            with (self._order.parent / "seeds").open("a") as seeds:
                seeds.write(f"{seed}\n")
            if self._order.exists() and self._order.read_text() == "gone":
                raise OSError("the robot is gone")
        return self._observation(), {}

    def _observation(self):
        return np.array([self._step, 1.0], np.float32)

    def step(self, action):
        self._step += 1
        observation, reward = self._observation(), 0.5
        match self._fault():
            case "raises":
                raise OSError("the robot is gone")
            case "hangs":
                time.sleep(10_000)
            case "dies":
                os._exit(1)
            case "NaN":
                observation[0] = np.nan
            case "inf":
                reward = np.inf
            case "shape":
                observation = np.zeros(5, np.float32)
        return observation, reward, False, self._step == 40, {}

    def _fault(self):
        if not self._listens or not self._order.exists():
            return None
        fault = self._order.read_text()
        lasts = fault in ("always", "gone")
        if not lasts:
            self._order.unlink()
        return "raises" if lasts else fault


def order(folder, fault):
    (folder / "part").write_text(fault)
    (folder / "part").rename(folder / "fault")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def algorithm(ray_session, folder):
    """Two remote runners of two environments each, kept over all faults: each test has to leave it
    in order."""
    from tests.rllib.conftest import tiny_config

    config = (
        tiny_config()
        .environment(Faulty, env_config={"folder": folder})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2, sample_timeout_s=HANGS_S)
    )
    built = config.build_algo()
    yield built
    built.stop()


def windows_are_whole(replay):
    """In a window the environment's count goes up by one, or starts again at a first row."""
    windows = replay.sample(256, 16)
    count = windows["observation.observation"][..., 0]
    rises = np.diff(count, axis=1) == 1
    assert (rises | windows["is_first"][:, 1:]).all()
    assert (count[windows["is_first"]] == 0).all()
    assert np.isfinite(windows["reward"]).all()


def no_episode_comes_twice(folder):
    seeds = (folder / "seeds").read_text().split()
    assert len(seeds) == len(set(seeds)) > 1


@pytest.mark.parametrize("fault", ["raises", "NaN", "inf", "shape", "dies", "hangs"])
def test_training_goes_on_when_an_environment(algorithm, folder, fault):
    algorithm.train()
    before = algorithm.progress["decisions"]
    order(folder, fault)
    begin = time.monotonic()
    group = algorithm.env_runner_group
    while (folder / "fault").exists() or group.num_healthy_remote_workers() < 2:
        algorithm.train()
        assert time.monotonic() - begin < 120
    # The other runner has gone on; now this one is back, too.
    seen = algorithm._next_fragment.copy()
    while algorithm._next_fragment[1] == seen[1]:
        result = algorithm.train()
        assert time.monotonic() - begin < 120
    assert algorithm.progress["decisions"] > before
    assert result["replay"]["training_ratio"] == pytest.approx(4.0, rel=0.1)
    windows_are_whole(algorithm.replay)
    no_episode_comes_twice(folder)


@pytest.mark.parametrize("fault", ["always", "gone"])
@pytest.mark.parametrize("runners", [0, 1])
def test_environments_that_always_fail_end_the_run(build, tiny, tmp_path, runners, fault):
    config = (
        tiny()
        .environment(Faulty, env_config={"folder": tmp_path, "worker": runners})
        .env_runners(num_env_runners=runners)
        .fault_tolerance(
            restart_failed_sub_environments=True, num_consecutive_env_runner_failures_tolerance=3
        )
    )
    algorithm = build(config)
    order(tmp_path, fault)
    with pytest.raises(RuntimeError, match=r"failed (in 4 (steps|resets)|one after the other)"):
        algorithm.train()
    # Each time they began elsewhere: what failed may hang on the seed.
    assert len(set((tmp_path / "seeds").read_text().split()[:4])) == 4


@pytest.mark.parametrize("restarts", [True, False])
def test_when_the_last_runner_is_gone_for_good_the_run_ends(build, tiny, monkeypatch, restarts):
    monkeypatch.setattr(remote_sampling, "ALONE_S", 2.0)
    config = tiny().env_runners(num_env_runners=1)
    config.fault_tolerance(
        restart_failed_env_runners=restarts, ignore_env_runner_failures=not restarts
    )
    algorithm = build(config)
    algorithm.train()
    for actor in algorithm.env_runner_group._worker_manager.actors().values():
        ray.kill(actor, no_restart=True)
    with pytest.raises(RuntimeError, match="All 1 env runners are out of service"):
        algorithm.train()


def test_runners_do_not_go_on_behind_a_checkpoint_that_is_restored_beside_them(
    algorithm, folder, tmp_path
):
    algorithm.train()
    algorithm.save_to_path(tmp_path)
    algorithm.train()
    algorithm.restore_from_path(tmp_path)
    algorithm.train()
    windows_are_whole(algorithm.replay)
    no_episode_comes_twice(folder)


def test_what_was_asked_of_a_runner_before_it_was_restarted_is_forgotten(algorithm, folder):
    """Who notices that it died need not be who asked for samples."""
    group = algorithm.env_runner_group
    algorithm._remote.ask({"steps": 1})
    group.foreach_env_runner(
        lambda _: os._exit(1), local_env_runner=False, remote_worker_ids=[1], timeout_seconds=60
    )
    assert group.healthy_worker_ids() == [2]
    until = time.monotonic() + 120
    while group.healthy_worker_ids() != [1, 2]:
        assert time.monotonic() < until
        algorithm.restore_env_runners(group)
    assert not algorithm._remote._asked.get(1)
    algorithm.train()
    windows_are_whole(algorithm.replay)


def test_who_is_late_has_time_to_hand_in_what_it_did_while_nobody_asked(algorithm):
    algorithm.train()
    remote, who = algorithm._remote, {}
    for stage in ("before", "after"):
        actors = algorithm.env_runner_group._worker_manager.actors()
        who[stage] = ray.get(actors[1].ping.remote()), actors[1]._actor_id
        remote._asked[1] = [time.monotonic() - 2 * HANGS_S]
        remote._restart_who_hangs()
    assert remote._late.keys() == {1}
    assert who["before"] == who["after"]
    remote._asked[1] = []
    remote._restart_who_hangs()
    assert not remote._late


class KillsTheLearner(RLlibCallback):
    """Once, after the third iteration."""

    def on_train_result(self, *, algorithm, result, **kwargs):
        marker = algorithm.config.env_config["folder"] / "killed"
        if algorithm.iteration == 3 and not marker.exists():
            marker.touch()
            algorithm.learner_group.foreach_learner(lambda _: os._exit(1))


def test_a_killed_learner_costs_what_came_after_the_last_checkpoint(ray_session, tiny, tmp_path):
    config = (
        tiny()
        .environment(Faulty, env_config={"folder": tmp_path})
        .learners(num_learners=1)
        .callbacks(KillsTheLearner)
        .debugging(seed=None)
    )
    results = tune.Tuner(
        "LSP",
        param_space=config,
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "results"),
            stop={"training_iteration": 4},
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            verbose=0,
        ),
    ).fit()
    assert (tmp_path / "killed").exists()
    assert not results.errors
    (result,) = results
    assert result.metrics["training_iteration"] == 4
    history = result.metrics_dataframe["replay/rows"].tolist()
    # The replay goes on from the checkpoint of the second or third iteration, not from nothing.
    assert history == sorted(history)
    assert history[-1] >= 800


def full_disk():
    """No file may grow beyond this: write() fails, as where no space is left. Gives the limits
    before."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    return before


def test_a_full_disk_spoils_no_checkpoint_and_no_training(build, tiny, tmp_path):
    algorithm = build(tiny())
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "saved")
    kept = len(algorithm.replay)
    algorithm.train()
    before = full_disk()
    try:
        with pytest.raises(OSError, match="File too large"):
            algorithm.save_to_path(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]
    restored = LSP.from_checkpoint(path)
    assert len(restored.replay) == kept
    restored.stop()
    algorithm.train()
    algorithm.save_to_path(path)
    assert np.load(tmp_path / "saved" / "replay" / "reward.npy").shape == (len(algorithm.replay),)


def test_a_learner_that_cannot_write_spoils_no_checkpoint(build, tiny, tmp_path):
    """RLlib would go on without it, and write checkpoints without weights."""
    algorithm = build(tiny().learners(num_learners=1))
    path = algorithm.save_to_path(tmp_path / "saved")
    algorithm.learner_group.foreach_learner(lambda _: full_disk())
    with pytest.raises(RuntimeError, match="1 of 1 learners failed while a checkpoint was writ"):
        algorithm.save_to_path(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]
    load_agent(tmp_path / "saved/learner_group/learner/rl_module/default_policy")
    with pytest.raises(RuntimeError, match="learners failed in an update"):
        algorithm.train()


SMALL_STORE = """
import gymnasium as gym
import numpy as np
import ray
from rllib_lsp import LSPConfig

class Pictures(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (128, 128, 12), np.uint8)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    step_number = 0

    def __init__(self, _):
        pass

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.picture = self.np_random.integers(0, 255, (128, 128, 12), np.uint8)
        return self.picture, {}

    def step(self, action):
        self.step_number += 1
        return self.picture, 0.0, False, self.step_number % 50 == 0, {}

ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
config = (
    LSPConfig()
    .environment(Pictures)
    .env_runners(num_env_runners=1, rollout_fragment_length=150)
    .training(size="tiny", batch_size=2, batch_length=8, training_ratio=0.1, replay_capacity=2000)
    .training(behaviour={"starts": 8, "horizon": 10}, learning_starts=600)
    .reporting(min_sample_timesteps_per_iteration=600)
)
algorithm = config.build_algo()
# 29 MB a fragment; while the driver is busy elsewhere, answers pile up in the store.
algorithm._remote.ask(algorithm._request())
filler = [ray.put(np.random.bytes(20_000_000)) for _ in range(3)]
algorithm.train()
print(algorithm.progress["decisions"], algorithm.replay.nbytes / 1e6)
"""


def test_rows_arrive_through_a_store_that_is_too_small_for_them(tmp_path):
    """Rows of 197 kB in fragments of 29 MB, beside other things: Ray moves them to the disk."""
    script = tmp_path / "small_store.py"
    script.write_text(SMALL_STORE)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    decisions, megabytes = map(float, done.stdout.split()[-2:])
    assert decisions >= 600
    assert megabytes > 100


def test_a_part_whose_gradient_is_nan_is_left_alone_and_then_ends_the_run(build, tiny):
    algorithm = build(tiny())
    algorithm.train()
    agent = algorithm.learner_group._learner.module["default_policy"].agent
    with torch.no_grad():
        agent.value.network[-1].weight.fill_(np.nan)
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"10 updates in a row.*learning rate"):
        algorithm.train()
    after = agent.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    # The policy learns from the value, the model does not.
    assert not [key for key in changed if key.startswith("policy.")]
    assert [key for key in changed if key.startswith("world_model.rssm.")]
    assert all(after[key].isfinite().all() for key in after if key.startswith("world_model."))
