"""Callbacks and connectors: told of what happens as RLlib tells of it, and obeyed."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.connectors.env_to_module import EnvToModulePipeline, FlattenObservations
from ray.rllib.connectors.env_to_module.mean_std_filter import MeanStdFilter
from ray.rllib.connectors.env_to_module.observation_preprocessor import (
    SingleAgentObservationPreprocessor,
)
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_lsp import LSPConfig, TaskMetrics
from rllib_lsp.lsp.env_runner import LSPEnvRunner
from tests.rllib.conftest import Match
from tests.rllib.test_env_runner import Fragile

OBSERVATION = "observation.observation"
NAMES = (
    "on_environment_created", "on_episode_created", "on_episode_start", "on_episode_step",
    "on_episode_end", "on_sample_end",
)  # fmt: skip
HEARD = []


def hear(name):
    """A callback that notes who was called with what."""

    def heard(self=None, *, env_runner, metrics_logger, **kwargs):
        episode = kwargs.get("episode")
        samples = [(len(e), e.is_done, e.t_started) for e in kwargs.get("samples", ())]
        chunks = [len(e) for e in kwargs.get("prev_episode_chunks") or ()]
        about = (episode.t, len(episode), episode.is_done) if episode else None
        index = kwargs.get("env_index")
        HEARD.append((name, sorted(kwargs), index, about, chunks, samples))
        if name != "on_environment_created":
            metrics_logger.log_value(name, 1, reduce="sum")

    return heard


Listener = type("Listener", (RLlibCallback,), {name: hear(name) for name in NAMES})


@pytest.fixture
def heard():
    HEARD.clear()
    yield HEARD
    HEARD.clear()


def base(config, envs=2):
    return config.environment(Match).env_runners(
        num_env_runners=0, num_envs_per_env_runner=envs, rollout_fragment_length=8
    )


def lsp(envs=2):
    return base(LSPConfig().training(size="tiny").debugging(seed=0), envs)


def runner_of(config, cls=LSPEnvRunner):
    config.validate()
    return cls(config=config, worker_index=0, num_workers=0)


@pytest.mark.parametrize("mode", ["truncate_episodes", "complete_episodes"])
def test_callbacks_are_called_when_and_with_what_rllib_calls_its_own(heard, mode):
    theirs = runner_of(base(PPOConfig()).callbacks(Listener), SingleAgentEnvRunner)
    if mode == "truncate_episodes":
        for decisions in (8, 2, 14):
            theirs.sample(num_timesteps=2 * decisions)
    else:
        theirs.sample(num_episodes=4)
    expected = list(heard)
    heard.clear()
    ours = runner_of(lsp().callbacks(Listener).env_runners(batch_mode=mode))
    if mode == "truncate_episodes":
        # Each reset between two episodes is a step of the fragment, but no decision.
        for steps in (8, 2, 16):
            ours.sample_fragment(steps)
    else:
        ours.sample(num_episodes=4)
    assert heard == expected
    assert {name for name, *_ in heard} == set(NAMES)


def test_functions_and_classes_side_by_side_also_in_evaluation(heard):
    functions = {"on_episode_end": hear("function"), "on_sample_end": [hear("f"), hear("g")]}
    config = lsp().callbacks([Listener, TaskMetrics], **functions)
    runner = runner_of(config)
    runner.sample(num_episodes=2, explore=False)
    names = [name for name, *_ in heard]
    assert names.count("on_episode_end") == names.count("function") == 2
    assert names[-3:] == ["on_sample_end", "f", "g"]
    assert runner.get_metrics()["on_episode_step"].peek() == 20


class Returns(RLlibCallback):
    def on_episode_end(self, *, episode, prev_episode_chunks, metrics_logger, **kwargs):
        total = sum(chunk.get_return() for chunk in [*prev_episode_chunks, episode])
        metrics_logger.log_value("own_return", total, reduce="max", window=100)


def test_what_is_acted_and_stored_is_the_same_with_and_without_callbacks():
    plain, listening = runner_of(lsp()), runner_of(lsp().callbacks(Returns))
    assert plain._hooks is None
    assert listening._hooks is not None
    for steps in (8, 7, 8):
        expected, _ = plain.sample_fragment(steps)
        actual, metrics = listening.sample_fragment(steps)
        for key, value in expected.rows.items():
            np.testing.assert_array_equal(actual.rows[key], value, err_msg=key)
    assert metrics["own_return"].peek() == pytest.approx(
        metrics["episode_return_max"].peek(), rel=1e-5
    )
    assert metrics["episode_len_mean"].peek() == 10


def test_whole_episodes_are_what_the_fragments_held(heard):
    """With `batch_mode='complete_episodes'` nothing is cut at a fragment's end."""
    episodes = []
    config = lsp(envs=1).env_runners(batch_mode="complete_episodes")
    config.callbacks(on_sample_end=lambda samples, **kwargs: episodes.extend(samples))
    runner = runner_of(config)
    rows = [runner.sample_fragment(8)[0].rows for _ in range(3)]
    joined = {key: np.concatenate([part[key][0] for part in rows]) for key in rows[0]}
    assert [len(episode) for episode in episodes] == [10, 10]
    for number, episode in enumerate(episodes):
        part = slice(11 * number, 11 * number + 11)
        np.testing.assert_array_equal(episode.get_observations(), joined[OBSERVATION][part])
        np.testing.assert_array_equal(episode.get_actions(), joined["action"][part][1:])
        np.testing.assert_allclose(episode.get_rewards(), joined["reward"][part][1:], rtol=1e-6)


