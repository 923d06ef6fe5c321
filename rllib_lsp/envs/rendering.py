"""OpenGL only where somebody renders.

dm_control and mujoco pick a renderer when they are first imported. On a machine without a
display this costs a second, prints warnings, and fails altogether where no OpenGL library
is installed, though tasks with state observations need none.
"""

from __future__ import annotations

import importlib
import os
import sys

VARIABLE = "MUJOCO_GL"

_HELP = (
    "no OpenGL renderer could be loaded with MUJOCO_GL={choice}. Without a display, set "
    "MUJOCO_GL=egl (needs an EGL library: the GPU driver's, or Debian's libegl1) or "
    "MUJOCO_GL=osmesa (libosmesa6) before starting Python. State observations need no "
    "renderer: leave render_mode, pixels and MUJOCO_GL unset."
)


def import_simulator(render: bool) -> None:
    """Import mujoco and dm_control, with OpenGL if ``render`` or if MUJOCO_GL is set.

    A later call with ``render`` adds the renderer to a process that did without. The
    environment variable is left as it was, so that child processes choose for themselves.

    Raises:
        RuntimeError: the renderer does not load; the message says what to set or install.
    """
    before = os.environ.get(VARIABLE)
    choice = before or (_usual_renderer() if render else "disable")
    os.environ[VARIABLE] = choice
    try:
        _import(choice, render)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise RuntimeError(_HELP.format(choice=choice)) from error
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _import(choice: str, render: bool) -> None:
    import dm_control._render as renderer
    import mujoco.rendering.classic.gl_context as context

    if render and choice != renderer.BACKEND:
        # Both modules read MUJOCO_GL once; those who render look the renderer up in them.
        importlib.reload(context)
        importlib.reload(renderer)
    if render and renderer.BACKEND == "off":
        raise RuntimeError("rendering is disabled")
    if render and renderer.BACKEND == "glfw" and lacks_display():
        raise RuntimeError("GLFW needs a display: it loads without one, but cannot draw")


def _usual_renderer() -> str:
    # dm_control would prefer GLFW, display or not.
    return "egl" if lacks_display() else "glfw"


def lacks_display() -> bool:
    """Whether no window can be opened here."""
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "linux" and not any(os.environ.get(name) for name in variables)
