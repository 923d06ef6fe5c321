"""Pictures: the path of the root is in them, in another colour for another skill."""

from __future__ import annotations

import subprocess
import sys

import mujoco
import numpy as np
import pytest

from rllib_lsp.envs import make_env
from rllib_lsp.envs.tasks.path_overlay import COLOURS, MAX_POINTS, PathOverlay


def drawn(path: PathOverlay) -> tuple[np.ndarray, np.ndarray]:
    """Begins (n, 2) and colours (n, 4) of the lines which ``path`` adds to an empty scene."""
    scene = mujoco.MjvScene(mujoco.MjModel.from_xml_string("<mujoco/>"), 1000)
    path.draw(scene)
    lines = scene.geoms[: scene.ngeom]
    return np.array([g.pos[:2] for g in lines]), np.array([g.rgba for g in lines])


def spiral(steps: int, every: int) -> PathOverlay:
    """A path of steps of about 0.2 m, outwards; a skill lasts ``every`` steps."""
    path = PathOverlay((0.0, 0.0))
    for t in range(steps):
        if t and t % every == 0:
            path.mark()
        radius = 0.1 * np.sqrt(t)
        path.add((radius * np.cos(t), radius * np.sin(t)))
    return path


def test_each_skill_has_the_next_colour() -> None:
    path = PathOverlay((0.0, 0.0))
    for t in range(30):
        if t in (10, 20):
            path.mark()
        path.add((0.2 * (t + 1), 0.0))
    begins, colours = drawn(path)
    for skill in range(3):
        part = colours[(begins[:, 0] > 2 * skill + 0.1) & (begins[:, 0] < 2 * skill + 1.7)]
        assert len(part)
        np.testing.assert_allclose(part, np.broadcast_to(COLOURS[skill], part.shape))


def test_a_body_at_rest_adds_nothing() -> None:
    path = PathOverlay((0.0, 0.0))
    for _ in range(1000):
        path.add((0.01, 0.0))
    assert len(drawn(path)[0]) == 1


def test_a_long_path_is_thinned_from_end_to_end() -> None:
    begins, colours = drawn(spiral(20_000, every=50))
    assert MAX_POINTS / 2 <= len(begins) <= MAX_POINTS + 1
    distances = np.hypot(*begins.T)
    assert distances[0] < 3
    assert distances[-1] > 11
    assert len(np.unique(colours, axis=0)) == len(COLOURS)


def test_marks_cost_nothing_without_pictures() -> None:
    env = make_env("rllib_lsp/point-reach-v0")
    env.reset(seed=0)
    env.unwrapped.mark_skill()
    assert env.render() is None


RENDER = """
import numpy as np
from rllib_lsp.envs import make_env

def build(**options):
    env = make_env("rllib_lsp/point-explore-v0", render_mode="rgb_array", camera="CAMERA",
                   render_size=(96, 128), target_ring=(6, 6), **options)
    env.reset(seed=1)
    return env

try:
    env, bare = build(), build(draw_path=False)
except RuntimeError as error:
    assert "MUJOCO_GL=osmesa" in str(error), error
    raise SystemExit("no renderer")

def drive(force):
    for _ in range(40):
        for e in (env, bare):
            e.step(np.array(force, np.float32))
    changed = env.render().astype(int) != bare.render()
    return env.render()[changed.any(2)]

def count(pixels, colour):
    return (abs(pixels - 255 * np.array(colour)).max(1) < 60).sum()

yellow, purple = (1, 1, .2), (.8, .3, .8)
assert (env.render() == bare.render()).all()
first = drive((1, 0))
assert count(first, yellow) > 10 and count(first, purple) == 0, first
env.unwrapped.mark_skill()
second = drive((0, 1))
assert count(second, yellow) > 10 and count(second, purple) > 10, second
env.reset(seed=1)
bare.reset(seed=1)
assert (env.render() == bare.render()).all()
env.close()
bare.close()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    # MUJOCO_GL holds for a whole process, and this one does without a renderer.
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("camera", ["top", "chase"])
def test_the_picture_shows_the_path_and_where_the_skill_changed(camera: str) -> None:
    result = run(RENDER.replace("CAMERA", camera))
    if result.stderr.strip() == "no renderer":
        pytest.skip("no OpenGL on this machine")
    assert result.returncode == 0, result.stderr


NO_DISPLAY = """
from rllib_lsp.envs import make_env
make_env("rllib_lsp/point-reach-v0").reset(seed=0)
try:
    make_env("rllib_lsp/point-reach-v0", render_mode="rgb_array")
except RuntimeError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere GLFW needs no variable")
@pytest.mark.parametrize("choice", ["glfw", "disable"])
def test_a_choice_that_cannot_draw_says_what_can(choice: str, monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", choice)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = run(NO_DISPLAY)
    assert result.returncode == 0, result.stderr
    for part in (f"MUJOCO_GL={choice}", "MUJOCO_GL=egl", "libegl1", "libosmesa6", "State obs"):
        assert part in result.stdout, result.stdout
