"""``rllib train``: one inline experiment, or the experiments of a file."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rllib_lsp.cli.document import Document, KeyPath, load, parse_value
from rllib_lsp.cli.messages import InputError, one_paragraph_errors, warn
from rllib_lsp.cli.options import Options, takes_options

if TYPE_CHECKING:
    from rllib_lsp.cli.experiment import Experiment

app = typer.Typer(no_args_is_help=True)


@app.callback(invoke_without_command=True)
@takes_options
def train(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Option("--run", "--algo", help="Algorithm, e.g. PPO or LSP.")
    ] = None,
    config: Annotated[str, typer.Option(help="Config as JSON or YAML.")] = "{}",
    *,
    options: Options,
) -> None:
    """Train: `rllib train file X.yaml`, or `rllib train --run PPO --env CartPole-v1`."""
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
        spec = {"run": run, "config": parse_value(config, "--config")}
        name = options.experiment_name or f"{run}-{options.env}".replace("/", "-")
        _train(Document("command line", {name: spec}), options)


@app.command("file")
@takes_options
def train_file(
    path: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="Experiments in YAML.")],
    *,
    options: Options,
) -> None:
    """Train the experiments of a YAML file, one after the other."""
    with one_paragraph_errors():
        document = load(path)
        _rename(document, options.experiment_name)
        _train(document, options)


def _train(document: Document, options: Options) -> None:
    from rllib_lsp.cli.algorithm_config import describe
    from rllib_lsp.cli.execute import quieten, ray_session
    from rllib_lsp.cli.experiment import check_experiments

    quieten(options.verbose)
    _apply(options, document)
    experiments = check_experiments(document)
    for experiment in experiments:
        _announce(experiment)
        if options.dry_run:
            typer.echo(describe(experiment.config, experiment.algorithm.get_default_config()))
    if not options.dry_run:
        with ray_session(options):
            _run_all(experiments, options)


def _run_all(experiments: list[Experiment], options: Options) -> None:
    from rllib_lsp.cli.execute import are_finished, earlier_trials, run_experiment, warn_of_changes
    from rllib_lsp.cli.report import report

    earlier = {e.name: earlier_trials(e) for e in experiments} if options.resume else {}
    if options.resume and not any(earlier.values()):
        raise InputError(
            f"{experiments[0].path}: there is no experiment to resume. Leave out --resume to "
            "start it, or give the --storage-path and --experiment-name it was started with."
        )
    code, more = 0, ""
    for experiment in experiments:
        trials = earlier.get(experiment.name, [])
        more = "".join(f" --stop {k}={2 * v:g}" for k, v in list(experiment.stop.items())[:1])
        if trials and are_finished(trials, experiment.stop):
            typer.echo(f"{experiment.name} has met its stop criteria already.")
            continue
        if trials:
            warn_of_changes(experiment, trials[0])
        outcome = run_experiment(experiment, options, resume=bool(trials))
        if not report(outcome.trials):
            code, more = 1, ""
        if outcome.interrupted:
            code, more = 128 + signal.SIGINT, ""
            break
    arguments = [a for a in sys.argv[1:] if a != "--resume"]
    typer.echo(f"\ncontinue with: rllib {shlex.join([*arguments, '--resume'])}{more}")
    if code:
        raise typer.Exit(code)


def _apply(options: Options, document: Document) -> None:
    """Writes the options into every experiment of the document, as if they stood in the file."""
    if not isinstance(document.data, dict):
        return
    changes = _changes(options)
    for name, spec in document.data.items():
        if not isinstance(spec, dict):
            continue
        if options.env is not None and isinstance(spec.get("config"), dict):
            spec["config"].pop("env", None)
        for path, value, place in changes:
            document.set((name, *path), value, place)


def _changes(options: Options) -> list[tuple[KeyPath, Any, str]]:
    single: list[tuple[KeyPath, Any, str]] = [
        (("env",), options.env, "--env"),
        (("config", "seed"), options.seed, "--seed"),
        (("num_samples",), options.num_samples, "--num-samples"),
        (("storage_path",), options.storage_path, "--storage-path"),
        (
            ("checkpoint_config", "checkpoint_frequency"),
            options.checkpoint_freq,
            "--checkpoint-freq",
        ),
        (
            ("checkpoint_config", "checkpoint_at_end"),
            options.checkpoint_at_end,
            "--checkpoint-at-end",
        ),
    ]
    changes = [change for change in single if change[1] is not None]
    for text in options.stop:
        # A stop key keeps its slashes: it is the name of a result, not a path.
        changes += [(("stop", key), value, "--stop") for key, value in _pairs(text, "--stop")]
    for text in options.overrides:
        for key, value in _pairs(text, "--set"):
            path = tuple(str(key).replace("/", ".").split("."))
            changes.append((("config", *path), value, f"--set {key}"))
    return changes


def _pairs(text: str, place: str) -> list[tuple[Any, Any]]:
    """``KEY=VALUE`` or a JSON object, as pairs.

    Raises:
        InputError: neither.
    """
    if text.lstrip().startswith("{"):
        return list(parse_value(text, place).items())
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"{place} {text}: wants KEY=VALUE, e.g. `{place} {text or 'key'}=1`.")
    return [(key.strip(), parse_value(value, f"{place} {key}"))]


def _rename(document: Document, name: str | None) -> None:
    if name is None or not isinstance(document.data, dict):
        return
    if len(document.data) != 1:
        raise InputError(
            f"--experiment-name {name}: {document.name} holds {len(document.data)} experiments. "
            "Rename them in the file."
        )
    (old,) = document.data
    document.data[name] = document.data.pop(old)
    document.places = {(name, *path[1:]): place for path, place in document.places.items()}


def _announce(experiment: Experiment) -> None:
    typer.echo(
        f"{experiment.name}: {experiment.run} on {experiment.config['env']}, "
        f"results in {experiment.path}"
    )
    if not experiment.stop and experiment.time_budget_s is None:
        warn(f"{experiment.name} has no `stop`: it trains until Ctrl-C.")
