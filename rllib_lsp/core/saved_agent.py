"""An agent on disk, and the agent that acts from it: needs torch only, neither Ray nor an env."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from rllib_lsp.core.agent import Agent
from rllib_lsp.core.settings import build_settings

FILE_NAME = "agent.pt"
FORMAT_VERSION = 1
SINGLE_KEY = "observation"
"""Name of an observation that is a plain vector."""


class CheckpointError(ValueError):
    """A path that holds no readable agent."""


def save_agent(agent: Agent, stream: IO[bytes]) -> None:
    """Write weights and settings; nothing in the file is code."""
    torch.save(
        {
            "version": FORMAT_VERSION,
            "observation": agent.world_model.encoder.spec,
            "action": agent.action_size,
            "settings": dataclasses.asdict(agent.settings),
            "weights": agent.state_dict(),
        },
        stream,
    )


def load_agent(path: str | Path, *, seed: int | None = None, device: str = "cpu") -> SavedAgent:
    """The agent of an algorithm's checkpoint directory, ready to act in one environment.

    `path`: a checkpoint that `rllib train` or `Algorithm.save_to_path` wrote, or an
    `agent.pt` in one. `seed` makes its exploration and planning reproducible.
    Raises CheckpointError when there is no agent, or one of another format.
    """
    file = _find(Path(path).expanduser())
    content = torch.load(file, map_location=device, weights_only=True)
    if content.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{file} has format {content.get('version')}, this version of rllib_lsp reads "
            f"{FORMAT_VERSION}: load it with the version that wrote it."
        )
    settings = build_settings("medium", content["settings"])
    agent = Agent(content["observation"], content["action"], settings)
    agent.load_state_dict(content["weights"])
    return SavedAgent(agent.to(device).eval(), seed)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.rglob(FILE_NAME)) if path.is_dir() else []
    if not found:
        raise CheckpointError(
            f"No {FILE_NAME} in {path}: give the directory of a checkpoint, for example "
            f"~/ray_results/<experiment>/<trial>/checkpoint_000003."
        )
    if len(found) > 1:
        listed = ", ".join(str(file.relative_to(path)) for file in found[:4])
        raise CheckpointError(f"{path} holds several agents ({listed}, …): name one of them.")
    return found[0]


class SavedAgent:
    """Acts in one environment, and remembers what the model needs between steps."""

    def __init__(self, agent: Agent, seed: int | None = None) -> None:
        self.agent = agent
        self._device = next(agent.parameters()).device
        self._generator = torch.Generator(self._device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)
        self.reset()

    def reset(self) -> None:
        """Forget the episode; call at each environment reset."""
        self._carry = self.agent.initial_carry(1)
        self._is_first = torch.ones(1, dtype=torch.bool, device=self._device)

    def act(
        self, observation: np.ndarray | Mapping[str, np.ndarray], *, explore: bool = False
    ) -> np.ndarray:
        """One observation (D,), or dict of such → action (A,) in [-1, 1], float32.

        The environment has to be wrapped as in training: `rllib_lsp.make_env(id, ...)`.
        """
        parts: Mapping[str, Any] = (
            observation if isinstance(observation, Mapping) else {SINGLE_KEY: observation}
        )
        tensors = {
            key: torch.as_tensor(np.asarray(part), dtype=torch.float32, device=self._device)[None]
            for key, part in parts.items()
        }
        self._carry, action, _ = self.agent.act(
            self._carry, tensors, self._is_first, explore, self._generator
        )
        self._is_first = torch.zeros_like(self._is_first)
        return action[0].cpu().numpy()
