"""One line per result, for a person to read."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from ray.tune import Callback

from rllib_lsp.cli.messages import duration, warn
from rllib_lsp.plots.results import (
    EVALUATION_RETURN,
    RETURN,
    experience,
    number,
)

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

# Criteria that grow steadily, so that the time to reach them can be foretold.
_STEADY = ("training_iteration", "time_total_s", "num_env_steps", "num_frames", "num_episodes")
_RESULTS_BEFORE_WARNING = 10


@dataclass
class _Seen:
    """What was known of a trial at its first result in this process."""

    at: float
    result: Mapping[str, Any]
    count: int = 0
    missing: set[str] = field(default_factory=set)


def say(line: str) -> None:
    """Print; who has closed the pipe, as `head` does, reads no more, but training goes on."""
    try:
        typer.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Progress(Callback):
    """Prints a line for every result that a trial reports."""

    def __init__(self, stop: Mapping[str, float], time_budget_s: float | None) -> None:
        self._stop = stop
        self._ends_at = time.monotonic() + time_budget_s if time_budget_s is not None else None
        self._seen: dict[str, _Seen] = {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Tune's hook."""
        now = time.monotonic()
        seen = self._seen.setdefault(trial.trial_id, _Seen(now, result))
        seen.count += 1
        eta = self._seconds_left(seen, result, now)
        name = f"{label(trial)} | " if len(trials) > 1 else ""
        if "transfer_table" in result:
            say(result["transfer_table"])
        say(name + progress_line(result, None if result.get("done") else eta))
        self._warn_of_missing(seen, result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Tune's hook."""
        if len(trials) > 1:
            # Its status is set after this call.
            done = sum(t.is_finished() or t is trial for t in trials)
            say(f"{label(trial)} | done, {done} of {len(trials)} trials")

    def _seconds_left(self, seen: _Seen, result: Mapping[str, Any], now: float) -> float | None:
        left = [self._ends_at - now] if self._ends_at is not None else []
        for key, target in self._stop.items():
            value = number(result, key)
            if value is None or not key.split("/")[-1].startswith(_STEADY):
                continue
            gained, took = value - (number(seen.result, key) or 0.0), now - seen.at
            if seen.count == 1:  # all that there is to go by is this iteration itself
                iterations = max(number(result, "training_iteration") or 1, 1)
                if iterations == 1:  # in which much is not learned yet, and so says nothing
                    continue
                gained = value / iterations
                took = number(result, "time_this_iter_s") or 0.0
            if gained > 0:
                left.append(max(target - value, 0.0) * took / gained)
        return min(left, default=None)

    def _warn_of_missing(self, seen: _Seen, result: Mapping[str, Any]) -> None:
        if seen.count != _RESULTS_BEFORE_WARNING:
            return
        for key in self._stop:
            if number(result, key) is None:
                warn(
                    f"stop key `{key}` has not been reported in {seen.count} results; "
                    "if it never is, it will not stop the run."
                )


def label(trial: Trial) -> str:
    """A trial among others: its number and what its config has of its own, ``0 lr=0.001``."""
    return (trial.experiment_tag or str(trial)).replace("_", " ", 1)


def progress_line(result: Mapping[str, Any], seconds_left: float | None = None) -> str:
    """The line: what is absent from the result is left out, except the return."""
    unit, amount = experience(result)
    returned = number(result, RETURN)
    parts = [f"{unit} {amount:,.0f}", "return -" if returned is None else f"return {returned:.1f}"]
    for key, shape in (
        (EVALUATION_RETURN, "evaluation {:.1f}"),
        ("throughput/updates_per_s", "{:.3g} updates/s"),
        ("throughput/env_steps_per_s", "{:.3g} env steps/s"),
        ("env_runners/planner_gain", "planner gain {:+.3g}"),
    ):
        value = number(result, key)
        if value is not None:
            parts.append(shape.format(value))
    parts.append(duration(number(result, "time_total_s") or 0.0))
    if seconds_left is not None:
        parts.append(f"ETA {duration(seconds_left)}")
    return " | ".join(parts)
