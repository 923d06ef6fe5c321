"""Learn from recorded episodes before the first action, then go on by acting.

    python examples/offline_pretraining.py --episodes 50 --updates 1500

Here the recorded episodes are random actions of a point mass; any in RLlib's form would do. Prints
what the agent earns that has only read, and what it earns after some decisions of its own; standing
still earns 92. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rllib_lsp import LSPConfig

DECISIONS = 200
"""Of an episode."""


def point(size: str) -> LSPConfig:
    """As tuned_examples/lsp-point-reach.yaml learns, but for its horizon."""
    return (
        LSPConfig()
        .environment("rllib_lsp/point-reach-v0")
        .env_runners(num_envs_per_env_runner=4)
        .training(size=size, training_ratio=48, batch_size=32, batch_length=16)
        .debugging(seed=0)
    )


def record(config: LSPConfig, episodes: int, directory: Path) -> None:
    """Random episodes: so many decisions are made before any learning begins."""
    decisions = episodes * DECISIONS
    recording = (
        config.training(learning_starts=decisions)
        .reporting(min_sample_timesteps_per_iteration=decisions)
        .offline_data(output=str(directory))
        .build_algo()
    )
    recording.train()
    recording.stop()


def earned(result: dict[str, Any]) -> str:
    """Return, and in how many episodes the target was reached."""
    evaluated = result["evaluation"]["env_runners"]
    reached = evaluated["info"]["success"]
    return f"return {evaluated['episode_return_mean']:.1f}, target reached in {reached:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--decisions", type=int, default=5000, help="made after that")
    parser.add_argument("--evaluate", type=int, default=20, help="episodes")
    parser.add_argument("--size", default="small")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        record(point(arguments.size), arguments.episodes, Path(directory))
        algorithm = (
            point(arguments.size)
            .offline_data(
                input_=[f"{directory}/training"],
                offline_updates=arguments.updates,
                dataset_num_iters_per_learner=arguments.updates,
            )
            .reporting(min_sample_timesteps_per_iteration=arguments.decisions)
            .evaluation(
                evaluation_interval=1,
                evaluation_duration=arguments.evaluate,
                evaluation_config={"explore": False, "num_envs_per_env_runner": 4},
            )
            .build_algo()
        )
        print(f"after {arguments.updates} updates, no action yet: {earned(algorithm.train())}")
        print(f"after {arguments.decisions} decisions: {earned(algorithm.train())}")
        algorithm.stop()


if __name__ == "__main__":
    main()
