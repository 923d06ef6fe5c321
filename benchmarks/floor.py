"""The matrix products of a computation, alone: what is left when everything else costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {
    "mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward",
    "_thnn_fused_gru_cell", "_scaled_dot_product_attention",
}  # fmt: skip


class Products(TorchDispatchMode):
    """Records every matrix product and convolution that is executed, and counts all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []
        self.operators = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.operators += 1
        if function.overloadpacket.__name__ in PRODUCTS:
            shaped = [like(argument) for argument in args]
            self.calls.append(lambda: function(*shaped, **kwargs))
        return function(*args, **kwargs)


_POOL: dict[tuple[Any, ...], torch.Tensor] = {}


def like(argument: Any) -> Any:
    """A tensor of the same shape and strides, of which there is one each."""
    if not isinstance(argument, torch.Tensor):
        return argument
    key = (tuple(argument.shape), argument.stride(), argument.dtype, argument.device)
    if key not in _POOL:
        made = torch.empty_strided(
            argument.shape, argument.stride(), dtype=argument.dtype, device=argument.device
        )
        _POOL[key] = made.normal_() if made.is_floating_point() else made.zero_()
    return _POOL[key]


def products_of(run: Callable[[], object]) -> tuple[Callable[[], None], int, int]:
    """A function that repeats the matrix products of `run` and nothing else, how many these
    are, and how many operators `run` executes in all."""
    run()
    with Products() as products:
        run()

    @torch.no_grad()
    def repeat() -> None:
        for call in products.calls:
            call()

    return repeat, len(products.calls), products.operators
