"""Train every run of a study that has no results file yet, one after the other.

    python benchmarks/experiments.py benchmarks/experiments/point.yaml [--seeds 0 1]
                                     [--tasks sparse] [--methods LSP Dreamer] [--list]

A study names tasks and methods; each of its methods learns each of its tasks, once a seed, with the
parts of its `config`, then what it has for this task in `each`, then the task's own. A run is
an ordinary file of `rllib train file`, written to --storage-path and started from there; its
results go to benchmarks/results/STUDY/TASK--METHOD--SEED.json when it ends. Stop whenever you like:
what was interrupted goes on where it was, what is finished is not run again. `--list` shows what is
left. The figures and tables are made by benchmarks/experiment_tables.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from learning_curves import PACKAGES, git_commit
from ray.tune.utils import merge_dicts

from rllib_lsp.cli.checkpoint import find_checkpoint
from rllib_lsp.plots.curves import Points, points, read_results
from rllib_lsp.plots.results import EVALUATION_RETURN, FRAMES, RETURN, experience

RESULTS = Path(__file__).parent / "results"
TASK_METRICS = (
    "success", "final_distance", "time_to_target", "visited_cells", "path_length",
    "forward_velocity", "upright_fraction",
)  # fmt: skip
"""What our tasks say of their episodes, see docs/tasks.md."""
LIFETIME = {"frames": FRAMES, "decisions": "num_env_steps_sampled_lifetime"}
DIAGNOSTICS = ("kl", "mutual_information_bound", "reward_loss", "policy_entropy")
"""Of the learner, in the last result."""


@dataclass(frozen=True)
class Run:
    """One method on one task with one seed."""

    study: str
    task: str
    method: str
    seed: int
    env: str
    frames: int
    algorithm: str
    config: dict[str, Any]
    source: str | None
    """The run whose checkpoint this one begins with."""
    counts: str
    """What the algorithm counts: `frames`, or `decisions` as RLlib's own do."""

    @property
    def name(self) -> str:
        return f"{self.task}--{self.method}--{self.seed}"

    @property
    def frames_of_a_count(self) -> int:
        return 1 if self.counts == "frames" else self.config["env_config"]["action_repeat"]

    @property
    def results(self) -> Path:
        return RESULTS / self.study / f"{self.name}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of all of the study")
    parser.add_argument("--tasks", nargs="+", help="only these, and what they begin with")
    parser.add_argument("--methods", nargs="+", help="only these, and what they begin with")
    parser.add_argument("--list", action="store_true", help="show what is left, and run nothing")
    parser.add_argument("--storage-path", type=Path, default=Path("~/ray_results/experiments"))
    arguments = parser.parse_args()
    storage = arguments.storage_path.expanduser().absolute() / arguments.study.stem
    chosen = arguments.seeds, arguments.tasks, arguments.methods
    runs = list(select(read_study(arguments.study), *chosen))
    done = sum(run.results.exists() for run in runs)
    print(f"{arguments.study.stem}: {done} of {len(runs)} runs are done", flush=True)
    for run in what_is_left(runs, storage):
        again = ", once more: its checkpoint is needed" if run.results.exists() else ""
        print(f"{run.name}: {run.algorithm} on {run.env}, {run.frames:,} frames{again}", flush=True)
        if not arguments.list:
            train(run, storage)


def read_study(path: Path) -> list[Run]:
    """All runs of a study, seed after seed and task after task."""
    study = yaml.safe_load(path.read_text())
    return [
        Run(
            study=path.stem,
            task=task,
            method=method,
            seed=seed,
            env=study["tasks"][task]["env"],
            frames=study["tasks"][task]["frames"],
            algorithm=spec["run"],
            config=reduce(
                merge_dicts,
                [
                    *spec["config"],
                    spec.get("each", {}).get(task, {}),
                    study["tasks"][task].get("config", {}),
                ],
                {},
            ),
            source=f"{spec['from'][0]}--{spec['from'][1]}--{seed}" if "from" in spec else None,
            counts=spec.get("counts", "frames"),
        )
        for seed in range(study["seeds"])
        for task in study["tasks"]
        for method, spec in study["methods"].items()
        if task in spec["tasks"] and seed < spec.get("seeds", study["seeds"])
    ]


