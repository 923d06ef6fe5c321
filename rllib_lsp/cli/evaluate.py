"""``rllib evaluate``: episodes of a trained agent, in figures, on a film, in a file."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllib_lsp.cli.document import Document
from rllib_lsp.cli.messages import InputError, examples, one_paragraph_errors
from rllib_lsp.cli.options import option
from rllib_lsp.cli.overrides import set_pairs

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    from rllib_lsp.cli.checkpoint import Checkpoint
    from rllib_lsp.cli.playing import Played, Watcher
    from rllib_lsp.cli.video import Film

PLAY = "Episodes"
OUTPUT = "Output"
EPILOG = examples(
    "rllib evaluate ~/ray_results/lsp-tiny",
    "rllib evaluate CHECKPOINT --episodes 20 --seed 100 --out episodes.json",
    "rllib evaluate CHECKPOINT --set planner.candidates=128 --set planner.iterations=6",
    "rllib evaluate CHECKPOINT --env dm_control/cartpole-balance-v0 --explore",
    "rllib evaluate CHECKPOINT --episodes 1 --video episode.mp4",
)


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A checkpoint_00000N, or the directory of its trial or experiment."),
    ],
    episodes: Annotated[int, option("How many.", PLAY, min=1)] = 5,
    seed: Annotated[int, option("Of the first episode; the next has the next.", PLAY, min=0)] = 0,
    explore: Annotated[
        bool, option("Act as in training, or as well as it can.", PLAY, "--explore/--no-explore")
    ] = False,
    env: Annotated[str | None, option("Another environment with the same spaces.", PLAY)] = None,
    overrides: Annotated[
        list[str] | None,
        option("Config override, KEY=VALUE; nested: a.b=1. Repeatable.", PLAY, "--set"),
    ] = None,
    out: Annotated[
        Path | None, option("Write every episode, step by step: .json or .npz.", OUTPUT)
    ] = None,
    video: Annotated[Path | None, option("Film the episodes: .mp4 or .gif.", OUTPUT)] = None,
    render: Annotated[bool, option("Show them in a window.", OUTPUT, "--render")] = False,
    verbose: Annotated[
        bool, option("Show RLlib's warnings too.", OUTPUT, "--verbose", "-v")
    ] = False,
) -> None:
    """Play episodes with a checkpoint of any RLlib algorithm and print what they earned.

    By default without exploration, from the seeds 0, 1, 2, and so on: the same
    command prints the same figures again.
    """
    with one_paragraph_errors():
        from rllib_lsp.cli.episode_file import check_name, write
        from rllib_lsp.cli.execute import quieten
        from rllib_lsp.cli.video import Film
        from rllib_lsp.envs.rendering import lacks_display

        quieten(verbose)
        if out is not None:
            check_name(out)
        if video is not None and render:
            raise InputError("--video and --render exclude each other: give one of them.")
        if render and lacks_display():
            raise InputError("--render: there is no display here. Write `--video FILE.mp4`.")
        film = Film(video) if video is not None else None
        mode = "rgb_array" if film else "human" if render else None
        trained, config = prepare(checkpoint, overrides or [], env, seed, mode)
        typer.echo(
            f"{_name(config)} of {trained.path}, {'with' if explore else 'without'} exploration"
        )
        played = _play(trained, config, range(seed, seed + episodes), explore, film)
        for line in summary(played):
            typer.echo(line)
        if film:
            typer.echo(f"film: {film.path} ({film.frames} pictures)")
        if out is not None and played:
            write(out, played)
            typer.echo(f"episodes: {out}")
    if len(played) < episodes:
        raise typer.Exit(130)


def summary(played: list[Played]) -> list[str]:
    """Mean ± standard deviation and extremes of return, length and each number of the infos."""
    if not played:
        return ["no episode has ended"]
    columns: dict[str, list[float]] = {
        "return": [episode.returned for episode in played],
        "length": [episode.length for episode in played],
    }
    for key in sorted({key for episode in played for key in episode.info}):
        columns[key] = [episode.info[key] for episode in played if key in episode.info]
    width = max(len(name) for name in columns)
    count = f"{len(played)} episode{'s' * (len(played) > 1)}"
    return [count, *(f"  {name.ljust(width)}  {_spread(v)}" for name, v in columns.items())]


def _spread(values: list[float]) -> str:
    import numpy as np

    mean, deviation = np.mean(values), np.std(values)
    return f"{mean:.4g} ± {deviation:.3g}  (min {min(values):.4g}, max {max(values):.4g})"


def prepare(
    path: Path, overrides: list[str], env: str | None, seed: int, render_mode: str | None
) -> tuple[Checkpoint, AlgorithmConfig]:
    """The checkpoint, and the config to play it with. Raises InputError."""
    from rllib_lsp.cli.algorithm_config import check_config, translate_old_names
    from rllib_lsp.cli.checkpoint import open_checkpoint
    from rllib_lsp.cli.environment import check_env
    from rllib_lsp.cli.playing import evaluation_config

    trained = open_checkpoint(path)
    document = Document("command line", {"config": {}})
    for key, value, place in set_pairs(overrides):
        document.set(("config", *key), value, place)
    if env is not None:
        document.set(("config", "env"), env, "--env")
    changes = document.data["config"]
    place = document.places.get(("config", "env"), f"{trained.path}, trained elsewhere")
    check_env(changes.get("env", trained.config.env), place)
    if "seed" in changes:
        where = document.where("config", "seed")
        raise InputError(f"{where}: the first episode's seed is given by --seed, e.g. --seed 5.")
    if changes:
        changes = translate_old_names(document, ("config",), changes, trained.config)
        # What evaluates may lack what learning needs, such as plans to learn a prior from.
        check_config(document, ("config",), changes, evaluation_config(trained.config, {}, None))
    return trained, evaluation_config(trained.config, {**changes, "seed": seed}, render_mode)


def _play(
    trained: Checkpoint, config: AlgorithmConfig, seeds: range, explore: bool, film: Film | None
) -> list[Played]:
    """All episodes, a line for each; those until Ctrl-C if it comes."""
    from rllib_lsp.cli.caption import Caption
    from rllib_lsp.cli.playing import build_runner, play
    from rllib_lsp.cli.report import essence

    runner = build_runner(trained, config)
    played: list[Played] = []
    watcher: Watcher | None = None
    if film:
        caption = Caption()
        watcher = lambda moment: film.add(caption.below(moment))  # noqa: E731
    elif config.env_config.get("render_mode"):
        watcher = lambda moment: moment.env.render()  # noqa: E731
    if film:
        film.fps = runner.env.unwrapped.envs[0].metadata.get("render_fps") or film.fps
    try:
        with film or contextlib.nullcontext():
            episodes = play(runner, seeds, explore=explore, watcher=watcher)
            for number, episode in enumerate(episodes, 1):
                played.append(episode)
                typer.echo(_line(number, episode))
    except KeyboardInterrupt:
        typer.echo(f"interrupted after {len(played)} of {len(seeds)} episodes", err=True)
    except Exception:  # whatever an environment raises
        lines = [f"failed in the episode from seed {seeds[len(played)]}:"]
        lines += essence(traceback.format_exc())
        typer.secho("\n  ".join(lines), err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from None
    finally:
        runner.stop()
    return played


def _line(number: int, episode: Played) -> str:
    end = "terminated" if episode.terminated else "truncated"
    parts = [f"episode {number}", f"seed {episode.seed}", f"return {episode.returned:.4g}"]
    parts.append(f"{episode.length} decisions, {end}")
    if "success" in episode.info:
        parts.append("success" if episode.info["success"] else "no success")
    return " | ".join(parts)


def _name(config: AlgorithmConfig) -> str:
    return f"{config.algo_class.__name__} on {env_name(config)}"


def env_name(config: AlgorithmConfig) -> str:
    """As a person knows the environment."""
    return str(getattr(config.env, "__name__", config.env))
