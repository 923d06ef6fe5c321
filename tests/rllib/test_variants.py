"""Presets, baselines and kinds of spaces: each trains, checkpoints, and acts from it."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_lsp import (
    DreamerConfig,
    LSPConfig,
    PlaNetConfig,
    RandomSkillsConfig,
    load_agent,
)
from tests.rllib.conftest import tiny_config


class Shades(gym.Env):
    """Pictures and a number; ten steps an episode."""

    observation_space = gym.spaces.Dict(
        {
            "picture": gym.spaces.Box(0, 255, (16, 16, 1), np.uint8),
            "number": gym.spaces.Box(-1.0, 1.0, (1,), np.float32),
        }
    )
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, _=None):
        self._step = 0

    def _observe(self):
        shade = int(self.np_random.integers(256))
        return {
            "picture": np.full((16, 16, 1), shade, np.uint8),
            "number": np.array([shade / 255], np.float32),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step = 0
        return self._observe(), {}

    def step(self, action):
        self._step += 1
        return self._observe(), float(action[0]), False, self._step == 10, {}


def small(config, **training):
    """`config` with the tiny sizes of the other tests."""
    tiny = tiny_config(**training)
    for key in ("batch_size", "batch_length", "training_ratio", "learning_starts", "size"):
        setattr(config, key, getattr(tiny, key))
    config.training(**{k: v for k, v in training.items() if isinstance(v, dict)})
    return (
        config.environment(tiny.env, env_config=tiny.env_config)
        .reporting(min_sample_timesteps_per_iteration=200)
        .debugging(seed=0)
    )


VARIANTS = {
    "paper": lambda: small(
        LSPConfig().preset("paper"),
        world_model={"deterministic": 16, "hidden": 16, "encoder_hidden": 16, "head_hidden": 16},
        behaviour={"hidden": 16, "starts": 8},
    ),
    "Dreamer": lambda: small(DreamerConfig()),
    "RandomSkills": lambda: small(RandomSkillsConfig()),
    "PlaNet": lambda: small(PlaNetConfig(), planner={"candidates": 8, "elites": 2, "skills": 4}),
    "discrete": lambda: small(LSPConfig()).environment("CartPole-v1", env_config={}),
    "pictures": lambda: small(LSPConfig()).environment(Shades, env_config={}),
    "durations": lambda: small(
        LSPConfig(), skills={"duration": [5, 10]}, planner={"replan_every": 3}
    ),
    "planned in imagination": lambda: small(LSPConfig(), skills={"imagine": "cem"}),
    "evaluated for another reward": lambda: small(
        LSPConfig(), world_model={"ensemble": 2}
    ).evaluation(
        evaluation_config={
            "planner": {
                "reward_fn": "tests.core.test_planning_options:first_action",
                "disagreement": 0.1,
            }
        }
    ),
    "evaluated by the learned prior": lambda: small(LSPConfig()).evaluation(
        evaluation_config={"explore": False, "planner": {"method": "none"}}
    ),
    "reward-free": lambda: small(
        LSPConfig(),
        world_model={"ensemble": 3},
        behaviour={"reward": "none", "disagreement": 1.0},
        planner={"disagreement": 0.5},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_trains_checkpoints_and_acts(build, tmp_path, name):
    config = VARIANTS[name]().evaluation(evaluation_interval=1, evaluation_duration=1)
    algorithm = build(config)
    result = algorithm.train()
    learned = result["learners"]["default_policy"]
    assert learned["world_model_loss"] > 0
    assert all(np.isfinite(v) for v in learned.values() if isinstance(v, float)), learned
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] >= 200
    assert result["evaluation"]["env_runners"]["episode_len_mean"] > 0

    agent = load_agent(algorithm.save_to_path(tmp_path / "checkpoint"), seed=0)
    space = algorithm.env_runner.env.single_observation_space
    for _ in range(3):
        action = agent.act(space.sample(), explore=True)
        assert algorithm.env_runner.env.single_action_space.contains(action), action


def test_random_skills_differ_from_lsp_only_in_the_source_of_skills():
    """Pinning test 6: every other option is the same."""
    lsp, random = LSPConfig().settings(), RandomSkillsConfig().settings()
    assert lsp.world_model == random.world_model
    assert lsp.behaviour == random.behaviour
    different = {
        f"{part}.{name}"
        for part in ("skills", "planner")
        for name, value in vars(getattr(lsp, part)).items()
        if getattr(getattr(random, part), name) != value
    }
    assert different == {"skills.imagine", "skills.learn_prior", "planner.method"}


def test_pretraining_comes_at_once_when_learning_begins(build):
    config = small(LSPConfig()).training(pretrain_updates=7, training_ratio=1.0)
    algorithm = build(config)
    algorithm.train()
    decisions = algorithm.progress["decisions"]
    cost = config.batch_size * config.batch_length
    # What the random decisions would have earned does not come on top.
    learned_from = decisions - config.learning_starts
    assert algorithm.progress["updates"] == 7 + learned_from // cost
