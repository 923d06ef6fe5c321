"""`LSP` as users run it: real actors, real checkpoints on disk."""

import os
import time

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS
from ray.rllib.utils.test_utils import check_train_results_new_api_stack

from rllib_lsp import LSP, load_agent
from rllib_lsp.lsp.replay_algorithm import AHEAD_UPDATES
from tests.rllib.conftest import REPEAT, Match
from tests.waits import Waits

MODULE = "learner_group/learner/rl_module/default_policy"


def weights(algorithm):
    return algorithm.get_module().get_state()


def weights_of_learner(algorithm):
    return algorithm.learner_group.get_state()["learner"]["rl_module"]["default_policy"]


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, err_msg=key)


def test_results_hold_what_rllib_users_look_for(build, tiny):
    config = tiny().evaluation(evaluation_interval=2, evaluation_duration=1)
    algorithm = build(config)
    first, second = algorithm.train(), algorithm.train()
    check_train_results_new_api_stack(second)
    assert "evaluation" not in first
    assert np.isfinite(second["evaluation"][ENV_RUNNER_RESULTS]["episode_return_mean"])
    runners = second[ENV_RUNNER_RESULTS]
    assert np.isfinite(runners["episode_return_mean"])
    decisions = second["num_env_steps_sampled_lifetime"]
    assert decisions >= 400
    assert runners["num_frames_sampled_lifetime"] == REPEAT * decisions
    learned = second["learners"]["default_policy"]
    for name in ("world_model_loss", "policy_loss", "value_loss", "skill_predictor_loss", "kl"):
        assert np.isfinite(learned[name]), name
    assert np.isfinite(learned["mutual_information_bound"])
    assert np.isfinite(runners["planner_gain"])
    assert second["throughput"]["updates_per_s"] > 0


@pytest.mark.parametrize("runners", [0, 2])
@pytest.mark.parametrize("training_ratio", [2.0, 7.5])
def test_the_training_ratio_is_exact(build, tiny, runners, training_ratio):
    config = tiny(training_ratio=training_ratio).env_runners(
        num_env_runners=runners, num_envs_per_env_runner=2
    )
    algorithm = build(config)
    for _ in range(5):
        result = algorithm.train()
    decisions = result["num_env_steps_sampled_lifetime"]
    assert decisions == algorithm.progress["decisions"]
    trained = algorithm.progress["updates"] * config.batch_size * config.batch_length
    assert trained / decisions == pytest.approx(result["replay"]["training_ratio"])
    # Never more than was earned, and behind by no more than what may be sampled ahead.
    requests = runners * config.max_requests_in_flight_per_env_runner
    cost, fragment = config.batch_size * config.batch_length, 2 * config.rollout_fragment_length
    ahead = (AHEAD_UPDATES * cost + requests * fragment * training_ratio) if runners else 0
    owed = training_ratio * decisions - trained
    assert 0 <= owed < ahead + cost + fragment * training_ratio
    # Rows come from weights of a short while ago, not from those that it began with.
    assert 0 <= result["replay"]["updates_behind"] < algorithm.progress["updates"] / 2


def test_a_seed_decides_what_is_seen_and_learned(build, tiny):
    learned = []
    for seed in (3, 3, 4):
        algorithm = build(tiny().debugging(seed=seed))
        algorithm.train()
        learned.append((weights_of_learner(algorithm), algorithm.replay.sample(4, 16)))
    for one, same, other in zip(*learned, strict=True):
        assert_same(one, same)
        assert any(not np.array_equal(one[key], value) for key, value in other.items())


def test_the_learner_may_live_in_an_actor_of_its_own(build, tiny):
    algorithm = build(tiny().learners(num_learners=1))
    before = algorithm.env_runner.module.get_state()
    result = algorithm.train()
    assert result["replay"]["training_ratio"] == pytest.approx(4.0, rel=0.05)
    after = algorithm.env_runner.module.get_state()
    assert any(not np.array_equal(after[key], value) for key, value in before.items())


def test_a_lost_runner_is_replaced_and_training_goes_on(build, tiny):
    algorithm = build(tiny().env_runners(num_env_runners=2))
    algorithm.train()
    group = algorithm.env_runner_group
    group.foreach_env_runner(
        lambda _: os._exit(1), local_env_runner=False, remote_worker_ids=[1], timeout_seconds=60
    )
    assert group.healthy_worker_ids() == [2]
    start = time.monotonic()
    while time.monotonic() - start < 120:
        result = algorithm.train()
        if group.num_healthy_remote_workers() == 2:
            break
    assert group.num_healthy_remote_workers() == 2
    assert result["num_env_steps_sampled_lifetime"] == algorithm.progress["decisions"]
    assert result["replay"]["training_ratio"] == pytest.approx(4.0, rel=0.1)


