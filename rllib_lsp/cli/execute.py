"""Starts Ray and runs one checked experiment with Tune, from the start or from where it ended."""

from __future__ import annotations

import importlib
import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli.algorithm import missing_resources
from rllib_lsp.cli.experiment import Experiment
from rllib_lsp.cli.messages import InputError, first_paragraph, warn
from rllib_lsp.cli.options import Options
from rllib_lsp.cli.scheduler import MUTATIONS, build
from rllib_lsp.cli.search_space import is_plain, samples, to_tune
from rllib_lsp.plots.results import number

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

REACHED_WITHIN_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """The trials of an experiment after it ran, and whether a signal ended it."""

    trials: list[Trial]
    interrupted: bool


@contextmanager
def ray_session(options: Options) -> Iterator[None]:
    """A quiet Ray for the duration of the block; one that runs already is used and left alone.

    Raises:
        InputError: Ray cannot be started or reached as the options say.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    _start_ray(options)
    try:
        yield
    finally:
        ray.shutdown()


def _start_ray(options: Options) -> None:
    import ray

    try:
        _check_reachable(options.ray_address)
        ray.init(
            address=options.ray_address,
            num_cpus=options.ray_num_cpus,
            num_gpus=options.ray_num_gpus,
            object_store_memory=options.ray_object_store_memory,
            include_dashboard=False,
            log_to_driver=options.verbose,
            logging_level=logging.INFO if options.verbose else logging.ERROR,
        )
    except Exception as error:  # ray.init raises whatever its parts do
        if options.verbose:
            raise
        address = options.ray_address
        what = f"--ray-address {address}: no Ray is reached" if address else "Ray does not start"
        reason = first_paragraph(error).rstrip(".")
        raise InputError(
            f"{what}: {reason}. `ray start --head` starts one by hand; -v shows where it failed."
        ) from error


def _check_reachable(address: str | None) -> None:
    """Asks first, because Ray itself tries for minutes. Raises OSError."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        where = host.strip("[]"), int(port)  # brackets: of IPv6
        socket.create_connection(where, timeout=REACHED_WITHIN_S).close()


def quieten(verbose: bool) -> None:
    """Leaves the screen to our own lines: Tune's boxes and RLlib's warnings only with ``-v``."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # see StopControl
    # A result has no return before the first episode has ended; schedulers let such trials go on.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    if verbose:
        return
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one prints boxes even at verbosity 0
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"
    warnings.simplefilter("ignore")
    importlib.import_module("ray.rllib")  # which sets its logger's level when first imported
    for name in ("ray.rllib", "ray.tune", "ray._common"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_experiment(experiment: Experiment, options: Options, *, resume: bool) -> Outcome:
    """Runs all trials of an experiment, or what is left of them, and waits for their end."""
    from ray import tune

    from rllib_lsp.cli.progress import Progress
    from rllib_lsp.cli.stopping import StopControl

    control = StopControl(experiment)
    with control.on_signals():
        analysis = tune.run(
            experiment.run,
            name=experiment.name,
            config=to_tune(experiment.config),
            num_samples=experiment.num_samples,
            scheduler=build(experiment.scheduler) if experiment.scheduler else None,
            storage_path=experiment.storage_path,
            checkpoint_config=control.checkpoints,
            max_failures=experiment.max_failures,
            restore=experiment.restore,
            resume_config=_continue_all() if resume else None,
            callbacks=[Progress(experiment.stop, experiment.time_budget_s), control],
            raise_on_failed_trial=False,
            verbose=2 if options.verbose else 0,
        )
    return Outcome(analysis.trials, control.interrupted)


def earlier_trials(experiment: Experiment) -> list[Trial]:
    """The trials of an earlier run in the experiment's directory; none if there was no run."""
    from ray.tune import ExperimentAnalysis

    try:
        return ExperimentAnalysis(experiment.path).trials or []
    except ValueError:
        return []


def are_finished(trials: list[Trial], stop: dict[str, float]) -> bool:
    """Whether each of the trials ended in order and has met these stop criteria."""
    return all(trial.status == "TERMINATED" and met(trial.last_result, stop) for trial in trials)


def warn_of_changes(experiment: Experiment, trials: list[Trial]) -> None:
    """Resumed trials keep the config they were started with; says where today's differs.

    Raises:
        InputError: they are of another algorithm.
    """
    if trials[0].trainable_name != experiment.run:
        raise InputError(
            f"{experiment.name}: was started with `run: {trials[0].trainable_name}` and cannot go "
            f"on as `run: {experiment.run}`. Start another experiment (--experiment-name)."
        )
    for key, value in experiment.config.items():
        if is_plain(value) and _as_text(trials[0].config.get(key)) != _as_text(value):
            warn(
                f"`{key}: {value}` does not count: the run was started with "
                f"`{key}: {trials[0].config.get(key)}` and keeps it. For another config start "
                "another experiment (--experiment-name)."
            )
    # Population-based training adds what it mutates.
    added = (experiment.scheduler or {}).get(MUTATIONS) or {}
    for key in sorted(set(trials[0].config) - set(experiment.config) - set(added)):
        warn(f"`{key}: {trials[0].config[key]}`, with which the run was started, still counts.")
    if experiment.num_samples > len(trials):
        warn(
            f"`num_samples: {experiment.num_samples}` does not count: the run was started with "
            f"{len(trials)} trials and goes on with them."
        )


def _as_text(value: Any) -> str:
    """A class or function in a Python file is a new one, at a new address, each time it runs."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def met(result: dict[str, Any] | None, stop: dict[str, float]) -> list[str]:
    """The keys of those stop criteria that a result meets."""
    values = {key: number(result or {}, key) for key in stop}
    return [key for key, value in values.items() if value is not None and value >= stop[key]]


def _continue_all() -> Any:
    from ray.tune import ResumeConfig

    resume = ResumeConfig.ResumeType.RESUME
    # "Finished" includes those stopped by Ctrl-C, and all of them when `stop` was raised.
    return ResumeConfig(finished=resume, unfinished=resume, errored=resume)


def check_resources(experiment: Experiment) -> None:
    """Raises InputError where Ray has fewer CPUs or GPUs than a single trial needs."""
    for config in samples(experiment.config):
        lack = missing_resources(experiment.algorithm, config)
        if lack:
            raise InputError(
                f"{experiment.name}: {lack}. Lower `num_env_runners`, "
                "`evaluation_num_env_runners` or `num_learners` in the config, or let Ray count "
                "more with --ray-num-cpus / --ray-num-gpus."
            )
