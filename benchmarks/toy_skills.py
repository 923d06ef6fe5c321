"""Do planning and mutual information pay? LSP, less one or the other, where skills matter.

    python benchmarks/toy_skills.py [--seeds 2 3 4] [--variants LSP ...]

Trains every variant with the same options and budget in `far_goal.FarGoal`, one run after the
other, and adds each to benchmarks/results/toy-skills.json when it is done; what is there already
is not run again. Prints a table of them.

Options were chosen on seeds 0 and 1, which are therefore not among those reported.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from far_goal import DECISIONS, GOAL, SPEED, FarGoal, straight

from rllib_lsp import DreamerConfig, LSPConfig, RandomSkillsConfig
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.saved_agent import SINGLE_KEY

PATH = Path(__file__).parent / "results" / "toy-skills.json"
PACKAGES = ("rllib-lsp", "ray", "torch", "gymnasium")
DURATION = 10
BUDGET = 4000
"""Decisions of one run."""
EPISODES = 64
"""Of the evaluation after training, without exploration."""
MOVES = 0.2
"""Least way of a skill that is said to have a direction."""
OPTIONS: dict[str, Any] = {
    "size": "tiny",
    "lr": 1e-3,
    "batch_size": 32,
    "batch_length": 10,
    "training_ratio": 64.0,
    "learning_starts": 400,
    "world_model": {"deterministic": 64, "hidden": 64, "encoder_hidden": 64, "head_hidden": 64,
                    "stochastic": 8, "classes": 8},
    "behaviour": {"hidden": 64, "layers": 2, "starts": 64, "horizon": 10},
    "planner": {"candidates": 32, "elites": 4, "iterations": 3},
}  # fmt: skip
"""Shared by all."""
SKILLS: dict[str, Any] = {
    "dim": 2, "duration": DURATION, "mi": "objective", "mi_coef": 4.0, "imagine": "prior",
    "predictor_features": [SINGLE_KEY], "predictor_min_std": 0.1,
}  # fmt: skip
"""Shared by all that have skills."""


def _lsp() -> LSPConfig:
    return LSPConfig().training(skills=SKILLS)


def _random_skills() -> LSPConfig:
    return RandomSkillsConfig().training(skills=SKILLS)


def _no_mi() -> LSPConfig:
    return LSPConfig().training(skills={**SKILLS, "mi_coef": 0.0})


VARIANTS: dict[str, Callable[[], LSPConfig]] = {
    "LSP": _lsp,
    "random skills": _random_skills,
    "no MI": _no_mi,
    "Dreamer": DreamerConfig,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    results = json.loads(PATH.read_text()) if PATH.exists() else new_results()
    done = {(run["variant"], run["seed"]) for run in results["runs"]}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    for seed in arguments.seeds:
        for variant in arguments.variants:
            if (variant, seed) not in done:
                results["runs"].append(train(variant, seed))
                PATH.write_text(json.dumps(results, indent=1) + "\n")
    print_table(results)


def new_results() -> dict[str, Any]:
    space = FarGoal.action_space
    space.seed(0)
    return {
        "experiment": "toy-skills",
        "decisions": BUDGET,
        "options": OPTIONS,
        "skills": SKILLS,
        "versions": {name: version(name) for name in PACKAGES},
        "random_actions": play(lambda _: space.sample()),
        "straight_to_the_goal": play(straight),
        "runs": [],
    }


def play(act: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean return of a policy without memory."""
    env, total = FarGoal(), 0.0
    for seed in range(EPISODES):
        observation, done = env.reset(seed=seed)[0], False
        while not done:
            observation, reward, _, done, _ = env.step(act(observation))
            total += reward
    return round(total / EPISODES, 2)


def train(variant: str, seed: int) -> dict[str, Any]:
    """One run to its budget, and how its agent fares afterwards."""
    start = time.perf_counter()
    config = (
        VARIANTS[variant]()
        .environment(FarGoal)
        .env_runners(num_envs_per_env_runner=4)
        .training(**OPTIONS)
        .reporting(min_sample_timesteps_per_iteration=1000)
        .debugging(seed=seed)
    )
    algorithm = config.build_algo()
    curve = []
    while algorithm.progress["decisions"] < BUDGET:
        result = algorithm.train()
        curve.append(measures(result))
        print(variant, seed, curve[-1], flush=True)
    evaluated = evaluate(algorithm.get_module().agent, seed)
    updates = algorithm.progress["updates"]
    algorithm.stop()
    return {
        "variant": variant,
        "seed": seed,
        **evaluated,
        "mutual_information": curve[-1].get("mutual_information"),
        "planner_gain": curve[-1].get("planner_gain"),
        "updates": updates,
        "seconds": round(time.perf_counter() - start),
        "curve": curve,
    }


