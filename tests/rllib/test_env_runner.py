"""The env runner: what it records is what happened."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_lsp import LSPConfig
from rllib_lsp.envs import env_seed
from rllib_lsp.envs.resumable import episode_seed
from rllib_lsp.lsp.env_building import build_env
from rllib_lsp.lsp.env_runner import LSPEnvRunner
from tests.rllib.conftest import EPISODE_DECISIONS, REPEAT

OBSERVATION = "observation.observation"


@pytest.fixture
def make_runner(tiny):
    runners = []

    def make(envs=2, worker_index=0):
        config = tiny().env_runners(num_envs_per_env_runner=envs)
        config.validate()
        runners.append(LSPEnvRunner(config=config, worker_index=worker_index, num_workers=0))
        return runners[-1], config

    yield make
    for runner in runners:
        runner.stop()


@pytest.mark.parametrize("random", ["actions", "skills", None])
def test_rows_replay_bit_for_bit_in_a_fresh_environment(make_runner, random):
    """Each row's action, taken in the state before it, brings its observation and reward."""
    runner, config = make_runner()
    steps = EPISODE_DECISIONS + 20
    fragment, _ = runner.sample_fragment(steps, random)
    rows = fragment.rows
    for index in range(2):
        env = build_env(config, config.env_config)
        observation, _ = env.reset(seed=index)
        for step in range(steps):
            if rows["is_first"][index, step]:
                if step:
                    observation, _ = env.reset(seed=episode_seed(index, 1))
                reward, truncated = 0.0, False
                assert not rows["action"][index, step].any()
            else:
                observation, reward, _, truncated, _ = env.step(rows["action"][index, step])
            np.testing.assert_array_equal(rows[OBSERVATION][index, step], observation)
            assert rows["reward"][index, step] == np.float32(reward)
            assert rows["truncated"][index, step] == truncated
            assert not rows["terminated"][index, step]
        env.close()


def test_decisions_and_frames_count_what_the_simulator_did(make_runner):
    runner, _ = make_runner()
    fragment, metrics = runner.sample_fragment(EPISODE_DECISIONS + 10, "actions")
    resets = fragment.rows["is_first"].sum() - 2
    assert resets == 2
    # The last row's action is executed too, and the reset after an episode is no decision.
    assert fragment.decisions == 2 * (EPISODE_DECISIONS + 10) - resets
    assert fragment.frames == REPEAT * fragment.decisions
    assert metrics["num_frames_sampled_lifetime"].peek() == fragment.frames
    assert metrics["num_env_steps_sampled_lifetime"].peek() == fragment.decisions
    assert metrics["episode_len_mean"].peek() == EPISODE_DECISIONS


def test_skills_are_held_and_replanned_at_episode_starts(make_runner):
    runner, config = make_runner()
    duration = config.settings().skills.longest
    first, _ = runner.sample_fragment(EPISODE_DECISIONS + 3 * duration)
    rows = first.rows
    ended = rows["terminated"] | rows["truncated"]
    assert ended.sum() == 2
    for index in range(2):
        since = 0
        for step in range(rows["reward"].shape[1]):
            since = 0 if rows["is_first"][index, step] else since
            plan, before = rows["plan_mean"][index, step], rows["plan_mean"][index, step - 1]
            if step:
                assert np.array_equal(plan, before) == (since % duration != 0)
            # Nothing carries out what is planned in an ended episode, so it is no lesson.
            is_lesson = since % duration == 0 and not ended[index, step]
            assert rows["planned"][index, step] == is_lesson
            since += 1


def test_every_environment_of_every_runner_starts_differently(make_runner):
    starts = []
    for worker in (0, 1, 2):
        runner, _ = make_runner(envs=3, worker_index=worker)
        fragment, _ = runner.sample_fragment(1, "actions")
        starts += [tuple(row) for row in fragment.rows[OBSERVATION][:, 0]]
    assert len(set(starts)) == 9
    again, _ = make_runner(envs=3, worker_index=1)
    fragment, _ = again.sample_fragment(1, "actions")
    assert [tuple(row) for row in fragment.rows[OBSERVATION][:, 0]] == starts[3:6]


def test_same_seed_same_fragment(make_runner):
    torch.manual_seed(0)
    runs = []
    for _ in range(2):
        runner, _ = make_runner()
        torch.manual_seed(1)
        for parameter in runner.module.agent.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        runs.append(runner.sample_fragment(25)[0].rows)
    for key, value in runs[0].items():
        np.testing.assert_array_equal(value, runs[1][key], err_msg=key)


def test_sample_gives_whole_episodes_in_rllibs_form(make_runner):
    runner, _ = make_runner()
    episodes = runner.sample(num_episodes=2, explore=False)
    assert [len(episode) for episode in episodes] == [EPISODE_DECISIONS] * 2
    assert all(episode.is_truncated and not episode.is_terminated for episode in episodes)
    metrics = runner.get_metrics()
    mean = np.mean([episode.get_return() for episode in episodes])
    assert metrics["episode_return_mean"].peek() == pytest.approx(mean, rel=1e-5)
    assert episodes[0].get_observations().shape == (EPISODE_DECISIONS + 1, 5)


def test_sample_by_timesteps_gives_chunks(make_runner):
    runner, _ = make_runner()
    chunks = runner.sample(num_timesteps=30, explore=True)
    assert sum(len(chunk) for chunk in chunks) == 30
    assert not any(chunk.is_done for chunk in chunks)


