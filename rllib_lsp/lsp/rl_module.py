"""The agent as an RLModule: for the learner, and for any runner or deployment of RLlib."""

from __future__ import annotations

import pathlib
from typing import Any

import pyarrow.fs
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.inference_only_api import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule

from rllib_lsp.core import learning
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.saved_agent import FILE_NAME, save_agent
from rllib_lsp.core.settings import PARTS
from rllib_lsp.core.world_model import Batch
from rllib_lsp.lsp.spaces import OBSERVATION_PREFIX, action_spec, named, observation_spec

LOSSES = "losses"
METRICS = "metrics"


class ActingRLModule(TorchRLModule, InferenceOnlyAPI):
    """Holds an agent, with which the forward methods act."""

    agent: Any

    def make_agent(self) -> Any:
        """The agent that `model_config` describes."""
        raise NotImplementedError

    def setup(self) -> None:
        self.agent = self.make_agent()
        if frozen := self.model_config.get("freeze"):
            self.agent.freeze(tuple(frozen))
        if self.inference_only:
            # RLlib would delete them, but looks for nested attributes on the module itself.
            for name in self.get_non_inference_attributes():
                parent, _, child = name.rpartition(".")
                setattr(self.get_submodule(parent), child, None)

    def train(self, mode: bool = True) -> ActingRLModule:
        """RLlib toggles the mode at every forward; the recursion over submodules is slow."""
        return self if self.training == mode else super().train(mode)

    def set_state(self, state: dict[str, Any]) -> None:
        """Raises ValueError, naming the parts, where RLlib would leave them untrained silently."""
        missing = sorted({key.split(".")[1] for key in self.state_dict().keys() - state.keys()})
        if missing:
            raise ValueError(
                f"The state to restore has no weights for {', '.join(missing)}, which this "
                f"configuration asks for: restore into the configuration of the checkpoint "
                f"(`from_checkpoint`), or begin with its weights by `transfer`."
            )
        super().set_state(state)

    def get_initial_state(self) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.agent.initial_carry(1).items()}

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, explore=False)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, explore=True)

    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        """Observations (N, 1, ·) and `state_in` (N, ·) → actions (N, 1, A) and `state_out`."""
        observation = {key: value[:, 0] for key, value in named(batch[Columns.OBS]).items()}
        carry = batch[Columns.STATE_IN]
        # RLlib begins each episode with the initial state, so there is nothing to forget.
        is_first = torch.zeros_like(carry["steps_left"], dtype=torch.bool)
        carry, action, _ = self.agent.act(carry, observation, is_first, explore)
        if self.agent.action_spec.discrete:
            action = action.argmax(-1)
        return {Columns.ACTIONS: action.unsqueeze(1), Columns.STATE_OUT: carry}

    def save_to_path(
        self,
        path: str | pathlib.Path | None = None,
        *,
        state: Any = None,
        filesystem: pyarrow.fs.FileSystem | None = None,
        use_msgpack: bool = False,
    ) -> str:
        """RLlib's checkpoint, and beside it a file that `load_agent` reads without Ray."""
        saved = super().save_to_path(
            path, state=state, filesystem=filesystem, use_msgpack=use_msgpack
        )
        if not self.inference_only:
            filesystem = filesystem or pyarrow.fs.LocalFileSystem()
            with filesystem.open_output_stream(f"{saved}/{FILE_NAME}") as stream:
                save_agent(self.agent, stream)
        return saved


class LSPTorchRLModule(ActingRLModule):
    """Holds an `Agent`; `forward_train` gives the losses."""

    agent: Agent

    def make_agent(self) -> Agent:
        config = self.model_config
        settings = build_settings(
            {name: config[name] for name in PARTS}, preset=config["preset"], size=config["size"]
        )
        return Agent(
            observation_spec(self.observation_space), action_spec(self.action_space), settings
        )

    def get_non_inference_attributes(self) -> list[str]:
        """Parts that acting does not need; env runners neither hold nor receive them."""
        agent, settings = self.agent, self.agent.settings
        # Evaluation runners get their weights from the learner, and may plan for something else.
        planners = [vars(settings.planner), self.model_config["evaluation_planner"]]
        wants_decoder = any(planner.get("reward_fn") for planner in planners)
        doubts = any(planner.get("disagreement") for planner in planners)
        idle = {
            "return_scale": agent.return_scale is not None,
            "skill_predictor": settings.has_skills,
            "skill_value": "skill_value" in settings.groups,
            "value.slow_network": agent.value is not None,
            "world_model.decoder": not wants_decoder,
            "ensemble": agent.ensemble is not None
            and not (doubts or settings.behaviour.disagreement),
        }
        return [f"agent.{name}" for name, unused in idle.items() if unused]

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        columns = dict(batch)
        observation = {
            key.removeprefix(OBSERVATION_PREFIX): columns.pop(key)
            for key in list(columns)
            if key.startswith(OBSERVATION_PREFIX)
        }
        fields = {name: columns[name] for name in Batch._fields if name != "observation"}
        losses, metrics = learning.losses(self.agent, Batch(observation=observation, **fields))
        return {LOSSES: losses, METRICS: metrics}
