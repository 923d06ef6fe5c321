"""Building blocks: multi-layer perceptrons and a layer-normalised GRU cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def initialise(weight: Tensor, fan: float, bias: Tensor | None, scale: float = 1.0) -> None:
    """Truncated normal with variance scale² / fan, zero bias (DreamerV3); `scale` 0 for zeros."""
    # A normal truncated at two deviations has 0.88 of its deviation left.
    std = scale / (fan**0.5 * 0.87962566)
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std) if scale else (
        nn.init.zeros_(weight)
    )
    if bias is not None:
        nn.init.zeros_(bias)


class Output(nn.Linear):
    """The last layer of a network: under autocast, too, it answers in the precision of its
    weights, which is that of all distributions and losses."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).to(self.weight.dtype)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """An initialised `nn.Linear`."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    initialise(layer.weight, 0.5 * (inputs + outputs), layer.bias)
    return layer


def output(inputs: int, outputs: int, scale: float = 1.0) -> Output:
    """An initialised `Output`; `scale` multiplies the weights' deviation (0: zeros)."""
    layer = Output(inputs, outputs)
    initialise(layer.weight, 0.5 * (inputs + outputs), layer.bias, scale)
    return layer


def mlp(
    inputs: int,
    hidden: int,
    layers: int,
    outputs: int | None = None,
    *,
    block: str = "norm_silu",
    output_scale: float = 1.0,
) -> nn.Sequential:
    """`layers` hidden layers, then an `Output` if `outputs` is given.

    A layer is [Linear, LayerNorm, SiLU] (`norm_silu`) or [Linear, ELU] (`elu`).
    Maps (..., inputs) to (..., outputs), or (..., hidden) without `outputs`.
    """
    modules: list[nn.Module] = []
    for index in range(layers):
        width = inputs if index == 0 else hidden
        modules += [linear(width, hidden, bias=block == "elu"), *activation(hidden, block)]
    if outputs is not None:
        modules.append(output(hidden if layers else inputs, outputs, output_scale))
    return nn.Sequential(*modules)


def activation(width: int, block: str) -> list[nn.Module]:
    """What follows the matrix product in a hidden layer."""
    return [nn.ELU()] if block == "elu" else [nn.LayerNorm(width), nn.SiLU()]


def gru_cell(inputs: int, hidden: int, block: str) -> nn.Module:
    """A cell (N, inputs), (N, hidden) → (N, hidden): plain for `elu`, else layer-normalised."""
    return nn.GRUCell(inputs, hidden) if block == "elu" else NormGRUCell(inputs, hidden)


class NormGRUCell(nn.Module):
    """GRU cell with one matrix product and LayerNorm over its three gates (DreamerV2)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = linear(inputs + hidden, 3 * hidden, bias=False)
        self.norm = nn.LayerNorm(3 * hidden)

    def forward(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """(N, inputs), (N, hidden) → (N, hidden)."""
        gates = self.norm(self.gates(torch.cat([inputs, hidden], -1))).to(hidden.dtype)
        reset, candidate, update = gates.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        # The offset keeps the state at first, so that memory is the default.
        return torch.lerp(hidden, candidate, torch.sigmoid(update - 1.0))
