"""What users hang into an env runner: callbacks, connectors, and the recording of episodes.

All of it works on RLlib's episode objects. The lean loop of `LSPEnvRunner` has none, so they are
kept here, and only for a runner that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector.utils import iterate
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.connectors.common import (
    AddStatesFromEpisodesToBatch,
    AddTimeDimToBatchAndZeroPad,
    BatchIndividualItems,
    NumpyToTensor,
)
from ray.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2
from ray.rllib.connectors.module_to_env import (
    GetActions,
    ListifyDataForVectorEnv,
    NormalizeAndClipActions,
    RemoveSingleTsTimeRankFromBatch,
    TensorToNumpy,
    UnBatchToIndividualItems,
)
from ray.rllib.core.columns import Columns
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import ENV_TO_MODULE_CONNECTOR, MODULE_TO_ENV_CONNECTOR

from rllib_lsp.lsp.spaces import named

if TYPE_CHECKING:
    from rllib_lsp.lsp.config import LSPConfig
    from rllib_lsp.lsp.env_runner import LSPEnvRunner

EPISODE_CALLBACKS = (
    "on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end", "on_sample_end",
)  # fmt: skip
"""Those that get an episode; `on_environment_created` needs none to be kept."""
TO_TENSORS = (
    AddTimeDimToBatchAndZeroPad, AddStatesFromEpisodesToBatch, BatchIndividualItems, NumpyToTensor,
)  # fmt: skip
"""RLlib's own pieces behind a user's, which `Agent.act` does without."""
FROM_TENSORS = (
    GetActions, TensorToNumpy, UnBatchToIndividualItems, RemoveSingleTsTimeRankFromBatch,
    NormalizeAndClipActions, ListifyDataForVectorEnv,
)  # fmt: skip
"""Those around a user's pieces on the way to the environment."""


def needs_episodes(config: LSPConfig, callbacks: Sequence[RLlibCallback]) -> bool:
    """Whether anything is hung into a runner that works on episodes."""
    given = any(
        getattr(config, f"callbacks_{name}") is not None
        or any(getattr(type(c), name) is not getattr(RLlibCallback, name) for c in callbacks)
        for name in EPISODE_CALLBACKS
    )
    return given or has_connectors(config) or bool(config.output)


def has_connectors(config: LSPConfig) -> bool:
    """Whether observations or actions pass a user's connectors."""
    return bool(config._env_to_module_connector or config._module_to_env_connector)


def tell_of_environment(runner: LSPEnvRunner, context: EnvContext) -> None:
    """Call `on_environment_created`."""
    kwargs = {"env_runner": runner, "metrics_logger": runner.metrics}
    make_callback(
        "on_environment_created",
        runner._callbacks,
        runner.config.callbacks_on_environment_created,
        kwargs={**kwargs, "env": runner.env, "env_context": context},
    )


