"""Episodes on disk: RLlib reads what LSP records, and LSP what RLlib recorded."""

import pathlib

import gymnasium as gym
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.offline.offline_env_runner import OfflineSingleAgentEnvRunner
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

from rllib_lsp import LSP, LSPConfig
from rllib_lsp.lsp.env_runner import LSPEnvRunner
from rllib_lsp.lsp.offline import find_files, to_rows
from rllib_lsp.lsp.recording import pack, unpack
from tests.rllib.conftest import Match

OBSERVATION = "observation.observation"


class Reach(Match):
    """`Match` in units of its own: actions in [-3, 5]."""

    action_space = gym.spaces.Box(-3.0, 5.0, (1,), np.float32)


def config_of(env=Match, **options):
    config = LSPConfig().environment(env).env_runners(num_envs_per_env_runner=2)
    options = {"batch_size": 4, "batch_length": 8, "learning_starts": 20} | options
    return (
        config.training(size="tiny", training_ratio=2.0, **options)
        .reporting(min_sample_timesteps_per_iteration=40)
        .debugging(seed=0)
    )


def record(path, fragments=(12, 12, 12, 12), **options):
    """Two environments of 10 steps; returns the rows of all fragments."""
    config = config_of().offline_data(output=str(path), **options)
    config.validate()
    runner = LSPEnvRunner(config=config, worker_index=0, num_workers=0)
    rows = [runner.sample_fragment(steps)[0].rows for steps in fragments]
    runner.stop()
    return {key: np.concatenate([part[key] for part in rows], 1) for key in rows[0]}


def test_whole_episodes_are_written_as_they_were_and_only_those(tmp_path):
    rows = record(tmp_path, output_max_rows_per_file=3)
    files = find_files([str(tmp_path)])
    counts = [pyarrow.parquet.ParquetFile(file).metadata.num_rows for file in files]
    assert sorted(counts) == [2, 3, 3]
    episodes = list(unpack(files))
    # 48 vector steps: four episodes of 10 decisions and a reset in each environment.
    assert [len(episode) for episode in episodes] == [10] * 8
    assert all(episode.is_done for episode in episodes)
    starts = {tuple(episode.get_observations(0)): episode for episode in episodes}
    for index in range(2):
        for begin in range(0, 44, 11):
            part = slice(begin, begin + 11)
            episode = starts[tuple(rows[OBSERVATION][index, begin])]
            observed = np.asarray(episode.get_observations())
            np.testing.assert_array_equal(observed, rows[OBSERVATION][index, part])
            actions = np.asarray(episode.get_actions())
            np.testing.assert_array_equal(actions, rows["action"][index, part][1:])


def test_an_episode_becomes_the_rows_that_a_runner_would_have_written(tmp_path):
    rows = record(tmp_path)
    spaces = (Match.observation_space, Match.action_space)
    read = {}
    for episode in unpack(find_files(str(tmp_path))):
        one = to_rows(episode, spaces, normalized=False)
        read[tuple(one[OBSERVATION][0])] = one
    assert len(read) == 8
    one = read[tuple(rows[OBSERVATION][1, 11])]
    assert set(one) == {OBSERVATION, "action", "reward", "is_first", "terminated"}
    for key, value in one.items():
        assert value.dtype == rows[key].dtype
        np.testing.assert_allclose(value, rows[key][1, 11:22], atol=1e-6, err_msg=key)


def episode_of(actions, space, observation=1):
    steps = len(actions)
    return SingleAgentEpisode(
        observations=[np.full(observation, t, np.float32) for t in range(steps + 1)],
        actions=list(actions),
        rewards=[1.0] * steps,
        terminated=True,
        observation_space=gym.spaces.Box(-9, 9, (observation,), np.float32),
        action_space=space,
        len_lookback_buffer=0,
    )