def test_task_metrics_cost_nothing_and_count_once():
    config = (
        LSPConfig()
        .environment("rllib_lsp/point-reach-v0")
        .training(size="tiny")
        .callbacks(TaskMetrics)
    )
    runner = runner_of(config)
    assert runner._hooks is None
    _, metrics = runner.sample_fragment(201, "actions")
    assert len(metrics["info"]["success"].values) == 1


def test_what_a_failed_environment_began_is_dropped(heard, monkeypatch):
    config = (
        LSPConfig()
        .environment(Fragile)
        .training(size="tiny")
        .fault_tolerance(restart_failed_sub_environments=True)
        .callbacks(Listener)
    )
    runner = runner_of(config)
    monkeypatch.setattr(Fragile, "fails", True)
    fragment, _ = runner.sample_fragment(6, "actions")
    assert fragment.rows["is_first"][0, 0]
    samples = heard[-1][-1]
    assert samples == [(5, True, 0)]
    assert [name for name, *_ in heard].count("on_environment_created") == 2


class Hundredths(SingleAgentObservationPreprocessor):
    def recompute_output_observation_space(self, observation, action):
        return gym.spaces.Box(-0.01, 0.01, observation.shape, np.float32)

    def preprocess(self, observation, episode):
        return observation / 100


def test_the_agent_sees_and_the_replay_stores_what_connectors_make():
    config = lsp().env_runners(env_to_module_connector=lambda env, spaces, device: Hundredths())
    plain, runner = runner_of(lsp()), runner_of(config)
    assert runner.module.observation_space.high == pytest.approx(0.01)
    seen = []
    act = runner.module.agent.act
    runner.module.agent.act = lambda carry, observation, *rest, **kwargs: (
        seen.append(observation["observation"].numpy().copy())
        or act(carry, observation, *rest, **kwargs)
    )
    raw = plain.sample_fragment(12, "actions")[0].rows
    rows = runner.sample_fragment(12, "actions")[0].rows
    np.testing.assert_allclose(rows[OBSERVATION], raw[OBSERVATION] / 100, rtol=1e-6)
    rows = runner.sample_fragment(12)[0].rows
    np.testing.assert_array_equal(np.stack(seen, 1), rows[OBSERVATION])
    (episode, _) = runner.sample(num_episodes=2)
    assert np.abs(episode.get_observations()).max() <= 0.01


class Where(gym.Env):
    """Observes two vectors; what it was told to do is its reward."""

    observation_space = gym.spaces.Dict(
        {name: gym.spaces.Box(-9, 9, (2,), np.float32) for name in ("place", "speed")}
    )
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, _=None):
        self._step = 0

    def _observation(self):
        return {
            "place": np.full(2, self._step, np.float32),
            "speed": np.full(2, -self._step, np.float32),
        }

    def reset(self, *, seed=None, options=None):
        self._step = 0
        return self._observation(), {}

    def step(self, action):
        self._step += 1
        return self._observation(), float(action[0]), False, self._step == 5, {}


class IntoBatch(ConnectorV2):
    """Flattens, and leaves the episode as it is."""

    def recompute_output_observation_space(self, *spaces):
        return gym.spaces.Box(-9, 9, (4,), np.float32)

    def __call__(self, *, batch, episodes, **kwargs):
        for episode in episodes:
            seen = episode.get_observations(-1)
            flat = np.concatenate([seen["place"], seen["speed"]])
            self.add_batch_item(batch, Columns.OBS, flat, episode)
        return batch


