"""The options that ``rllib train`` and ``rllib train file`` share, declared once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True)
class Options:
    """Command-line options of a training run; ``None`` means not given."""

    env: Annotated[str | None, typer.Option(help="Environment; replaces the file's.")] = None
    stop: Annotated[
        list[str],
        typer.Option(help="Stop criterion, KEY=VALUE or JSON. Repeatable."),
    ] = field(default_factory=list)
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="Config override, KEY=VALUE; nested keys as a.b or a/b. Repeatable.",
        ),
    ] = field(default_factory=list)
    seed: Annotated[int | None, typer.Option(help="Random seed (config key `seed`).")] = None
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Trials per point of the search space.")
    ] = None
    experiment_name: Annotated[
        str | None, typer.Option(help="Name of the experiment's directory.")
    ] = None
    storage_path: Annotated[
        str | None, typer.Option("--storage-path", "--storage-dir", help="Where results go.")
    ] = None
    checkpoint_freq: Annotated[
        int | None, typer.Option(min=0, help="Checkpoint every N iterations; 0: never.")
    ] = None
    checkpoint_at_end: Annotated[
        bool | None,
        typer.Option(
            "--checkpoint-at-end/--no-checkpoint-at-end", help="Checkpoint at the end (default)."
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the experiment from its checkpoints.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, train nothing.")] = (
        False
    )
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Ray's and Tune's own output too.")
    ] = False
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster to join.")] = None
    ray_num_cpus: Annotated[int | None, typer.Option(min=1, help="CPUs Ray may use.")] = None
    ray_num_gpus: Annotated[int | None, typer.Option(min=0, help="GPUs Ray may use.")] = None
    ray_object_store_memory: Annotated[
        int | None, typer.Option(min=1, help="Bytes of Ray's object store.")
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