def test_actions_in_units_of_the_environment_are_scaled():
    episode = episode_of(np.array([[-3.0], [1.0], [5.0], [7.0]], np.float32), Reach.action_space)
    spaces = (Match.observation_space, Match.action_space)
    scaled = to_rows(episode, spaces, normalized=False)
    np.testing.assert_allclose(scaled["action"], [[0], [-1], [0], [1], [1]])
    np.testing.assert_array_equal(scaled["terminated"], [False] * 4 + [True])
    np.testing.assert_array_equal(scaled["reward"], [0, 1, 1, 1, 1])
    kept = to_rows(episode, spaces, normalized=True)
    np.testing.assert_allclose(kept["action"], [[0], [-1], [1], [1], [1]])


def test_episodes_of_a_users_own_may_name_no_space():
    spaces = (Match.observation_space, Match.action_space)
    episode = episode_of(np.array([[0.5], [-1.0]], np.float32), None)
    np.testing.assert_allclose(to_rows(episode, spaces, True)["action"], [[0], [0.5], [-1]])
    with pytest.raises(ValueError, match="need actions_in_input_normalized=True"):
        to_rows(episode, spaces, False)


@pytest.mark.parametrize("named", [True, False])
def test_choices_become_one_hot(named):
    space = gym.spaces.Discrete(3)
    episode = episode_of([2, 0], space if named else None)
    rows = to_rows(episode, (Match.observation_space, space), normalized=False)
    np.testing.assert_array_equal(rows["action"], [[0, 0, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("episode", "parts"),
    [
        (
            episode_of(np.zeros((2, 1), np.float32), Match.action_space, observation=3),
            ["observation (3,)", "observation (1,)", "same wrappers"],
        ),
        (episode_of([0, 1], gym.spaces.Discrete(2)), ["Discrete(2)", "Box(-1.0, 1.0, (1,)"]),
        (
            episode_of(np.zeros((2, 2), np.float32), gym.spaces.Box(-1, 1, (2,), np.float32)),
            ["Box(-1.0, 1.0, (2,)", "Box(-1.0, 1.0, (1,)"],
        ),
    ],
)
def test_episodes_of_other_spaces_are_refused(episode, parts):
    with pytest.raises(ValueError, match="ecorded") as caught:
        to_rows(episode, (Match.observation_space, Match.action_space), normalized=False)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("where", ["observations", "actions", "rewards"])
def test_episodes_with_nan_are_refused_by_name(where):
    episode = episode_of(np.zeros((3, 1), np.float32), Match.action_space)
    getattr(episode, where)[1] = np.full_like(getattr(episode, where)[1], np.nan)
    with pytest.raises(ValueError, match=rf"{episode.id_} has NaN .* {where[:-1]} of step 1"):
        to_rows(episode, (Match.observation_space, Match.action_space), normalized=False)


def test_infos_of_any_kind_can_be_recorded(tmp_path):
    episode = SingleAgentEpisode()
    episode.add_env_reset(np.zeros(1, np.float32), {})
    info = {"success": True, "where": np.ones(2), "model": object()}
    episode.add_env_step(np.zeros(1, np.float32), 0, 1.0, info, truncated=True)
    pyarrow.parquet.write_table(pyarrow.table({"item": [pack(episode)]}), tmp_path / "a.parquet")
    (read,) = unpack(find_files(str(tmp_path)))
    last = read.get_infos(-1)
    assert last["success"] is True
    np.testing.assert_array_equal(last["where"], np.ones(2))
    assert "object" in last["model"]


def test_files_without_episodes_are_named(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"obs": [1.0]}), tmp_path / "columns.parquet")
    with pytest.raises(ValueError, match=r"columns.parquet holds no episodes.*obs"):
        list(unpack(find_files(str(tmp_path))))


@pytest.mark.usefixtures("ray_session")
def test_rllibs_behaviour_cloning_trains_on_what_lsp_recorded(build, tmp_path):
    record(tmp_path)
    config = (
        BCConfig()
        .environment(observation_space=Match.observation_space, action_space=Match.action_space)
        .offline_data(
            input_=[str(tmp_path)],
            input_read_episodes=True,
            input_read_batch_size=8,
            dataset_num_iters_per_learner=2,
        )
        .training(train_batch_size_per_learner=32)
    )
    result = build(config).train()
    assert np.isfinite(result["learners"]["default_policy"]["policy_loss"])


