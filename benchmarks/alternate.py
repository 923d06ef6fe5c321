"""Timing side by side: A B A B …, so that what slows the machine slows every case alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import torch


def medians(
    cases: Mapping[str, Callable[[], object]], repeats: int, *, clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of each case over `repeats` turns, after one turn to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats + 1):
        for name, run in cases.items():
            start = clock()
            run()
            taken[name].append(clock() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def synchronised() -> float:
    """Wall seconds, when all that was asked of a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def machine(*packages: str) -> dict[str, Any]:
    """What a reader has to know of where these times were taken."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "gpu": gpu,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", *packages)},
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys, as aligned text."""
    head = list(rows[0])
    cells = [head, *([str(row[key]) for key in head] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )
