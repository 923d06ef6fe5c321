"""`HIRO` and TD3 as users run them: real actors, real checkpoints on disk."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS
from ray.rllib.utils.test_utils import check_train_results_new_api_stack

from rllib_lsp import HIRO, HIROConfig, LSPConfig, load_agent
from rllib_lsp.hiro.env_runner import HIROEnvRunner
from tests.rllib.conftest import CARTPOLE, REPEAT, Match
from tests.rllib.test_algorithm import MODULE, assert_same, weights, weights_of_learner
from tests.rllib.test_config import Spaces, env, training
from tests.rllib.test_env_runner import Fragile

DURATION = 5


def tiny(levels=2, **options):
    """A tiny HIRO, or TD3, on cartpole."""
    level = {"hidden": [16]}
    return (
        HIROConfig()
        .environment(CARTPOLE, env_config={"action_repeat": REPEAT, "flatten": False})
        .training(
            **{
                "levels": levels,
                "low": level,
                "high": level,
                "goals": {"features": ["position[0:1]", "velocity"], "duration": DURATION},
                "batch_size": 8,
                "training_ratio": 4.0,
                "updates_per_round": 5,
                "learning_starts": 100,
                **options,
            }
        )
        .reporting(min_sample_timesteps_per_iteration=200)
        .debugging(seed=0)
    )


@pytest.mark.parametrize("levels", [1, 2])
def test_results_evaluation_and_accounting_are_as_lsps(build, levels):
    config = tiny(levels).evaluation(evaluation_interval=2, evaluation_duration=1)
    algorithm = build(config)
    first, second = algorithm.train(), algorithm.train()
    check_train_results_new_api_stack(second)
    assert "evaluation" not in first
    assert np.isfinite(second["evaluation"][ENV_RUNNER_RESULTS]["episode_return_mean"])
    runners, decisions = second[ENV_RUNNER_RESULTS], second["num_env_steps_sampled_lifetime"]
    assert np.isfinite(runners["episode_return_mean"])
    assert decisions == algorithm.progress["decisions"] >= 400
    assert runners["num_frames_sampled_lifetime"] == REPEAT * decisions
    learned = second["learners"]["default_policy"]
    expected = {"low_critic_loss", "low_actor_loss", "low_value"}
    upper = {"goal_distance", "relabelled", "high_critic_loss", "high_actor_loss", "high_value"}
    assert {name for name in expected | upper if name in learned} == (
        expected | upper if levels == 2 else expected
    )
    assert all(np.isfinite(learned[name]) for name in expected)
    # The ratio counts what the lower level replays, and is exact up to a round.
    replayed = algorithm.progress["updates"] * config.batch_size
    assert replayed / decisions == pytest.approx(second["replay"]["training_ratio"])
    assert 0 <= 4.0 * decisions - replayed < 5 * 8 + 4 * config.rollout_fragment_length
    assert second["throughput"]["updates_per_s"] > 0


def test_a_remote_runner_and_a_learner_of_its_own(build):
    config = tiny().env_runners(num_env_runners=1, num_envs_per_env_runner=2)
    algorithm = build(config.learners(num_learners=1))
    result = algorithm.train()
    assert result["replay"]["training_ratio"] == pytest.approx(4.0, rel=0.1)
    learned = weights_of_learner(algorithm)
    assert not np.array_equal(learned["agent.goal_range"], np.ones(3))
    for _ in range(4):
        algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=algorithm.learner_group, inference_only=True
        )
        states = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: runner.module.get_state(), local_env_runner=False
        )
    assert len(states) == 1
    for state in states:
        # Runners hold the actors and the range of goals, and nothing else.
        assert {key.split(".")[2] for key in state if key != "agent.goal_range"} == {
            "actor",
            "updates",
        }
        assert_same(state, {key: learned[key] for key in state})


def test_the_range_of_goals_is_measured_from_the_random_decisions(build):
    algorithm = build(tiny(learning_starts=300))
    algorithm.train()
    agent = algorithm.get_module().agent
    np.testing.assert_array_equal(agent.goal_range, np.ones(3))
    assert algorithm.progress["updates"] == 0
    algorithm.train()
    rows = algorithm.replay._arrays
    seen = np.concatenate(
        [rows["observation.position"][:300, :1], rows["observation.velocity"][:300]], 1
    )
    measured = weights_of_learner(algorithm)["agent.goal_range"]
    np.testing.assert_allclose(measured, 2 * seen.std(0), rtol=0.25)
    np.testing.assert_array_equal(algorithm.get_module().agent.goal_range, measured)
    algorithm.train()
    np.testing.assert_array_equal(weights_of_learner(algorithm)["agent.goal_range"], measured)


@pytest.mark.parametrize("levels", [1, 2])
def test_a_restored_run_goes_on_exactly(build, tmp_path, levels):
    algorithm = build(tiny(levels))
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    restored = HIRO.from_checkpoint(path)
    try:
        assert restored.progress == algorithm.progress
        assert len(restored.replay) == len(algorithm.replay)
        assert_same(weights_of_learner(restored), weights_of_learner(algorithm))
        assert_same(weights(restored), weights(algorithm))
        # The same batches, noise and moments of the optimizers: the same weights after a round.
        for one in (algorithm, restored):
            torch.manual_seed(0)
            one.progress["credit"] += 40
            one._update()
        assert_same(weights_of_learner(restored), weights_of_learner(algorithm))
        assert restored.train()["training_iteration"] == 2
    finally:
        restored.stop()


@pytest.mark.parametrize("levels", [1, 2])
def test_three_ways_to_act_from_a_checkpoint_agree(build, tmp_path, levels):
    algorithm = build(tiny(levels))
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "checkpoint")
    loaded, module = load_agent(path, seed=0), RLModule.from_checkpoint(f"{path}/{MODULE}")
    agent = algorithm.get_module().agent
    carry, is_first = agent.initial_carry(1), torch.ones(1, dtype=torch.bool)
    state = {key: value[None] for key, value in module.get_initial_state().items()}
    draw = np.random.default_rng(0)
    for _ in range(2 * DURATION + 1):
        seen = {"position": draw.normal(size=3), "velocity": draw.normal(size=2)}
        tensors = {key: torch.tensor(value, dtype=torch.float32) for key, value in seen.items()}
        action = loaded.act(seen)
        batch = {"obs": {key: value[None, None] for key, value in tensors.items()}}
        output = module.forward_inference(batch | {"state_in": state})
        state = output["state_out"]
        np.testing.assert_allclose(output["actions"][0, 0].numpy(), action, atol=1e-6)
        one = {key: value[None] for key, value in tensors.items()}
        carry, expected, _ = agent.act(carry, one, is_first, explore=False)
        is_first = torch.zeros_like(is_first)
        np.testing.assert_allclose(action, expected[0], atol=1e-6)


def make_runner(config):
    config.validate()
    return HIROEnvRunner(config=config, worker_index=0, num_workers=0)


@pytest.mark.parametrize("random", [None, "actions"])
def test_rows_tell_which_goal_was_held(random):
    """Chosen every few decisions and where an episode begins; its anchor is what was seen."""
    config = tiny(goals={"duration": 3, "features": ["observation"], "range": [1.0]})
    runner = make_runner(config.environment(Fragile, env_config={}))
    rows = runner.sample_fragment(12, random)[0].rows
    runner.stop()
    # Episodes of five decisions: goals are chosen in their first row and in the fourth.
    np.testing.assert_array_equal(np.flatnonzero(rows["chosen"][0]), [0, 3, 6, 9])
    np.testing.assert_array_equal(rows["anchor"][0, :, 0], [0] * 3 + [3] * 3 + [0] * 3 + [3] * 3)
    for begin in (0, 3, 6, 9):
        held = rows["choice"][0, begin : begin + 3]
        np.testing.assert_array_equal(held, np.broadcast_to(held[:1], held.shape))
    assert len(np.unique(rows["choice"])) == 4


def test_a_run_of_random_goals_trains_the_lower_level_alone(build):
    algorithm = build(tiny(goals={"source": "random", "duration": 5, "features": ["position"]}))
    learned = algorithm.train()["learners"]["default_policy"]
    assert np.isfinite(learned["goal_distance"])
    assert "high_critic_loss" not in learned


BAD = {
    "levels": (training(levels=3), ["levels = 3", "1 for plain TD3"]),
    "typo": (training(goals={"featurs": []}), ["goals.featurs", "did you mean 'features'"]),
    "feature": (
        training(goals={"features": ["speed"]}),
        ["goals.features = 'speed'", "there are observation"],
    ),
    "slice": (
        training(goals={"features": ["observation[0:3]"]}),
        ["observation[0:3]", "'observation' has 2 entries"],
    ),
    "range": (
        training(goals={"range": [1.0, 2.0, 3.0]}),
        ["goals.range has 3 entries", "features have 2"],
    ),
    "negative range": (training(goals={"range": -1.0}), ["range = (-1.0,)", "above 0"]),
    "duration": (training(goals={"duration": 0}), ["duration = 0", "at least 1"]),
    "source": (training(goals={"source": "best"}), ["'best'", "learned, random"]),
    "gamma": (training(low={"gamma": 1.5}), ["low.gamma = 1.5", "[0, 1]"]),
    "type": (training(high={"noise": "much"}), ["high.noise = 'much'", "of type float"]),
    "layers": (training(high={"hidden": []}), ["high.hidden = ()", "at least 1"]),
    "rate": (training(learning_rates={"actor": 1e-4}), ["actor", "low_actor, low_critic"]),
    "batch": (training(batch_size=0), ["batch_size = 0", "at least 1"]),
    "round": (training(updates_per_round=0), ["updates_per_round = 0", "at least 1"]),
    "capacity": (training(replay_capacity=20), ["replay_capacity = 20", "at least 22"]),
    "nothing measured": (
        training(learning_starts=0),
        ["learning_starts = 0", "give goals.range"],
    ),
    "learners": (lambda c: c.learners(num_learners=2), ["num_learners = 2", "use 0"]),
    "compilation": (
        lambda config: config.framework(torch_compile_learner=True),
        ["torch_compile_learner", "HIRO compiles nothing"],
    ),
    "clipping": (training(grad_clip=1.0), ["grad_clip = 1.0", "does not clip"]),
    "discrete": (env(action=gym.spaces.Discrete(3)), ["Discrete(3)", "use LSP"]),
    "image": (
        env(observation=gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)),
        ["(64, 64, 3)", "vectors only"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_with_reason_and_fix(case):
    change, parts = BAD[case]
    config = HIROConfig().environment(Spaces)
    with pytest.raises(ValueError, match=r"(?s).+") as caught:
        change(config).validate()
    for part in parts:
        assert part in str(caught.value), str(caught.value)


@pytest.mark.parametrize("key", ["plannner", "world_model", "lambda", "goal"])
def test_unknown_keys_are_refused(key):
    with pytest.raises(ValueError, match=f"HIROConfig has no option '{key}'"):
        HIROConfig().update_from_dict({key: 1})


def test_options_merge_and_survive_tunes_round_trip():
    config = HIROConfig().environment(CARTPOLE).training(goals={"duration": 7}, gamma=0.9)
    config.update_from_dict({"goals": {"candidates": 3}, "high": {"gamma": 0.95}})
    settings = config.settings()
    assert (settings.goals.duration, settings.goals.candidates) == (7, 3)
    assert (settings.low.gamma, settings.high.gamma) == (0.9, 0.95)
    assert (settings.low.reward_scale, settings.high.reward_scale) == (1.0, 0.1)
    again = HIROConfig().update_from_dict(config.to_dict())
    assert again.settings() == settings
    assert again.learning_rates == {"low_actor": 1e-4, "high_actor": 1e-4}
    assert "duration: 7" in config.describe()


def test_a_constant_goal_feature_is_named(build):
    class Still(Match):
        observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

        def reset(self, **kwargs):
            x, info = super().reset(**kwargs)
            return np.append(x, np.float32(0.5)), info

        def step(self, action):
            x, *rest = super().step(action)
            return np.append(x, np.float32(0.5)), *rest

    config = tiny(goals={"features": []}).environment(Still, env_config={})
    with pytest.raises(ValueError, match=r"observation\[1\], which did not change"):
        build(config).train()


def test_an_agent_of_hiro_is_no_source_of_a_transfer(build, tmp_path):
    path = build(tiny()).save_to_path(tmp_path / "checkpoint")
    config = LSPConfig().environment(CARTPOLE).transfer(path)
    with pytest.raises(ValueError, match=r"holds an agent of HIRO"):
        build(config)


def test_nan_in_what_is_learned_ends_the_run_at_once(build):
    algorithm = build(tiny())
    algorithm.train()
    with torch.no_grad():
        for parameter in algorithm.learner_group._learner.module["default_policy"].parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"became NaN or infinite\. Lower the learning"):
        algorithm.train()


def test_td3_learns_to_do_as_observed(build):
    """A real, if small, learning problem: random actions earn 3.3, the best constant one 5."""
    level = {"hidden": [32, 32], "gamma": 0.5}
    config = (
        HIROConfig()
        .environment(Match)
        .env_runners(num_envs_per_env_runner=4)
        .training(levels=1, low=level, batch_size=64, training_ratio=32, learning_starts=300)
        .training(lr=3e-3, learning_rates={"low_actor": 3e-3})
        .reporting(min_sample_timesteps_per_iteration=1200)
        .evaluation(evaluation_interval=1, evaluation_duration=20)
        .debugging(seed=0)
    )
    result = build(config).train()
    assert result["evaluation"][ENV_RUNNER_RESULTS]["episode_return_mean"] > 7.5