def recorded_by_ppo(path, env):
    """RLlib's own recording of a few episodes of an untrained PPO, without an algorithm."""
    config = (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=0, batch_mode="complete_episodes")
        .offline_data(output=str(path), output_write_episodes=True, output_max_rows_per_file=4)
    )
    runner = OfflineSingleAgentEnvRunner(config=config, worker_index=0, num_workers=0)
    episodes = runner.sample(num_episodes=4)
    runner.stop()
    return episodes


def test_pre_training_from_ppos_episodes_then_online_and_restored(build, tmp_path):
    recorded_by_ppo(tmp_path / "ppo", Reach)
    config = config_of(Reach).offline_data(
        input_=[str(tmp_path / "ppo")],
        actions_in_input_normalized=True,
        offline_updates=3,
        dataset_num_iters_per_learner=2,
        output=str(tmp_path / "own"),
    )
    algorithm = build(config)
    assert len(algorithm.replay) == 44
    before = algorithm.get_module().get_state()
    for updates in (2, 3):
        result = algorithm.train()
        assert algorithm.progress["updates"] == updates
        assert result["num_env_steps_sampled_lifetime"] == 0
        assert result["replay"]["training_ratio"] == 0
    for name in ("world_model_loss", "policy_loss", "value_loss", "skill_predictor_loss"):
        assert np.isfinite(result["learners"]["default_policy"][name])
    # Runners act with what was learned from recordings.
    after = algorithm.get_module().get_state()
    assert any(not np.array_equal(before[key], value) for key, value in after.items())
    result = algorithm.train()
    assert result[ENV_RUNNER_RESULTS]["num_env_steps_sampled_lifetime"] >= 40
    assert len(algorithm.replay) >= 44 + 40
    online = (algorithm.progress["updates"] - 3) * 32
    ratio = result["replay"]["training_ratio"]
    assert ratio == pytest.approx(online / algorithm.progress["decisions"])
    assert 1.2 < ratio <= 2.0
    # A checkpoint holds the replay: it needs the recordings no more.
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    for file in find_files([str(tmp_path / "ppo")]):
        file.unlink()
    restored = LSP.from_checkpoint(path)
    try:
        assert len(restored.replay) == len(algorithm.replay)
        assert not restored.learns_offline
    finally:
        restored.stop()


def test_offline_only_never_acts_and_is_evaluated(build, tmp_path, monkeypatch):
    record(tmp_path / "episodes")
    # As in a trial of Ray Tune, whose own directory is elsewhere.
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(tmp_path))
    config = LSPConfig().update_from_dict(
        config_of().to_dict() | {"input": "episodes", "offline_only": True}
    )
    algorithm = build(config.evaluation(evaluation_interval=1, evaluation_duration=2))
    result = algorithm.train()
    # Without a number, an iteration is an epoch: 88 rows in batches of 32.
    assert algorithm.progress["updates"] == 3
    assert algorithm.progress["decisions"] == result["replay"]["training_ratio"] == 0
    assert len(algorithm.replay) == 88
    assert np.isfinite(result["evaluation"][ENV_RUNNER_RESULTS]["episode_return_mean"])
    assert Columns.OBS not in algorithm.replay.sample(1, 4)


def test_more_episodes_than_the_replay_holds_are_refused(build, tmp_path):
    record(tmp_path)
    config = config_of(replay_capacity=50).offline_data(input_=str(tmp_path))
    with pytest.raises(ValueError, match="raise replay_capacity, which is 50"):
        build(config)


def test_a_relative_output_is_one_of_where_tune_was_started(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(tmp_path))
    config = config_of().update_from_dict({"output": "recorded"})
    config.validate()
    assert pathlib.Path(config.output) == tmp_path / "recorded"
    again = config.copy(copy_frozen=False)
    again.validate()
    assert again.output == config.output
