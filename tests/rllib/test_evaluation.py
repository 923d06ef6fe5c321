"""Evaluation in every place where RLlib offers it."""

import os
import time

import numpy as np
import pytest
import torch

from rllib_lsp.lsp.environments import EVALUATION_SEED
from tests.rllib.conftest import Match


def planner_of(runner):
    planner = runner.module.agent.settings.planner
    return planner.candidates, planner.iterations, runner.config.explore, runner._seed


@pytest.mark.parametrize("parallel", [False, True])
def test_remote_evaluation_plans_as_it_is_told(build, tiny, tmp_path, parallel):
    config = tiny(training_ratio=1.0).evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=1,
        evaluation_parallel_to_training=parallel,
        evaluation_duration=2,
        evaluation_duration_unit="episodes",
        evaluation_config={"explore": False, "planner": {"candidates": 24}},
    )
    config.training(planner={"iterations": 1})
    algorithm = build(config)
    result = algorithm.train()
    evaluated = result["evaluation"]["env_runners"]
    assert np.isfinite(evaluated["episode_return_mean"])
    assert evaluated["num_episodes"] == 2
    (found,) = algorithm.eval_env_runner_group.foreach_env_runner(
        planner_of, local_env_runner=False
    )
    # Options merge: what evaluation does not say is as in training.
    assert found[:3] == (24, 1, False)
    assert found[3] > EVALUATION_SEED
    assert planner_of(algorithm.env_runner)[:3] == (8, 1, True)
    # It acts with what was learned.
    algorithm.evaluate()
    (acting,) = algorithm.eval_env_runner_group.foreach_env_runner(
        lambda runner: runner.module.agent.policy.state_dict(), local_env_runner=False
    )
    for key, value in algorithm.get_module().agent.policy.state_dict().items():
        np.testing.assert_array_equal(acting[key], value)
    # And is no hindrance to checkpoints.
    decisions = algorithm.progress["decisions"]
    again = build(config)
    again.restore_from_path(algorithm.save_to_path(tmp_path / "checkpoint"))
    assert again.progress["decisions"] == decisions
    assert again.evaluate()["env_runners"]["num_episodes"] == 2


def test_evaluation_alone(build, tiny):
    """`evaluate()` on demand, without an interval, in the main process."""
    algorithm = build(tiny().evaluation(evaluation_duration=3, evaluation_duration_unit="episodes"))
    algorithm.env_runner.sample_fragment(5)
    noise = algorithm.env_runner._generator.get_state()
    first = algorithm.evaluate()["env_runners"]
    assert first["num_episodes"] == 3
    assert algorithm.progress["decisions"] == 0
    # The runner that trains goes on with what it was about.
    assert not algorithm.eval_env_runner.config.explore
    assert not algorithm.env_runner._needs_initial_reset
    assert torch.equal(algorithm.env_runner._generator.get_state(), noise)
    assert algorithm.evaluate()["env_runners"]["num_episodes"] == 3


def test_a_lost_evaluation_runner_is_replaced(build, tiny):
    config = tiny(training_ratio=1.0).evaluation(
        evaluation_interval=1, evaluation_num_env_runners=1, evaluation_duration=2
    )
    algorithm = build(config)
    algorithm.train()
    group = algorithm.eval_env_runner_group
    group.foreach_env_runner(
        lambda _: os._exit(1), local_env_runner=False, remote_worker_ids=[1], timeout_seconds=60
    )
    assert group.healthy_worker_ids() == []
    until = time.monotonic() + 120
    while group.healthy_worker_ids() == []:
        assert time.monotonic() < until
        algorithm.train()
    # RLlib repeats the last results meanwhile; these are the new runner's.
    assert algorithm.evaluate()["env_runners"]["num_episodes"] == 2
    assert group.foreach_env_runner(lambda one: one._fragments, local_env_runner=False)[0] > 0


@pytest.mark.parametrize(("unit", "duration"), [("timesteps", 30), ("episodes", "auto")])
def test_evaluation_beside_training_lasts_as_long_as_is_asked(build, tiny, unit, duration):
    config = tiny().environment(Match).reporting(min_sample_timesteps_per_iteration=1000)
    config.evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=1,
        evaluation_parallel_to_training=True,
        evaluation_duration=duration,
        evaluation_duration_unit=unit,
        # RLlib drops what arrives after the iteration has ended.
        evaluation_auto_duration_min_env_steps_per_sample=10,
    )
    evaluated = build(config).train()["evaluation"]["env_runners"]
    # Episodes of ten steps; whole ones are counted.
    assert evaluated["num_env_steps_sampled"] >= 30
    assert np.isfinite(evaluated["episode_return_mean"])
