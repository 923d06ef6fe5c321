"""make_env on dm_control: spaces, seeds, repeats, ends, errors, registration, no OpenGL."""

from __future__ import annotations

import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from rllib_lsp.envs import env_seed, make_env, register, wrap

SUITE = ["cartpole-swingup", "walker-walk", "cheetah-run", "reacher-easy", "quadruped-walk"]
SCALAR_KEYS = ["finger-spin", "fish-swim"]


def suite(name: str) -> str:
    return f"dm_control/{name}-v0"


def rollout(env: gymnasium.Env, seed: int, steps: int) -> tuple[np.ndarray, list[float]]:
    """Observations (steps + 1, D) and rewards under actions drawn with ``seed``."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, *env.action_space.shape))
    observations, rewards = [env.reset(seed=seed)[0]], []
    for action in actions.astype(np.float32):
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.stack(observations), rewards


@pytest.mark.parametrize("name", SUITE + SCALAR_KEYS)
@pytest.mark.filterwarnings("ignore:.*Box .* space.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version.*:UserWarning")
def test_gymnasium_accepts_the_wrapped_suite(name: str) -> None:
    env = make_env(suite(name), action_repeat=2)
    check_env(env, skip_render_check=True)
    assert env.observation_space.dtype == np.float32
    assert env.action_space == spaces.Box(-1, 1, env.action_space.shape, np.float32)


def test_dict_observations_are_float32_vectors() -> None:
    env = make_env(suite("finger-spin"), flatten=False)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert all(v.dtype == np.float32 and v.ndim == 1 for v in observation.values())


def test_flat_observation_joins_sorted_keys() -> None:
    flat, named = (make_env(suite("fish-swim"), flatten=f) for f in (True, False))
    vector, parts = flat.reset(seed=3)[0], named.reset(seed=3)[0]
    np.testing.assert_array_equal(vector, np.concatenate([parts[k] for k in sorted(parts)]))
    slices = flat.get_wrapper_attr("slices")
    assert list(slices) == sorted(parts)
    np.testing.assert_array_equal(vector[slices["target"]], parts["target"])


def test_same_seed_same_bits() -> None:
    first, second = (rollout(make_env(suite("walker-walk")), 7, 30) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert not np.array_equal(rollout(make_env(suite("walker-walk")), 8, 1)[0][0], first[0][0])


def test_action_repeat_sums_rewards_and_counts_frames() -> None:
    once, thrice = (
        make_env(suite("cartpole-swingup")),
        make_env(suite("cartpole-swingup"), action_repeat=3),
    )
    once.reset(seed=1)
    thrice.reset(seed=1)
    action = np.array([0.5], np.float32)
    rewards = [once.step(action)[1] for _ in range(3)]
    _, reward, _, _, info = thrice.step(action)
    assert reward == pytest.approx(sum(rewards))
    assert type(reward) is float
    assert info["frames"] == 3
    assert once.step(action)[4]["frames"] == 1
    stacked = wrap(
        gymnasium.wrappers.FrameStackObservation(thrice, 2), action_repeat=2, flatten=False
    )
    stacked.reset(seed=1)
    assert stacked.step(action)[4]["frames"] == 6


class _Counting(gymnasium.Wrapper):
    def step(self, action):
        *step, info = self.env.step(action)
        return *step, {**info, "frames": [1, 2, 3]}


def test_what_an_environment_calls_its_frames_is_not_counted() -> None:
    env = wrap(_Counting(gymnasium.make("Pendulum-v1")), action_repeat=2)
    env.reset(seed=1)
    assert env.step(np.zeros(1, np.float32))[4]["frames"] == 2


def test_truncates_after_all_frames_and_refuses_to_go_on() -> None:
    env = make_env(suite("cartpole-balance"), action_repeat=3)
    env.reset(seed=0)
    action, frames = np.zeros(1, np.float32), []
    terminated = truncated = False
    while not (terminated or truncated):
        *_, terminated, truncated, info = env.step(action)
        frames.append(info["frames"])
    assert (len(frames), sum(frames), frames[-1]) == (334, 1000, 1)
    assert truncated
    assert not terminated
    with pytest.raises(RuntimeError, match="reset"):
        env.step(action)
    env.reset()
    env.step(action)


def test_step_before_reset_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="reset"):
        make_env(suite("cartpole-balance")).step(np.zeros(1, np.float32))


class Scripted(gymnasium.Env):
    """Returns what it is told to; remembers the last action."""

    action_space: spaces.Space = spaces.Box(
        np.array([-1.0, 0.0]), np.array([1.1, 4.0]), dtype=np.float64
    )
    observation_space: spaces.Space = spaces.Dict(
        {"b": spaces.Box(-np.inf, np.inf, (), np.float64), "a": spaces.Box(-9, 9, (2, 2))}
    )

    def __init__(self) -> None:
        self.values = {"a": np.zeros((2, 2)), "b": np.array(1.0)}
        self.reward = 0.0
        self.action = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.values, {}

    def step(self, action):
        self.action = action
        return self.values, self.reward, False, False, {}


def test_actions_are_clipped_and_rescaled() -> None:
    inner = Scripted()
    env = wrap(inner)
    env.reset()
    for unit, native in [([-1, -1], [-1, 0]), ([1, 1], [1.1, 4]), ([0, 7], [0.05, 4])]:
        env.step(np.array(unit, np.float32))
        np.testing.assert_allclose(inner.action, native, rtol=1e-6)
        assert inner.action.dtype == inner.action_space.dtype


def test_discrete_actions_and_images_pass_untouched() -> None:
    inner = Scripted()
    inner.action_space = spaces.Discrete(3)
    inner.observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    inner.values = inner.observation_space.sample()
    env = wrap(inner)
    observation, _ = env.reset()
    assert observation.dtype == np.uint8
    np.testing.assert_array_equal(observation, inner.values)
    env.step(2)
    assert inner.action == 2


@pytest.mark.parametrize("bound", [np.inf, 1e10])
def test_unbounded_actions_are_refused(bound: float) -> None:
    inner = Scripted()
    inner.action_space = spaces.Box(-1.0, np.array([1.0, bound]), dtype=np.float64)
    with pytest.raises(ValueError, match=r"\(1,\).*finite action space"):
        wrap(inner)


def test_images_in_a_dict_are_not_flattened() -> None:
    inner = Scripted()
    inner.observation_space = spaces.Dict({"pixels": spaces.Box(0, 255, (8, 8, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"'pixels'.*flatten=False"):
        wrap(inner)
    assert wrap(inner, flatten=False).observation_space["pixels"].dtype == np.uint8


@pytest.mark.parametrize("flatten", [True, False])
def test_not_finite_observation_names_key_and_decision(flatten: bool) -> None:
    inner = Scripted()
    env = wrap(inner, flatten=flatten)
    env.reset()
    env.step(np.zeros(2, np.float32))
    inner.values = {"a": np.zeros((2, 2)), "b": np.array(np.nan)}
    with pytest.raises(FloatingPointError, match=r"'b'.*decision 2 "):
        env.step(np.zeros(2, np.float32))


def test_not_finite_reward_and_action() -> None:
    inner = Scripted()
    env = wrap(inner)
    env.reset()
    for bad in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="action"):
            env.step(np.array([0, bad], np.float32))
    inner.reward = float("inf")
    with pytest.raises(FloatingPointError, match=r"reward is inf at decision 3 "):
        env.step(np.zeros(2, np.float32))


def test_huge_but_finite_observations_pass() -> None:
    inner = Scripted()
    inner.values = {"a": np.zeros((2, 2)), "b": np.array(1e30)}
    observation, _ = wrap(inner).reset()
    assert observation.max() == np.float32(1e30)


def test_wrong_shape_and_bad_repeat() -> None:
    env = wrap(Scripted())
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(1,\), expected \(2,\)"):
        env.step(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="action_repeat"):
        wrap(Scripted(), action_repeat=0)


@pytest.mark.parametrize("build", [make_env, register])
def test_typos_name_the_nearest_id(build) -> None:
    with pytest.raises(ValueError, match="dm_control/walker-walk-v0"):
        build("dm_control/walker-wlak-v0")


def test_other_gymnasium_ids() -> None:
    env = make_env("Pendulum-v1", action_repeat=2)
    assert env.reset(seed=0)[0].dtype == np.float32
    register("Pendulum-v1")  # left to RLlib
    with pytest.raises(gymnasium.error.Error):
        make_env("NoSuchEnvironment-v7")


def test_register_stores_a_creator_that_pickles() -> None:
    env_id = suite("cartpole-swingup")
    register(env_id)
    register(env_id)
    from ray.tune.registry import ENV_CREATOR, _global_registry

    creator = pickle.loads(pickle.dumps(_global_registry.get(ENV_CREATOR, env_id)))
    env = creator({"action_repeat": 2})
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["frames"] == 2


def test_seeds_of_all_environments_differ() -> None:
    seeds = {env_seed(5, worker, env) for worker in range(4) for env in range(20)}
    assert len(seeds) == 80
    assert env_seed(0, 2, 3) == 20_003
    with pytest.raises(ValueError, match="env_index"):
        env_seed(5, 0, 10_000)


def test_experiments_share_no_seeds() -> None:
    first = sorted(env_seed(seed, 0, 0) for seed in range(100))
    apart = np.diff([*first, first[0] + 2**31])
    assert apart.min() > 300 * 10_000


NO_RENDERER = """
import os, sys
from rllib_lsp.envs import make_env
assert not {"mujoco", "dm_control", "ray", "torch"} & set(sys.modules), "importing is not cheap"
make_env("ENV_ID").reset(seed=0)
gl = [m for m in sys.modules if m.split(".")[0] == "OpenGL" or m.endswith(("egl", "osmesa"))
      or m in ("mujoco.glfw", "dm_control._render.glfw_renderer")]
