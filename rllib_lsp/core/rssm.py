"""Recurrent state-space model: s_t = [h_t, x_t] (Hafner et al. 2019, eq. 1; DreamerV3, eq. 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rllib_lsp.core.distributions import CategoricalLatent, GaussianLatent, Latent
from rllib_lsp.core.networks import activation, gru_cell, linear, mlp, output
from rllib_lsp.core.settings import WorldModelSettings


class State(NamedTuple):
    """Model state: deterministic (..., H) and stochastic (..., X) part."""

    deterministic: Tensor
    stochastic: Tensor

    @property
    def features(self) -> Tensor:
        """(..., H + X), what every head and the policy read."""
        return torch.cat(self, -1)

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Apply a tensor function to both parts."""
        return State(function(self.deterministic), function(self.stochastic))


class Filtered(NamedTuple):
    """Posterior states (B, T, ·) with the parameters of posterior and prior."""

    states: State
    posterior: Tensor
    prior: Tensor


def to_border(action: Tensor) -> Tensor:
    """Scale actions that exceed [-1, 1] back to the border, keeping their gradient.

    The environment clips; without this a model would be asked about actions it never saw.
    """
    return action / action.detach().abs().clamp(min=1.0)


def make_latent(settings: WorldModelSettings) -> Latent:
    """The latent distribution that `settings.latent` names."""
    if settings.latent == "gaussian":
        return GaussianLatent(settings.stochastic)
    return CategoricalLatent(settings.stochastic, settings.classes)


class RSSM(nn.Module):
    """Latent dynamics. Actions are those that *led to* a state."""

    def __init__(self, embedding: int, action: int, settings: WorldModelSettings) -> None:
        super().__init__()
        hidden, deterministic = settings.hidden, settings.deterministic
        self.latent = make_latent(settings)
        self.deterministic_size = deterministic
        self.feature_size = deterministic + self.latent.size
        block, biased = settings.block, settings.block == "elu"
        self.from_stochastic = linear(self.latent.size, hidden, bias=biased)
        self.from_action = linear(action, hidden, bias=False)
        self.input_activation = nn.Sequential(*activation(hidden, block))
        self.cell = gru_cell(hidden, deterministic, block)
        self.prior_network = mlp(deterministic, hidden, 1, self.latent.parameter_size, block=block)
        # The posterior's first layer is split, so that the part which reads the
        # embedding runs once for the whole sequence instead of in the time loop.
        self.from_embedding = linear(embedding, hidden, bias=biased)
        self.from_deterministic = linear(deterministic, hidden, bias=False)
        self.posterior_network = nn.Sequential(
            *activation(hidden, block), output(hidden, self.latent.parameter_size)
        )

    def initial(self, batch: int) -> State:
        """The zero state in which every episode and every sampled window begins: (batch, ·)."""
        like = self.from_action.weight
        return State(
            like.new_zeros(batch, self.deterministic_size), like.new_zeros(batch, self.latent.size)
        )

    def _project_action(self, action: Tensor) -> Tensor:
        return self.from_action(to_border(action))

    def _step(self, state: State, projected_action: Tensor) -> Tensor:
        inputs = self.input_activation(self.from_stochastic(state.stochastic) + projected_action)
        # The state keeps its precision under autocast, in which a plain GRU cell does not.
        return self.cell(inputs, state.deterministic).to(state.deterministic.dtype)

    def _posterior(self, deterministic: Tensor, projected_embedding: Tensor) -> Tensor:
        hidden = self.from_deterministic(deterministic) + projected_embedding
        return self.posterior_network(hidden)

    def observe(self, embedding: Tensor, action: Tensor, is_first: Tensor) -> Filtered:
        """Filter sequences from the zero state.

        embedding (B, T, E), action (B, T, A) that led to each step, is_first (B, T) bool:
        where it is set, the state before is forgotten.
        """
        keep = 1.0 - is_first.to(embedding.dtype).unsqueeze(-1)
        actions = self._project_action(action * keep).unbind(1)
        embeddings = self.from_embedding(embedding).unbind(1)
        state = self.initial(embedding.shape[0])
        deterministic, stochastic, posterior = [], [], []
        for step, kept in enumerate(keep.unbind(1)):
            state = State(state.deterministic * kept, state.stochastic * kept)
            hidden = self._step(state, actions[step])
            parameters = self._posterior(hidden, embeddings[step])
            state = State(hidden, self.latent.sample(parameters))
            deterministic.append(hidden)
            stochastic.append(state.stochastic)
            posterior.append(parameters)
        states = State(torch.stack(deterministic, 1), torch.stack(stochastic, 1))
        # The prior reads only h_t: one batched call instead of one per step.
        prior = self.prior_network(states.deterministic)
        return Filtered(states, torch.stack(posterior, 1), prior)

    def observe_step(
        self,
        state: State,
        embedding: Tensor,
        action: Tensor,
        is_first: Tensor,
        generator: torch.Generator | None = None,
    ) -> State:
        """Filter one step: state (N, ·), embedding (N, E), action (N, A), is_first (N,) bool."""
        keep = 1.0 - is_first.to(embedding.dtype).unsqueeze(-1)
        hidden = self._step(
            state.map(lambda part: part * keep), self._project_action(action * keep)
        )
        parameters = self._posterior(hidden, self.from_embedding(embedding))
        return State(hidden, self.latent.sample(parameters, generator))

    def imagine_step(
        self,
        state: State,
        action: Tensor,
        generator: torch.Generator | None = None,
        shared: int = 1,
    ) -> State:
        """One step of the prior dynamics: state (N, ·), action (N, A) → state (N, ·).

        Each block of `shared` consecutive rows gets the same noise.
        """
        hidden = self._step(state, self._project_action(action))
        return State(hidden, self.latent.sample(self.prior_network(hidden), generator, shared))
