"""What one update costs: ours, RLlib's DreamerV3, and the matrix products of ours alone.

    python benchmarks/bench_update.py [--threads 1] [--repeats 5] [--cases nano XS] [--without-ray]
                                      [--compiled] [--half]

Every case is timed in turns (A B A B …) on a fixed batch of 16 x 64 decisions, with a horizon of
15, and, but for `defaults`, from all 1024 states. `nano` and `XS` are RLlib's sizes, and ours is
the Dreamer of this package with as many trained parameters, through RLlib's own `Learner.update`
on both sides; `v1` has the sizes of Dreamer v1, and `defaults` those of `LSPConfig`, with skills.
`floor` repeats the matrix products that an update of ours executes, and nothing else.
`--compiled` adds ours with what imagination repeats compiled, which takes a minute or two a case,
`--half` ours in bfloat16.
`--without-ray` leaves RLlib out, and needs nothing but torch; it uses a GPU if there is one.
Writes benchmarks/results/bench-update.json (with a GPU bench-update-gpu.json).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from alternate import machine, medians, synchronised, table
from floor import products_of
from torch import Tensor

from rllib_lsp.core import learning
from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.world_model import Batch

RESULTS = Path(__file__).parent / "results"
OBSERVATION, ACTION = 24, 6
BATCH, LENGTH, HORIZON = 16, 64, 15
NO_SKILLS: dict[str, Any] = {"skills": {"dim": 0}, "planner": {"method": "none"}}


def dreamer(width: int, dynamics: int, variables: int) -> dict[str, Any]:
    """Options of our Dreamer at one of RLlib's sizes. RLlib has one network each for the mean and
    the deviation of an action; `dynamics` gives that many parameters back."""
    return {
        "world_model": {
            "stochastic": variables, "classes": variables, "deterministic": width,
            "hidden": dynamics, "encoder_hidden": width, "head_hidden": width, "layers": 1,
        },
        "behaviour": {"hidden": width, "layers": 1, "value_layers": 1, "starts": BATCH * LENGTH},
        **NO_SKILLS,
    }  # fmt: skip


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "nano": ("modern", dreamer(16, 16, 4)),
    "XS": ("modern", dreamer(256, 280, 32)),
    "v1": ("paper", {"behaviour": {"starts": BATCH * LENGTH}, **NO_SKILLS}),
    "defaults": ("modern", {}),
}
"""Preset and options of each case."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="the imagined step too")
    parser.add_argument("--half", action="store_true", help="in bfloat16 too")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    runs: dict[str, Callable[[], object]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for case in arguments.cases:
        torch.manual_seed(0)
        core = core_update(case, device)
        floor, products, operators = products_of(core.run)
        runs |= {f"{case}: ours, core": core.run, f"{case}: floor": floor}
        if arguments.compiled:
            runs[f"{case}: ours, core compiled"] = compiled(case, device).run
        if arguments.half:
            runs[f"{case}: ours, core in bfloat16"] = core_update(case, device, half=True).run
        facts[case] = {
            "parameters": core.parameters,
            "operators": operators,
            "matrix_products": products,
        }
        if not arguments.without_ray:
            runs |= with_ray(case, arguments.threads, facts[case])
    if not arguments.without_ray:
        torch.set_num_threads(arguments.threads)
    seconds = medians(runs, arguments.repeats, clock=synchronised)
    rows = [{"case": name, "ms": round(1e3 * taken, 2)} for name, taken in seconds.items()]
    ratios = ratios_of(seconds)
    print(table(rows), "", json.dumps(ratios, indent=1), sep="\n")
    results = {
        "batch": [BATCH, LENGTH],
        "horizon": HORIZON,
        "repeats": arguments.repeats,
        "machine": machine("ray") if not arguments.without_ray else machine(),
        "cases": facts,
        "ms": {row["case"]: row["ms"] for row in rows},
        "ratios": ratios,
    }
    name = "bench-update-gpu.json" if gpu else "bench-update.json"
    path = arguments.output or RESULTS / name
    path.write_text(json.dumps(results, indent=1) + "\n")


def ratios_of(seconds: dict[str, float]) -> dict[str, float]:
    """How many times as long as ours the others take, and ours as long as its floor."""
    found = {}
    for name, taken in seconds.items():
        case, kind = name.split(": ")
        if kind == "ours, core":
            found[f"{case}: ours over its floor"] = taken / seconds[f"{case}: floor"]
        elif kind.startswith("ours, core "):
            variant = kind.removeprefix("ours, ")
            found[f"{case}: core over {variant}"] = seconds[f"{case}: ours, core"] / taken
        elif kind == "RLlib DreamerV3":
            found[f"{case}: RLlib DreamerV3 over ours"] = taken / seconds[f"{case}: ours"]
            if "defaults: ours" in seconds:
                found[f"{case}: RLlib DreamerV3 over our defaults"] = (
                    taken / seconds["defaults: ours"]
                )
    return {name: round(ratio, 2) for name, ratio in found.items()}


class CoreUpdate:
    """An update of an agent alone, as the learner does it."""

    def __init__(self, agent: Agent, batch: Batch, half: bool) -> None:
        self.agent, self.batch, self.half = agent, batch, half
        self._optimizers = {
            name: torch.optim.Adam(group, lr=1e-4, fused=True)
            for name, group in agent.parameter_groups().items()
        }
        self.parameters = sum(
            p.numel() for group in agent.parameter_groups().values() for p in group
        )

    def run(self) -> None:
        for optimizer in self._optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.batch.reward.device.type, torch.bfloat16, enabled=self.half):
            losses, metrics = learning.losses(self.agent, self.batch)
        learning.backward(self.agent, losses)
        norms = learning.step(self.agent, self._optimizers, 100.0)
        torch.stack([value.detach() for value in (*metrics.values(), *norms.values())]).tolist()


