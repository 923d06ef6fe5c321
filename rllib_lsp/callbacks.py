"""RLlib callbacks that are useful with any algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

if TYPE_CHECKING:
    from rllib_lsp.core.agent import Agent
    from rllib_lsp.plots.open_loop import Prediction
    from rllib_lsp.replay import Rows


class TaskMetrics(RLlibCallback):
    """Brings what an environment says of an episode in its last ``info`` into the results.

    Every number in it is logged as ``env_runners/info/<name>``: as with the return, the mean over
    the episodes that ended since the last result, at most
    ``metrics_num_episodes_for_smoothing`` of them. For RLlib's own algorithms, one agent per
    environment. LSP logs the same by itself; given to LSP too, it counts nothing twice.
    """

    def on_episode_end(
        self,
        *,
        episode: SingleAgentEpisode,
        env_runner: EnvRunner,
        metrics_logger: MetricsLogger,
        **kwargs: Any,
    ) -> None:
        window = env_runner.config.metrics_num_episodes_for_smoothing
        for key, value in numbers_of(episode.get_infos(-1)).items():
            metrics_logger.log_value(("info", key), value, window=window)


class Picture(np.ndarray):
    """A uint8 picture (3, height, width) in a result: TensorBoard shows it, and files of text say
    that there was one instead of all its numbers."""

    def __str__(self) -> str:
        return f"a picture of {' x '.join(map(str, self.shape))}"


class OpenLoopPictures(RLlibCallback):
    """What LSP's model foretells of the newest episode, as a picture in TensorBoard.

    Every tenth result has `open_loop/picture`, as `rllib plot model` draws it, and
    `open_loop/error`, of which 1 is what the mean of the truth would do. To change a number below,
    make a class of your own from this one.
    """

    every = 10
    """Results from one picture to the next; the first one has one if it can."""
    context = 5
    """Decisions that the model sees."""
    steps = 50
    """Decisions in all; of a shorter episode as many as there are."""
    dots_per_inch = 70

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        from rllib_lsp.lsp.algorithm import LSP

        if not isinstance(algorithm, LSP):
            raise ValueError(
                f"OpenLoopPictures: {type(algorithm).__name__} has no world model to draw; use "
                f"LSP or one of its kin, or leave the callback out."
            )

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        if (result["training_iteration"] - 1) % self.every:
            return
        rows = algorithm.replay.newest(self.steps, "is_first")
        if rows is None or rows["is_first"][1 : self.context + 1].any():
            return
        from rllib_lsp.lsp.asking import ask_agents

        question = partial(_foretell, rows=rows, seen=self.context)
        shown, parts = ask_agents(algorithm.learner_group, question)[0]
        result["open_loop"] = {"error": shown.error(), "picture": self._draw(shown, parts)}

    def _draw(self, shown: Prediction, parts: dict[str, tuple[str, slice]]) -> Picture:
        from rllib_lsp.plots.prediction import draw_prediction
        from rllib_lsp.plots.style import to_array

        figure = draw_prediction(shown, parts, "the newest episode in the replay")
        pixels = to_array(figure, self.dots_per_inch)
        return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)).view(Picture)


def _foretell(
    agent: Agent, rows: Rows, seen: int
) -> tuple[Prediction, dict[str, tuple[str, slice]]]:
    """What an agent makes of an episode's rows (T, ...), up to the next episode."""
    from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX
    from rllib_lsp.plots.agents import vectors_of
    from rllib_lsp.plots.open_loop import Window, predict

    device = next(agent.parameters()).device
    end = next((t for t, first in enumerate(rows["is_first"]) if t and first), None)
    tensors = {key: torch.from_numpy(rows[key][:end]).to(device) for key in rows}
    observation = {key: tensors[OBSERVATION_PREFIX + key] for key in agent.spec}
    window = Window(observation, tensors["action"], tensors["reward"])
    # Noise of its own: a run is the same whether or not somebody looks on.
    noise = torch.Generator(device).manual_seed(0)
    return predict(agent, window, seen, noise), vectors_of(agent.spec)


def numbers_of(info: Mapping[str, Any]) -> dict[str, float]:
    """What an episode's last ``info`` says in numbers."""
    # "frames" counts those of the last decision only.
    return {k: float(v) for k, v in info.items() if k != "frames" and _is_number(v)}


def _is_number(value: Any) -> bool:
    # Not isinstance(value, int): an enum such as dm_control's step type has no mean.
    return type(value) in (bool, int, float) or isinstance(value, np.number | np.bool_)
