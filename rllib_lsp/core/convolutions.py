"""Images: four convolutions that each halve a picture, and four that double it again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_lsp.core.networks import initialise, linear

WIDENING = (1, 2, 4, 8)
"""Channels after each convolution, in units of those after the first (Dreamer v1)."""
KERNEL = 4
SIDE_UNIT = 2 ** len(WIDENING)
"""Height and width of an image are multiples of this, so that every halving is even."""


def _half(inputs: int, outputs: int, *, bias: bool) -> nn.Module:
    return _prepared(nn.Conv2d(inputs, outputs, KERNEL, stride=2, padding=1, bias=bias))


def _double(inputs: int, outputs: int, *, bias: bool) -> nn.Module:
    return _prepared(nn.ConvTranspose2d(inputs, outputs, KERNEL, stride=2, padding=1, bias=bias))


def _prepared(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    fan = 0.5 * (layer.in_channels + layer.out_channels) * KERNEL**2
    initialise(layer.weight, fan, layer.bias)
    # A quarter faster on CPUs than channels first, and the order in which images arrive.
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return layer


def _activation(channels: int, block: str) -> list[nn.Module]:
    # Dreamer v1 has ELU in its dense layers, but ReLU between its convolutions.
    return [nn.ReLU()] if block == "elu" else [ChannelNorm(channels), nn.SiLU()]


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel, (N, C, H, W) → (N, C, H, W)."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.movedim(1, -1)).movedim(-1, 1)


def scaled(image: Tensor) -> Tensor:
    """(..., H, W, C) in [0, 255], of any dtype → (..., C, H, W) in [-0.5, 0.5]."""
    return (image.movedim(-1, -3) * (1.0 / 255.0)).sub_(0.5)


class ImageEncoder(nn.Module):
    """(..., H, W, C) in [0, 255] → (..., size)."""

    def __init__(self, shape: tuple[int, ...], channels: int, block: str) -> None:
        super().__init__()
        height, width, depth = shape
        modules: list[nn.Module] = []
        for widening in WIDENING:
            wider = channels * widening
            modules += [_half(depth, wider, bias=block == "elu")]
            modules += _activation(wider, block)
            depth = wider
        self.network = nn.Sequential(*modules)
        self.size = depth * (height // SIDE_UNIT) * (width // SIDE_UNIT)

    def forward(self, image: Tensor) -> Tensor:
        pixels = scaled(image)
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        return self.network(flat).reshape(*image.shape[:-3], self.size)


class ImageDecoder(nn.Module):
    """Model features (..., D) → images."""

    def __init__(self, features: int, shape: tuple[int, ...], channels: int, block: str) -> None:
        super().__init__()
        height, width, depth = shape
        widest = channels * WIDENING[-1]
        self._least = (height // SIDE_UNIT, width // SIDE_UNIT, widest)
        self.project = linear(features, widest * self._least[0] * self._least[1])
        modules: list[nn.Module] = []
        for widening in reversed(WIDENING[:-1]):
            narrower = channels * widening
            modules += [_double(widest, narrower, bias=block == "elu")]
            modules += _activation(narrower, block)
            widest = narrower
        modules += [_double(widest, depth, bias=True)]
        self.network = nn.Sequential(*modules)

    def forward(self, features: Tensor) -> Tensor:
        """(..., D) → (..., C, H, W), about [-0.5, 0.5]."""
        least = self.project(features).reshape(-1, *self._least).movedim(-1, 1)
        image = self.network(least).to(self.project.weight.dtype)
        return image.reshape(*features.shape[:-1], *image.shape[1:])

    def loss(self, features: Tensor, image: Tensor) -> Tensor:
        """Squared error of the scaled image (..., H, W, C), summed over it: → (...)."""
        error = F.mse_loss(self(features), scaled(image), reduction="none")
        return error.sum((-3, -2, -1))

    def decode(self, features: Tensor) -> Tensor:
        """(..., D) → (..., H, W, C), floats in [0, 255]."""
        return ((self(features) + 0.5) * 255.0).clamp(0.0, 255.0).movedim(-3, -1)
