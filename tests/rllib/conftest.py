"""Tiny configurations, and an environment that can be learned in seconds."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_lsp import LSPConfig

CARTPOLE = "dm_control/cartpole-swingup-v0"
REPEAT = 4
EPISODE_DECISIONS = 1000 // REPEAT


def tiny_config(**training):
    options = {
        "size": "tiny",
        "batch_size": 4,
        "batch_length": 16,
        "training_ratio": 4.0,
        "learning_starts": 100,
        **training,
    }
    return (
        LSPConfig()
        .environment(CARTPOLE, env_config={"action_repeat": REPEAT})
        .training(**options)
        .reporting(min_sample_timesteps_per_iteration=200)
        .debugging(seed=0)
    )


@pytest.fixture
def tiny():
    return tiny_config


@pytest.fixture
def build(ray_session):
    """Build algorithms that are stopped when the test ends."""
    built = []

    def make(config):
        built.append(config.build_algo())
        return built[-1]

    yield make
    for algorithm in built:
        algorithm.stop()


class Match(gym.Env):
    """Act as the observation says. Reward 1 - |a - x| per step, 10 steps.

    Uniform actions earn 10/3 on average, the best constant action 10/2.
    """

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, _=None):
        self._x = np.zeros(1, np.float32)
        self._step = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._x = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        self._step = 0
        return self._x, {}

    def step(self, action):
        self._step += 1
        reward = 1.0 - abs(float(action[0]) - float(self._x[0]))
        return self._x, reward, False, self._step == 10, {}
