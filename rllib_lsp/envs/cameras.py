"""Which of a simulation's cameras looks on, and how fast."""

from __future__ import annotations

from typing import Any

import gymnasium


def physics_of(env: gymnasium.Env) -> Any:
    """dm_control's physics below the wrappers, or None where there is none."""
    ours = getattr(env.unwrapped, "physics", None)
    return ours or getattr(getattr(env.unwrapped, "_env", None), "physics", None)


def first_camera(physics: Any) -> int | str:
    """The camera by which dm_control's tasks are usually seen."""
    # Only the quadruped's is called so: in its pictures the body has a few pixels. The usual
    # choice in its stead, as in Dreamer, is its third.
    return "y" if physics.model.id2name(0, "camera") == "global" else 0


def film_as_usual(env: gymnasium.Env) -> None:
    """``render`` of a dm_control task uses its first camera, unless ``render_kwargs`` name one,
    and ``metadata["render_fps"]`` is real time.

    Left alone, it looks at the place where the body began, which a walker leaves at once, and
    shimmy gives the milliseconds of a step as its pictures a second.
    """
    inner: Any = env.unwrapped
    physics = physics_of(env)
    if not hasattr(inner, "render_kwargs") or physics is None:
        return
    # A dict of its own: shimmy's is shared by all tasks.
    inner.metadata = {**inner.metadata, "render_fps": 1 / inner._env.control_timestep()}
    if physics.model.ncam:
        inner.render_kwargs = {"camera_id": first_camera(physics), **inner.render_kwargs}