def core_update(case: str, device: str, *, half: bool = False) -> CoreUpdate:
    preset, options = CASES[case]
    settings = build_settings(options, preset=preset)
    agent = Agent({"observation": (OBSERVATION,)}, ActionSpec(ACTION), settings).to(device)
    plans = (agent.settings.planner.skills, agent.plan_width)
    columns = {key: value.to(device) for key, value in make_columns(*plans).items()}
    batch = Batch({"observation": columns.pop("observation")}, **columns)
    return CoreUpdate(agent, batch, half)


def compiled(case: str, device: str) -> CoreUpdate:
    """With `torch.compile` of what imagination repeats: an action, and a step of the dynamics."""
    update = core_update(case, device)
    learning.compile_steps(update.agent, mode="reduce-overhead" if device == "cuda" else None)
    return update


def make_columns(skills: int, width: int) -> dict[str, Tensor]:
    """A batch, as it comes from replay."""
    steps = (BATCH, LENGTH)
    first = torch.zeros(steps, dtype=torch.bool)
    first[:, 0] = True
    planned = torch.zeros(steps, dtype=torch.bool)
    planned[:, ::10] = True
    return {
        "observation": torch.randn(*steps, OBSERVATION),
        "action": torch.rand(*steps, ACTION) * 2 - 1,
        "reward": torch.rand(steps),
        "is_first": first,
        "terminated": torch.zeros(steps, dtype=torch.bool),
        "plan_mean": torch.randn(*steps, skills, width),
        "plan_std": torch.ones(*steps, skills, width),
        "planned": planned,
    }


def with_ray(case: str, threads: int, facts: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """An update through RLlib's `Learner.update`: ours, and DreamerV3's where it has that size."""
    from rllib_learners import dreamer_v3, ours

    preset, options = CASES[case]
    columns = make_columns(2, options.get("skills", {}).get("dim", 3))
    mine, _ = ours(preset, options, columns, threads)
    found = {f"{case}: ours": mine}
    if case in ("nano", "XS"):
        found[f"{case}: RLlib DreamerV3"], count = dreamer_v3(case, columns, threads)
        facts["parameters_of_rllib"] = count
    return found


if __name__ == "__main__":
    main()