def test_remote_runners_act_with_what_was_learned(build, tiny):
    algorithm = build(tiny().env_runners(num_env_runners=2, num_envs_per_env_runner=2))
    algorithm.train()
    learned = weights_of_learner(algorithm)
    # RLlib sends a runner no weights while earlier ones wait in its queue; reading the states
    # empties the queues, so a few rounds of what every training step does must arrive.
    for _ in range(4):
        algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=algorithm.learner_group, inference_only=True
        )
        states = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: runner.module.get_state(), local_env_runner=False
        )
    assert len(states) == 2
    for state in states:
        assert_same(state, {key: learned[key] for key in state})


@pytest.mark.parametrize("runners", [0, 1])
def test_a_restored_run_goes_on(build, tiny, tmp_path, runners):
    algorithm = build(tiny().env_runners(num_env_runners=runners))
    for _ in range(2):
        algorithm.train()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    restored = LSP.from_checkpoint(path)
    try:
        assert restored.progress == algorithm.progress
        assert restored.iteration == algorithm.iteration == 2
        assert len(restored.replay) == len(algorithm.replay) >= 400
        acting = restored.env_runner_group.foreach_env_runner(
            lambda runner: runner.module and runner.module.get_state()
        )[-1]
        learned = weights_of_learner(algorithm)
        assert_same(acting, {key: learned[key] for key in acting})
        before = algorithm.learner_group.get_state()["learner"]["optimizer"]
        after = restored.learner_group.get_state()["learner"]["optimizer"]
        for name, entry in before.items():
            moments = entry["state"]["state"]
            assert moments, name
            for index, values in moments.items():
                assert_same(after[name]["state"]["state"][index], values)
        result = restored.train()
        assert result["num_env_steps_sampled_lifetime"] >= algorithm.progress["decisions"] + 200
        assert result["training_iteration"] == 3
        assert result["replay"]["training_ratio"] == pytest.approx(4.0, rel=0.05)
    finally:
        restored.stop()


def test_restoring_into_a_running_algorithm_changes_how_it_acts(build, tiny, tmp_path):
    algorithm = build(tiny())
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    saved = weights(algorithm)
    algorithm.train()
    assert any(not np.array_equal(saved[key], value) for key, value in weights(algorithm).items())
    algorithm.restore_from_path(path)
    assert_same(weights(algorithm), saved)


def test_a_checkpoint_without_what_the_configuration_asks_for_is_refused(build, tiny, tmp_path):
    path = build(tiny()).save_to_path(tmp_path / "saved")
    bigger = build(tiny(world_model={"ensemble": 3}))
    with pytest.raises(ValueError, match=r"no weights for ensemble.*from_checkpoint"):
        bigger.restore_from_path(path)


def test_replay_can_be_left_out_of_checkpoints(build, tiny, tmp_path):
    algorithm = build(tiny(store_replay_in_checkpoints=False))
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint" / "replay").exists()
    restored = LSP.from_checkpoint(path)
    try:
        assert len(restored.replay) == 0
        before, updates = weights(restored), restored.progress["updates"]
        # The learned networks are not trained on the first few rows.
        while len(restored.replay) < restored.config.learning_starts:
            assert restored.progress["updates"] == updates
            assert_same(weights(restored), before)
            restored.training_step()
    finally:
        restored.stop()


def test_three_ways_to_act_from_a_checkpoint_agree(build, tiny, tmp_path):
    """The algorithm's agent, `load_agent` and RLlib's own RLModule, planning included."""
    algorithm = build(tiny())
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    observations = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)

    loaded = load_agent(path, seed=0)
    torch.manual_seed(0)
    # `load_agent` has a generator of its own; let it draw from the global one, as RLlib does.
    loaded._generator = None
    actions = [loaded.act(observation) for observation in observations]

    module = RLModule.from_checkpoint(f"{path}/{MODULE}")
    torch.manual_seed(0)
    state = {key: value[None] for key, value in module.get_initial_state().items()}
    for observation, expected in zip(observations, actions, strict=True):
        batch = {"obs": torch.from_numpy(observation)[None, None], "state_in": state}
        output = module.forward_inference(batch)
        state = output["state_out"]
        np.testing.assert_allclose(output["actions"][0, 0].numpy(), expected, atol=1e-6)

    agent = algorithm.get_module().agent
    torch.manual_seed(0)
    carry = agent.initial_carry(1)
    for step, (observation, expected) in enumerate(zip(observations, actions, strict=True)):
        seen, is_first = torch.from_numpy(observation)[None], torch.tensor([step == 0])
        carry, action, _ = agent.act(carry, {"observation": seen}, is_first, explore=False)
        np.testing.assert_allclose(action[0].numpy(), expected, atol=1e-6)


