"""What the model foretells without looking: a few observed steps, then imagination alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from rllib_lsp.core.agent import Agent
from rllib_lsp.core.encoder import image_shapes
from rllib_lsp.core.saved_agent import batch_of_one
from rllib_lsp.plots.agents import Subject, episode

DRAWS = 16
"""Futures that are imagined of one past."""


@dataclass(frozen=True)
class Window:
    """T consecutive steps of one episode; what stands in one step arrived together."""

    observation: Mapping[str, Tensor]
    """{key: (T, *shape)}."""
    action: Tensor
    """(T, A)."""
    reward: Tensor
    """(T,)."""


@dataclass(frozen=True)
class Prediction:
    """Truth and prediction of T steps, the first `context` of which were seen."""

    context: int
    truth: dict[str, np.ndarray]
    """{key: (T, *shape)}, vectors and images, and `reward` (T,)."""
    predicted: dict[str, np.ndarray]
    """{key: (DRAWS, T, *shape)}; of images the first draw only, in [0, 255]."""

    def error(self) -> float:
        """Of the mean prediction after the context, the root of its squared error relative to
        the truth's variance, over all entries: 0 is perfect, 1 what the truth's mean would do."""
        missed = varied = 0.0
        for key, truth in self.truth.items():
            if key != "reward":
                unit = 255.0 if truth.ndim == 4 else 1.0
                later, guess = truth[self.context :], self.predicted[key].mean(0)[self.context :]
                missed += np.square((guess - later) / unit).sum()
                varied += np.square((later - later.mean(0)) / unit).sum()
        return float(np.sqrt(missed / varied))


def record(subject: Subject, steps: int) -> Window:
    """The first steps of an episode; fewer if it ends before."""
    seen = list(islice(episode(subject), steps))
    parts = [batch_of_one(step.observation) for step in seen]
    return Window(
        {key: torch.cat([part[key] for part in parts]) for key in parts[0]},
        torch.from_numpy(np.stack([step.action for step in seen])),
        torch.tensor([step.reward for step in seen], dtype=torch.float32),
    )


@torch.inference_mode()
def predict(
    agent: Agent, window: Window, context: int, generator: torch.Generator | None = None
) -> Prediction:
    """Filter `context` steps of a window, and imagine the others under the actions taken."""
    rssm, decoder = agent.world_model.rssm, agent.world_model.decoder
    embedding = agent.world_model.encoder(window.observation)
    state, features = rssm.initial(DRAWS), []
    for step, action in enumerate(window.action.unsqueeze(1).expand(-1, DRAWS, -1)):
        if step < context:
            seen = embedding[step].expand(DRAWS, -1)
            is_first = torch.full((DRAWS,), step == 0, device=seen.device)
            state = rssm.observe_step(state, seen, action, is_first, generator)
        else:
            state = rssm.imagine_step(state, action, generator)
        features.append(state.features)
    futures = torch.stack(features, 1)
    predicted = {**decoder.decode_vectors(futures), "reward": agent.world_model.reward(futures)}
    if image_shapes(agent.spec):
        predicted = decoder.decode(futures[:1]) | predicted
    truth = {**window.observation, "reward": window.reward}
    return Prediction(
        context,
        {key: truth[key].cpu().numpy() for key in predicted},
        {key: value.cpu().numpy() for key, value in predicted.items()},
    )