COLUMNS = {
    "return": "return",
    "return_if_drawn": "skills drawn",
    "mutual_information": "MI (nats)",
    "planner_gain": "planner gain",
    "progress": "first skill",
    "degrees_off": "degrees off",
}
LOGGED = {
    "mutual_information": "mutual_information_bound",
    "policy_entropy": "policy_entropy",
    "world_model_loss": "world_model_loss",
    "reconstruction_loss": "reconstruction_loss",
    "return_scale": "return_scale",
}


def measures(result: dict[str, Any]) -> dict[str, float]:
    """What is kept of one iteration."""
    runners, learned = result["env_runners"], result["learners"]["default_policy"]
    found = {
        "decisions": runners["num_env_steps_sampled_lifetime"],
        "training_return": runners.get("episode_return_mean"),
        "planner_gain": runners.get("planner_gain"),
    }
    found |= {name: learned.get(key) for name, key in LOGGED.items()}
    return {name: round(float(v), 3) for name, v in found.items() if v is not None}


def evaluate(agent: Agent, seed: int) -> dict[str, Any]:
    """What the agent does without exploration, and what it would do with skills drawn at random."""
    total, led = greedy(agent, seed, random_skills=False)
    found = {"return": mean(total), **first_skill(led)}
    if agent.settings.has_skills:
        total, led = greedy(agent, seed, random_skills=True)
        drawn = {"return": mean(total), **first_skill(led)}
        found |= {f"{name}_if_drawn": value for name, value in drawn.items()}
    return found


def greedy(agent: Agent, seed: int, *, random_skills: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns (EPISODES,), and the ways (EPISODES, 2) that first skills led."""
    envs = [FarGoal() for _ in range(EPISODES)]
    generator = torch.Generator().manual_seed(seed)
    observations = [env.reset(seed=1000 + i)[0] for i, env in enumerate(envs)]
    positions, total = [np.stack(observations)], np.zeros(EPISODES)
    carry, is_first = agent.initial_carry(EPISODES), torch.ones(EPISODES, dtype=torch.bool)
    for _ in range(DECISIONS):
        observed = {SINGLE_KEY: torch.from_numpy(positions[-1])}
        carry, action, _ = agent.act(
            carry, observed, is_first, False, generator, random_skills=random_skills
        )
        steps = [env.step(one) for env, one in zip(envs, action.numpy(), strict=True)]
        positions.append(np.stack([step[0] for step in steps]))
        total += [step[1] for step in steps]
        is_first = torch.zeros_like(is_first)
    return total, positions[DURATION] - positions[0]


def first_skill(led: np.ndarray) -> dict[str, float]:
    """How near first skills come to the best one, which leads straight to the goal.

    `progress`: way made towards the goal, 1 for the best skill and 0 by chance; `degrees_off`:
    median angle to it, of those skills that lead anywhere.
    """
    way = np.linalg.norm(led, axis=-1)
    cosine = led @ GOAL / (np.maximum(way, 1e-9) * np.linalg.norm(GOAL))
    degrees = np.degrees(np.arccos(cosine.clip(-1.0, 1.0)))[way > MOVES]
    found = {"progress": mean(way * cosine / (SPEED * DURATION))}
    if len(degrees) > EPISODES // 2:
        found["degrees_off"] = round(float(np.median(degrees)), 1)
    return found


def mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 2)


def print_table(results: dict[str, Any]) -> None:
    print(f"return of random actions {results['random_actions']}, ", end="")
    print(f"straight to the goal {results['straight_to_the_goal']}")
    print(("{:<14}" + "{:>14}" * len(COLUMNS)).format("variant, seed", *COLUMNS.values()))
    for variant in VARIANTS:
        runs = [run for run in results["runs"] if run["variant"] == variant]
        for run in runs:
            print_row(f"  {run['seed']}", [run])
        if runs:
            print_row(variant, runs)


def print_row(name: str, runs: list[dict[str, Any]]) -> None:
    cells = []
    for key in COLUMNS:
        values = [run[key] for run in runs if run.get(key) is not None]
        cells.append(f"{np.mean(values):.2f}" if values else "-")
    print(("{:<14}" + "{:>14}" * len(cells)).format(name, *cells))


if __name__ == "__main__":
    main()
