"""A tiny agent and batches for it."""

import numpy as np
import pytest
import torch

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.world_model import Batch

SPEC = {"position": (3,), "velocity": (2,)}
ACTION = ActionSpec(2)


@pytest.fixture
def make_agent():
    def make(seed=0, *, action=ACTION, preset="modern", **groups):
        torch.manual_seed(seed)
        return Agent(SPEC, action, build_settings(groups, preset=preset, size="tiny"))

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
        plan = (rows, length, agent.settings.planner.skills, agent.plan_width)
        planned = torch.zeros(rows, length, dtype=torch.bool)
        planned[:, ::5] = True
        actions = agent.action_spec.random(rows * length, np.random.default_rng(seed))
        return Batch(
            observation={
                key: torch.randn(rows, length, *shape, generator=generator)
                for key, shape in SPEC.items()
            },
            action=torch.from_numpy(actions).view(rows, length, -1),
            reward=torch.rand(rows, length, generator=generator),
            is_first=is_first,
            terminated=terminated,
            plan_mean=torch.randn(plan, generator=generator),
            plan_std=torch.ones(plan),
            planned=planned,
        )

    return make
