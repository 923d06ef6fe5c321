"""An agent in an environment of its own, for who wants to look on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rllib_lsp.core.agent import Agent, Carry
from rllib_lsp.core.encoder import ObservationSpec, vector_widths
from rllib_lsp.core.saved_agent import SINGLE_KEY, batch_of_one

Place = tuple[float, float]
"""(x, y) on the floor, in m."""


class PlotError(ValueError):
    """What is to be drawn does not exist for this agent or environment; the message says why."""


@dataclass(frozen=True)
class Subject:
    """Whom a picture is of: an agent, an environment like its own, and what each is called."""

    agent: Agent
    env: gymnasium.Env
    agent_name: str
    env_name: str
    seed: int = 0

    def generator(self) -> torch.Generator:
        """The same noise each time that it is asked for."""
        device = next(self.agent.parameters()).device
        return torch.Generator(device).manual_seed(self.seed)


class Step(NamedTuple):
    """A decision, and what it brought; of the first observation of an episode only that."""

    observation: Any
    info: dict[str, Any]
    reward: float
    action: np.ndarray
    """(A,), in [-1, 1]."""
    extras: dict[str, Tensor]


def episode(subject: Subject, held: Carry | None = None) -> Iterator[Step]:
    """An episode without exploration, from the subject's seed, step by step.

    held: parts of the carry that stay as they are, such as a skill of one's own.
    """
    agent, env, generator = subject.agent, subject.env, subject.generator()
    observation, info = env.reset(seed=subject.seed)
    carry, over = agent.initial_carry(1), False
    # The initial carry has nothing to forget, and would be given up if it were asked to.
    begins = torch.zeros(1, dtype=torch.bool)
    yield Step(observation, info, 0.0, np.zeros(agent.action_spec.size, np.float32), {})
    while not over:
        carry, chosen, extras = agent.act(
            carry | (held or {}),
            batch_of_one(observation),
            begins,
            explore=False,
            generator=generator,
        )
        action = chosen[0].numpy()
        observation, reward, terminated, truncated, info = env.step(
            agent.action_spec.to_env(action)
        )
        over = terminated or truncated
        yield Step(observation, info, float(reward), action, extras | carry)


def place_of(info: Mapping[str, Any]) -> Place | None:
    """Where the body is, if the environment says so."""
    place = np.asarray(info.get("position", ()))
    return (float(place[0]), float(place[1])) if place.shape == (2,) else None


def needed_place(info: Mapping[str, Any], env_name: str) -> Place:
    """As `place_of`. Raises PlotError where the environment does not say it."""
    place = place_of(info)
    if place is None:
        raise PlotError(
            f"{env_name} does not say where on the floor its body is: its `info` holds no "
            "`position` (x, y). The tasks rllib_lsp/point-... and rllib_lsp/quadruped-... do; "
            "let an environment of your own add it in `reset` and `step`."
        )
    return place


def slices_of(subject: Subject) -> dict[str, tuple[str, slice]]:
    """Each named part of the observation: the vector that holds it, and where in it."""
    parts = vectors_of(subject.agent.spec)
    if SINGLE_KEY in parts and subject.env.has_wrapper_attr("slices"):
        joined: dict[str, slice] = subject.env.get_wrapper_attr("slices")
        return {key: (SINGLE_KEY, part) for key, part in joined.items()}
    return parts


def vectors_of(spec: ObservationSpec) -> dict[str, tuple[str, slice]]:
    """As `slices_of`, where nothing is known of the observation but its vectors."""
    return {key: (key, slice(0, width)) for key, width in vector_widths(spec).items()}
