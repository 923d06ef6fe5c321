"""Ends trials: at their stop criteria, at the time budget, on Ctrl-C; resumed ones, too."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from ray.tune import Callback, CheckpointConfig

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from rllib_lsp.cli.experiment import Experiment

# Tune ends its loop in order on this signal, wherever it comes from.
_END_TUNE = signal.SIGUSR1


class StopControl(Callback):
    """Gives every trial its rules and can bring all of them to an end.

    Trials carry their stop criteria, and the rules of checkpoints and failures, in the
    experiment's state, so a resumed one would keep those of its first run. Ending means: stop at
    the next result, which lets Tune write the last checkpoint, then leave the trials that have not
    started for ``--resume``.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._stop, self._max_failures = dict(experiment.stop), experiment.max_failures
        self.checkpoints = CheckpointConfig(**experiment.checkpoint_config)
        budget = experiment.time_budget_s
        self._ends_at = time.monotonic() + budget if budget is not None else None
        self.interrupted = False
        self._last: set[str] | None = None
        """The trials that ran when all were asked to end; Tune may begin others meanwhile."""

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's hook, called many times a second."""
        ending = self.interrupted or (
            self._ends_at is not None and time.monotonic() > self._ends_at
        )
        for trial in trials:
            trial.stopping_criterion = {"training_iteration": 0} if ending else self._stop
            trial.max_failures = self._max_failures
            trial.run_metadata.checkpoint_manager._checkpoint_config = self.checkpoints
        if not ending:
            return
        running = {trial.trial_id for trial in trials if trial.status == "RUNNING"}
        self._last = running if self._last is None else self._last & running
        if not self._last:
            signal.raise_signal(_END_TUNE)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """While this lasts, the first Ctrl-C or SIGTERM ends trials; the second aborts them."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.interrupted:
            signal.raise_signal(_END_TUNE)
            return
        self.interrupted = True
        typer.echo(
            "\nstopping after this iteration and its checkpoint "
            "(again: at once, without checkpoint) ...",
            err=True,
        )
