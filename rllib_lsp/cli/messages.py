"""What the command says to a person: one paragraph per error, one line per warning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer


class InputError(Exception):
    """Something the user wrote is wrong: the message names the place, the reason and the fix."""


@contextmanager
def one_paragraph_errors() -> Iterator[None]:
    """Turns an ``InputError`` into a message on stderr and exit code 2, without traceback."""
    try:
        yield
    except InputError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None


def warn(message: str) -> None:
    """Prints one line on stderr."""
    typer.secho(f"warning: {message}", err=True, fg=typer.colors.YELLOW)


def did_you_mean(wrong: str, valid: Iterable[str], cutoff: float = 0.6) -> str:
    """`` Did you mean `x`?``, or nothing when no valid word is near (case is ignored)."""
    by_lower = {word.lower(): word for word in valid}
    near = difflib.get_close_matches(wrong.lower(), by_lower, n=1, cutoff=cutoff)
    return f" Did you mean `{by_lower[near[0]]}`?" if near else ""


def first_paragraph(error: BaseException) -> str:
    """An exception's text up to its first empty line, on one line."""
    paragraph = str(error).strip().split("\n\n")[0]
    return " ".join(paragraph.split()) or type(error).__name__


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 05 s``, ``2 h 07 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def examples(*commands: str) -> str:
    """The end of a help page: commands to copy, each on a line of its own."""
    # Typer would read `[...]` as a style.
    lines = [command.replace("[", "\\[") for command in commands]
    return "\n  ".join(["[bold]Examples[/bold]", *lines])