assert not gl, gl
assert "ray" not in sys.modules and "MUJOCO_GL" not in os.environ
"""


@pytest.mark.parametrize("env_id", [suite("walker-walk"), "rllib_lsp/quadruped-reach-v0"])
def test_state_observations_import_no_renderer(env_id: str, monkeypatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    code = NO_RENDERER.replace("ENV_ID", env_id)
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "GL" not in run.stderr, run.stderr


RENDER_LATER = """
from rllib_lsp.envs import make_env
make_env("rllib_lsp/point-reach-cove-v0").reset(seed=0)
try:
    env = make_env("rllib_lsp/point-reach-cove-v0", render_mode="rgb_array", render_size=(48, 64))
except RuntimeError as error:
    assert "MUJOCO_GL=osmesa" in str(error), error
    raise SystemExit("no renderer")
env.reset(seed=0)
frame = env.render()
assert frame.shape == (48, 64, 3) and frame.std() > 1, (frame.shape, frame.std())
"""


def test_a_process_may_render_later() -> None:
    run = subprocess.run(
        [sys.executable, "-c", RENDER_LATER], capture_output=True, text=True, check=False
    )
    if run.stderr.strip() == "no renderer":
        pytest.skip("no OpenGL on this machine")
    assert run.returncode == 0, run.stderr
