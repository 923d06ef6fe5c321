"""Redraw every figure and table of docs/results.md from the files of benchmarks/results.

    python benchmarks/experiment_tables.py [--check]

Text between `<!-- begin STUDY TASK -->` and `<!-- end -->` of the page is replaced by the table
of a study of benchmarks/experiments and one of its tasks; the figures go to docs/images.
`--check` writes nothing and fails where the page differs from what it would write.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rllib_lsp.plots.comparison import draw_run
from rllib_lsp.plots.curves import Points
from rllib_lsp.plots.style import new_figure, save

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
STUDIES = ROOT / "benchmarks" / "experiments"
RESULTS = ROOT / "benchmarks" / "results"
TABLE = re.compile(r"(<!-- begin (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
LAST = 3
"""Evaluations of which the mean counts as a run's result."""
REACHED = 0.5
"""Share of successes that counts as having learned the task."""

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    old = PAGE.read_text()
    new = TABLE.sub(lambda found: found[1] + table(found[2], found[3]) + found[4], old)
    if arguments.check:
        sys.exit(None if new == old else f"{PAGE}: differs from the results; run {Path(__file__)}")
    PAGE.write_text(new)
    for study in sorted({study for _, study, _, _ in TABLE.findall(old)}):
        draw(study, ROOT / "docs" / "images" / f"results-{study}.png")


@cache
def read(study: str) -> list[Result]:
    """All runs of a study that have ended, methods and tasks in its order."""
    order = yaml.safe_load((STUDIES / f"{study}.yaml").read_text())
    methods, tasks = list(order["methods"]), list(order["tasks"])
    found = [json.loads(file.read_text()) for file in (RESULTS / study).glob("*.json")]
    place = {name: number for names in (methods, tasks) for number, name in enumerate(names)}
    return sorted(found, key=lambda run: (place[run["task"]], place[run["method"]], run["seed"]))


def table(study: str, task: str) -> str:
    """In Markdown: a row a method, its seeds one by one."""
    runs = [run for run in read(study) if run["task"] == task]
    judged = any(has_target(run) for run in runs)
    walks = not judged and any("forward_velocity" in run["evaluation"] for run in runs)
    explored = not any(run["evaluation_returns"] for run in runs)
    head = ["method", "frames", "seeds"]
    if explored:
        head += ["cells visited an episode", "information of skills, nats"]
    else:
        head += ["return", "of each seed"]
        head += ["success", "frames to half success"] if judged else ["last evaluation"]
        head += ["m/s", "upright"] if walks else []
    lines = [head, ["---"] * len(head)]
    for method in dict.fromkeys(run["method"] for run in runs):
        seeds = [run for run in runs if run["method"] == method]
        lines.append([method, f"{seeds[0]['budget']:,}", str(len(seeds))])
        if explored:
            lines[-1] += [mean_and_each(seeds, cells), mean_and_each(seeds, information, 2)]
            continue
        returns = [end(run["evaluation_returns"]) for run in seeds]
        each = ", ".join(f"{value:.0f}" for value in returns)
        lines[-1] += [f"**{np.mean(returns):.0f}**", each]
        if judged:
            lines[-1] += [mean_and_each(seeds, ended("success"), 2), reached(seeds)]
        else:
            lines[-1] += [", ".join(f"{run['evaluation_returns'][-1][1]:.0f}" for run in seeds)]
        if walks:
            lines[-1] += [mean_and_each(seeds, ended("forward_velocity"), 2)]
            lines[-1] += [mean_and_each(seeds, ended("upright_fraction"), 2)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def mean_and_each(
    seeds: list[Result], value: Callable[[Result], float | None], digits: int = 0
) -> str:
    found = [number for run in seeds if (number := value(run)) is not None]
    if not found:
        return ""
    each = ", ".join(f"{number:.{digits}f}" for number in found)
    return f"**{np.mean(found):.{digits}f}** ({each})"


def end(curve: Points) -> float:
    """Where a curve ends: the mean of its last points."""
    return float(np.mean([value for _, value in curve[-LAST:]]))


def has_target(run: Result) -> bool:
    """The quadruped's walk knows its distance to a target, too, but is not paid for it."""
    return "success" in run["evaluation"] and "-walk-" not in run["env"]


def ended(metric: str) -> Callable[[Result], float]:
    """What a metric of the evaluations came to."""
    return lambda run: end(run["evaluation"][metric])


def cells(run: Result) -> float:
    return end(run["training"]["visited_cells"])


def information(run: Result) -> float | None:
    return run["diagnostics"].get("mutual_information_bound")


def reached(seeds: list[Result]) -> str:
    """The first evaluations in which half of the episodes succeed, seed by seed."""
    found = []
    for run in seeds:
        curve = run["evaluation"]["success"]
        first = next((frames for frames, value in curve if value >= REACHED), None)
        found.append("never" if first is None else f"{first / 1000:.0f}k")
    return ", ".join(found)


def draw(study: str, path: Path) -> None:
    """A panel a task: success where the task knows it, else return; seeds thin, means thick."""
    runs = [run for run in read(study) if run["evaluation_returns"]]
    tasks = list(dict.fromkeys(run["task"] for run in runs))
    methods = list(dict.fromkeys(run["method"] for run in runs))
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = new_figure(5.2 * columns, 3.4 * rows + 0.7)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for task, axes in zip(tasks, panels, strict=False):
        draw_task(axes, [run for run in runs if run["task"] == task], methods)
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    handles: dict[str, Any] = {}
    for axes in panels[: len(tasks)]:
        lines, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, lines, strict=True))
    ordered = [method for method in methods if method in handles]
    figure.legend(
        [handles[method] for method in ordered], ordered, loc="outside lower center", ncols=4
    )
    save(figure, path)


def draw_task(axes: Any, runs: list[Result], methods: list[str]) -> None:
    judged = all(has_target(run) for run in runs)
    for number, method in enumerate(methods):
        curves = [
            run["evaluation"]["success"] if judged else run["evaluation_returns"]
            for run in runs
            if run["method"] == method
        ]
        if curves:
            draw_run(axes, curves, number, method)
    counts = {sum(run["method"] == method for run in runs) for method in methods} - {0}
    several = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts)}"
    seeds_of_all = f"{several} seed{'s' * (max(counts) > 1)}"
    axes.set_title(f"{runs[0]['task']}, {seeds_of_all}", fontsize=10)
    axes.set_xlabel("frames")
    axes.set_ylabel("success" if judged else "evaluation return")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.05 if judged else None)
    axes.grid(alpha=0.25)


if __name__ == "__main__":
    main()