def select(
    runs: list[Run],
    seeds: list[int] | None,
    tasks: list[str] | None,
    methods: list[str] | None,
) -> Iterator[Run]:
    """Those of some seeds, tasks and methods (None: all), with what they begin with."""
    wanted = {
        run.name
        for run in runs
        if (seeds is None or run.seed in seeds)
        and (tasks is None or run.task in tasks)
        and (methods is None or run.method in methods)
    }
    wanted |= {run.source for run in runs if run.name in wanted and run.source}
    return (run for run in runs if run.name in wanted)


def what_is_left(runs: list[Run], storage: Path) -> list[Run]:
    """Runs without results, and those that they begin with, where the checkpoint is elsewhere."""
    new = [run for run in runs if not run.results.exists()]
    needed = {run.source for run in new}
    return [
        run
        for run in runs
        if run in new or (run.name in needed and not has_checkpoint(run.name, storage))
    ]


def has_checkpoint(name: str, storage: Path) -> bool:
    return any((storage / name).glob("*/checkpoint_*"))


def train(run: Run, storage: Path) -> None:
    """From where it was, to the end; results that there are stay. Exits where training failed."""
    source = find_checkpoint(storage / run.source) if run.source else None
    file = storage / f"{run.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(experiment(run, source), sort_keys=False))
    command = [str(Path(sys.executable).with_name("rllib")), "train", "file", str(file)]
    command += ["--storage-path", str(storage)]
    command += ["--resume"] if has_checkpoint(run.name, storage) else []
    with open(storage / f"{run.name}.log", "a") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        code = wait(child)
    if code:
        sys.exit(f"{run.name}: `rllib train` ended with {code}, see {log.name}")
    if not run.results.exists():
        write_results(run, storage)


def wait(child: subprocess.Popen) -> int:
    """The exit code of a child, which hears of Ctrl-C, too, and then writes a last checkpoint."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def experiment(run: Run, source: Path | None) -> dict[str, Any]:
    """What stands in the file of `rllib train`; `source`: the checkpoint to begin with."""
    config = {"seed": run.seed, **run.config}
    if source is not None:
        config["transfer"] = {"checkpoint": str(source)}
    spec = {
        "run": run.algorithm,
        "env": run.env,
        "stop": {LIFETIME[run.counts]: run.frames // run.frames_of_a_count},
        "checkpoint_config": {
            "checkpoint_at_end": True, "checkpoint_frequency": 10, "num_to_keep": 1,
        },
        "config": config,
    }  # fmt: skip
    return {run.name: spec}


def write_results(run: Run, storage: Path) -> None:
    """One line a key."""
    trial = find_checkpoint(storage / run.name).parent
    results = read_results(trial)
    last = results[-1]

    def curve(key: str, digits: int = 3) -> Points:
        return [
            (int(x * run.frames_of_a_count), round(value, digits))
            for x, value in points(results, key)
        ]

    def task(group: str) -> dict[str, Points]:
        found = {name: curve(f"{group}/info/{name}") for name in TASK_METRICS}
        return {name: values for name, values in found.items() if values}

    learner = last["learners"]["default_policy"]
    content = {
        "study": run.study,
        "task": run.task,
        "method": run.method,
        "seed": run.seed,
        "run": run.algorithm,
        "env": run.env,
        "from": run.source,
        "config": run.config,
        "budget": run.frames,
        "frames": int(experience(last)[1] * run.frames_of_a_count),
        "updates": last.get("replay", {}).get("updates_lifetime"),
        "evaluation_returns": curve(EVALUATION_RETURN, 1),
        "training_returns": curve(RETURN, 1),
        "evaluation": task("evaluation/env_runners"),
        "training": task("env_runners"),
        "diagnostics": {
            key: round(float(learner[key]), 4) for key in DIAGNOSTICS if key in learner
        },
        "wall_time_s": round(last["time_total_s"]),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": git_commit(),
    }
    run.results.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    run.results.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
