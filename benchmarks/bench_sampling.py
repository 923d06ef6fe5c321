"""Decisions per second of the env runner: ours, RLlib's DreamerV3, and the environments alone.

    python benchmarks/bench_sampling.py [--decisions 400] [--repeats 3]

walker-walk, without action repeat, on one thread, in turns (A B A B …). `planning` plans a skill
every 10 decisions (64 candidates, two skills ahead, 3 iterations), with networks of `LSPConfig`'s
size `medium` and of `small`; `random` draws actions at random, as before
learning begins; `alone` is gymnasium's vector with the same wrappers and no agent. DreamerV3 has
RLlib's size XS. Writes benchmarks/results/bench-sampling.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from alternate import machine, medians, synchronised, table
from ray.rllib.algorithms.dreamerv3 import DreamerV3Config

from rllib_lsp import LSPConfig
from rllib_lsp.envs import make_env
from rllib_lsp.envs.registry import register

RESULTS = Path(__file__).parent / "results" / "bench-sampling.json"
TASK = "dm_control/walker-walk-v0"
ENVIRONMENTS = (1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    runs: dict[str, Callable[[], object]] = {}
    for count in ENVIRONMENTS:
        runs |= cases(count, arguments.decisions)
    torch.set_num_threads(1)
    seconds = medians(runs, arguments.repeats, clock=synchronised)
    rates = {name: arguments.decisions / taken for name, taken in seconds.items()}
    rows = [{"case": name, "decisions/s": round(rate)} for name, rate in rates.items()]
    ratios: dict[str, float] = {}
    for count in ENVIRONMENTS:
        rate = {name.split(", ")[1]: r for name, r in rates.items() if name.startswith(f"{count} ")}
        ratios |= {
            f"{count} environments: planning over DreamerV3": rate["planning"] / rate["DreamerV3"],
            f"{count} environments: planning (small) over DreamerV3": (
                rate["planning (small)"] / rate["DreamerV3"]
            ),
            f"{count} environments: random over alone": rate["random"] / rate["alone"],
            f"{count} environments: planning over alone": rate["planning"] / rate["alone"],
        }
    ratios = {name: round(ratio, 2) for name, ratio in ratios.items()}
    print(table(rows), json.dumps(ratios, indent=1), sep="\n\n")
    results = {
        "task": TASK,
        "decisions": arguments.decisions,
        "repeats": arguments.repeats,
        "machine": machine("ray", "dm_control", "mujoco", "gymnasium"),
        "decisions_per_second": {row["case"]: row["decisions/s"] for row in rows},
        "ratios": ratios,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def cases(count: int, decisions: int) -> dict[str, Callable[[], object]]:
    """Functions that make so many decisions, in `count` environments at once."""
    options: dict[str, Any] = {"num_env_runners": 0, "num_envs_per_env_runner": count}
    register(TASK)
    ours, small = (
        LSPConfig().environment(TASK).env_runners(**options).training(size=size).build_algo()
        for size in ("medium", "small")
    )
    theirs = (
        DreamerV3Config().environment(TASK).env_runners(**options).training(model_size="XS")
    ).build_algo()
    steps = decisions // count
    return {
        f"{count} environments, planning": lambda: ours.env_runner.sample_fragment(steps),
        f"{count} environments, planning (small)": lambda: small.env_runner.sample_fragment(steps),
        f"{count} environments, DreamerV3": lambda: theirs.env_runner.sample(
            num_timesteps=decisions, random_actions=False
        ),
        f"{count} environments, random": lambda: ours.env_runner.sample_fragment(
            steps, random="actions"
        ),
        f"{count} environments, alone": alone(count, steps),
    }


def alone(count: int, steps: int) -> Callable[[], None]:
    """Random actions in the same vector of environments, without any agent or runner."""
    envs = gym.vector.SyncVectorEnv([lambda: make_env(TASK)] * count)
    envs.reset(seed=0)
    generator = np.random.default_rng(0)

    def run() -> None:
        for _ in range(steps):
            envs.step(generator.uniform(-1, 1, envs.action_space.shape).astype(np.float32))

    return run


if __name__ == "__main__":
    main()
