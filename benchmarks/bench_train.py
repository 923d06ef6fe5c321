"""Sampling that hides behind learning, end to end: no runner of its own against one.

    python benchmarks/bench_train.py [--seconds 60] [--rounds 3]

The same agent learns walker-walk at the same training ratio, on two cores: with the env runner in
the main process (sample, learn, sample, …), and with one remote runner (both at once); one thread
each, in turns (A B A B …). The ratio is set so that sampling and learning take about as long as
each other, which is where overlap pays most. Writes benchmarks/results/bench-train.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import ray
from alternate import machine, table

from rllib_lsp import LSPConfig
from rllib_lsp.lsp.algorithm import LSP

RESULTS = Path(__file__).parent / "results" / "bench-train.json"
TASK = "dm_control/walker-walk-v0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ratio", type=float, default=7.0)
    arguments = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    rounds: dict[str, list[dict[str, float]]] = {"one after the other": [], "both at once": []}
    for _ in range(arguments.rounds):
        for runners, found in enumerate(rounds.values()):
            found.append(run(runners, arguments.ratio, arguments.seconds))
    rows: list[dict[str, Any]] = [
        {"case": name} | {k: round(statistics.median(r[k] for r in found), 3) for k in found[0]}
        for name, found in rounds.items()
    ]
    gain = rows[1]["decisions_per_s"] / rows[0]["decisions_per_s"]
    print(table(rows), f"both at once: {gain:.2f} times as many decisions a second", sep="\n\n")
    results = {
        "task": TASK,
        "training_ratio": arguments.ratio,
        "seconds": arguments.seconds,
        "rounds": rounds,
        "machine": machine("ray", "dm_control", "mujoco"),
        "medians": rows,
        "gain": round(gain, 2),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def run(runners: int, ratio: float, seconds: float) -> dict[str, float]:
    """Rates over so many seconds, after learning has begun."""
    config = (
        LSPConfig()
        .environment(TASK)
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=4)
        .training(size="small", training_ratio=ratio, learning_starts=1000)
        .reporting(min_sample_timesteps_per_iteration=200)
        .resources(num_cpus_for_main_process=1)
        .debugging(seed=0)
    )
    algorithm: Any = config.build_algo()
    assert isinstance(algorithm, LSP)
    while algorithm.progress["updates"] < 5:
        algorithm.train()
    before, begin = dict(algorithm.progress), time.perf_counter()
    result = algorithm.train()
    while time.perf_counter() - begin < seconds:
        result = algorithm.train()
    elapsed = time.perf_counter() - begin
    made = {key: algorithm.progress[key] - before[key] for key in ("decisions", "updates")}
    replayed = made["updates"] * algorithm._update_cost
    algorithm.stop()
    return {
        "decisions_per_s": made["decisions"] / elapsed,
        "updates_per_s": made["updates"] / elapsed,
        # Of these seconds alone, where an update more or less counts.
        "ratio_error": abs(replayed / made["decisions"] / ratio - 1),
        "updates_behind": float(result["replay"]["updates_behind"]),
    }


if __name__ == "__main__":
    main()
