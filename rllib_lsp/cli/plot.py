"""``rllib plot``: pictures of what was learned, each a command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rllib_lsp.cli.messages import InputError, did_you_mean, examples, one_paragraph_errors
from rllib_lsp.cli.options import on_disk, option
from rllib_lsp.plots.style import SUFFIXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rllib_lsp.plots.agents import Subject

OUTPUT = "Output"
PLAY = "Episode"
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Draw learning curves, skills, paths, predictions and plans.",
)
Checkpoint = Annotated[
    Path, typer.Argument(help="A checkpoint_00000N, or the directory of its trial or experiment.")
]
Output = Annotated[
    Path | None,
    option("The picture, .png or .pdf; default: beside the checkpoint.", OUTPUT, "--output", "-o"),
]
Env = Annotated[str | None, option("Another environment with the same spaces.", PLAY)]
Seed = Annotated[int, option("Of the environment and of the agent's noise.", PLAY, min=0)]


@app.command(
    "curves",
    epilog=examples(
        "rllib plot curves ~/ray_results/lsp-tiny",
        "rllib plot curves LSP=~/ray_results/lsp-0 LSP=~/ray_results/lsp-1 PPO=~/ray_results/ppo",
        "rllib plot curves benchmarks/results/lsp-point-reach.json --output reach.pdf",
        "rllib plot curves ~/ray_results/lsp-point-reach --metric success",
    ),
)
def curves(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RESULT...",
            help="Experiments, trials, or files of benchmarks/results. Those of one name are "
            "seeds of one run.",
        ),
    ],
    metric: Annotated[
        str, option("A result's key, or the end of one.", "Figure", "--metric", "-m")
    ] = "return",
    output: Annotated[
        Path | None,
        option("The picture, .png or .pdf; default: curves.png.", OUTPUT, "--output", "-o"),
    ] = None,
) -> None:
    """Draw a metric of several runs over frames: each seed thin, their mean thick."""
    with one_paragraph_errors():
        from rllib_lsp.plots.comparison import draw_runs
        from rllib_lsp.plots.runs import MetricError, RunError, read_runs

        path = _checked(output or Path("curves.png"))
        try:
            runs = read_runs([_named(result) for result in results], metric)
        except MetricError as error:
            message, keys = error.args
            ends = {key.rpartition("/")[2] for key in keys}
            raise InputError(f"--metric: {message}.{did_you_mean(metric, ends)}") from None
        except RunError as error:
            raise InputError(
                f"{error}. Give an experiment or a trial that `rllib train` wrote, or a file with "
                "learning curves of benchmarks/results."
            ) from None
        _save(draw_runs(runs), path)


@app.command(
    "skills",
    epilog=examples(
        "rllib plot skills ~/ray_results/lsp-point-explore",
        "rllib plot skills CHECKPOINT --env rllib_lsp/point-reach-v0 --output skills.pdf",
        "rllib plot skills CHECKPOINT --skills 8 --decisions 100",
    ),
)
def skills(
    checkpoint: Checkpoint,
    count: Annotated[int, option("How many, in pairs.", PLAY, "--skills", min=2, max=16)] = 16,
    decisions: Annotated[
        int | None, option("How long each is held; default: an episode.", PLAY, min=1)
    ] = None,
    env: Env = None,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Draw where fixed skills lead: one path each, from one start.

    In each direction of the skill space one lies inside the unit ball and one outside. The body
    holds it for a whole episode of the real environment, in which nothing is planned.
    """
    with one_paragraph_errors():
        subject, path = _open(checkpoint, env, seed, output, "skills")
        from rllib_lsp.plots.skills import draw_skills, fixed_skills, skill_paths

        fixed = fixed_skills(subject.agent.settings.skills.dim, count, seed)
        shown = _gather(lambda: skill_paths(subject, fixed, decisions))
        _save(draw_skills(shown, _title(subject)), path)


@app.command(
    "transfer",
    epilog=examples(
        "rllib plot transfer ~/ray_results/lsp-point-transfer ~/ray_results/dreamer",
        "rllib plot transfer CHECKPOINT --env rllib_lsp/point-reach-cove-v0 --episodes 6",
    ),
)
def transfer(
    checkpoints: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]CHECKPOINT...", help="Of any RLlib algorithm."),
    ],
    episodes: Annotated[int, option("How many of each.", PLAY, min=1, max=8)] = 4,
    env: Env = None,
    seed: Annotated[int, option("Of the first episode; the next has the next.", PLAY, min=0)] = 0,
    output: Annotated[
        Path | None,
        option("The picture, .png or .pdf; default: transfer.png.", OUTPUT, "--output", "-o"),
    ] = None,
) -> None:
    """Draw the paths of evaluation episodes, several agents in the same arenas.

    A row for each checkpoint, a column for each seed: target and posts, the path, and
    where a new skill began.
    """
    with one_paragraph_errors():
        path = _checked(output or Path("transfer.png"))
        _quieten()
        from rllib_lsp.cli.ways import ways_of
        from rllib_lsp.plots.transfer import draw_ways

        seeds = range(seed, seed + episodes)
        shown: dict[str, Any] = {}
        envs: dict[str, None] = {}
        for name, checkpoint in map(_named, checkpoints):
            found, usual, where = _gather(partial(ways_of, checkpoint, env, seeds))
            shown[_unused(name or usual, shown)] = found
            envs[where] = None
        _save(draw_ways(shown, ", ".join(envs)), path)


