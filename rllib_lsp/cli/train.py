"""``rllib train``: one inline experiment, or the experiments of a file."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllib_lsp.cli import overrides, python_file
from rllib_lsp.cli.document import Document, load, parse_value
from rllib_lsp.cli.messages import InputError, examples, one_paragraph_errors, warn
from rllib_lsp.cli.options import EXPERIMENT, Options, option, takes_options

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from rllib_lsp.cli.experiment import Experiment

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "rllib train --run PPO --env CartPole-v1 --stop training_iteration=20",
        "rllib train --run LSP --env dm_control/walker-walk-v0 --set size=small --dry-run",
        "rllib train --run SAC --env Pendulum-v1 --set 'lr={grid_search: [1e-4, 1e-3]}'",
        "rllib train file my-experiment.yaml      (see: rllib train file --help)",
    ),
)
@takes_options
def train(
    context: typer.Context,
    run: Annotated[
        str | None,
        option("Algorithm, e.g. PPO or LSP.", EXPERIMENT, "--run", "--algo", "-r", "-a"),
    ] = None,
    config: Annotated[str, option("Config as JSON or YAML.", EXPERIMENT, "--config", "-c")] = "{}",
    *,
    options: Options,
) -> None:
    """Train: `rllib train file X.yaml`, or `rllib train --run PPO --env CartPole-v1`.

    Every result prints a line; the end names the learning curve, the
    checkpoint, and the command that continues. Ctrl-C ends in order, with a
    checkpoint.
    """
    with one_paragraph_errors():
        if context.invoked_subcommand:
            if run or config != "{}" or options != Options():
                raise InputError("options of `rllib train file` belong behind the file's name.")
            return
        if run is None:
            raise InputError(
                "no algorithm: write `rllib train --run PPO --env CartPole-v1` or "
                "`rllib train file X.yaml`."
            )
        inline = parse_value(config, "--config")
        spec = {"run": run, "config": inline}
        given = {key: value for key, value, _ in overrides.set_pairs(options.overrides)}
        written = inline.get("env") if isinstance(inline, dict) else None
        env = options.env or given.get(("env",)) or written
        name = options.experiment_name or f"{run}-{env}".replace("/", "-")
        train_document(Document("command line", {name: spec}), options)


@app.command(
    "file",
    epilog=examples(
        "rllib train file my-experiment.yaml --dry-run",
        "rllib train file my-experiment.yaml --set lr=3e-4 --set planner.candidates=32",
        "rllib train file my-experiment.yaml --stop env_runners/episode_return_mean=200",
        "rllib train file my-experiment.yaml --resume --stop time_total_s=3600",
        "rllib train file my-experiment.yaml --num-samples 8 --scheduler asha",
        "rllib train file my_experiment.py       (defines config, and stop if it is to end)",
    ),
)
@takes_options
def train_file(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Experiments in YAML, or one in Python (.py).")
    ],
    *,
    options: Options,
) -> None:
    """Train the experiments of a file, one after the other.

    An experiment has run, env, stop, config; and where wanted num_samples,
    scheduler, checkpoint_config, storage_path, max_failures, time_budget_s,
    restore. Any value in config may be a search space, {grid_search: \\[...]},
    {choice: \\[...]}, {uniform: \\[low, high]}, and so on.
    """
    with one_paragraph_errors():
        document = python_file.load(path, options) if path.suffix == ".py" else load(path)
        overrides.rename(document, options.experiment_name)
        train_document(document, options)


def train_document(document: Document, options: Options) -> None:
    """Checks all experiments of a document, then trains them one after the other.

    Raises:
        InputError: what is wrong with them.
        typer.Exit: 1 if a trial failed, 130 after Ctrl-C or SIGTERM.
    """
    from rllib_lsp.cli.algorithm_config import describe
    from rllib_lsp.cli.execute import quieten, ray_session
    from rllib_lsp.cli.experiment import check_experiments

    quieten(options.verbose)
    overrides.apply(options, document)
    experiments = check_experiments(document)
    for experiment in experiments:
        _announce(experiment)
        if options.dry_run:
            typer.echo(describe(experiment.config, experiment.algorithm.get_default_config()))
    if not options.dry_run:
        with ray_session(options):
            _run_all(experiments, options)


def _run_all(experiments: list[Experiment], options: Options) -> None:
    from rllib_lsp.cli.execute import (
        are_finished,
        check_resources,
        earlier_trials,
        run_experiment,
        warn_of_changes,
    )
    from rllib_lsp.cli.report import report

    if options.ray_address is None:  # a cluster may grow
        for experiment in experiments:
            check_resources(experiment)

    earlier = {e.name: earlier_trials(e) for e in experiments} if options.resume else {}
    if options.resume and not any(earlier.values()):
        raise InputError(
            f"{experiments[0].path}: there is no experiment to resume. Leave out --resume to "
            "start it, or give the --storage-path and --experiment-name it was started with."
        )
    code, more = 0, ""
    for experiment in experiments:
        trials = earlier.get(experiment.name, [])
        if trials and are_finished(trials, experiment.stop):
            more = _goals_beyond(trials, experiment.stop)
            typer.echo(f"{experiment.name} has met its stop criteria already.")
            continue
        if trials:
            warn_of_changes(experiment, trials)
        outcome = run_experiment(experiment, options, resume=bool(trials))
        more = _goals_beyond(outcome.trials, experiment.stop)
        if not report(outcome.trials, experiment.stop):
            code, more = 1, ""
        if outcome.interrupted:
            code, more = 128 + signal.SIGINT, ""
            break
    arguments = [a for a in sys.argv[1:] if a != "--resume"]
    command = shlex.join([_program(), *arguments, "--resume"])
    typer.echo(f"\ncontinue with: {command}{more}")
    if code:
        raise typer.Exit(code)


def _goals_beyond(trials: list[Trial], stop: dict[str, float]) -> str:
    """`--stop` options with which trials go on that have met their criteria."""
    from rllib_lsp.cli.execute import met

    done = {key for trial in trials for key in met(trial.last_result, stop)}
    beyond = {key: 2 * goal if goal > 0 else goal / 2 for key, goal in stop.items() if key in done}
    return "".join(f" --stop {key}={goal:.15g}" for key, goal in beyond.items())


def _program() -> str:
    """What to type: the path that was typed, where a shell finds no `rllib`, as after `make`."""
    typed = Path(sys.argv[0])
    return str(typed) if typed.name == "rllib" and not shutil.which("rllib") else "rllib"


def _announce(experiment: Experiment) -> None:
    env = experiment.config["env"]
    typer.echo(
        f"{experiment.name}: {experiment.run} on {getattr(env, '__name__', env)}, "
        f"results in {experiment.path}"
    )
    if not experiment.stop and experiment.time_budget_s is None:
        warn(f"{experiment.name} has no `stop`: it trains until Ctrl-C.")
    if experiment.trials_are_alike:
        warn(
            f"{experiment.name}: its {experiment.num_samples} trials are alike, as `seed` is "
            f"{experiment.config['seed']} in all of them. For one of each seed leave out "
            "`num_samples` and search: --set 'seed={grid_search: [0, 1, 2]}'."
        )
