"""Beginning with what another agent has learned, component by component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from rllib_lsp.core.models import COMPONENTS, Models


class TransferError(ValueError):
    """A component that cannot be taken over; the message names both sides."""


KEPT = ("world_model", "ensemble", "policy", "skill_predictor", "skill_value")
"""Taken over unless reset. What depends on the task (reward, continue, value, and the skill
prior, which imitates plans for it) begins anew."""


class Row(NamedTuple):
    """What became of a component."""

    component: str
    fate: str
    """`kept` or `reset`, and whether it is frozen."""
    parameters: int


def transfer(
    models: Models,
    source: Mapping[str, Any],
    keep: Sequence[str] = (),
    reset: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> list[Row]:
    """Take over components of `source`, which `saved_agent.read_agent` read.

    `keep` adds to `KEPT`, `reset` takes away from it. A component that either agent lacks is
    passed over, unless `keep` names it. Raises TransferError for what does not fit, and for a
    component in `freeze` that is not taken over: it would never learn anything.
    """
    if "skills" not in source["settings"]:
        raise TransferError(
            "The source holds an agent of HIRO, which has none of LSP's components."
        )
    rows = []
    taken: dict[str, Tensor] = {}
    for name in COMPONENTS:
        mine = models.component(name)
        wanted = (name in KEPT or name in keep) and name not in reset
        if wanted and (name in keep or mine):
            theirs = _component(source["weights"], name)
            if mine and theirs:
                _check_fit(name, mine, theirs, source, models)
                taken |= theirs
            elif name in keep:
                lacking = "the source" if mine else "this agent"
                raise TransferError(f"transfer.keep = {name!r}: {lacking} has no {name}.")
            else:
                wanted = False
        if mine:
            count = sum(weight.numel() for weight in mine.values())
            rows.append(Row(name, "kept" if wanted else "reset", count))
    for name in set(freeze) - {row.component for row in rows if row.fate == "kept"}:
        raise TransferError(
            f"transfer.freeze = {name!r}: it is not taken over, so it would stay as random as it "
            f"begins. Put {name} into transfer.keep, or take it out of transfer.freeze."
        )
    models.load_state_dict({**models.state_dict(), **taken})
    return rows


def _component(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key.startswith(COMPONENTS[name])}


def _check_fit(
    name: str,
    mine: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    source: Mapping[str, Any],
    models: Models,
) -> None:
    _check_meaning(name, source, models)
    here, there = _shapes(mine), _shapes(theirs)
    if here == there:
        return
    key = next(key for key in {**here, **there} if here.get(key) != there.get(key))
    raise TransferError(
        f"The {name} of the source does not fit: {key} is {there.get(key)} there and "
        f"{here.get(key)} here. The source observes {source['observation']} and acts in "
        f"{source['action'][0]} dimensions; here they are {models.world_model.encoder.spec} and "
        f"{models.action_spec.size}. Use the source's environment and sizes, or put {name} into "
        f"transfer.reset."
    )


MEANING = {
    "world_model": ("world_model", ("latent", "stochastic", "classes", "symlog", "block")),
    "reward": ("world_model", ("scalar", "bins", "block")),
    "value": ("world_model", ("scalar", "bins")),
    "policy": ("behaviour", ("policy", "block")),
    "skill_predictor": ("skills", ("predictor_features", "dim")),
}
"""Part of the settings, and options in it, that give weights of the same shape another meaning."""


def _check_meaning(name: str, source: Mapping[str, Any], models: Models) -> None:
    if name == "world_model":
        spec = models.world_model.encoder.spec
        _same(name, "observation", source["observation"], spec)
        _same(name, "action", tuple(source["action"]), tuple(models.action_spec))
    if name in MEANING:
        part, options = MEANING[name]
        theirs, mine = source["settings"][part], getattr(models.settings, part)
        for option in options:
            _same(name, f"{part}.{option}", theirs[option], getattr(mine, option))


def _same(name: str, what: str, theirs: Any, mine: Any) -> None:
    if (list(theirs.items()) if isinstance(theirs, Mapping) else theirs) != (
        list(mine.items()) if isinstance(mine, Mapping) else mine
    ):
        raise TransferError(
            f"The {name} of the source does not fit: {what} is {theirs} there and {mine} here. "
            f"Make them the same, or put {name} into transfer.reset."
        )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}


def table(rows: Sequence[Row], frozen: Sequence[str]) -> str:
    """What a person wants to know of a transfer, one component a line."""
    lines = [f"{'component':<16} {'taken over':<14} {'parameters':>12}"]
    for row in rows:
        fate = f"{row.fate}, frozen" if row.component in frozen else row.fate
        lines.append(f"{row.component:<16} {fate:<14} {row.parameters:>12,}")
    return "\n".join(lines)
