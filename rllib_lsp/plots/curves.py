"""The learning curve of one trial: returns over frames, raw, so that a collapse shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_lsp.plots.results import (
    EVALUATION_DURATION,
    EVALUATION_RETURN,
    RETURN,
    experience,
    number,
)
from rllib_lsp.plots.style import BLUE, VERMILLION, new_figure, save

Points = list[tuple[float, float]]


@dataclass
class LearningCurve:
    """Returns of a trial as (frames, return), and what the x axis counts."""

    unit: str = "frames"
    training: Points = field(default_factory=list)
    evaluation: Points = field(default_factory=list)

    @classmethod
    def of(cls, results: list[dict[str, Any]]) -> LearningCurve:
        """Collects the curve from a trial's results."""
        unit = experience(results[0])[0] if results else "frames"
        return cls(unit, points(results, RETURN), points(results, EVALUATION_RETURN))

    @property
    def judged(self) -> tuple[str, Points]:
        """The returns that count: those of evaluation if there are any."""
        return ("evaluation", self.evaluation) if self.evaluation else ("training", self.training)


def points(results: list[dict[str, Any]], key: str) -> Points:
    """What the results that hold a number at ``key`` say, over the experience so far."""
    found: Points = []
    evaluated: float | None = None
    for result in results:
        x, value = experience(result)[1], number(result, key)
        if value is None:
            continue
        # RLlib repeats the last evaluation in results without one; its timing tells.
        before, evaluated = evaluated, number(result, EVALUATION_DURATION)
        repeated = evaluated is not None and evaluated == before
        if not (key.startswith("evaluation/") and repeated):
            found.append((x, value))
    return found


def read_results(trial_dir: Path) -> list[dict[str, Any]]:
    """All results in a trial's ``result.json``, oldest first; none if there is no such file.

    A resumed trial repeats the iterations after its checkpoint: the later ones count.
    """
    path = trial_dir / "result.json"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    by_iteration: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed
            continue
        iteration = result["training_iteration"]
        by_iteration = {i: r for i, r in by_iteration.items() if i < iteration}
        by_iteration[iteration] = result
    return list(by_iteration.values())


def plot_learning_curve(curve: LearningCurve, path: Path, title: str) -> None:
    """Writes the curve as an image."""
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    if curve.training:
        marker = "." if len(curve.training) == 1 else None
        training = zip(*curve.training, strict=True)
        axes.plot(*training, color=VERMILLION, lw=0.8, marker=marker, label="training")
    if curve.evaluation:
        evaluation = zip(*curve.evaluation, strict=True)
        axes.plot(*evaluation, "o-", color=BLUE, ms=4, lw=0.5, label="evaluation")
    axes.set(title=title, xlabel=curve.unit, ylabel="episode return")
    axes.grid(alpha=0.3)
    if curve.training or curve.evaluation:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no episode has ended", ha="center", transform=axes.transAxes)
    save(figure, path)
