"""Simulator steps per CPU second: plain dm_control, shimmy, and this package's environments.

With ``--vector``: one environment against gymnasium's vectors of eight, in one process (sync)
and in eight (async). The variants of a task take turns (A B C A B C ...); the medians are
printed as a table and written as JSON with ``--out``.

    python benchmarks/bench_envs.py --rounds 9 --steps 500 --out results.json
    python benchmarks/bench_envs.py --vector --rounds 5
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from rllib_lsp.envs import make_env
from rllib_lsp.envs.rendering import import_simulator

TASKS = ["cartpole-swingup", "walker-walk", "cheetah-run", "quadruped-walk"]
OWN_TASKS = {
    "quadruped-walk": ["quadruped-walk", "quadruped-walk-obstacles", "quadruped-reach-cove"],
    "point_mass-easy": ["point-reach", "point-reach-cove"],
}
VECTOR_TASKS = ["point-reach", "quadruped-reach"]
VECTOR_SIZE = 8

# Runs the actions (n, A), drawn from [-1, 1], in one environment.
Stepper = Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Row:
    """One variant of one task; ``ratio`` is that of its rate to dm_control's."""

    task: str
    variant: str
    steps_per_second: int
    ratio: float


def plain(task: str) -> tuple[Stepper, int]:
    """dm_control itself, and the size of its actions."""
    from dm_control import suite

    env = suite.load(*task.split("-"))

    def run(actions: np.ndarray) -> None:
        env.reset()
        for action in actions:
            env.step(action)

    return run, env.action_spec().shape[0]


def wrapped(env: gymnasium.Env) -> Stepper:
    """A gymnasium environment, reset wherever an episode ends."""

    def run(actions: np.ndarray) -> None:
        env.reset(seed=0)
        for action in actions:
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return run


def variants(task: str) -> tuple[dict[str, Stepper], int]:
    """All that is compared on one task of the suite, and the size of its actions."""
    run, size = plain(task)
    steppers = {"dm_control": run}
    if task in TASKS:
        own = make_env(f"dm_control/{task}-v0")  # registers the id that shimmy's row needs
        steppers["shimmy"] = wrapped(gymnasium.make(f"dm_control/{task}-v0"))
        steppers["make_env"] = wrapped(own)
    for name in OWN_TASKS.get(task, []):
        steppers[name] = wrapped(make_env(f"rllib_lsp/{name}-v0"))
    return steppers, size


def measure(task: str, rounds: int, steps: int) -> list[Row]:
    """One row per variant: the median of its rates over the rounds."""
    steppers, size = variants(task)
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(rounds + 1):
        actions = rng.uniform(-1, 1, (steps, size)).astype(np.float32)
        for name, run in steppers.items():
            begin = time.process_time()
            run(actions)
            rates[name].append(steps / (time.process_time() - begin))
    # The first round warms up.
    medians = {name: statistics.median(rate[1:]) for name, rate in rates.items()}
    return [
        Row(task, name, round(rate), round(rate / medians["dm_control"], 3))
        for name, rate in medians.items()
    ]


@dataclass(frozen=True)
class VectorRow:
    """One kind of vector: its rate by the CPU time of all its processes, and by the clock."""

    task: str
    variant: str
    steps_per_cpu_second: int
    steps_per_second: int


class CpuClock(gymnasium.Wrapper):
    """Tells the CPU time of the process in which the environment lives."""

    def cpu_seconds(self) -> float:
        return time.process_time()


def clocked(task: str) -> CpuClock:
    return CpuClock(make_env(f"rllib_lsp/{task}-v0"))


def cpu_seconds(vector: VectorEnv) -> float:
    """CPU time of this process and, if it has any, of the vector's own ones."""
    workers = sum(vector.call("cpu_seconds")) if isinstance(vector, AsyncVectorEnv) else 0.0
    return time.process_time() + workers


def vector_rates(vector: VectorEnv, actions: np.ndarray) -> tuple[float, float]:
    """Steps per second of CPU time and of the clock, for actions (n, environments, A)."""
    vector.reset(seed=0)
    cpu, clock = cpu_seconds(vector), time.perf_counter()
    for action in actions:
        vector.step(action)
    clock, cpu = time.perf_counter() - clock, cpu_seconds(vector) - cpu
    steps = actions.shape[0] * actions.shape[1]
    return steps / cpu, steps / clock


def measure_vectors(task: str, rounds: int, steps: int) -> list[VectorRow]:
    """One row per kind of vector: the medians of its rates over the rounds."""
    builders = [partial(clocked, task)] * VECTOR_SIZE
    vectors = {
        "one": SyncVectorEnv(builders[:1]),
        f"sync of {VECTOR_SIZE}": SyncVectorEnv(builders),
        f"async of {VECTOR_SIZE}": AsyncVectorEnv(builders),
    }
    rng = np.random.default_rng(0)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in vectors}
    for _ in range(rounds + 1):
        for name, vector in vectors.items():
            # As many simulator steps for each.
            shape = (steps * VECTOR_SIZE // vector.num_envs, *vector.action_space.shape)
            actions = rng.uniform(-1, 1, shape).astype(np.float32)
            rates[name].append(vector_rates(vector, actions))
    for vector in vectors.values():
        vector.close()
    # The first round warms up.
    medians = {name: np.median(rate[1:], axis=0) for name, rate in rates.items()}
    return [VectorRow(task, name, *map(round, rate.tolist())) for name, rate in medians.items()]


def print_vectors(rounds: int, steps: int) -> list[VectorRow]:
    rows: list[VectorRow] = []
    print(f"{'task':18} {'vector':12} {'steps/CPU s':>12} {'steps/s':>9}")
    for task in VECTOR_TASKS:
        for row in measure_vectors(task, rounds, steps):
            rows.append(row)
            print(
                f"{row.task:18} {row.variant:12} {row.steps_per_cpu_second:12d} "
                f"{row.steps_per_second:9d}"
            )
    return rows


def print_single(rounds: int, steps: int) -> list[Row]:
    rows: list[Row] = []
    print(f"{'task':18} {'variant':26} {'steps/s':>8} {'ratio':>6}")
    for task in [*TASKS, *(task for task in OWN_TASKS if task not in TASKS)]:
        for row in measure(task, rounds, steps):
            rows.append(row)
            print(f"{row.task:18} {row.variant:26} {row.steps_per_second:8d} {row.ratio:6.3f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--vector", action="store_true", help="measure vectors of environments")
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    import_simulator(render=False)
    bench = print_vectors if arguments.vector else print_single
    rows = bench(arguments.rounds, arguments.steps)
    if arguments.out:
        packages = ("dm_control", "gymnasium", "mujoco", "numpy", "shimmy")
        result = {
            "rounds": arguments.rounds,
            "steps": arguments.steps,
            "python": platform.python_version(),
            "processor": platform.machine(),
            "versions": {package: version(package) for package in packages},
            "rows": [asdict(row) for row in rows],
        }
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