@app.command(
    "model",
    epilog=examples(
        "rllib plot model ~/ray_results/lsp-walker-walk",
        "rllib plot model CHECKPOINT --context 10 --decisions 100 --output model.pdf",
    ),
)
def model(
    checkpoint: Checkpoint,
    context: Annotated[int, option("Decisions that the model sees.", PLAY, min=1)] = 5,
    decisions: Annotated[int, option("Decisions in all.", PLAY, min=2)] = 50,
    env: Env = None,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Draw what the model foretells after a few observed steps beside what happened.

    The agent acts in the real environment; the model is told the actions, but sees
    only the first observations. Images become strips, vectors traces.
    """
    with one_paragraph_errors():
        if context >= decisions:
            raise InputError(
                f"--context {context}: nothing is left to foretell of {decisions} decisions. "
                "Give a smaller one, or more --decisions."
            )
        subject, path = _open(checkpoint, env, seed, output, "model")
        from rllib_lsp.plots.agents import slices_of
        from rllib_lsp.plots.open_loop import predict, record
        from rllib_lsp.plots.prediction import draw_prediction

        window = record(subject, decisions)
        if len(window.reward) <= context:
            raise InputError(
                f"--context {context}: the episode ends after {len(window.reward) - 1} decisions. "
                "Give a smaller one."
            )
        shown = predict(subject.agent, window, context, subject.generator())
        _save(draw_prediction(shown, slices_of(subject), _title(subject)), path)
        typer.echo(f"error: {shown.error():.2f} of the deviation of what happened")


@app.command(
    "plan",
    epilog=examples(
        "rllib plot plan ~/ray_results/lsp-point-reach",
        "rllib plot plan CHECKPOINT --number 3 --env rllib_lsp/point-reach-line-v0",
    ),
)
def plan(
    checkpoint: Checkpoint,
    number: Annotated[
        int, option("Which plan of the episode, counted from 0.", PLAY, "--number", "-n", min=0)
    ] = 0,
    env: Env = None,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Draw one plan: what each candidate promised, iteration by iteration.

    Where the model knows the body's place, also the path it imagines for each
    candidate, and what then happened.
    """
    with one_paragraph_errors():
        subject, path = _open(checkpoint, env, seed, output, "plan")
        from rllib_lsp.plots.plan import draw_plan, trace_plan

        shown = _gather(lambda: trace_plan(subject, number))
        _save(draw_plan(shown, _title(subject)), path)


def _open(
    given: Path, env: str | None, seed: int, output: Path | None, picture: str
) -> tuple[Subject, Path]:
    """The checkpoint's agent in its environment, and where the picture goes. Raises InputError."""
    _quieten()
    from rllib_lsp.cli.evaluate import prepare
    from rllib_lsp.cli.subject import subject_of

    trained, config = prepare(given, [], env, seed, None)
    beside = trained.path.parent / f"{trained.path.name}-{picture}.png"
    path = _checked(output or beside)
    return subject_of(trained, config, seed), path


def _quieten() -> None:
    """Before RLlib is imported, which imports the simulator, which warns of its renderers."""
    from rllib_lsp.cli.execute import quieten

    quieten(verbose=False)


def _gather(of: Any) -> Any:
    """What a picture shows. Raises InputError where there is nothing to show."""
    from rllib_lsp.plots.agents import PlotError

    try:
        return of()
    except PlotError as error:
        raise InputError(str(error)) from None


def _title(subject: Subject) -> str:
    return f"{subject.agent_name} on {subject.env_name}"


def _named(argument: str) -> tuple[str | None, Path]:
    """``NAME=PATH``, or a path, in which Tune may have written the same sign."""
    name, sign, rest = argument.partition("=")
    if sign and "/" not in name and not Path(argument).expanduser().exists():
        return name, on_disk(Path(rest))
    return None, on_disk(Path(argument))


def _unused(name: str, used: dict[str, Any]) -> str:
    number = 2
    wanted = name
    while wanted in used:
        wanted, number = f"{name} {number}", number + 1
    return wanted


def _checked(path: Path) -> Path:
    """A place for a picture. Raises InputError."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--output {path}: wants a name in {' or '.join(SUFFIXES)}.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--output {path}: there is no directory {path.parent}. Make it first.")
    return path


def _save(figure: Figure, path: Path) -> None:
    from rllib_lsp.plots.style import save

    try:
        save(figure, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Give another place with --output."
        ) from None
    typer.echo(f"picture: {path}")
