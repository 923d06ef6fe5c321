"""Load dm_control without OpenGL before any test module imports it."""

from rllib_lsp.envs.rendering import import_simulator

import_simulator(render=False)
