"""``make_env``: any gymnasium id, wrapped the way the algorithms of this package want it."""

from __future__ import annotations

from typing import Any

import gymnasium

from rllib_lsp.envs.action import ActionRepeat, UnitActions
from rllib_lsp.envs.cameras import film_as_usual
from rllib_lsp.envs.checks import Checked
from rllib_lsp.envs.ids import ensure_known
from rllib_lsp.envs.observation import float32_observations
from rllib_lsp.envs.pixels import PixelObservations


def make_env(
    env_id: str,
    *,
    action_repeat: int = 1,
    flatten: bool = True,
    pixels: int | None = None,
    keep_vectors: bool = False,
    render_mode: str | None = None,
    **options: Any,
) -> gymnasium.Env:
    """Build and wrap an environment.

    Args:
        env_id: ``dm_control/<domain>-<task>-v0`` (through shimmy), a task of this package
            (``rllib_lsp/...``), or any other gymnasium id.
        action_repeat: simulator steps per decision.
        flatten: join a Dict observation into one vector; see docs/tasks.md.
        pixels: observe a picture of this height and width instead; see docs/tasks.md.
        keep_vectors: observe both, the picture and the vectors.
        render_mode: as in gymnasium; None loads no OpenGL (unless MUJOCO_GL asks for it).
        options: keyword arguments of the environment itself.

    Raises:
        ValueError: an unknown id, or an environment that ``wrap`` refuses.
        RuntimeError: ``render_mode`` or ``pixels`` is given and no renderer loads.
    """
    ensure_known(env_id, render=render_mode is not None or pixels is not None)
    # The passive checker would only repeat what Checked does.
    env = gymnasium.make(env_id, render_mode=render_mode, disable_env_checker=True, **options)
    if render_mode == "rgb_array":
        film_as_usual(env)
    return wrap(env, action_repeat, flatten, pixels, keep_vectors)


def wrap(
    env: gymnasium.Env,
    action_repeat: int = 1,
    flatten: bool = True,
    pixels: int | None = None,
    keep_vectors: bool = False,
) -> gymnasium.Env:
    """Wrap ``env``; from the inside out:

    1. ``ActionRepeat``: summed reward, ``info["frames"]``;
    2. ``UnitActions``: float Box actions are float32 in [-1, 1];
    3. ``FlatObservations`` for a Dict when ``flatten`` (its keys joined in sorted order), else
       ``DictObservations`` or ``BoxObservations``: float32, but uint8 images as they are;
    4. ``PixelObservations`` when ``pixels``: a picture of this size, instead of all that or, when
       ``keep_vectors``, in a Dict with it;
    5. ``Checked``: finite values, action shapes, no step after the end.

    Raises:
        ValueError: ``action_repeat`` below 1, unbounded actions, or an observation that
            cannot be flattened, or of which no picture can be taken.
    """
    env = ActionRepeat(env, action_repeat)
    if UnitActions.applies_to(env.action_space):
        env = UnitActions(env)
    if pixels is None or keep_vectors:
        env = float32_observations(env, flatten)
    if pixels is not None:
        env = PixelObservations(env, pixels, keep_vectors)
    return Checked(env)
