"""Collect the runs of one experiment into a results file and a picture.

    python benchmarks/learning_curves.py NAME TRIAL_DIR [TRIAL_DIR ...] [--episodes 8]

Writes benchmarks/results/NAME.json (every seed's curve, settings and versions; the returns of
its last checkpoint, of a random policy and of untrained agents on the same fresh starts) and
docs/images/NAME.png, each seed thin, their mean thick. Runs that have not reached their budget
are marked as such.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
PACKAGES = ("rllib-lsp", "ray", "torch", "dm_control", "mujoco", "gymnasium")
SETTINGS = (
    "preset", "size", "world_model", "skills", "behaviour", "planner", "training_ratio",
    "batch_size", "batch_length", "lr", "gamma", "num_env_runners", "num_envs_per_env_runner",
    "env_config", "num_cpus_for_main_process", "levels", "low", "high", "goals",
    "updates_per_round", "learning_starts", "learning_rates",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("trials", nargs="+", type=Path)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--commit", default=git_commit(), help="of the code that ran")
    parser.add_argument("--until", type=int, help="leave out what came after so many frames")
    parser.add_argument("--note", default="", help="what a reader has to know of these runs")
    arguments = parser.parse_args()
    runs = [read_run(trial, arguments.until or float("inf")) for trial in arguments.trials]
    checkpoints = [run.pop("checkpoint") for run in runs]
    for run, checkpoint in zip(runs, checkpoints, strict=True):
        run["last_checkpoint"] = play(run["environment"], checkpoint, arguments.episodes)
    results = {
        "experiment": arguments.name,
        "environment": runs[0]["environment"],
        "settings": runs[0].pop("settings"),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": arguments.commit,
        "note": arguments.note,
        "floors": floors(runs[0]["environment"], checkpoints[0], arguments.episodes),
        "runs": runs,
    }
    for run in runs[1:]:
        run.pop("settings")
    path = ROOT / "benchmarks" / "results" / f"{arguments.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, ROOT / "docs" / "images" / f"{arguments.name}.png")
    print_table(results)


def read_run(trial: Path, until: float) -> dict[str, Any]:
    """One seed's curve, up to some frames, from a trial directory of `rllib train`."""
    from rllib_lsp.plots.curves import LearningCurve, read_results

    config = json.loads((trial / "params.json").read_text())
    everything = read_results(trial)
    results = [result for result in everything if frames_of(result) <= until]
    curve, last = LearningCurve.of(results), results[-1]
    summary = trial / "summary.json"
    finished = summary.exists() and bool(json.loads(summary.read_text())["met"])
    runners = last["env_runners"]
    # A checkpoint does not say at which frame it was made: played only if nothing is cut off.
    checkpoints = sorted(trial.glob("checkpoint_*")) if len(results) == len(everything) else []
    return {
        "environment": {"id": config["env"], "config": config.get("env_config", {})},
        "settings": {key: config[key] for key in SETTINGS if key in config},
        "seed": config["seed"],
        "reached_its_budget": finished or len(results) < len(everything),
        "checkpoint": checkpoints[-1] if checkpoints else None,
        "frames": runners["num_frames_sampled_lifetime"],
        "decisions": runners["num_env_steps_sampled_lifetime"],
        "updates": last["replay"]["updates_lifetime"],
        "training_ratio": last["replay"]["training_ratio"],
        "wall_time_s": round(last["time_total_s"]),
        "training_returns": rounded(curve.training),
        "evaluation_returns": rounded(curve.evaluation),
    }


def frames_of(result: dict[str, Any]) -> int:
    return result["env_runners"]["num_frames_sampled_lifetime"]


def rounded(points: list[tuple[float, float]]) -> list[tuple[int, float]]:
    return [(int(frames), round(value, 1)) for frames, value in points]


def git_commit() -> str:
    """Short hash of the commit, with a `+` where the package differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    code = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "rllib_lsp"]).returncode
    return head.stdout.strip() + ("+" if code == 1 else "")


def floors(environment: dict[str, Any], checkpoint: Path | None, episodes: int) -> dict[str, Any]:
    """Of uniformly random actions, and of agents like the checkpoint's that learned nothing."""
    from rllib_lsp.envs import make_env

    env = make_env(environment["id"], **environment["config"])
    env.action_space.seed(0)
    policies = {"random": lambda seed: lambda observation: env.action_space.sample()}
    if checkpoint is not None:
        policies["untrained"] = lambda seed: untrained(checkpoint, seed).act
    return {
        name: statistics([episode(env, make(seed), seed) for seed in range(episodes)])
        for name, make in policies.items()
    }


