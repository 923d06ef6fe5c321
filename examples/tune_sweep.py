"""A search over options: random points of a space, and an early end for trials that lag behind.

    python examples/tune_sweep.py --samples 6 --iterations 20

Trials share the cores that Ray finds, one each. A trial of 20 iterations takes some ten minutes of
a core; most are ended before. How searches are written in YAML stands in docs/cli.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from rllib_lsp import LSPConfig

RETURN = "env_runners/episode_return_mean"


def search_space(size: str) -> LSPConfig:
    """Search spaces may stand anywhere in the options."""
    return (
        LSPConfig()
        .environment("rllib_lsp/point-reach-v0")
        .env_runners(num_envs_per_env_runner=4)
        .training(
            size=size,
            training_ratio=32,
            lr=tune.loguniform(1e-4, 1e-3),
            skills={"duration": tune.choice([5, 10]), "mi_coef": tune.choice([0.0, 0.1])},
            planner={"candidates": tune.choice([16, 32])},
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=20, help="of 1000 decisions each")
    parser.add_argument("--size", default="small")
    parser.add_argument("--storage-path", type=Path, default=Path("~/ray_results").expanduser())
    arguments = parser.parse_args()
    patience = max(1, arguments.iterations // 4)
    tuner = tune.Tuner(
        "LSP",
        param_space=search_space(arguments.size),
        tune_config=tune.TuneConfig(
            metric=RETURN,
            mode="max",
            num_samples=arguments.samples,
            scheduler=ASHAScheduler(grace_period=patience, max_t=arguments.iterations),
        ),
        run_config=tune.RunConfig(
            name="tune_sweep",
            storage_path=str(arguments.storage_path.absolute()),
            stop={"training_iteration": arguments.iterations},
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
        ),
    )
    best = tuner.fit().get_best_result()
    print(f"best return {best.metrics['env_runners']['episode_return_mean']:.1f} with")
    for name in ("lr", "skills", "planner"):
        print(f"  {name}: {best.config[name]}")
    print(f"checkpoint: {best.checkpoint.path}")


if __name__ == "__main__":
    main()
