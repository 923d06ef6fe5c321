"""The command tree. A new command is one module with a typer app, added here."""

import typer

from rllib_lsp.cli import train

app = typer.Typer(
    name="rllib",
    help="Train Ray RLlib algorithms from the command line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(train.app, name="train")


@app.callback()
def root() -> None:
    """Train Ray RLlib algorithms from the command line."""
