"""Building blocks: multi-layer perceptrons and a layer-normalised GRU cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _initialise(linear: nn.Linear, scale: float = 1.0) -> nn.Linear:
    """Truncated normal with fan-average variance, zero bias (DreamerV3); `scale` 0 for zeros."""
    fan = 0.5 * (linear.in_features + linear.out_features)
    # A normal truncated at two deviations has 0.88 of its variance left.
    std = scale / (fan**0.5 * 0.87962566)
    nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std) if scale else (
        nn.init.zeros_(linear.weight)
    )
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


def linear(inputs: int, outputs: int, *, bias: bool = True, scale: float = 1.0) -> nn.Linear:
    """An initialised `nn.Linear`; `scale` multiplies the weights' deviation (0: zeros)."""
    return _initialise(nn.Linear(inputs, outputs, bias=bias), scale)


def mlp(
    inputs: int, hidden: int, layers: int, outputs: int | None = None, *, output_scale: float = 1.0
) -> nn.Sequential:
    """`layers` × [Linear, LayerNorm, SiLU], then a Linear to `outputs` if given.

    Maps (..., inputs) to (..., outputs), or (..., hidden) without `outputs`.
    """
    modules: list[nn.Module] = []
    for index in range(layers):
        modules += [
            linear(inputs if index == 0 else hidden, hidden, bias=False),
            nn.LayerNorm(hidden),
            nn.SiLU(),
        ]
    if outputs is not None:
        modules.append(linear(hidden if layers else inputs, outputs, scale=output_scale))
    return nn.Sequential(*modules)


class NormGRUCell(nn.Module):
    """GRU cell with one matrix product and LayerNorm over its three gates (DreamerV2)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = linear(inputs + hidden, 3 * hidden, bias=False)
        self.norm = nn.LayerNorm(3 * hidden)

    def forward(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """(N, inputs), (N, hidden) → (N, hidden)."""
        gates = self.norm(self.gates(torch.cat([inputs, hidden], -1)))
        reset, candidate, update = gates.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        # The offset keeps the state at first, so that memory is the default.
        return torch.lerp(hidden, candidate, torch.sigmoid(update - 1.0))
