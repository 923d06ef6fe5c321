"""Episodes in progress are taken up where they were, by their seed and their actions."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_lsp.envs import make_env
from rllib_lsp.envs.resumable import LONGEST, Resumable, episode_seed


def play(env, actions):
    """What an environment shows and pays, reset at each end as a vector environment would."""
    seen, ended = [], False
    for action in actions:
        if ended:
            observation, _ = env.reset()
            reward, ended = 0.0, False
        else:
            observation, reward, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
        seen.append(np.append(observation, reward))
    return np.stack(seen), ended


@pytest.mark.parametrize("env_id", ["dm_control/cartpole-swingup-v0", "Pendulum-v1"])
@pytest.mark.parametrize("before", [7, 200])
def test_goes_on_as_if_it_had_never_stopped(env_id, before):
    options = {"action_repeat": 5}  # 200 decisions an episode of cartpole, 40 of the pendulum
    env = Resumable(make_env(env_id, **options))
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(before + 260)]
    env.reset(seed=3)
    _, ended = play(env, actions[:before])
    progress = env.progress()
    if ended:
        env.reset()
    expected, _ = play(env, actions[before + ended :])

    other = Resumable(make_env(env_id, **options))
    other.resume(progress, has_ended=ended)
    if ended:
        # The action of the step that begins an episode does not count.
        _, reward, terminated, truncated, _ = other.step(actions[0])
        assert (reward, terminated, truncated) == (0.0, False, False)
    found, _ = play(other, actions[before + ended :])
    np.testing.assert_array_equal(found, expected)


class Endless(gym.Env):
    observation_space = action_space = gym.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


def test_an_endless_episode_is_not_kept_for_ever():
    env = Resumable(Endless())
    env.reset(seed=0)
    for _ in range(LONGEST + 100):
        env.step(np.zeros(1))
    progress = env.progress()
    assert len(progress["actions"]) == LONGEST + 1
    with pytest.raises(RuntimeError, match=f"more than {LONGEST} decisions"):
        Resumable(Endless()).resume(progress, has_ended=False)


def test_every_episode_has_a_seed_of_its_own():
    assert episode_seed(5, 0) == 5
    seeds = [episode_seed(seed, episode) for seed in range(20) for episode in range(20)]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**31 for seed in seeds)
