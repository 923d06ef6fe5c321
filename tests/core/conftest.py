"""A tiny agent and batches for it."""

import pytest
import torch

from rllib_lsp.core.agent import Agent
from rllib_lsp.core.settings import build_settings
from rllib_lsp.core.world_model import Batch

SPEC = {"position": 3, "velocity": 2}
ACTION = 2


@pytest.fixture
def make_agent():
    def make(seed=0, **groups):
        torch.manual_seed(seed)
        return Agent(SPEC, ACTION, build_settings("tiny", groups))

    return make


@pytest.fixture
def make_batch():
    def make(agent, rows=4, length=12, seed=0):
        generator = torch.Generator().manual_seed(seed)
        is_first = torch.zeros(rows, length, dtype=torch.bool)
        is_first[:, 0] = True
        is_first[0, 5] = True
        terminated = torch.zeros_like(is_first)
        terminated[0, 4] = True
        plan = (rows, length, agent.settings.planner.skills, agent.settings.skills.dim)
        return Batch(
            observation={
                key: torch.randn(rows, length, width, generator=generator)
                for key, width in SPEC.items()
            },
            action=torch.rand(rows, length, ACTION, generator=generator) * 2 - 1,
            reward=torch.rand(rows, length, generator=generator),
            is_first=is_first,
            terminated=terminated,
            plan_mean=torch.randn(plan, generator=generator),
            plan_std=torch.ones(plan),
        )

    return make
