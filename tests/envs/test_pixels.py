"""make_env(pixels=...): pictures of dm_control and of our own tasks as observations."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rllib_lsp.envs import make_env
from rllib_lsp.envs.cameras import physics_of
from rllib_lsp.envs.rendering import import_simulator

CARTPOLE, REACH = "dm_control/cartpole-swingup-v0", "rllib_lsp/point-reach-v0"
PICTURE = spaces.Box(0, 255, (64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def _renderer() -> None:
    try:
        import_simulator(render=True)
    except RuntimeError:
        pytest.skip("no OpenGL on this machine")


def rollout(env: gymnasium.Env, steps: int = 20) -> list[np.ndarray]:
    """Pictures from the reset on, while the first action is held."""
    action = np.ones(env.action_space.shape, np.float32)
    return [env.reset(seed=3)[0], *(env.step(action)[0] for _ in range(steps))]


@pytest.mark.usefixtures("_renderer")
@pytest.mark.parametrize("env_id", [CARTPOLE, REACH])
def test_pictures_show_what_happens_and_nothing_else(env_id: str) -> None:
    env = make_env(env_id, pixels=64, action_repeat=2)
    assert env.observation_space == PICTURE
    pictures = rollout(env)
    for picture in pictures:
        assert PICTURE.contains(picture)
        assert picture.flags.c_contiguous
        assert picture.std() > 5
    moved = [np.abs(p.astype(int) - pictures[0]).max() for p in pictures[1:]]
    assert moved[-1] > 30
    again = rollout(env)
    np.testing.assert_array_equal(pictures, again)
    other = make_env(env_id, pixels=64, action_repeat=2)
    np.testing.assert_array_equal(pictures, rollout(other))
    env.close()
    other.close()


@pytest.mark.usefixtures("_renderer")
def test_vectors_beside_the_picture_are_those_without() -> None:
    both = make_env(CARTPOLE, pixels=64, keep_vectors=True)
    alone = make_env(CARTPOLE)
    observation = both.reset(seed=0)[0]
    assert both.observation_space.contains(observation)
    assert list(observation) == ["pixels", "vector"]
    np.testing.assert_array_equal(observation["vector"], alone.reset(seed=0)[0])
    both.close()
    named = make_env(REACH, pixels=32, keep_vectors=True, flatten=False)
    assert set(named.reset(seed=0)[0]) == {"pixels", "position", "posts", "target", "velocity"}
    named.close()


@pytest.mark.usefixtures("_renderer")
def test_observed_pictures_hide_the_path_that_rendered_ones_show() -> None:
    shown = make_env(REACH, pixels=64, render_mode="rgb_array", render_size=(96, 128))
    hidden = make_env(REACH, pixels=64)
    np.testing.assert_array_equal(rollout(shown), rollout(hidden))
    assert shown.render().shape == (96, 128, 3)
    np.testing.assert_array_equal(rollout(shown), rollout(hidden))
    shown.close()
    hidden.close()


@pytest.mark.usefixtures("_renderer")
def test_the_camera_of_our_tasks_is_an_option() -> None:
    chase, top = (make_env(REACH, pixels=64, camera=camera) for camera in ("chase", "top"))
    assert (chase.reset(seed=0)[0] != top.reset(seed=0)[0]).any()
    chase.close()
    top.close()


@pytest.mark.usefixtures("_renderer")
@pytest.mark.parametrize(("chosen", "seen"), [({}, True), ({"camera_id": -1}, False)])
def test_rendered_pictures_follow_a_body_that_walks_away(chosen: dict, seen: bool) -> None:
    options = {"render_kwargs": chosen} if chosen else {}
    env = make_env("dm_control/walker-walk-v0", render_mode="rgb_array", **options)
    env.reset(seed=0)
    body = []
    for place in (0.0, 6.0):
        physics = physics_of(env)
        physics.named.data.qpos["rootx"] = place
        physics.forward()
        red, _, blue = env.render().astype(int).transpose(2, 0, 1)
        body.append((red > blue + 30).sum())
    env.close()
    assert body[0] > 1000
    assert (body[1] > 1000) == seen, body


@pytest.mark.usefixtures("_renderer")
@pytest.mark.parametrize(
    ("env_id", "seconds"),
    [
        ("dm_control/cheetah-run-v0", 0.01),
        ("dm_control/walker-walk-v0", 0.025),
        ("rllib_lsp/point-reach-v0", 0.1),
    ],
)
def test_a_film_has_a_picture_a_decision_in_real_time(env_id: str, seconds: float) -> None:
    for repeat in (1, 2):
        env = make_env(env_id, render_mode="rgb_array", action_repeat=repeat)
        assert env.metadata["render_fps"] == pytest.approx(1 / (seconds * repeat))
        env.reset(seed=0)
        before = physics_of(env).time()
        env.step(env.action_space.sample())
        assert physics_of(env).time() - before == pytest.approx(seconds * repeat)
        env.close()


@pytest.mark.usefixtures("_renderer", "ray_session")
def test_a_worker_process_takes_the_same_pictures() -> None:
    import ray

    @ray.remote
    def remote_pictures() -> np.ndarray:
        from rllib_lsp.envs import make_env as make_there

        env = make_there(CARTPOLE, pixels=64)
        pictures = [env.reset(seed=3)[0], env.step(np.ones(1, np.float32))[0]]
        env.close()
        return np.stack(pictures)

    env = make_env(CARTPOLE, pixels=64)
    np.testing.assert_array_equal(ray.get(remote_pictures.remote()), rollout(env, 1))
    env.close()


@pytest.mark.parametrize("size", [0, -1, 64.0, "64"])
def test_a_size_that_is_none(size: object) -> None:
    with pytest.raises(ValueError, match="pixels must be an integer >= 1"):
        make_env("CartPole-v1", pixels=size)


def test_other_environments_are_referred_to_gymnasium() -> None:
    with pytest.raises(ValueError, match=r"AddRenderObservation and ResizeObservation"):
        make_env("CartPole-v1", pixels=64)


NO_RENDERER = """
from rllib_lsp.envs import make_env
try:
    make_env("dm_control/cartpole-swingup-v0", pixels=64)
except RuntimeError as error:
    print(error)
"""


def test_without_a_renderer_the_message_says_what_to_set(monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    run = subprocess.run(
        [sys.executable, "-c", NO_RENDERER], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "MUJOCO_GL=egl" in run.stdout, run.stdout
