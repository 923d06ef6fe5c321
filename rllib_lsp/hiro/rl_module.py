"""The agent as an RLModule: for the learner, and for any runner or deployment of RLlib."""

from __future__ import annotations

from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.settings import PARTS, build_hiro_settings
from rllib_lsp.lsp.rl_module import ActingRLModule
from rllib_lsp.lsp.spaces import action_spec, observation_spec


class HIROTorchRLModule(ActingRLModule):
    """Holds a `HIROAgent`; forward methods act, and the learner asks the agent itself."""

    agent: HIROAgent

    def make_agent(self) -> HIROAgent:
        config = self.model_config
        settings = build_hiro_settings(config["levels"], {name: config[name] for name in PARTS})
        return HIROAgent(
            observation_spec(self.observation_space), action_spec(self.action_space), settings
        )

    def get_non_inference_attributes(self) -> list[str]:
        """Critics and targets; env runners neither hold nor receive them."""
        parts = ("critic", "target_actor", "target_critic")
        return [f"agent.{level}.{part}" for level in self.agent.levels() for part in parts]
