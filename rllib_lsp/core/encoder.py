"""Observations to embeddings and model features back to observations.

An observation is a dict of named vectors and images; a plain Box is a dict with one key. With
symlog, vectors are squashed, so that no normalisation statistics have to travel with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from rllib_lsp.core.convolutions import ImageDecoder, ImageEncoder
from rllib_lsp.core.distributions import symexp, symlog
from rllib_lsp.core.networks import mlp
from rllib_lsp.core.settings import WorldModelSettings

ObservationSpec = Mapping[str, tuple[int, ...]]
"""Shape of each named observation: (width,) of a vector, (height, width, channels) of an image,
which is uint8 or has at least its range of 0 to 255."""


def check_observation(observation: Mapping[str, Tensor], spec: ObservationSpec) -> None:
    """Raises KeyError or ValueError, naming the key, where `observation` does not fit `spec`."""
    for key, shape in spec.items():
        if key not in observation:
            raise KeyError(f"observation lacks {key!r}; it has {sorted(observation)}")
        if observation[key].shape[-len(shape) :] != shape:
            found, wanted = tuple(observation[key].shape), ", ".join(map(str, shape))
            raise ValueError(f"observation {key!r} has shape {found}, expected (..., {wanted})")


def vector_widths(spec: ObservationSpec) -> dict[str, int]:
    """{key: width} of the vectors of `spec`."""
    return {key: shape[0] for key, shape in spec.items() if len(shape) == 1}


def image_shapes(spec: ObservationSpec) -> dict[str, tuple[int, ...]]:
    """{key: (height, width, channels)} of the images of `spec`."""
    return {key: shape for key, shape in spec.items() if len(shape) == 3}


class Encoder(nn.Module):
    """Named vectors and images → embedding (..., size)."""

    def __init__(self, spec: ObservationSpec, settings: WorldModelSettings) -> None:
        super().__init__()
        self.spec = dict(spec)
        self._squash = symlog if settings.symlog else _as_it_is
        self._vectors, self._images = vector_widths(spec), image_shapes(spec)
        hidden, block = settings.encoder_hidden, settings.block
        width = sum(self._vectors.values())
        self.network = mlp(width, hidden, settings.layers, block=block) if width else None
        images = [ImageEncoder(shape, settings.channels, block) for shape in self._images.values()]
        # A list: the names of a ModuleDict may neither hold a dot nor be called `keys`.
        self.image_networks = nn.ModuleList(images)
        self.size = sum(image.size for image in images) + (hidden if width else 0)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """{key: (..., *shape)} → (..., size): of all vectors together, then of each image."""
        check_observation(observation, self.spec)
        parts = []
        if self.network is not None:
            parts.append(self.network(self._squash(_joined(observation, self._vectors))))
        for key, network in zip(self._images, self.image_networks, strict=True):
            parts.append(network(observation[key]))
        return torch.cat(parts, -1)


class Decoder(nn.Module):
    """Model features → reconstruction of every named vector and image."""

    def __init__(self, spec: ObservationSpec, features: int, settings: WorldModelSettings) -> None:
        super().__init__()
        self.spec = dict(spec)
        self._squash = symlog if settings.symlog else _as_it_is
        self._unsquash = symexp if settings.symlog else _as_it_is
        self._vector_scale, self._image_scale = settings.vector_scale, settings.image_scale
        self._vectors, self._images = vector_widths(spec), image_shapes(spec)
        hidden, layers, block = settings.encoder_hidden, settings.layers, settings.block
        width = sum(self._vectors.values())
        self.network = mlp(features, hidden, layers, width, block=block) if width else None
        self.image_networks = nn.ModuleList(
            ImageDecoder(features, shape, settings.channels, block)
            for shape in self._images.values()
        )

    def loss(self, features: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """Squared error summed over the observation, weighted by the settings: (..., D) → (...).

        Vectors in symlog units (with symlog), images scaled to [-0.5, 0.5].
        """
        error = features.new_zeros(features.shape[:-1])
        if self.network is not None:
            target = self._squash(_joined(observation, self._vectors))
            error = error + self._vector_scale * (self.network(features) - target).square().sum(-1)
        for key, network in self._image_decoders():
            error = error + self._image_scale * network.loss(features, observation[key])
        return error

    def decode(self, features: Tensor) -> dict[str, Tensor]:
        """The observation that is expected in a state, in its own units: {key: (..., *shape)}.

        Images are floats in [0, 255].
        """
        images = {key: network.decode(features) for key, network in self._image_decoders()}
        parts = self.decode_vectors(features) | images
        return {key: parts[key] for key in self.spec}

    def decode_vectors(self, features: Tensor) -> dict[str, Tensor]:
        """As `decode`, without the images, which take much longer: {key: (..., width)}."""
        if self.network is None:
            return {}
        vectors = self._unsquash(self.network(features)).split(list(self._vectors.values()), -1)
        return dict(zip(self._vectors, vectors, strict=True))

    def _image_decoders(self) -> list[tuple[str, ImageDecoder]]:
        networks = cast("list[ImageDecoder]", list(self.image_networks))
        return list(zip(self._images, networks, strict=True))


def _joined(observation: Mapping[str, Tensor], keys: Mapping[str, int]) -> Tensor:
    return torch.cat([observation[key] for key in keys], -1)


def _as_it_is(x: Tensor) -> Tensor:
    return x
