"""Simulator steps per CPU second: plain dm_control, shimmy, and this package's environments.

The variants of a task take turns (A B C A B C ...) in one process; the medians are printed
as a table and written as JSON with ``--out``.

    python benchmarks/bench_envs.py --rounds 9 --steps 500 --out results.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import gymnasium
import numpy as np

from rllib_lsp.envs import make_env
from rllib_lsp.envs.rendering import import_simulator

TASKS = ["cartpole-swingup", "walker-walk", "cheetah-run", "quadruped-walk"]
OWN_TASKS = {
    "quadruped-walk": ["quadruped-walk", "quadruped-walk-obstacles", "quadruped-reach-cove"],
    "point_mass-easy": ["point-reach", "point-reach-cove"],
}

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    import_simulator(render=False)
    rows: list[Row] = []
    print(f"{'task':18} {'variant':26} {'steps/s':>8} {'ratio':>6}")
    for task in [*TASKS, *(task for task in OWN_TASKS if task not in TASKS)]:
        for row in measure(task, arguments.rounds, arguments.steps):
            rows.append(row)
            print(f"{row.task:18} {row.variant:26} {row.steps_per_second:8d} {row.ratio:6.3f}")
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
