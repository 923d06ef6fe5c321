"""The ways of any algorithm's agent through evaluation episodes."""

from __future__ import annotations

from pathlib import Path

from rllib_lsp.cli.evaluate import env_name, prepare
from rllib_lsp.cli.playing import Moment, build_runner, play
from rllib_lsp.plots.agents import needed_place
from rllib_lsp.plots.transfer import Way


class Tracker:
    """Draws up a `Way` for each episode that it is shown."""

    def __init__(self, env: str) -> None:
        self.ways: list[Way] = []
        self._env = env

    def __call__(self, moment: Moment) -> None:
        place = needed_place(moment.info, self._env)
        if moment.is_first:
            layout = getattr(moment.env.unwrapped, "layout", None)
            self.ways.append(Way(layout))
        way = self.ways[-1]
        if moment.decision.get("planned"):
            way.skills.append(len(way.places) - 1)
        way.places.append(place)


def ways_of(given: Path, env: str | None, seeds: range) -> tuple[list[Way], str, str]:
    """A way from each seed, the agent's name and the environment's.

    Raises InputError, and PlotError where the environment knows no places.
    """
    trained, config = prepare(given, [], env, seeds.start, None)
    runner, tracker = build_runner(trained, config), Tracker(env_name(config))
    try:
        for episode in play(runner, seeds, explore=False, watcher=tracker):
            way = tracker.ways[-1]
            way.seed, way.returned = episode.seed, episode.returned
            way.success = episode.info.get("success")
    finally:
        runner.stop()
    return tracker.ways, trained.config.algo_class.__name__, env_name(config)
