"""The pictures of ``docs/tasks.md``: every layout for both bodies, and a path with its skills.

Needs a renderer; without a display set ``MUJOCO_GL`` to egl or osmesa (software will do).

    MUJOCO_GL=egl python benchmarks/render_tasks.py --out docs/images
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rllib_lsp.envs import make_env

CAMERAS = ("top", "chase")
# Title: options.
LAYOUTS: dict[str, dict[str, Any]] = {
    "open": {},
    "line": {"layout": "line", "target_ring": (4.5, 4.5)},
    "cove": {"layout": "cove", "target_ring": (4.5, 4.5)},
    "scattered": {"layout": "scattered", "target_ring": (4.0, 5.0)},
    "open, sparse reward": {"reward": "sparse", "target_ring": (4.0, 5.0)},
}
# Ways in the frame whose x axis points from the start to the target, in m.
OUT_OF_THE_COVE = [(1.4, 0.6), (0.8, -0.7), (-0.4, 0.8), (0.8, 2.4), (3.2, 2.2), (4.5, 0.0)]
AROUND_THE_LINE = [(1.0, -0.3), (1.0, 2.2), (3.4, 2.6), (4.5, 0.0)]
PUSH = 1.0  # m/s
SKILL = 1.5  # s


def build(family: str, camera: str, **options: Any) -> gymnasium.Env:
    """A task that renders, reset so that the target lies ahead of the chase camera."""
    env = make_env(
        f"rllib_lsp/{family}-reach-v0",
        render_mode="rgb_array",
        camera=camera,
        time_limit=60.0,
        **options,
    )
    for seed in count():
        env.reset(seed=seed)
        x, y = target_of(env)
        if abs(math.atan2(y, x)) < 0.3:
            break
    return env


def target_of(env: gymnasium.Env) -> np.ndarray:
    """(2,) in m; the first mocap body is the target."""
    return env.unwrapped.physics.data.mocap_pos[0, :2].copy()


def push_along(env: gymnasium.Env, way: list[tuple[float, float]], decision: float) -> None:
    """Push the body along ``way``; the skill changes every 1.5 s, a decision takes ``decision``."""
    target = target_of(env)
    x, y = target / np.hypot(*target)
    position, steps = np.zeros(2), count()
    still = np.zeros(env.action_space.shape, np.float32)
    for corner in np.array(way) @ np.array([[x, y], [-y, x]]):
        while (distance := np.hypot(*(corner - position))) > 0.15:
            if next(steps) % round(SKILL / decision) == 0:
                env.unwrapped.mark_skill()
            velocity = env.unwrapped.physics.data.qvel
            velocity[:2] = PUSH * (corner - position) / distance
            velocity[3:6] = 0.0  # or the quadruped would tumble
            position = np.array(env.step(still)[4]["position"])


def sheet(
    rows: int, columns: int, width: float, render: Callable[[int, int], np.ndarray]
) -> tuple[Figure, Any]:
    """A figure of frames, ``width`` inches each, and its (rows, columns) axes for the titles."""
    size = (width * columns, 0.78 * width * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for (row, column), axis in np.ndenumerate(axes):
        axis.imshow(render(row, column))
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def layouts(family: str) -> Figure:
    """All layouts, from the top and from behind."""
    options = list(LAYOUTS.values())

    def render(row: int, column: int) -> np.ndarray:
        env = build(family, CAMERAS[row], **options[column])
        frame = env.render()
        env.close()
        return frame

    figure, axes = sheet(len(CAMERAS), len(LAYOUTS), 2.5, render)
    for axis, title in zip(axes[0], LAYOUTS, strict=True):
        axis.set_title(title)
    for axis, camera in zip(axes[:, 0], CAMERAS, strict=True):
        axis.set_ylabel(f"camera={camera!r}")
    return figure


def paths() -> Figure:
    """Both bodies pushed along a way, all of it from the top and half of it from behind."""
    runs = [
        ("point", "cove", OUT_OF_THE_COVE, 0.1),
        ("quadruped", "line", AROUND_THE_LINE, 0.02),
    ]

    def render(row: int, column: int) -> np.ndarray:
        family, layout, way, decision = runs[row]
        camera = CAMERAS[column]
        env = build(family, camera, render_size=(360, 480), **LAYOUTS[layout])
        push_along(env, way if camera == "top" else way[: len(way) // 2], decision)
        frame = env.render()
        env.close()
        return frame

    figure, axes = sheet(len(runs), len(CAMERAS), 3.7, render)
    for axis, camera in zip(axes[0], CAMERAS, strict=True):
        axis.set_title(f"camera={camera!r}")
    for axis, (family, layout, *_) in zip(axes[:, 0], runs, strict=True):
        axis.set_ylabel(f"{family}, {layout}")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    figures = {"point": layouts("point"), "quadruped": layouts("quadruped"), "path": paths()}
    for name, figure in figures.items():
        path = out / f"tasks-{name}.png"
        figure.savefig(path, dpi=100)
        print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
