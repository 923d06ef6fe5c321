"""A checkpoint's agent and an environment to look at it in, without a runner of RLlib."""

from __future__ import annotations

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_lsp.cli.checkpoint import Checkpoint
from rllib_lsp.cli.environment import cannot_be_built
from rllib_lsp.cli.evaluate import env_name
from rllib_lsp.cli.messages import InputError, first_paragraph
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.saved_agent import CheckpointError, load_agent
from rllib_lsp.lsp.env_building import build_env
from rllib_lsp.lsp.spaces import action_spec, observation_spec
from rllib_lsp.plots.agents import Subject


def subject_of(trained: Checkpoint, config: AlgorithmConfig, seed: int) -> Subject:
    """Raises InputError for an agent without a world model, and one that does not fit."""
    agent = _agent_of(trained)
    try:
        env = build_env(config, dict(config.env_config))
    except Exception as error:  # whatever an environment raises when it is made
        raise cannot_be_built(config, error) from error
    found = observation_spec(env.observation_space), action_spec(env.action_space)
    if found != (agent.spec, agent.action_spec):
        raise InputError(
            f"environment `{config.env}` has observations and actions {found}, the agent "
            f"{(agent.spec, agent.action_spec)}. Leave out --env, or give one with these."
        )
    return Subject(agent, env, trained.config.algo_class.__name__, env_name(config), seed)


def _agent_of(trained: Checkpoint) -> Agent:
    name = trained.config.algo_class.__name__
    if not list(trained.module.glob("agent.pt")):
        raise InputError(
            f"{trained.path}: {name} has no world model to look into. Give a checkpoint of LSP or "
            "one of its kin (Dreamer, PlaNet, LSP-...)."
        )
    try:
        agent = load_agent(trained.module).agent
    except (CheckpointError, RuntimeError) as error:
        raise InputError(f"{trained.path}: {first_paragraph(error)}") from None
    if not isinstance(agent, Agent):
        raise InputError(
            f"{trained.path}: {name} has no world model: it learns goals and Q-values. Give a "
            "checkpoint of LSP or one of its kin (Dreamer, PlaNet, LSP-...)."
        )
    return agent
