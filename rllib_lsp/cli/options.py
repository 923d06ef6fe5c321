"""The options that ``rllib train``, ``train file`` and ``example run`` share, declared once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from rllib_lsp.cli.messages import InputError

EXPERIMENT = "Experiment"
SEARCH = "Several trials"
CHECKPOINTS = "Checkpoints"
RAY = "Ray"


def option(help_text: str, group: str, *names: str, **kwargs: Any) -> Any:
    """One option of a group, as typer takes it."""
    return typer.Option(*names, help=help_text, rich_help_panel=group, **kwargs)


@dataclass(frozen=True)
class Options:
    """Command-line options of a training run; ``None`` means not given."""

    env: Annotated[
        str | None, option("Environment; replaces the file's.", EXPERIMENT, "--env", "-e")
    ] = None
    stop: Annotated[
        list[str],
        option("Stop at this result, KEY=NUMBER or JSON. Repeatable.", EXPERIMENT, "--stop", "-s"),
    ] = field(default_factory=list)
    overrides: Annotated[
        list[str],
        option("Config override, KEY=VALUE; nested: a.b=1. Repeatable.", EXPERIMENT, "--set"),
    ] = field(default_factory=list)
    seed: Annotated[int | None, option("Random seed (config key seed).", EXPERIMENT)] = None
    experiment_name: Annotated[
        str | None,
        option("Name of the experiment's directory.", EXPERIMENT, "--experiment-name", "-n"),
    ] = None
    storage_path: Annotated[
        str | None,
        option(
            "Where results go; default ~/ray_results.",
            EXPERIMENT,
            "--storage-path",
            "--storage-dir",
            "--local-dir",
        ),
    ] = None
    dry_run: Annotated[
        bool, option("Check everything, train nothing.", EXPERIMENT, "--dry-run")
    ] = False
    num_samples: Annotated[
        int | None, option("Trials per point of the search space; default 1.", SEARCH, min=1)
    ] = None
    scheduler: Annotated[
        str | None, option("Which trials go on: asha, hyperband, pbt, ...; default fifo.", SEARCH)
    ] = None
    scheduler_config: Annotated[
        str, option("The scheduler's arguments as JSON, e.g. '{\"max_t\": 50}'.", SEARCH)
    ] = "{}"
    checkpoint_freq: Annotated[
        int | None, option("Checkpoint every N iterations; default 0: never.", CHECKPOINTS, min=0)
    ] = None
    checkpoint_at_end: Annotated[
        bool | None,
        option(
            "Checkpoint at the end; default: yes.",
            CHECKPOINTS,
            "--checkpoint-at-end/--no-checkpoint-at-end",
        ),
    ] = None
    keep_checkpoints_num: Annotated[
        int | None, option("Keep only N checkpoints of a trial; default: all.", CHECKPOINTS, min=1)
    ] = None
    checkpoint_score_attr: Annotated[
        str | None,
        option("Keep those highest in this result; with min- before it, lowest.", CHECKPOINTS),
    ] = None
    resume: Annotated[
        bool, option("Continue the experiment from its checkpoints.", CHECKPOINTS, "--resume")
    ] = False
    restore: Annotated[
        str | None, option("Start a new experiment from this checkpoint.", CHECKPOINTS)
    ] = None
    verbose: Annotated[
        bool, option("Show Ray's and Tune's own output too.", RAY, "--verbose", "-v")
    ] = False
    ray_address: Annotated[str | None, option("Ray cluster to join.", RAY)] = None
    ray_num_cpus: Annotated[int | None, option("CPUs Ray may use.", RAY, min=1)] = None
    ray_num_gpus: Annotated[int | None, option("GPUs Ray may use.", RAY, min=0)] = None
    ray_object_store_memory: Annotated[
        int | None, option("Bytes of Ray's object store.", RAY, min=1)
    ] = None


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Shows typer a command ``f(..., options: Options)`` as if each option were a parameter.

    Without it every command would repeat all the options in its signature and its body.
    """
    own = inspect.signature(command, eval_str=True).parameters
    hints = get_type_hints(Options, include_extras=True)
    shared = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=[] if f.default is dataclasses.MISSING else f.default,
            annotation=hints[f.name],
        )
        for f in dataclasses.fields(Options)
    ]
    parameters = [p for p in own.values() if p.name != "options"] + shared

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        chosen = Options(**{p.name: values.pop(p.name) for p in shared})
        command(**values, options=chosen)

    vars(with_options)["__signature__"] = inspect.Signature(parameters)
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def absolute_storage(path: str) -> str:
    """A local path made absolute (Tune refuses relative ones); a URI stays as it is."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def on_disk(given: Path) -> Path:
    """A path of this machine, made absolute.

    Raises:
        InputError: it is an address, such as `s3://bucket/path`, of which a `Path` keeps one slash.
    """
    if re.match(r"\w{2,}:/", str(given)):
        raise InputError(
            f"{given}: is an address, but this command reads from this machine's disk. Copy it "
            "here first (`aws s3 cp --recursive`, `gsutil -m cp -r`), and give the copy."
        )
    return given.expanduser().absolute()
