"""An agent on disk, and the agent that acts from it: needs torch only, neither Ray nor an env."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.settings import PARTS as HIRO_PARTS
from rllib_lsp.core.hiro.settings import build_hiro_settings
from rllib_lsp.core.presets import build_settings

FILE_NAME = "agent.pt"
FORMAT_VERSION = 3
SINGLE_KEY = "observation"
"""Name of an observation that is a plain vector."""


class CheckpointError(ValueError):
    """A path that holds no readable agent."""


def save_agent(agent: Agent | HIROAgent, stream: IO[bytes]) -> None:
    """Write weights and settings; nothing in the file is code, so `reward_fn` is left out."""
    settings = dataclasses.asdict(agent.settings)
    if isinstance(agent, Agent):
        settings["planner"]["reward_fn"] = None
    torch.save(
        {
            "version": FORMAT_VERSION,
            "observation": agent.spec,
            "action": tuple(agent.action_spec),
            "settings": settings,
            "weights": agent.state_dict(),
        },
        stream,
    )


def read_agent(path: str | Path) -> dict[str, Any]:
    """What `save_agent` wrote, from an `agent.pt` or the checkpoint directory that holds one.

    Raises CheckpointError when there is no agent, or one of another format.
    """
    file = find_agent(Path(path).expanduser())
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn file fails in many ways, one that holds code in another
        raise CheckpointError(
            f"{file} cannot be read as an agent ({type(error).__name__}): it is damaged, or holds "
            f"other things than weights. Load another checkpoint."
        ) from error
    if content.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{file} has format {content.get('version')}, this version of rllib_lsp reads "
            f"{FORMAT_VERSION}: load it with the version that wrote it."
        )
    return content


def load_agent(
    path: str | Path,
    *,
    seed: int | None = None,
    device: str = "cpu",
    planner: Mapping[str, Any] | None = None,
) -> SavedAgent:
    """The agent of an algorithm's checkpoint directory, ready to act in one environment.

    `path`: a checkpoint that `rllib train` or `Algorithm.save_to_path` wrote, or an
    `agent.pt` in one. `seed` makes its exploration and planning reproducible. `planner`: options
    of `PlannerSettings` that shall differ from training, such as `candidates` or `reward_fn`.
    Raises CheckpointError when there is no agent, or one of another format; SettingsError for
    an option that cannot be used.
    """
    content = read_agent(path)
    agent = build_agent(content, planner)
    agent.load_state_dict(content["weights"])
    return SavedAgent(agent.to(device).eval(), seed)


def build_agent(
    content: Mapping[str, Any], planner: Mapping[str, Any] | None = None
) -> Agent | HIROAgent:
    """The agent, of LSP or of HIRO, that `read_agent` found described, with new weights.

    Raises CheckpointError for options of a planner where there is none, or another one.
    """
    spec, action = content["observation"], ActionSpec(*content["action"])
    groups = {**content["settings"]}
    if "levels" in groups:
        if planner:
            raise CheckpointError(f"planner = {dict(planner)!r}: HIRO's agents do not plan.")
        parts = {name: groups[name] for name in HIRO_PARTS}
        return HIROAgent(spec, action, build_hiro_settings(groups["levels"], parts))
    space, wanted = groups["planner"]["space"], (planner or {}).get("space")
    if wanted not in (None, space):
        raise CheckpointError(
            f"planner.space = {wanted!r}: the agent has learned to plan {space}, and has networks "
            f"for that alone."
        )
    groups["planner"] = {**groups["planner"], **(planner or {})}
    return Agent(spec, action, build_settings(groups))


def find_agent(path: Path) -> Path:
    """The one `agent.pt` at or below `path`. Raises CheckpointError for none or several."""
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
        more = ", …" if len(found) > 4 else ""
        raise CheckpointError(f"{path} holds several agents ({listed}{more}): name one of them.")
    return found[0]


class SavedAgent:
    """Acts in one environment, and remembers what the model needs between steps."""

    def __init__(self, agent: Agent | HIROAgent, seed: int | None = None) -> None:
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
        """One observation (D,), or dict of such → an action of the environment.

        A Box's action (A,) lies in [-1, 1], float32; a discrete one is an int64 scalar array.
        The environment has to be wrapped as in training: `rllib_lsp.make_env(id, ...)`.
        Raises ValueError for NaN and infinity, of which the model's state would not recover.
        """
        self._carry, action, _ = self.agent.act(
            self._carry,
            batch_of_one(observation, self._device),
            self._is_first,
            explore,
            self._generator,
        )
        self._is_first = torch.zeros_like(self._is_first)
        return self.agent.action_spec.to_env(action[0].cpu().numpy())


def batch_of_one(observation: Any, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """One observation (D,), or dict of such, as an agent takes it: {key: (1, *shape)}.

    Raises ValueError for a number that is not finite.
    """
    parts = observation if isinstance(observation, Mapping) else {SINGLE_KEY: observation}
    arrays = {key: np.asarray(part) for key, part in parts.items()}
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"observation {key!r} = {array} holds NaN or infinity: check where it comes from. "
                f"The agent has not seen it and goes on from the one before."
            )
    return {key: _tensor(array, device)[None] for key, array in arrays.items()}


def _tensor(part: np.ndarray, device: torch.device | None) -> torch.Tensor:
    dtype = part.dtype if part.dtype == np.uint8 else np.float32
    return torch.as_tensor(np.ascontiguousarray(part, dtype), device=device)