def test_an_update_fetches_what_it_logs_once(build, tiny):
    algorithm = build(tiny())
    algorithm.train()
    learner = algorithm.learner_group._learner
    columns = {key: torch.as_tensor(c) for key, c in algorithm._sample_columns().items()}
    with Waits() as waits:
        learner._uncompiled_update({DEFAULT_MODULE_ID: columns})
    assert waits.found == ["tolist"]


def test_rllibs_option_compiles_and_bfloat16_learns(build, tiny):
    config = tiny(precision="bfloat16").framework(
        torch_compile_learner=True, torch_compile_learner_dynamo_backend="eager"
    )
    algorithm = build(config)
    learner = algorithm.learner_group._learner
    agent = learner.module[DEFAULT_MODULE_ID].unwrapped().agent
    for compiled in (agent.policy.act, agent.world_model.rssm.imagine_step):
        assert hasattr(compiled, "_torchdynamo_orig_callable")
    seen = []
    encoder = agent.world_model.encoder  # no compiled part: that would be compiled at every call
    encoder.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    before = weights(algorithm)
    results = algorithm.train()["learners"]["default_policy"]
    assert set(seen) == {torch.bfloat16}
    assert np.isfinite(results["policy_gradient_norm"])
    assert {p.dtype for p in agent.parameters()} == {torch.float32}
    changed = [key for key, value in weights(algorithm).items() if (value != before[key]).any()]
    assert any(key.startswith("agent.policy") for key in changed)


def test_learning_rates_follow_their_schedule(build, tiny):
    algorithm = build(tiny(lr=[[0, 1e-3], [400, 1e-5]]))
    rates = [
        algorithm.train()["learners"]["default_policy"]["policy_learning_rate"] for _ in range(3)
    ]
    assert rates[0] > rates[-1] == pytest.approx(1e-5)


def test_learns_to_do_as_observed(build):
    """A real, if small, learning problem: random actions earn 3.3, the best constant one 5."""
    from rllib_lsp import LSPConfig

    config = (
        LSPConfig()
        .environment(Match)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .training(
            size="tiny",
            # What an action earns is known at once, and it is the reward that is hard to learn.
            gamma=0.8,
            world_model={
                "vector_scale": 1.0,
                "hidden": 32,
                "deterministic": 32,
                "encoder_hidden": 32,
                "head_hidden": 32,
            },
            behaviour={"hidden": 32, "horizon": 5, "starts": 64},
            skills={"duration": 5},
            batch_size=8,
            batch_length=11,
            training_ratio=64.0,
            learning_starts=200,
            lr=2e-3,
        )
        .reporting(min_sample_timesteps_per_iteration=2400)
        .evaluation(evaluation_interval=1, evaluation_duration=20)
        .debugging(seed=0)
    )
    algorithm = build(config)
    result = algorithm.train()
    assert result["evaluation"][ENV_RUNNER_RESULTS]["episode_return_mean"] > 6.0


def test_dict_observations_and_gaussian_latents(build, tiny, tmp_path):
    config = tiny(world_model={"latent": "gaussian", "stochastic": 6}).environment(
        env_config={"action_repeat": REPEAT, "flatten": False}
    )
    algorithm = build(config)
    algorithm.train()
    assert set(algorithm.get_module().agent.world_model.encoder.spec) == {"position", "velocity"}
    agent = load_agent(algorithm.save_to_path(tmp_path / "checkpoint"), seed=0)
    action = agent.act({"position": np.zeros(3), "velocity": np.zeros(2)})
    assert action.shape == (1,)
    assert abs(action[0]) <= 1.0


def test_two_learners_stay_alike_and_count_what_they_replay(build, tiny):
    # Without a seed in common they would begin apart.
    algorithm = build(tiny().learners(num_learners=2).debugging(seed=None))
    result = algorithm.train()
    assert result["replay"]["training_ratio"] == pytest.approx(4.0, rel=0.05)
    trained = result["learners"]["__all_modules__"]["num_env_steps_trained_lifetime"]
    assert trained == algorithm.progress["updates"] * 4 * 16

    def everything(learner):
        agent = learner.module["default_policy"].agent
        optimizers = learner._get_optimizer_state()
        moments = [s["exp_avg"] for o in optimizers.values() for s in o["state"]["state"].values()]
        return agent.state_dict(), moments

    (first, first_moments), (second, second_moments) = (
        answer.get() for answer in algorithm.learner_group.foreach_learner(everything)
    )
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert first["return_scale.scale"] > 0
    assert all(
        np.array_equal(one, other) for one, other in zip(first_moments, second_moments, strict=True)
    )
