"""Pictures of the simulation as observations."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from rllib_lsp.envs.cameras import first_camera, physics_of

# Without shadows and reflections a picture takes a quarter of the time.
_PLAIN = {"shadow": False, "reflection": False}


class PixelObservations(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A uint8 picture (size, size, 3) in place of the observation, or beside it.

    Rendered at this very size, whatever ``render()`` draws and whether or not there is a
    ``render_mode``. dm_control's tasks are seen by their first camera (the quadruped by its
    third), the tasks of this package by the one that their option ``camera`` names, without
    the path.

    With ``keep_vectors`` the observation is a Dict of ``pixels`` and of what was there before; if
    that was a Box, it is named ``vector``.

    Raises:
        ValueError: ``size`` is no integer of at least 1, or the environment is neither
            dm_control's nor of this package.
    """

    def __init__(self, env: gymnasium.Env, size: int, keep_vectors: bool = False):
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"pixels must be an integer >= 1, the side of a picture, got {size!r}")
        RecordConstructorArgs.__init__(self, size=size, keep_vectors=keep_vectors)
        gymnasium.ObservationWrapper.__init__(self, env)
        if physics_of(env) is None:
            raise ValueError(
                f"pixels needs an environment of dm_control or of this package, not {env}: wrap "
                "yours in gymnasium.wrappers.AddRenderObservation and ResizeObservation"
            )
        self._size = size
        self._camera: Any = None
        picture = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._keep_vectors = keep_vectors
        self.observation_space = (
            spaces.Dict({"pixels": picture, **_named(env.observation_space)})
            if keep_vectors
            else picture
        )

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._camera = self._new_camera()
        return self.observation(observation), info

    def observation(self, observation: Any) -> Any:
        # A copy: the camera draws the next picture into the same array.
        picture = np.array(self._camera.render(render_flag_overrides=_PLAIN), order="C")
        return {"pixels": picture, **_named(observation)} if self._keep_vectors else picture

    def close(self) -> None:
        self._camera = None
        super().close()

    def _new_camera(self) -> Any:
        # `physics.render` makes one for every picture, which takes longer than to draw a simple
        # scene. One for each episode, as composer environments make their physics anew in `reset`.
        from dm_control.mujoco import Camera

        physics = physics_of(self.env)
        task = getattr(self.env.unwrapped, "task", None)
        camera = getattr(task, "camera", None) or first_camera(physics)
        return Camera(physics, self._size, self._size, camera)


def _named(observation: Any) -> dict[str, Any]:
    """An observation, or a space, as a dict."""
    if isinstance(observation, (dict, spaces.Dict)):
        return dict(observation.items())
    return {"vector": observation}
