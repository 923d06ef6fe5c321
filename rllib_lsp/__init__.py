"""Latent Skill Planning for Ray RLlib.

`rllib_lsp.core` and `rllib_lsp.load_agent` need torch only; names that need Ray are imported
when first asked for.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "LSP": "rllib_lsp.lsp.algorithm",
    "LSPConfig": "rllib_lsp.lsp.config",
    "DreamerConfig": "rllib_lsp.lsp.baselines",
    "FixedPolicyConfig": "rllib_lsp.lsp.baselines",
    "HIRO": "rllib_lsp.hiro.algorithm",
    "HIROConfig": "rllib_lsp.hiro.config",
    "OpenLoopPictures": "rllib_lsp.callbacks",
    "PlaNetConfig": "rllib_lsp.lsp.baselines",
    "RandomSkillsConfig": "rllib_lsp.lsp.baselines",
    "TaskMetrics": "rllib_lsp.callbacks",
    "load_agent": "rllib_lsp.core.saved_agent",
    "make_env": "rllib_lsp.envs",
}

__all__ = [
    "HIRO",
    "LSP",
    "DreamerConfig",
    "FixedPolicyConfig",
    "HIROConfig",
    "LSPConfig",
    "OpenLoopPictures",
    "PlaNetConfig",
    "RandomSkillsConfig",
    "TaskMetrics",
    "load_agent",
    "make_env",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rllib_lsp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
