"""LSP as an RLlib algorithm; the public names are re-exported by `rllib_lsp`."""

from rllib_lsp.envs.rendering import import_simulator

# `import ray.rllib` imports dm_control, which would look for a display.
import_simulator(render=False)
