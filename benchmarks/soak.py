"""Run LSP with remote runners for some minutes; print memory and the training ratio over time.

    python benchmarks/soak.py --minutes 10 --out benchmarks/results/soak.json

Memory is the proportional set size of this process and of every env runner, so that pages
shared between them count once. Growth is taken between the end of the first third of the run,
when everything is loaded, and its end; the replay's own growth is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import ray

from rllib_lsp import LSPConfig

TRAINING_RATIO = 24.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    algorithm = config().build_algo()
    samples: list[dict[str, Any]] = []
    start = time.perf_counter()
    print(f"{'minute':>6} {'memory MB':>10} {'replay MB':>10} {'decisions':>10} {'ratio':>7}")
    while time.perf_counter() - start < 60 * arguments.minutes:
        result = algorithm.train()
        samples.append(measure(algorithm, result, time.perf_counter() - start))
        last = samples[-1]
        print(
            f"{last['minute']:>6} {last['memory_mb']:>10.0f} {last['replay_mb']:>10.1f} "
            f"{last['decisions']:>10,} {last['training_ratio']:>7.3f}",
            flush=True,
        )
        if arguments.out:
            arguments.out.write_text(json.dumps(summary(samples), indent=1) + "\n")
    print(json.dumps({key: value for key, value in summary(samples).items() if key != "samples"}))
    algorithm.stop()
    ray.shutdown()


def config() -> LSPConfig:
    return (
        LSPConfig()
        .environment("dm_control/cartpole-swingup-v0", env_config={"action_repeat": 2})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=4)
        .training(size="tiny", training_ratio=TRAINING_RATIO, behaviour={"starts": 64})
        .debugging(seed=0)
    )


def measure(algorithm: Any, result: dict[str, Any], seconds: float) -> dict[str, Any]:
    pids = algorithm.env_runner_group.foreach_env_runner(
        lambda _: os.getpid(), local_env_runner=False
    )
    return {
        "minute": round(seconds / 60, 2),
        "memory_mb": round(sum(proportional_set_size(pid) for pid in [os.getpid(), *pids]), 1),
        "replay_mb": round(float(result["replay"]["megabytes"]), 2),
        "decisions": int(result["num_env_steps_sampled_lifetime"]),
        "training_ratio": float(result["replay"]["training_ratio"]),
    }


def proportional_set_size(pid: int) -> float:
    """Megabytes, from Linux's own accounting."""
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    settled = samples[len(samples) // 3]
    last = samples[-1]
    return {
        "runners": 2,
        "envs_per_runner": 4,
        "configured_ratio": TRAINING_RATIO,
        "measured_ratio": last["training_ratio"],
        "ratio_error": last["training_ratio"] / TRAINING_RATIO - 1.0,
        "memory_growth_mb": round(last["memory_mb"] - settled["memory_mb"], 1),
        "replay_growth_mb": round(last["replay_mb"] - settled["replay_mb"], 1),
        "minutes": last["minute"],
        "samples": samples,
    }


if __name__ == "__main__":
    main()
