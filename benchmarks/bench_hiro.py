"""Updates per second of HIRO's batched learning against a plain loop over samples.

    python benchmarks/bench_hiro.py [--repeats 3]

The loop is what a first implementation does: it scores one candidate goal of one segment at a
time. Both learn from the same rows, with the authors' sizes and batches, on one thread, in turns
(A B A B ...); times are of the CPU, so that neighbours count less. Writes
benchmarks/results/bench-hiro.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from alternate import medians
from torch import Tensor

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.goals import Segments, candidates, relabelled, transition
from rllib_lsp.core.hiro.learning import Rows, learn, segments
from rllib_lsp.core.hiro.settings import build_hiro_settings
from rllib_lsp.core.hiro.td3 import Optimizers

RESULTS = Path(__file__).parent / "results" / "bench-hiro.json"
STATE, ACTIONS, GOAL = 17, 6, 8
BATCH, LOW_UPDATES = 100, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    agent, optimizers = make_agent()
    windows = make_rows(agent.settings.goals.duration + 1, BATCH)
    pairs = make_rows(2, BATCH * LOW_UPDATES)
    found = segments(agent, windows)
    with torch.no_grad():
        assert_alike(agent, found)
    cases: dict[str, tuple[Callable[[], object], float]] = {
        "relabelling, batched": (lambda: hindsight(agent, found), 1),
        "relabelling, a loop": (lambda: looped(agent, found), 1),
        "TD3 update of the lower level": (
            lambda: learn(agent, pairs, LOW_UPDATES, None, optimizers),
            LOW_UPDATES,
        ),
        "a round, per update of the lower": (
            lambda: learn(agent, pairs, LOW_UPDATES, windows, optimizers),
            LOW_UPDATES,
        ),
    }
    runs = {name: run for name, (run, _) in cases.items()}
    seconds = medians(runs, repeats, clock=time.process_time)
    rates = {name: cases[name][1] / taken for name, taken in seconds.items()}
    ratio = seconds["relabelling, a loop"] / seconds["relabelling, batched"]
    for name, rate in rates.items():
        print(f"{name:32} {1e3 / rate:9.2f} ms {rate:9.1f} /s")
    print(f"batched relabelling is {ratio:.0f} times as fast")
    results = {
        "sizes": {"state": STATE, "actions": ACTIONS, "goal": GOAL, "batch": BATCH},
        "threads": 1,
        "times": "CPU seconds of one thread, medians",
        "repeats": repeats,
        "versions": {name: version(name) for name in ("rllib-lsp", "torch")},
        "ms": {name: round(1e3 / rate, 3) for name, rate in rates.items()},
        "per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "batched_over_loop": round(ratio, 1),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def make_agent() -> tuple[HIROAgent, dict[str, Optimizers]]:
    settings = build_hiro_settings(2, {"goals": {"features": (f"observation[0:{GOAL}]",)}})
    agent = HIROAgent({"observation": (STATE,)}, ActionSpec(ACTIONS), settings)
    optimizers = {
        name: Optimizers(
            torch.optim.Adam(level.actor.parameters(), 1e-4, fused=True),
            torch.optim.Adam(level.critic.parameters(), 1e-3, fused=True),
        )
        for name, level in agent.levels().items()
    }
    return agent, optimizers


def make_rows(length: int, batch: int) -> Rows:
    state = torch.randn(batch, length, STATE)
    never = torch.zeros(batch, length, dtype=torch.bool)
    choice = torch.rand(batch, 1, GOAL).expand(-1, length, -1) * 2 - 1
    return Rows(
        state,
        torch.rand(batch, length, ACTIONS) * 2 - 1,
        torch.rand(batch, length),
        never,
        never,
        choice,
        state[:, :1, :GOAL].expand(-1, length, -1),
    )


@torch.no_grad()
def hindsight(agent: HIROAgent, found: Segments) -> Tensor:
    return relabelled(agent.low.actor, found, agent.goal_range, agent.settings.goals)


@torch.no_grad()
def looped(agent: HIROAgent, found: Segments) -> Tensor:
    """As `relabelled`, one candidate of one segment at a time."""
    choices = candidates(found, agent.goal_range, agent.settings.goals)
    return torch.stack([best(agent, found, row, options) for row, options in enumerate(choices)])


def best(agent: HIROAgent, found: Segments, row: int, options: Tensor) -> Tensor:
    steps = int(found.length[row])
    scores = []
    for choice in options:
        goal, score = choice * agent.goal_range, 0.0
        for step in range(steps):
            inputs = agent.low_inputs(found.state[row, step], goal)
            error = agent.low.actor(inputs) - found.action[row, step]
            score -= float(error.square().sum())
            goal = transition(found.view[row, step], goal, found.view[row, step + 1])
        scores.append(score)
    return options[scores.index(max(scores))]


def assert_alike(agent: HIROAgent, found: Segments) -> None:
    """Both find the same goals, given the same candidates."""
    torch.manual_seed(1)
    fast = hindsight(agent, found)
    torch.manual_seed(1)
    slow = looped(agent, found)
    # Rounding may decide between two that are as good.
    assert (fast == slow).all(1).float().mean() > 0.95


if __name__ == "__main__":
    main()
