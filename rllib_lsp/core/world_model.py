"""The world model: encoder, dynamics, decoder, reward and continue heads, and their loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_lsp.core.distributions import Latent, Scalar, TwoHot, UnitNormal
from rllib_lsp.core.encoder import Decoder, Encoder, ObservationSpec
from rllib_lsp.core.networks import mlp
from rllib_lsp.core.parallel import mean_of_learners
from rllib_lsp.core.rssm import RSSM, State
from rllib_lsp.core.settings import WorldModelSettings

HEAD_LAYERS = 2


class Batch(NamedTuple):
    """Replayed windows. What stands in one step arrived together: the action that led here,
    the reward and observation it brought. `plan_mean`, `plan_std` are what the planner
    decided *after* this observation."""

    observation: Mapping[str, Tensor]
    """{key: (B, T, *shape)}."""
    action: Tensor
    """(B, T, A); zeros where `is_first`."""
    reward: Tensor
    """(B, T); 0 where `is_first`."""
    is_first: Tensor
    """(B, T) bool: the first observation of an episode."""
    terminated: Tensor
    """(B, T) bool: the episode ended here by its task, not by a time limit."""
    plan_mean: Tensor
    """(B, T, S, Z): mean of the current and the following planned skills."""
    plan_std: Tensor
    """(B, T, S, Z)."""
    planned: Tensor
    """(B, T) bool: this plan was made here, not carried over."""


def kl_loss(
    latent: Latent, posterior: Tensor, prior: Tensor, settings: WorldModelSettings
) -> tuple[Tensor, Tensor]:
    """Balanced KL with free nats, and KL(posterior ‖ prior) itself, in nats: scalar, (...).

    DreamerV3, eq. 3: the gradients that pull the prior to the posterior and the posterior to
    the prior are scaled apart, and a state whose KL is below `free_nats` trains neither. Dreamer
    v1 gives the free nats to the mean over the batch instead.
    """
    divergence = dynamics = latent.kl(posterior.detach(), prior)
    representation = latent.kl(posterior, prior.detach())
    if settings.free_nats_of == "batch":
        dynamics, representation = _batch_mean(dynamics), _batch_mean(representation)
    loss = settings.dynamics_scale * dynamics.clamp(min=settings.free_nats)
    loss = loss + settings.representation_scale * representation.clamp(min=settings.free_nats)
    return loss.mean(), divergence


def _batch_mean(values: Tensor) -> Tensor:
    """The mean over the batches of all learners, with this one's gradient."""
    mean = values.mean()
    return mean + (mean_of_learners(mean) - mean.detach())


def make_scalar(settings: WorldModelSettings) -> Scalar:
    """The distribution of rewards and values that `settings.scalar` names."""
    return UnitNormal() if settings.scalar == "normal" else TwoHot(settings.bins)


class WorldModel(nn.Module):
    """p(o, r, c | s) and the latent dynamics, learned from replayed sequences."""

    def __init__(self, spec: ObservationSpec, action: int, settings: WorldModelSettings) -> None:
        super().__init__()
        hidden, block = settings.head_hidden, settings.block
        self.settings = settings
        self.scalar = make_scalar(settings)
        self.encoder = Encoder(spec, settings)
        self.rssm = RSSM(self.encoder.size, action, settings)
        features = self.rssm.feature_size
        self.decoder = Decoder(spec, features, settings)
        self.reward_head = mlp(
            features, hidden, HEAD_LAYERS, self.scalar.size, block=block, output_scale=0.0
        )
        self.continue_head = (
            mlp(features, hidden, 1, 1, block=block) if settings.continues else None
        )

    def reward(self, features: Tensor) -> Tensor:
        """Predicted reward on *entering* a state, of all its frames: (..., D) → (...)."""
        return self.scalar.mean(self.reward_head(features))

    def continues(self, features: Tensor) -> Tensor:
        """Probability that the episode goes on after a state: (..., D) → (...)."""
        if self.continue_head is None:
            return features.new_ones(features.shape[:-1])
        return torch.sigmoid(self.continue_head(features).squeeze(-1))

    def loss(self, batch: Batch) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Negative evidence bound of `batch` in nats per step.

        Returns the scalar loss, the posterior states (B, T, ·) and scalars to log.
        """
        latent = self.rssm.latent
        filtered = self.rssm.observe(self.encoder(batch.observation), batch.action, batch.is_first)
        features = filtered.states.features
        reconstruction = self.decoder.loss(features, batch.observation).mean()
        reward = -self.scalar.log_prob(self.reward_head(features), batch.reward).mean()
        continues = self._continue_loss(features, batch.terminated)
        kl, divergence = kl_loss(latent, filtered.posterior, filtered.prior, self.settings)
        loss = reconstruction + reward + continues + kl
        metrics = {
            "world_model_loss": loss,
            "reconstruction_loss": reconstruction,
            "reward_loss": reward,
            "continue_loss": continues,
            "kl": divergence.mean(),
            "prior_entropy": latent.entropy(filtered.prior).mean(),
            "posterior_entropy": latent.entropy(filtered.posterior).mean(),
        }
        return loss, filtered.states, metrics

    def _continue_loss(self, features: Tensor, terminated: Tensor) -> Tensor:
        if self.continue_head is None:
            return features.new_zeros(())
        logit = self.continue_head(features).squeeze(-1)
        return F.binary_cross_entropy_with_logits(logit, 1.0 - terminated.to(features.dtype))
