"""Play without any reward, then a task with what was learned, beside the same task from nothing.

    python examples/transfer_to_task.py --play 15000 --task 10000

Both experiments are files of tuned_examples, taken into Python here: `rllib train file` would do
the same in two commands, see docs/transfer.md. About twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from rllib_lsp import LSPConfig

EXAMPLES = Path(__file__).parents[1] / "tuned_examples"


def experiment(name: str, size: str) -> LSPConfig:
    """The configuration of a file."""
    (spec,) = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text()).values()
    config = LSPConfig().environment(spec["env"]).update_from_dict(spec["config"])
    config.transfer_options = {}
    return config.training(size=size)


def train(config: LSPConfig, decisions: int, checkpoint: Path | None = None) -> None:
    """Train for so many decisions, print what each iteration earned, and save if asked."""
    algorithm = config.build_algo()
    done = 0
    while done < decisions:
        result = algorithm.train()
        done = int(result["num_env_steps_sampled_lifetime"])
        told = result["env_runners"]["info"]
        print(
            f"  {done:6,} decisions | return {result['env_runners']['episode_return_mean']:6.1f} | "
            f"ends {told['final_distance']:.1f} m from the target | success {told['success']:.2f}",
            flush=True,
        )
    if checkpoint:
        algorithm.save_to_path(checkpoint)
    algorithm.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--play", type=int, default=15_000, help="decisions without reward")
    parser.add_argument("--task", type=int, default=10_000, help="decisions of the task")
    parser.add_argument("--size", default="small")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        played = Path(directory) / "played"
        print("play, which nothing pays for:")
        train(experiment("lsp-point-explore", arguments.size), arguments.play, played)
        task = experiment("lsp-point-transfer", arguments.size).evaluation(evaluation_interval=0)
        print("the task, with what was learned:")
        train(task.copy(copy_frozen=False).transfer(str(played)), arguments.task)
        print("the task, from nothing:")
        train(task, arguments.task)


if __name__ == "__main__":
    main()