class Hooks:
    """The ongoing episodes of a runner's N environments, and who is told of them."""

    def __init__(self, runner: LSPEnvRunner) -> None:
        self._runner = runner
        self._finished: list[SingleAgentEpisode] = []
        config = runner.config
        self._observing = self._acting = None
        if config._env_to_module_connector:
            self._observing = _without(runner._env_to_module, TO_TENSORS)
        if config._module_to_env_connector:
            self._acting = _without(runner._module_to_env, FROM_TENSORS)

    @property
    def _episodes(self) -> list[SingleAgentEpisode]:
        return self._runner._ongoing_episodes

    def create(self) -> None:
        """New episodes for all environments, which are about to be reset."""
        runner = self._runner
        runner._ongoing_episodes = [None] * runner.num_envs
        runner._ongoing_episodes_for_metrics.clear()
        runner._shared_data = {}
        for index in range(runner.num_envs):
            runner._new_episode(index)

    def begin(self, observation: Any, infos: dict[str, Any], explore: bool) -> Any:
        """Take in what a reset brought; observations (N, ...) as the agent is to see them."""
        for index, one in enumerate(self._each(observation)):
            self._episodes[index].add_env_reset(observation=one, infos=_infos_of(infos, index))
        observation = self._observe(observation, explore)
        for index in range(self._runner.num_envs):
            self._tell("on_episode_start", index)
        return observation

    def act(self, action: np.ndarray, explore: bool) -> tuple[np.ndarray, np.ndarray]:
        """The agent's actions (N, A) past the connectors: as they are to be remembered, in the
        same form, and as the environment takes them. Raises ValueError for another shape."""
        spec = self._runner._agent.action_spec
        env_action = spec.to_env(action)
        if self._acting is None:
            return action, env_action
        items = {(e.id_,): [a] for e, a in zip(self._episodes, env_action, strict=True)}
        batch = self._call(self._acting, MODULE_TO_ENV_CONNECTOR, {Columns.ACTIONS: items}, explore)
        chosen = _stacked(batch[Columns.ACTIONS])
        if chosen.shape != env_action.shape:
            raise ValueError(
                f"The module_to_env_connector gave actions of shape {chosen.shape[1:]} for "
                f"{self._runner.env.single_action_space}; it may change values only."
            )
        executed = _stacked(batch.get(Columns.ACTIONS_FOR_ENV, batch[Columns.ACTIONS]))
        return spec.from_env(chosen), executed

    def step(
        self, action: np.ndarray, acted: np.ndarray, result: tuple[Any, ...], explore: bool
    ) -> Any:
        """Take in what a vector step brought; observations (N, ...) as the agent is to see them.

        action (N, A) as remembered; acted (N,) bool: where it was executed, no reset took place.
        """
        observation, reward, terminated, truncated, infos = result
        actions = self._runner._agent.action_spec.to_env(action)
        for index, one in enumerate(self._each(observation)):
            episode, info = self._episodes[index], _infos_of(infos, index)
            if acted[index]:
                episode.add_env_step(
                    one,
                    actions[index],
                    float(reward[index]),
                    info,
                    terminated=bool(terminated[index]),
                    truncated=bool(truncated[index]),
                )
            else:
                episode.add_env_reset(observation=one, infos=info)
        observation = self._observe(observation, explore)
        for index, episode in enumerate(list(self._episodes)):
            self._tell("on_episode_step" if acted[index] else "on_episode_start", index)
            if episode.is_done:
                self._tell("on_episode_end", index)
                self._runner._ongoing_episodes_for_metrics.pop(episode.id_, None)
                self._finished.append(episode)
                self._runner._new_episode(index)
        return observation

    def take(self, *, cut: bool) -> list[SingleAgentEpisode]:
        """The episodes that ended since the last call and, if the others are to be cut, what
        there is of them."""
        taken, self._finished = self._finished, []
        for index, episode in enumerate(self._episodes if cut else ()):
            if len(episode):
                lookback = self._runner.config.episode_lookback_horizon
                self._episodes[index] = episode.cut(len_lookback_buffer=lookback)
                self._runner._ongoing_episodes_for_metrics[episode.id_].append(episode)
                taken.append(episode)
        if self._runner.episodes_to_numpy:
            taken = [episode.to_numpy() for episode in taken]
        return taken

    def sampled(self, samples: list[SingleAgentEpisode]) -> None:
        """Tell of the end of a fragment, as RLlib's `sample` does of its own."""
        runner = self._runner
        make_callback(
            "on_sample_end",
            runner._callbacks,
            runner.config.callbacks_on_sample_end,
            kwargs={"env_runner": runner, "metrics_logger": runner.metrics, "samples": samples},
        )

    def _tell(self, name: str, index: int) -> None:
        self._runner._make_on_episode_callback(name, index, self._episodes)

    def _each(self, observation: Any) -> Any:
        return iterate(self._runner.env.observation_space, observation)

    def _observe(self, observation: Any, explore: bool) -> Any:
        """Past the connectors: what they hand on to a module is what the agent sees."""
        if self._observing is None:
            return observation
        batch = self._call(self._observing, ENV_TO_MODULE_CONNECTOR, {}, explore)
        parts = [named(item) for (item,) in batch[Columns.OBS].values()]
        return {key: np.stack([part[key] for part in parts]) for key in parts[0]}

    def _call(
        self, pipeline: ConnectorPipelineV2, name: str, batch: dict[str, Any], explore: bool
    ) -> dict[str, Any]:
        return pipeline(
            rl_module=self._runner.module,
            batch=batch,
            episodes=self._episodes,
            explore=explore,
            shared_data=self._runner._shared_data,
            metrics=self._runner.metrics,
            metrics_prefix_key=(name,),
        )


def _without(pipeline: ConnectorPipelineV2, unused: tuple[type, ...]) -> ConnectorPipelineV2:
    """The same pieces, state and all, without those of RLlib's own that are not needed."""
    return ConnectorPipelineV2(
        pipeline.input_observation_space,
        pipeline.input_action_space,
        connectors=[piece for piece in pipeline.connectors if type(piece) not in unused],
    )


def _stacked(items: dict[Any, list[Any]]) -> np.ndarray:
    return np.stack([np.asarray(item) for (item,) in items.values()])


def _infos_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """What a vector of environments says of one of them; `_key` marks who said anything."""
    return {
        key: _infos_of(value, index) if isinstance(value, dict) else value[index]
        for key, value in infos.items()
        if f"_{key}" in infos and infos[f"_{key}"][index]
    }
