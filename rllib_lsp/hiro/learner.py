"""The learner: a round of updates, of both levels, in one call."""

from __future__ import annotations

from typing import Any

import torch

from rllib_lsp.core.hiro import learning
from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.learning import Rows
from rllib_lsp.core.hiro.td3 import Optimizers
from rllib_lsp.lsp.learner import LSPTorchLearner, fetch
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX

PAIRS = "pairs."
"""Columns (B, U, 2, ...): for each of U updates of the lower level a batch of B pairs of rows."""
WINDOWS = "windows."
"""Columns (B, c + 1, ...): a batch of segments for the upper level's update."""


class HIROTorchLearner(LSPTorchLearner):
    """Threads, optimizers and learning rates are as LSP's; an update is another."""

    def _uncompiled_update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        losses = {}
        for module_id, columns in batch.items():
            agent: HIROAgent = self.module[module_id].unwrapped().agent
            pairs = rows_of(agent, columns, PAIRS)
            updates = pairs.reward.shape[1]
            # All were drawn alike, so any part of them is as good a batch.
            pairs = Rows(*(part.flatten(0, 1) for part in pairs))
            windows = rows_of(agent, columns, WINDOWS) if agent.high is not None else None
            optimizers = self._optimizers_of(module_id, agent)
            found = learning.learn(agent, pairs, updates, windows, optimizers)
            values = fetch(found)
            _check_finite(values)
            self.metrics.log_dict(values, key=module_id, window=100)
            losses[module_id] = found["low_critic_loss"]
        return {}, losses, {}

    def _optimizers_of(self, module_id: str, agent: HIROAgent) -> dict[str, Optimizers]:
        return {
            level: Optimizers(
                *(self.get_optimizer(module_id, f"{level}_{part}") for part in Optimizers._fields)
            )
            for level in agent.levels()
        }


def rows_of(agent: HIROAgent, columns: dict[str, torch.Tensor], prefix: str) -> Rows:
    """Those columns of a batch whose names begin with `prefix`."""
    observation = {key: columns[f"{prefix}{OBSERVATION_PREFIX}{key}"] for key in agent.spec}
    rest = (columns[f"{prefix}{name}"] for name in Rows._fields if name != "state")
    return Rows(agent.state(observation), *rest)


def _check_finite(values: dict[str, float]) -> None:
    wrong = [name for name, value in values.items() if not abs(value) < float("inf")]
    if wrong:
        raise FloatingPointError(
            f"{', '.join(wrong)} became NaN or infinite. Lower the learning rates, check the "
            f"scale of rewards and observations, and continue from the last checkpoint."
        )
