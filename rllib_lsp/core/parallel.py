"""What several learners, each with a share of the batch, have to agree on.

They are the processes of torch's default process group; where there is none, a learner is alone
and agrees with itself. Everything that a loss divides by, or takes as a statistic of the batch,
goes through here, so that the mean of the learners' gradients is the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def learners() -> int:
    """How many learners there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def mean_of_learners(value: Tensor) -> Tensor:
    """The mean of a statistic, of any shape, over all learners; carries no gradient."""
    if learners() == 1:
        return value.detach()
    shared = value.detach().clone()
    dist.all_reduce(shared)
    return shared / learners()


def count_of_learners(counted: Tensor) -> Tensor:
    """How many entries of a mask (or weights) count, a learner on average, to divide a sum by: not
    0 where there are none, which is as good as any number then."""
    return mean_of_learners(counted.sum()).clamp(min=1 / learners())


@torch.no_grad()
def all_learners(values: Tensor) -> Tensor:
    """Equally shaped values (N, ...) of every learner: (learners · N, ...)."""
    if learners() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(learners())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over all learners, in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if learners() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = flat.div_(learners()).split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])


@torch.no_grad()
def begin_alike(tensors: Iterable[Tensor]) -> None:
    """Give every learner the first one's tensors."""
    if learners() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
