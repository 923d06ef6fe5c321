"""What makes the host wait for a device, noticed without one."""

import torch
from torch.overrides import TorchFunctionMode

WAITS = {"item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy", "nonzero"}


class Waits(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        indexes = name == "__getitem__" and any(
            isinstance(part, torch.Tensor) and part.dtype == torch.bool
            for part in (args[1] if isinstance(args[1], tuple) else (args[1],))
        )
        if name in WAITS or indexes:
            self.found.append(name)
        return function(*args, **(kwargs or {}))