def untrained(checkpoint: Path, seed: int) -> Any:
    """An agent of the checkpoint's settings, with the weights that training begins with."""
    import torch

    from rllib_lsp.core.saved_agent import SavedAgent, build_agent, read_agent

    torch.manual_seed(seed)
    return SavedAgent(build_agent(read_agent(checkpoint)).eval(), seed)


def play(
    environment: dict[str, Any], checkpoint: Path | None, episodes: int
) -> dict[str, float] | None:
    """Of a checkpoint, acting outside Ray and without exploration."""
    from rllib_lsp import load_agent, make_env

    if checkpoint is None:
        return None
    agent = load_agent(checkpoint, seed=0)
    env = make_env(environment["id"], **environment["config"])

    def fresh(seed: int) -> Outcome:
        agent.reset()
        return episode(env, agent.act, seed)

    return statistics([fresh(seed) for seed in range(episodes)])


class Outcome(NamedTuple):
    """Of one episode."""

    total: float
    success: float | None
    """Where the task says so."""


def episode(env: Any, act: Any, seed: int) -> Outcome:
    observation, info = env.reset(seed=1_000 + seed)
    total, done = 0.0, False
    while not done:
        observation, reward, terminated, truncated, info = env.step(act(observation))
        total, done = total + reward, terminated or truncated
    return Outcome(total, info.get("success"))


def statistics(outcomes: list[Outcome]) -> dict[str, float]:
    """Mean and deviation of the returns; of tasks that know success its share."""
    returns = [outcome.total for outcome in outcomes]
    found = {
        "mean": round(float(np.mean(returns)), 1),
        "std": round(float(np.std(returns)), 1),
        "episodes": len(returns),
    }
    successes = [outcome.success for outcome in outcomes if outcome.success is not None]
    return found | ({"success": round(float(np.mean(successes)), 3)} if successes else {})


def draw(results: dict[str, Any], path: Path) -> None:
    from rllib_lsp.plots.comparison import mean_of
    from rllib_lsp.plots.style import BLUE, VERMILLION, new_figure, save

    figure = new_figure(6.4, 4.0)
    axes = figure.add_subplot()
    curves = [run["evaluation_returns"] for run in results["runs"]]
    for run, curve in zip(results["runs"], curves, strict=True):
        training = zip(*run["training_returns"], strict=True)
        axes.plot(*training, color=VERMILLION, alpha=0.35, linewidth=0.8)
        axes.plot(*zip(*curve, strict=True), color=BLUE, alpha=0.45, linewidth=1.0)
    if len(curves) > 1:
        axes.plot(*mean_of(curves), color=BLUE, linewidth=2.6)
    axes.plot([], [], color=BLUE, linewidth=2, label="evaluation, no exploration")
    axes.plot([], [], color=VERMILLION, linewidth=1, label="training, exploring")
    floor = results["floors"]["random"]["mean"]
    axes.axhline(floor, color="0.4", linestyle=":", linewidth=1.2, label=f"random: {floor:.0f}")
    seeds = len(curves)
    axes.set_title(f"{results['environment']['id']}, {seeds} seed{'s' * (seeds > 1)}", fontsize=11)
    axes.set_xlabel("frames (simulator steps)")
    axes.set_ylabel("episode return")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)


def print_table(results: dict[str, Any]) -> None:
    print(f"{'seed':>5} {'frames':>8} {'last':>7} {'best':>7} {'ratio':>7} {'minutes':>8}")
    for run in results["runs"]:
        values = [value for _, value in run["evaluation_returns"]]
        unfinished = "" if run["reached_its_budget"] else "  stopped before its budget"
        print(
            f"{run['seed']:>5} {run['frames']:>8,.0f} {values[-1]:>7.1f} {max(values):>7.1f} "
            f"{run['training_ratio']:>7.2f} {run['wall_time_s'] / 60:>8.1f}  "
            f"last checkpoint: {run['last_checkpoint']}{unfinished}"
        )
    for name, floor in results["floors"].items():
        print(f"{name}: {floor['mean']} ± {floor['std']} over {floor['episodes']} episodes")


if __name__ == "__main__":
    main()
