"""``rllib example``: the tuned examples that come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from rllib_lsp.cli import overrides
from rllib_lsp.cli.document import load
from rllib_lsp.cli.messages import InputError, did_you_mean, examples, one_paragraph_errors
from rllib_lsp.cli.options import Options, takes_options
from rllib_lsp.cli.train import train_document

# Beside this package: a link in the repository, files in an installation.
DIRECTORY = Path(__file__).parents[1] / "tuned_examples"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List, copy and run the tuned examples that come with the package.",
)
Name = Annotated[str, typer.Argument(help="As `rllib example list` names it.")]


@dataclass(frozen=True)
class Example:
    """What a line of the list says."""

    name: str
    run: str
    env: str
    about: str


@app.command(
    "list", epilog=examples("rllib example list", "rllib example list --filter point-reach")
)
def list_examples(
    text: Annotated[
        str, typer.Option("--filter", "-f", help="Only those with this in a column.")
    ] = "",
) -> None:
    """Name, algorithm, environment and purpose of every example."""
    found = [_read(name) for name in sorted(_paths())]
    shown = [e for e in found if any(text.lower() in v.lower() for v in vars(e).values())]
    with one_paragraph_errors():
        if not shown:
            raise InputError(f"--filter {text}: none of {len(found)} examples has it in a column.")
    widths = [max(len(getattr(e, key)) for e in shown) for key in ("name", "run", "env")]
    for e in shown:
        columns = [v.ljust(w) for v, w in zip((e.name, e.run, e.env), widths, strict=True)]
        typer.echo("  ".join([*columns, e.about]))


@app.command(
    "get",
    epilog=examples(
        "rllib example get lsp-tiny", "rllib example get lsp-tiny --out my-experiment.yaml"
    ),
)
def get(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="Write it here; default: print it on the screen.")
    ] = None,
) -> None:
    """Copy an example, to change it."""
    with one_paragraph_errors():
        text = _path(name).read_text(encoding="utf-8")
        if out is None:
            typer.echo(text, nl=False)
            return
        if out.exists():
            raise InputError(f"--out {out}: exists already. Give another name, or remove it.")
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"--out {out}: cannot be written ({error}).") from None
        typer.echo(f"{out}: now `rllib train file {out}`")


@app.command(
    "run",
    epilog=examples(
        "rllib example run lsp-tiny",
        "rllib example run lsp-point-reach --seed 1 --stop time_total_s=600",
    ),
)
@takes_options
def run(name: Name, *, options: Options) -> None:
    """Train an example; takes every option of `rllib train file`."""
    with one_paragraph_errors():
        document = load(_path(name))
        overrides.rename(document, options.experiment_name)
        train_document(document, options)


def _paths() -> dict[str, Path]:
    return {
        str(path.relative_to(DIRECTORY).with_suffix("")): path
        for path in DIRECTORY.glob("**/*.yaml")
    }


def _path(name: str) -> Path:
    paths = _paths()
    if name.removesuffix(".yaml") not in paths:
        raise InputError(
            f"there is no example called `{name}`.{did_you_mean(name, paths)} "
            "`rllib example list` names all."
        )
    return paths[name.removesuffix(".yaml")]


def _read(name: str) -> Example:
    path = _paths()[name]
    spec = next(iter(load(path).data.values()))
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(s.lstrip("# ") for s in takewhile(lambda s: s.startswith("#"), lines))
    # Its first sentence.
    return Example(name, spec["run"], spec["env"], re.split(r"[.;:](?:\s|$)|(?<=\?)\s", comment)[0])
