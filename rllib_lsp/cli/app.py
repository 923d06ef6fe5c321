"""The command tree. A new command is one module, added here."""

import sys

import typer

from rllib_lsp.cli import evaluate, example, plot, train
from rllib_lsp.cli.classic import refuse
from rllib_lsp.cli.messages import examples, one_paragraph_errors

app = typer.Typer(
    name="rllib",
    help="Train and evaluate Ray RLlib algorithms from the command line.",
    epilog=examples(
        "rllib example list",
        "rllib example run lsp-tiny",
        "rllib train file my-experiment.yaml",
        "rllib train --run PPO --env CartPole-v1 --stop training_iteration=20",
        "rllib evaluate ~/ray_results/lsp-tiny --episodes 5",
        "rllib plot curves ~/ray_results/lsp-tiny",
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(train.app, name="train")
app.add_typer(example.app, name="example")
app.add_typer(plot.app, name="plot")
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)


@app.callback()
def root() -> None:
    """Train and evaluate Ray RLlib algorithms from the command line."""
    with one_paragraph_errors():
        refuse(sys.argv[1:])
