"""Navigation of the quadruped: the suite's body, solid posts, one specification."""

from __future__ import annotations

import numpy as np
import pytest
from dm_control import suite
from gymnasium.utils.env_checker import check_env

from rllib_lsp.envs import make_env
from rllib_lsp.envs.tasks import TASKS

QUADRUPED_TASKS = sorted(name for name in TASKS if name.startswith("quadruped"))


def build(name: str, **options):
    return make_env(f"rllib_lsp/{name}-v0", flatten=False, **options)


def test_it_is_the_suites_walk_task() -> None:
    ours = build("quadruped-walk").unwrapped
    theirs = suite.load("quadruped", "walk")
    ours.reset(seed=1)
    theirs.reset()
    with theirs.physics.reset_context():
        theirs.physics.data.qpos[:] = ours.physics.data.qpos
        theirs.physics.data.qvel[:] = ours.physics.data.qvel
    rng = np.random.default_rng(0)
    for _ in range(100):
        action = rng.uniform(ours.action_space.low, ours.action_space.high).astype(np.float32)
        observation, reward, *_ = ours.step(action)
        expected = theirs.step(action)
        assert reward == pytest.approx(expected.reward)
        for key, value in expected.observation.items():
            # Mocap bodies change the order of sums inside the solver, nothing else.
            np.testing.assert_allclose(observation[key], np.atleast_1d(value), 1e-3, 1e-3)


@pytest.mark.parametrize("name", QUADRUPED_TASKS)
@pytest.mark.filterwarnings("ignore:.*Box .* space.*:UserWarning")
def test_gymnasium_accepts_it(name) -> None:
    check_env(build(name).unwrapped, skip_render_check=True)


def test_one_specification_for_the_family() -> None:
    envs = [make_env(f"rllib_lsp/{name}-v0") for name in QUADRUPED_TASKS]
    assert len({str(env.observation_space) + str(env.action_space) for env in envs}) == 1
    assert envs[0].observation_space.shape == (94,)
    assert envs[0].action_space.shape == (12,)


@pytest.mark.parametrize("start", ["upright", "random"])
def test_it_starts_untouched_and_as_told(start) -> None:
    env = build("quadruped-walk-obstacles", start=start).unwrapped
    uprights = []
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        assert env.physics.data.ncon == 0
        assert info["position"] == (0, 0)
        uprights.append(observation["torso_upright"][0])
    assert (min(uprights) > 0.999) == (start == "upright")


def test_standing_still_earns_the_floor() -> None:
    env = build("quadruped-reach", target_ring=(3.0, 3.0), time_limit=4.0)
    env.reset(seed=0)
    total, truncated = 0.0, False
    while not truncated:
        _, reward, _, truncated, info = env.step(np.zeros(12, np.float32))
        total += reward
    assert info["still_return"] == pytest.approx(200 * (1 - 2.2 / 5))
    assert total == pytest.approx(info["still_return"], rel=0.03)
    assert info["upright_fraction"] == 1
    assert info["success"] == 0


def push_at(posts: list[tuple[float, float]], start: float = 0.0) -> tuple[float, set[str]]:
    """Shove the torso along x at 1 m/s for 3 s; where it ends and what has touched a post."""
    env = build("quadruped-reach").unwrapped
    env.reset(seed=0)
    physics, touching = env.physics, set()
    with physics.reset_context():
        physics.data.qpos[1:3] = start, 0.57
        for mocap, post in zip(physics.data.mocap_pos[1:], posts, strict=False):
            mocap[:] = *post, 0.4
    for _ in range(150):
        physics.data.qvel[0] = 1.0
        env.step(np.zeros(12, np.float32))
        for contact in physics.data.contact:
            names = {physics.model.id2name(geom, "geom") for geom in contact.geom}
            if any(name.startswith("post") for name in names):
                touching |= {name for name in names if not name.startswith("post")}
    return float(physics.data.qpos[0]), touching


def test_nothing_bars_an_open_floor() -> None:
    reached, touching = push_at([])
    assert reached > 2.5
    assert not touching


@pytest.mark.parametrize("start", [0.0, 0.35, 0.8])
def test_torso_and_legs_collide_with_a_line_of_posts(start) -> None:
    reached, touching = push_at([(2.0, 0.7 * i) for i in (-2, -1, 0, 1, 2)], start)
    assert reached < 2.0 - 0.35
    assert any(name.startswith(("thigh", "shin", "foot", "toe")) for name in touching), touching


def test_the_torso_collides_with_a_single_post() -> None:
    reached, touching = push_at([(2.0, 0.0)])
    assert reached < 2.0 - 0.35
    assert "torso" in touching


def test_unused_posts_touch_nothing() -> None:
    env = build("quadruped-reach").unwrapped
    env.reset(seed=0)
    for _ in range(50):
        env.step(np.zeros(12, np.float32))
    names = {
        env.physics.model.id2name(geom, "geom")
        for contact in env.physics.data.contact
        for geom in contact.geom
    }
    assert "floor" in names
    assert not any(name.startswith("post") for name in names)


def test_same_seed_same_bits() -> None:
    def episode() -> list[np.ndarray]:
        env = make_env("rllib_lsp/quadruped-walk-obstacles-v0", action_repeat=2)
        rng = np.random.default_rng(0)
        env.reset(seed=11)
        return [env.step(rng.uniform(-1, 1, 12).astype(np.float32))[0] for _ in range(40)]

    np.testing.assert_array_equal(episode(), episode())


def test_target_and_posts_are_seen_in_the_frame_of_the_body():
    env = build("quadruped-walk-obstacles", start="random").unwrapped
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        frame = env.physics.named.data.xmat["torso"].reshape(3, 3).T  # world to body
        ahead = frame @ np.append(env.layout.target, 0) / info["distance"]
        np.testing.assert_allclose(observation["target"][:3], ahead, atol=1e-5)
        posts = env.layout.posts
        nearest = posts[np.hypot(*posts.T).argsort()[:4]]
        for seen, post in zip(observation["posts"].reshape(4, 3), nearest, strict=True):
            gap = np.hypot(*post)
            np.testing.assert_allclose(seen[:2], (frame @ np.append(post, 0))[:2] / gap, atol=1e-5)
            np.testing.assert_allclose(seen[2], np.tanh((gap - 0.35) / 2), atol=1e-5)