@pytest.mark.parametrize("number", [16, 48])
def test_any_checkpoint_is_taken_over(make_runner, number):
    """RLlib would skip weights whose number is not higher than the runner's own."""
    runner, _ = make_runner()
    state = runner.get_state()
    weights = {key: value + 1.0 for key, value in state["rl_module"].items()}
    runner._weights_seq_no = 48
    runner.set_state({"rl_module": weights, "weights_seq_no": number})
    assert runner._weights_seq_no == number
    for key, value in runner.module.get_state().items():
        np.testing.assert_array_equal(value, weights[key], err_msg=key)


def test_runners_hold_only_what_acting_needs(make_runner):
    runner, _ = make_runner()
    assert "world_model" in repr(runner.module)
    names = {key.split(".")[1] for key in runner.module.get_state()}
    assert names == {"world_model", "policy", "value", "skill_prior"}
    assert not any("decoder" in key or "slow" in key for key in runner.module.get_state())


def test_what_a_task_says_of_an_episode_is_logged():
    """Success, distance and coverage of the navigation tasks."""
    config = LSPConfig().environment("rllib_lsp/point-reach-v0").training(size="tiny")
    config.validate()
    runner = LSPEnvRunner(config=config, worker_index=0, num_workers=0)
    _, metrics = runner.sample_fragment(201, "actions")
    runner.stop()
    info = {key: value.peek() for key, value in metrics["info"].items()}
    assert info["success"] in (0.0, 1.0)
    assert info["visited_cells"] >= 1
    assert info["path_length"] > 0
    assert info["final_distance"] == info["distance"]
    assert "frames" not in info


class Says(gym.Env):
    """Ends at once, and says numbers of other types in its first instance than in the next."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    made = 0

    def __init__(self, _=None):
        self._number, Says.made = Says.made, Says.made + 1

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        score = [0, 0.5][self._number % 2]
        info = {"score": score, "near": np.float32(score) > 0.1, "name": "x"}
        return np.zeros(1, np.float32), 0.0, True, False, info


def test_numbers_of_every_type_are_logged():
    config = LSPConfig().environment(Says).training(size="tiny")
    config.env_runners(num_envs_per_env_runner=2).validate()
    Says.made = 0
    runner = LSPEnvRunner(config=config, worker_index=0, num_workers=0)
    _, metrics = runner.sample_fragment(1, "actions")
    runner.stop()
    logged = {key: value.peek() for key, value in metrics["info"].items()}
    assert logged == {"score": 0.25, "near": 0.5}


class Fragile(gym.Env):
    """Observes its step, ends by its task after 5, and raises once when `fails` says so."""

    observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    fails = False
    seeds: ClassVar[list[int | None]] = []

    def __init__(self, _=None):
        self._step = 0

    def reset(self, *, seed=None, options=None):
        self._step = 0
        Fragile.seeds.append(seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._step += 1
        if Fragile.fails and self._step == 3:
            Fragile.fails = False
            raise RuntimeError("the cable came off")
        observation = np.array([self._step], np.float32)
        nested = {"r": 1.0, "text": "x"}
        return observation, 1.0, self._step == 5, False, {"nested": nested, "half": 0.5}


def fragile_runner(**options):
    config = LSPConfig().environment(Fragile).training(size="tiny").fault_tolerance(**options)
    config.debugging(seed=3).validate()
    return LSPEnvRunner(config=config, worker_index=0, num_workers=0)


def test_the_end_of_a_task_is_terminated_and_the_next_row_is_first():
    runner = fragile_runner()
    fragment, metrics = runner.sample_fragment(12, "actions")
    rows = fragment.rows
    np.testing.assert_array_equal(rows[OBSERVATION][0, :, 0], [0, 1, 2, 3, 4, 5] * 2)
    np.testing.assert_array_equal(
        rows["terminated"][0], [False] * 5 + [True] + [False] * 5 + [True]
    )
    np.testing.assert_array_equal(rows["is_first"][0], ([True] + [False] * 5) * 2)
    np.testing.assert_array_equal(rows["reward"][0], [0, 1, 1, 1, 1, 1] * 2)
    assert not rows["truncated"].any()
    assert fragment.decisions == 10
    assert {key: value.peek() for key, value in metrics["info"].items()} == {"half": 0.5}


def test_after_an_exception_a_runner_begins_anew_and_its_fragments_do_not_join(monkeypatch):
    runner = fragile_runner()
    first, _ = runner.sample_fragment(2, "actions")
    monkeypatch.setattr(Fragile, "fails", True)
    with pytest.raises(RuntimeError):
        runner.sample_fragment(4, "actions")
    after, _ = runner.sample_fragment(4, "actions")
    assert after.number == first.number + 2
    assert after.rows["is_first"][0, 0]
    np.testing.assert_array_equal(after.rows[OBSERVATION][0, :, 0], [0, 1, 2, 3])


def test_a_failed_environment_is_rebuilt_if_so_configured(monkeypatch):
    runner = fragile_runner(restart_failed_sub_environments=True)
    first, _ = runner.sample_fragment(2, "actions")
    monkeypatch.setattr(Fragile, "fails", True)
    monkeypatch.setattr(Fragile, "seeds", [])
    after, _ = runner.sample_fragment(4, "actions")
    # And plays other episodes than it has.
    assert Fragile.seeds == [env_seed(runner.config.seed, 0, runner.num_envs)]
    assert after.number > first.number + 1
    np.testing.assert_array_equal(after.rows[OBSERVATION][0, :, 0], [0, 1, 2, 3])
    again, _ = runner.sample_fragment(2, "actions")
    assert again.number == after.number + 1
    np.testing.assert_array_equal(again.rows[OBSERVATION][0, :, 0], [4, 5])


def test_evaluations_see_new_starts_every_time(make_runner):
    runner, _ = make_runner(envs=1)
    starts = [runner.sample(num_episodes=1)[0].get_observations(0) for _ in range(2)]
    assert not np.array_equal(*starts)
