"""The env runner: what LSP's does, with goals in place of plans."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_lsp.lsp.env_runner import LSPEnvRunner
from rllib_lsp.replay import Rows


class HIROEnvRunner(LSPEnvRunner):
    """Acts with `HIROAgent.act` in N environments at once."""

    @property
    def _agent(self) -> Any:
        return self.module.agent

    def _decide(self, explore: bool, random: str | None, gains: list[float]) -> np.ndarray:
        self._carry, action, _ = self._agent.act(
            self._carry, *self._seen(), explore, self._generator, random=random is not None
        )
        return action.cpu().numpy()

    def decision(self) -> dict[str, np.ndarray]:
        """As of LSP; the skill is the goal, as it was chosen, and nothing is planned."""
        names = {"skill": "choice", "steps_left": "steps_left", "planned": "chosen"}
        return {name: self._carry[key].cpu().numpy() for name, key in names.items()}

    def _decided(self, random: str | None) -> Rows:
        """The goal that is held, and whether it was chosen now."""
        return {key: self._carry[key].cpu().numpy() for key in ("choice", "anchor", "chosen")}
