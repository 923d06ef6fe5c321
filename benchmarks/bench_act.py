"""What one decision costs, with and without a plan.

    python benchmarks/bench_act.py [--threads 1] [--repeats 5]

`plans` are made for 16 environments with 16 candidates, 10 decisions ahead and 4 iterations, at
the sizes of Dreamer v1 and at those of `LSPConfig`: in one batch, as the env runner does it; one
environment after the other by the same code; and by a naive planner, which keeps the tape of
gradients and asks every head at every step. `decisions` are those of `Agent.act` for 1 and 16
environments. Needs nothing but torch; it uses a GPU if there is one. Writes
benchmarks/results/bench-act.json (with a GPU bench-act-gpu.json).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from alternate import machine, medians, synchronised, table
from torch import Tensor

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.rssm import State

RESULTS = Path(__file__).parent / "results"
OBSERVATION, ACTION, ENVIRONMENTS = 24, 6, 16
PLANNER = {"candidates": 16, "elites": 4, "iterations": 4, "skills": 1, "include": ["mean"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    torch.manual_seed(0)
    runs: dict[str, Callable[[], object]] = {}
    for name, preset in {"v1": "paper", "defaults": "modern"}.items():
        agent = make_agent(preset, {"planner": PLANNER}, device)
        state, skills = starts(agent)
        runs |= {
            f"{name}: 16 plans in a batch": partial(plan, agent, state, skills),
            f"{name}: 16 plans, one by one": partial(each, agent, state, skills, plan),
            f"{name}: 16 naive plans": partial(each, agent, state, skills, naive_plan),
        }
        agent = make_agent(preset, {}, device)
        for count in (1, ENVIRONMENTS):
            runs[f"{name}: decision of {count}, held skill"] = decision(agent, count, plans=False)
            runs[f"{name}: decision of {count}, new skill"] = decision(agent, count, plans=True)
    seconds = medians(runs, arguments.repeats, clock=synchronised)
    ratios = {
        f"{name}: {other} over a batch": round(
            seconds[f"{name}: {other}"] / seconds[f"{name}: 16 plans in a batch"], 2
        )
        for name in ("v1", "defaults")
        for other in ("16 plans, one by one", "16 naive plans")
    }
    rows = [{"case": name, "ms": round(1e3 * taken, 2)} for name, taken in seconds.items()]
    print(table(rows), json.dumps(ratios, indent=1), sep="\n\n")
    results = {
        "repeats": arguments.repeats,
        "machine": machine(),
        "ms": {row["case"]: row["ms"] for row in rows},
        "ratios": ratios,
    }
    name = "bench-act-gpu.json" if gpu else "bench-act.json"
    (RESULTS / name).write_text(json.dumps(results, indent=1) + "\n")


def make_agent(preset: str, options: dict[str, dict[str, object]], device: str) -> Agent:
    settings = build_settings(options, preset=preset)
    return Agent({"observation": (OBSERVATION,)}, ActionSpec(ACTION), settings).to(device)


def starts(agent: Agent) -> tuple[State, Tensor]:
    """States of 16 environments, and the means to plan from."""
    state = agent.world_model.rssm.initial(ENVIRONMENTS).map(torch.randn_like)
    shape = (ENVIRONMENTS, agent.settings.planner.skills, agent.plan_width)
    return state, state.deterministic.new_zeros(shape)


def plan(agent: Agent, state: State, start: Tensor) -> object:
    durations = torch.full((start.shape[0],), agent.settings.skills.longest, device=start.device)
    return agent.plan(state, start, durations, torch.zeros_like(start[:, 0]))


def each(
    agent: Agent, state: State, start: Tensor, planner: Callable[[Agent, State, Tensor], object]
) -> None:
    """One environment after the other."""
    for row in range(ENVIRONMENTS):
        here = State(*(part[row : row + 1] for part in state))
        planner(agent, here, start[row : row + 1])


def naive_plan(agent: Agent, state: State, start: Tensor) -> Tensor:
    """The cross-entropy method as a first implementation has it: (1, Z)."""
    model, settings = agent.world_model, agent.settings
    assert agent.value is not None
    mean = start[:, 0]
    std = torch.ones_like(mean)
    for _ in range(settings.planner.iterations):
        skills = mean + std * torch.randn(
            settings.planner.candidates, settings.skills.dim, device=mean.device
        )
        here = State(*(part.expand(len(skills), -1) for part in state))
        total, weight = torch.zeros_like(skills[:, 0]), torch.ones_like(skills[:, 0])
        for _ in range(settings.skills.longest):
            action, _ = agent.policy.act(here.features, skills, False)
            here = model.rssm.imagine_step(here, action)
            weight = weight * settings.behaviour.gamma * model.continues(here.features)
            value = agent.value.scalar.mean(agent.value(here.features))
            total = total + weight * (model.reward(here.features) + 0.05 * value)
        elites = skills[total.topk(settings.planner.elites).indices]
        mean, std = elites.mean(0, keepdim=True), elites.std(0, keepdim=True)
    return mean


def decision(agent: Agent, count: int, *, plans: bool) -> Callable[[], object]:
    device = agent.world_model.rssm.from_action.weight.device
    observation = {"observation": torch.randn(count, OBSERVATION, device=device)}
    never = torch.zeros(count, dtype=torch.bool, device=device)
    carry = agent.initial_carry(count)
    carry["steps_left"] = carry["steps_left"] + (0 if plans else 5)
    return lambda: agent.act(carry, observation, never, True)


if __name__ == "__main__":
    main()
