"""What is left of a run: a summary per trial, its learning curve, how to continue."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rllib_lsp.cli.execute import met
from rllib_lsp.cli.messages import duration
from rllib_lsp.plots.curves import LearningCurve, plot_learning_curve, read_results
from rllib_lsp.plots.results import experience, number

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

_ERROR_LINES = 6


@dataclass(frozen=True)
class Summary:
    """What a trial learned; also the content of its ``summary.json``."""

    trial: str
    run: str
    env: str
    status: str
    met: list[str]
    """The stop criteria that it has met; none if something else has ended it."""
    judged_by: str
    first_return: float | None
    last_return: float | None
    best_return: float | None
    unit: str
    experience: float
    iterations: int
    wall_time_s: float
    learning_curve: str
    checkpoint: str | None
    error_file: str | None

    def sentence(self) -> str:
        """The line of what was learned."""
        learned = "no episode has ended"
        if self.first_return is not None:
            learned = (
                f"{self.judged_by} return {self.first_return:.1f} -> {self.last_return:.1f}"
                f" (best {self.best_return:.1f})"
            )
        return (
            f"{self.trial}: {learned}, {self.experience:,.0f} {self.unit}, "
            f"{duration(self.wall_time_s)}"
        )


def report(trials: list[Trial], stop: dict[str, float]) -> bool:
    """Prints and writes the summary of every trial; False if one of them failed."""
    for trial in trials:
        # Tune fills in a first result of its own, with who is where, before there is one.
        began = number(trial.last_result or {}, "training_iteration") or trial.status == "ERROR"
        if trial.path is None or not began:
            typer.echo(f"\n{trial}: not started")
            continue
        summary = _summarize(trial, stop)
        typer.echo("\n" + summary.sentence())
        if summary.iterations:
            typer.echo(f"  learning curve: {summary.learning_curve}")
        typer.echo(f"  checkpoint: {summary.checkpoint or 'none'}")
        if trial.status == "ERROR":
            _print_error(summary.error_file)
    return all(trial.status != "ERROR" for trial in trials)


def _summarize(trial: Trial, stop: dict[str, float]) -> Summary:
    directory = Path(trial.path if Path(str(trial.path)).is_dir() else trial.local_path)
    results = read_results(directory)
    curve = LearningCurve.of(results)
    judged_by, points = curve.judged
    returns = [value for _, value in points]
    last = results[-1] if results else {}
    summary = Summary(
        trial=str(trial),
        run=trial.trainable_name,
        env=str(trial.config.get("env")),
        status=trial.status,
        met=met(last, stop),
        judged_by=judged_by,
        first_return=returns[0] if returns else None,
        last_return=returns[-1] if returns else None,
        best_return=max(returns, default=None),
        unit=curve.unit,
        experience=experience(last)[1],
        iterations=int(last.get("training_iteration", 0)),
        wall_time_s=number(last, "time_total_s") or 0.0,
        learning_curve=str(directory / "learning_curve.png"),
        checkpoint=trial.checkpoint.path if trial.checkpoint else None,
        error_file=_error_file(trial, directory) if trial.status == "ERROR" else None,
    )
    plot_learning_curve(curve, directory / "learning_curve.png", f"{summary.run} {summary.env}")
    (directory / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n")
    return summary


def _error_file(trial: Trial, directory: Path) -> str | None:
    """The lasting copy of the error; Tune names one in Ray's temporary directory."""
    candidates = [directory / "error.txt", Path(str(trial.error_file))]
    return next((str(path) for path in candidates if path.is_file()), None)


def _print_error(path: str | None) -> None:
    if path is None:
        typer.secho("  failed without a message", err=True, fg=typer.colors.RED)
        return
    lines = essence(Path(path).read_text(encoding="utf-8"))
    typer.secho("  failed:\n    " + "\n    ".join(lines), err=True, fg=typer.colors.RED)
    typer.echo(f"  whole error: {path}", err=True)


def essence(error: str) -> list[str]:
    """The last lines of a traceback, and of the one that caused it, which Python prints first."""
    chain = re.split(r"\n+(?:The above exception was|During handling of).*\n+", error.rstrip())
    tails = [part.splitlines()[-_ERROR_LINES:] for part in (chain[0], chain[-1])]
    return tails[0] if len(chain) == 1 else [*tails[0], "...", *tails[1]]
