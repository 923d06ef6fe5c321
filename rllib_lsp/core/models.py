"""Every network of an agent, which of them the settings ask for, and what trains them."""

from __future__ import annotations

import importlib
import re
from typing import Any

import torch
from torch import Tensor, nn

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.distributions import symlog
from rllib_lsp.core.encoder import ObservationSpec
from rllib_lsp.core.ensemble import Ensemble
from rllib_lsp.core.imagination import ReturnScale
from rllib_lsp.core.policy import PlannedActions, Policy, Value
from rllib_lsp.core.settings import RewardFunction, Settings, SettingsError
from rllib_lsp.core.skills import SkillPredictor, SkillPrior
from rllib_lsp.core.world_model import WorldModel

COMPONENTS = {
    "world_model": ("world_model.encoder.", "world_model.rssm.", "world_model.decoder."),
    "reward": ("world_model.reward_head.",),
    "continue": ("world_model.continue_head.",),
    "ensemble": ("ensemble.",),
    "policy": ("policy.",),
    "value": ("value.", "return_scale."),
    "skill_predictor": ("skill_predictor.",),
    "skill_value": ("skill_value.",),
    "skill_prior": ("skill_prior.",),
}
"""What can be kept, reset or frozen on its own, and the beginnings of its parameters' names."""


class Models(nn.Module):
    """World model and, where they are wanted, policy, values, predictor, prior and ensemble."""

    ensemble: Ensemble | None
    policy: Policy | PlannedActions
    value: Value | None
    skill_predictor: SkillPredictor | None
    skill_value: Value | None
    skill_prior: SkillPrior | None
    return_scale: ReturnScale | None

    def __init__(self, spec: ObservationSpec, action: ActionSpec, settings: Settings) -> None:
        """`spec`: shape of each observation; `action`: the action space."""
        super().__init__()
        check_fit(spec, action, settings)
        self.settings, self.action_spec = settings, action
        skills, behaviour, groups = settings.skills, settings.behaviour, settings.groups
        self.world_model = WorldModel(spec, action.size, settings.world_model)
        rssm, scalar = self.world_model.rssm, self.world_model.scalar
        features = rssm.feature_size

        def wanted(name: str, make: Any) -> Any:
            return make() if name in groups else None

        self.ensemble = wanted(
            "ensemble",
            lambda: Ensemble(features, action.size, rssm.latent.size, settings.world_model),
        )
        self.policy = (
            Policy(features, skills.told, action, behaviour)
            if "policy" in groups
            else PlannedActions()
        )
        self.value = wanted("value", lambda: Value(features, scalar, behaviour))
        self._view = parse_view(skills.predictor_features, spec)
        seen = sum(len(indices) for _, indices in self._view) or features
        self.skill_predictor = wanted(
            "skill_predictor", lambda: SkillPredictor(seen, skills, behaviour)
        )
        # Told how much of the skill is left, on which hangs when its reward comes.
        self.skill_value = wanted(
            "skill_value", lambda: Value(features + skills.dim + 1, scalar, behaviour)
        )
        self.skill_prior = wanted(
            "skill_prior", lambda: SkillPrior(features, skills.dim, behaviour)
        )
        self.return_scale = ReturnScale() if "policy" in groups else None
        self.reward_fn = resolve_reward_fn(settings.planner.reward_fn)

    @property
    def spec(self) -> ObservationSpec:
        """Shape of each observation."""
        return self.world_model.encoder.spec

    @property
    def plan_width(self) -> int:
        """Width of what is planned: of a skill, or of an action."""
        return self.action_spec.size if self.settings.plans_actions else self.settings.skills.dim

    def seen_by_predictor(self, features: Tensor) -> Tensor:
        """What tells skills apart: (..., D) → (..., D), or the chosen parts of the observation."""
        if not self._view:
            return features
        decoded = self.world_model.decoder.decode_vectors(features)
        parts = [decoded[key][..., list(indices)] for key, indices in self._view]
        return symlog(torch.cat(parts, -1))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trained parameters by the loss that trains them, and which nothing else touches."""
        groups = {
            name: [p for p in getattr(self, name).parameters() if p.requires_grad]
            for name in self.settings.groups
        }
        return {name: parameters for name, parameters in groups.items() if parameters}

    def component(self, name: str) -> dict[str, Tensor]:
        """Weights and buffers of one of `COMPONENTS`, by name; empty if the agent has none."""
        state = self.state_dict()
        return {key: value for key, value in state.items() if key.startswith(COMPONENTS[name])}

    def freeze(self, names: tuple[str, ...]) -> None:
        """Stop the training of components, for good."""
        for name in names:
            for key, parameter in self.named_parameters():
                if key.startswith(COMPONENTS[name]):
                    parameter.requires_grad_(False)

    def extra_repr(self) -> str:
        count = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"{count:,} trained parameters"


def check_fit(spec: ObservationSpec, action: ActionSpec, settings: Settings) -> None:
    """Raises SettingsError where settings do not fit an environment."""
    parse_view(settings.skills.predictor_features, spec)
    if settings.plans_actions and action.discrete:
        raise SettingsError(
            "planner.space = 'actions' cannot be used: the environment's actions are discrete; "
            "choose skills."
        )


def parse_view(
    names: tuple[str, ...], spec: ObservationSpec, option: str = "skills.predictor_features"
) -> list[tuple[str, range]]:
    """`position` or `position[0:2]` → the key and the indices that it means.

    Raises SettingsError, naming the `option`, for what the observation does not have.
    """
    view = []
    for name in names:
        match = re.fullmatch(r"(.+?)(?:\[(\d+):(\d+)\])?", name)
        key = match[1] if match else name
        if key not in spec or len(spec[key]) != 1:
            vectors = ", ".join(part for part, shape in spec.items() if len(shape) == 1)
            raise SettingsError(
                f"{option} = {name!r} cannot be used: it names no observation "
                f"vector; there are {vectors or 'none'}."
            )
        width = spec[key][0]
        begin, end = (int(match[2]), int(match[3])) if match and match[2] else (0, width)
        if not begin < end <= width:
            raise SettingsError(f"{option} = {name!r} cannot be used: {key!r} has {width} entries.")
        view.append((key, range(begin, end)))
    return view


def resolve_reward_fn(given: Any) -> RewardFunction | None:
    """A reward function, or the one at a path `package.module:name`.

    Raises SettingsError when the path leads nowhere, or to something that is no function.
    """
    if given is None or callable(given):
        return given
    module, _, name = given.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"planner.reward_fn = {given!r} cannot be imported: {error}."
        ) from error
    if not callable(found):
        raise SettingsError(f"planner.reward_fn = {given!r} is {found!r}, and no function.")
    return found
