"""Navigation of the point mass: a scripted controller solves the tasks, posts are solid."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rllib_lsp.envs import make_env
from rllib_lsp.envs.tasks import TASKS

POINT_TASKS = sorted(name for name in TASKS if name.startswith("point"))


def build(name: str, **options):
    return make_env(f"rllib_lsp/{name}-v0", flatten=False, **options)


def play(env, policy, seed: int = 0) -> tuple[float, dict]:
    """The return and the last info of one episode of ``policy(t, position, observation)``."""
    observation, info = env.reset(seed=seed)
    total, t, truncated = 0.0, 0, False
    while not truncated:
        action = policy(t, np.array(info["position"]), observation)
        observation, reward, _, truncated, info = env.step(np.asarray(action, np.float32))
        total, t = total + reward, t + 1
    assert t == 200
    return total, info


def pilot(env, through: list[tuple[float, float]]):
    """Steers through way-points given in the frame whose x axis points to the target."""
    left: list[np.ndarray] = []

    def policy(t, position, observation):
        if t == 0:
            target = env.unwrapped._target
            x, y = target / np.hypot(*target)
            left[:] = [*(np.reshape(through, (-1, 2)) @ np.array([[x, y], [-y, x]])), target]
        if len(left) > 1 and np.hypot(*(left[0] - position)) < 0.3:
            left.pop(0)
        return 4 * (left[0] - position) - observation["velocity"]

    return policy


AROUND = [(2.2, 2.4), (3.3, 2.2)]
OUT_AND_AROUND = [(-0.6, 0.0), (-0.6, 2.4), *AROUND]


@pytest.mark.parametrize(
    ("name", "options", "through"),
    [
        ("point-reach", {}, []),
        ("point-reach-sparse", {}, []),
        ("point-reach-line", {}, AROUND),
        ("point-reach-cove", {}, OUT_AND_AROUND),
        ("point-reach-sparse", {"layout": "cove", "target_ring": (4.5, 4.5)}, OUT_AND_AROUND),
    ],
)
def test_a_scripted_controller_reaches_the_target(name, options, through) -> None:
    env = build(name, **options)
    for seed in range(3):
        total, info = play(env, pilot(env, through), seed)
        assert info["success"] == 1
        assert info["final_distance"] < 0.8
        assert info["time_to_target"] < 20
        assert total > info["still_return"]


@pytest.mark.parametrize("name", ["point-reach-line", "point-reach-cove"])
def test_the_straight_way_is_barred(name) -> None:
    env = build(name)
    _, info = play(env, pilot(env, []))
    assert info["success"] == 0
    # It rests against the post in the middle: centres of post and body are 0.55 m apart.
    assert info["final_distance"] == pytest.approx(4.5 - (0.55 * 4.5 - 0.55), abs=0.05)


def test_the_straight_way_takes_most_of_a_hundred_decisions() -> None:
    env = build("point-reach", target_ring=(5.0, 5.0))
    decisions = [play(env, pilot(env, []), seed)[1]["time_to_target"] / 0.1 for seed in range(8)]
    assert min(decisions) >= 60  # in a diagonal
    assert 75 <= max(decisions) <= 100  # along an axis


@pytest.mark.parametrize("name", POINT_TASKS)
def test_doing_nothing_earns_the_floor(name) -> None:
    total, info = play(build(name), lambda *_: np.zeros(2))
    assert total == pytest.approx(info["still_return"])
    assert info["path_length"] == pytest.approx(0)


def test_held_actions_explore_several_times_farther() -> None:
    def spread(hold: int) -> float:
        rng, env, ends = np.random.default_rng(0), build("point-explore"), []
        for seed in range(12):
            forces = np.repeat(rng.uniform(-1, 1, (200 // hold, 2)), hold, axis=0)
            _, info = play(env, lambda t, *_, forces=forces: forces[t], seed)
            ends.append(np.hypot(*info["position"]))
        return float(np.mean(ends))

    assert spread(10) > 2.5 * spread(1)


@pytest.mark.parametrize("name", POINT_TASKS)
@pytest.mark.filterwarnings("ignore:.*Box .* space.*:UserWarning")
def test_gymnasium_accepts_it(name) -> None:
    check_env(build(name).unwrapped, skip_render_check=True)


def test_one_specification_for_the_family() -> None:
    envs = [make_env(f"rllib_lsp/{name}-v0") for name in POINT_TASKS]
    assert len({str(env.observation_space) for env in envs}) == 1
    assert envs[0].observation_space.shape == (20,)
    slices = [env.get_wrapper_attr("slices") for env in envs]
    assert all(s == slices[0] for s in slices)


def test_same_seed_same_episode() -> None:
    first, second = (play(build("point-reach-cove"), lambda t, *_: (1, -1), 5) for _ in range(2))
    assert first == second


def test_what_is_seen_of_target_and_posts() -> None:
    observation, info = build("point-reach-line").reset(seed=0)
    env = build("point-reach-line", observe_posts=False)
    blind, _ = env.reset(seed=0)
    seen = observation["target"][:3] * info["distance"]
    np.testing.assert_allclose(seen, [*env.unwrapped._target, 0], 1e-5)
    assert observation["target"][3] == pytest.approx(np.tanh(info["distance"] / 5))
    nearest = observation["posts"].reshape(4, 3)[0]
    np.testing.assert_allclose(nearest[:2], observation["target"][:2], atol=1e-5)
    assert nearest[2] == pytest.approx(np.tanh((0.55 * 4.5 - 0.35) / 2))
    np.testing.assert_array_equal(blind["posts"].reshape(4, 3), [[0, 0, 1]] * 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "maze"}, r"layout is 'maze', must be one of open, line, cove, scattered"),
        ({"target_ring": (1.0, 2.0), "layout": "line"}, r"2\.5 <= near <= far"),
        ({"target_ring": 3.0}, r"target_ring is 3\.0, must be \(near, far\) in metres"),
        ({"target_ring": (2.0, 3.0, 4.0)}, r"target_ring is \(2\.0, 3\.0, 4\.0\).*e\.g\. \(4"),
        ({"target_ring": ("2", "5")}, r"target_ring is \('2', '5'\)"),
        ({"target_ring": (2.0, float("inf"))}, "target_ring"),
        ({"time_limit": 0}, "time_limit is 0, must be > 0"),
        ({"time_limit": "20"}, "time_limit is '20'"),
        ({"camera": "side"}, "camera is 'side', must be one of chase, top"),
        ({"render_size": 64}, r"render_size is 64, must be \(height, width\)"),
        ({"start": "sitting"}, "upright, random"),
    ],
)
def test_wrong_options_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        build("point-reach", **options)
    with pytest.raises(TypeError, match="layuot"):
        build("point-reach", layuot="line")


def test_time_limit_counts_seconds() -> None:
    env = build("point-reach", time_limit=1.5, action_repeat=4)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[3] for _ in range(4)]
    assert ends == [False, False, False, True]


@pytest.mark.parametrize("task", ["point-reach-line", "quadruped-walk"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_in_the_midst_of_an_episode_goes_on_by_itself(task, copied) -> None:
    env = build(task)
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (20, *env.action_space.shape)).astype(np.float32)
    for action in actions[:10]:
        env.step(action)
    other = copied(env)
    for action in actions[10:]:
        observation, reward, *_, info = env.step(action)
        seen, earned, *_, told = other.step(action)
        assert (earned, told["position"]) == (reward, info["position"])
        for key, value in observation.items():
            np.testing.assert_array_equal(seen[key], value)
    assert other.reset(seed=3)[1] == env.reset(seed=3)[1]
