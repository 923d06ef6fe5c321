"""Baselines: the same algorithm with other options, under names of their own.

What differs from LSP stands in each config's `__init__`, and nowhere else.
"""

from __future__ import annotations

from typing import Any

from ray.tune import register_trainable

from rllib_lsp.lsp.algorithm import LSP
from rllib_lsp.lsp.config import LSPConfig


class DreamerConfig(LSPConfig):
    """No skills, so nothing to plan: the policy alone acts."""

    def __init__(self, algo_class: Any = None) -> None:
        super().__init__(algo_class=algo_class or Dreamer)
        self.training(skills={"dim": 0}, planner={"method": "none"})


class RandomSkillsConfig(LSPConfig):
    """Skills from N(0, I), in acting and in imagination; all else is LSP."""

    def __init__(self, algo_class: Any = None) -> None:
        super().__init__(algo_class=algo_class or RandomSkills)
        self.training(skills={"imagine": "prior", "learn_prior": False}, planner={"method": "none"})


class FixedPolicyConfig(LSPConfig):
    """After a transfer only the planner adapts: the policy stays as it was."""

    def __init__(self, algo_class: Any = None) -> None:
        super().__init__(algo_class=algo_class or FixedPolicy)
        self.transfer_options = {"freeze": ["policy"]}

    @property
    def frozen(self) -> list[str]:
        """The policy, and what else a user freezes."""
        return list({"policy": None, **dict.fromkeys(super().frozen)})


class PlaNetConfig(LSPConfig):
    """The cross-entropy method over actions in the latent model, without policy and value."""

    def __init__(self, algo_class: Any = None) -> None:
        super().__init__(algo_class=algo_class or PlaNet)
        self.training(
            planner={
                "space": "actions", "skills": 12, "candidates": 128, "elites": 16,
                "iterations": 4, "noise": 0.1, "include": ["mean"],
            }
        )  # fmt: skip


class Dreamer(LSP):
    """Dreamer (Hafner et al. 2020, 2023)."""

    @classmethod
    def get_default_config(cls) -> LSPConfig:
        return DreamerConfig(cls)


class RandomSkills(LSP):
    """LSP without planning: skills are drawn at random."""

    @classmethod
    def get_default_config(cls) -> LSPConfig:
        return RandomSkillsConfig(cls)


class FixedPolicy(LSP):
    """LSP whose policy came from elsewhere and is not trained."""

    @classmethod
    def get_default_config(cls) -> LSPConfig:
        return FixedPolicyConfig(cls)


class PlaNet(LSP):
    """Planning over actions (Hafner et al. 2019)."""

    @classmethod
    def get_default_config(cls) -> LSPConfig:
        return PlaNetConfig(cls)


BASELINES: dict[str, type[LSP]] = {
    "Dreamer": Dreamer,
    "LSP-RandomSkills": RandomSkills,
    "LSP-FixedPolicy": FixedPolicy,
    "PlaNet": PlaNet,
}
"""By the name that `run:` and `Tuner` take."""

for _name, _algorithm in BASELINES.items():
    register_trainable(_name, _algorithm)