@pytest.mark.parametrize("piece", [FlattenObservations, IntoBatch])
def test_pieces_may_write_into_the_episode_or_into_the_batch(piece):
    config = LSPConfig().environment(Where).training(size="tiny")
    config.env_runners(env_to_module_connector=lambda *_: piece())
    runner = runner_of(config)
    rows = runner.sample_fragment(4)[0].rows
    np.testing.assert_array_equal(rows[OBSERVATION][0], [[t, t, -t, -t] for t in range(4)])


class Gently(ConnectorV2):
    """Halves actions: for all to know, or for the environment only."""

    def __init__(self, secretly):
        super().__init__()
        self.column = Columns.ACTIONS_FOR_ENV if secretly else Columns.ACTIONS

    def __call__(self, *, batch, episodes, **kwargs):
        actions = batch[Columns.ACTIONS]
        batch[self.column] = {key: [0.5 * action for action in actions[key]] for key in actions}
        return batch


@pytest.mark.parametrize("secretly", [False, True])
@pytest.mark.parametrize("random", ["actions", None])
def test_connectors_change_what_is_done_and_remembered(secretly, random):
    config = LSPConfig().environment(Where).training(size="tiny").debugging(seed=0)
    config.env_runners(
        env_to_module_connector=lambda *_: FlattenObservations(),
        module_to_env_connector=lambda env, spaces: Gently(secretly),
    )
    rows = runner_of(config).sample_fragment(6, random)[0].rows
    done, remembered = rows["reward"][0, 1:], rows["action"][0, 1:, 0]
    np.testing.assert_allclose(done, remembered * (0.5 if secretly else 1.0), rtol=1e-6)
    assert np.abs(done).max() > 0
    assert np.abs(done).max() <= 0.5


class Wider(ConnectorV2):
    def __call__(self, *, batch, **kwargs):
        actions = batch[Columns.ACTIONS]
        batch[Columns.ACTIONS] = {key: [np.zeros(2)] for key in actions}
        return batch


def test_actions_of_another_shape_are_refused():
    runner = runner_of(lsp().env_runners(module_to_env_connector=lambda *_: Wider()))
    with pytest.raises(ValueError, match=r"actions of shape \(2,\).*values only"):
        runner.sample_fragment(1)


def pushes(state):
    """How many observations a running filter has seen."""
    return state["env_to_module_connector"]["MeanStdFilter"][None]["running_stats"][0]["num_pushes"]


def test_running_filters_are_merged_evaluated_with_and_saved(build, tmp_path):
    config = (
        lsp()
        .env_runners(
            num_env_runners=2, env_to_module_connector=lambda env, spaces, device: MeanStdFilter()
        )
        .training(batch_size=4, batch_length=8, training_ratio=1.0, learning_starts=50)
        .reporting(min_sample_timesteps_per_iteration=100)
        .evaluation(evaluation_interval=1, evaluation_duration=1)
    )
    algorithm = build(config)
    algorithm.train()
    result = algorithm.train()
    assert np.isfinite(result["learners"]["default_policy"]["world_model_loss"])
    merged = pushes(algorithm.env_runner.get_state())
    assert merged >= 100
    assert np.abs(algorithm.replay.sample(4, 8)[OBSERVATION]).max() > 1.0
    # An evaluation goes on from what training has seen: one reset and 10 steps, in two places.
    algorithm.evaluate()
    assert pushes(algorithm.eval_env_runner.get_state()) == merged + 22
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    algorithm.train()
    assert pushes(algorithm.env_runner.get_state()) > merged
    algorithm.restore_from_path(path)
    assert pushes(algorithm.env_runner.get_state()) == merged
    # RLlib's way to act with connectors outside of an algorithm.
    pipeline = EnvToModulePipeline.from_checkpoint(f"{path}/env_runner/env_to_module_connector")
    assert pushes({"env_to_module_connector": pipeline.get_state()}) == merged


def test_where_no_runner_is_local_evaluation_has_the_filter_of_training(build):
    config = (
        lsp()
        .env_runners(
            num_env_runners=1,
            create_local_env_runner=False,
            env_to_module_connector=lambda env, spaces, device: MeanStdFilter(),
        )
        .training(batch_size=4, batch_length=8, training_ratio=1.0, learning_starts=50)
        .reporting(min_sample_timesteps_per_iteration=100)
        .evaluation(evaluation_duration=1)
    )
    algorithm = build(config)
    algorithm.train()
    algorithm.evaluate()
    assert pushes(algorithm.eval_env_runner.get_state()) > 100
