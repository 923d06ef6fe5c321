"""Learners of RLlib, ours and DreamerV3's, with a batch to learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dreamerv3 import DreamerV3Config
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from rllib_lsp import LSPConfig
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX

SINGLE = f"{OBSERVATION_PREFIX}observation"
Columns = dict[str, torch.Tensor]
Update = tuple[Callable[[], object], int]
"""A function that updates, and how many parameters it trains."""


def ours(preset: str, options: dict[str, Any], columns: Columns, threads: int) -> Update:
    batch, length = columns["reward"].shape
    config = (
        LSPConfig()
        .preset(preset)
        .training(batch_size=batch, batch_length=length, **options)
        .resources(num_cpus_for_main_process=threads)
    )
    named = {key: value for key, value in columns.items() if key != "observation"}
    return learner_of(config, columns, named | {SINGLE: columns["observation"]})


def dreamer_v3(size: str, columns: Columns, threads: int) -> Update:
    batch, length = columns["reward"].shape
    config = DreamerV3Config().training(
        model_size=size, batch_size_B=batch, batch_length_T=length, horizon_H=15
    )
    named = {
        "obs": columns["observation"],
        "actions": columns["action"],
        "rewards": columns["reward"],
        "is_first": columns["is_first"],
        "is_last": columns["terminated"],
        "is_terminated": columns["terminated"],
    }
    # RLlib's local learner has the threads that torch has; ours sets them.
    torch.set_num_threads(threads)
    return learner_of(config, columns, named)


def learner_of(config: AlgorithmConfig, columns: Columns, named: Columns) -> Update:
    """`named`: the columns as this algorithm calls them."""
    observations = gym.spaces.Box(-np.inf, np.inf, columns["observation"].shape[2:], np.float32)
    actions = gym.spaces.Box(-1.0, 1.0, columns["action"].shape[2:], np.float32)
    config.environment("unused", observation_space=observations, action_space=actions)
    learner = config.build_learner(spaces={DEFAULT_MODULE_ID: (observations, actions)})
    learner.build()
    rows = SampleBatch({key: value.numpy() for key, value in named.items()})
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: rows}, env_steps=columns["reward"].numel())
    module = learner.module[DEFAULT_MODULE_ID]
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return lambda: learner.update(batch=batch), trained
