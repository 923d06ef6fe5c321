"""``scheduler`` of an experiment: Tune's rules for which trials go on, and with what config.

``create_scheduler`` itself drops every argument that it does not know, without a word.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli import search_space
from rllib_lsp.cli.algorithm_config import check_config
from rllib_lsp.cli.document import Document, KeyPath
from rllib_lsp.cli.messages import InputError, did_you_mean, first_paragraph
from rllib_lsp.cli.stop import reported_key

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
    from ray.tune.schedulers import TrialScheduler

ALIASES = {"asha": "async_hyperband"}
NAMES = (
    "fifo",
    "asha",
    "async_hyperband",
    "hyperband",
    "median_stopping_rule",
    "pbt",
    "pbt_replay",
    "pb2",
)
# What Tune would ask for. Before the first episode has ended, a result has no return.
DEFAULTS = {"metric": "env_runners/episode_return_mean", "mode": "max", "require_attrs": False}
MUTATIONS = "hyperparam_mutations"


def check_scheduler(
    document: Document,
    path: KeyPath,
    given: Any,
    config: dict[str, Any],
    default: AlgorithmConfig,
) -> dict[str, Any] | None:
    """The scheduler written at ``path`` as ``{type: NAME, ARGUMENT: VALUE, ...}``; None if none.

    ``config`` is what its trials begin with.

    Raises:
        InputError: an unknown scheduler, an argument it does not take or refuses, a metric that
            no result has, or a mutation that the algorithm's config has no key for or refuses.
    """
    if given is None:
        return None
    spec = {"type": given} if isinstance(given, str) else given
    if not isinstance(spec, dict) or not isinstance(spec.get("type"), str):
        raise InputError(
            f"{document.where(*path)}: `scheduler` is {given!r}, but wants a name or "
            "`{type: asha, max_t: 100}`."
        )
    name = spec["type"].lower()
    if name not in NAMES:
        raise InputError(
            f"{document.where(*path, 'type')}: there is no scheduler called `{spec['type']}`."
            f"{did_you_mean(name, NAMES)} Known: {', '.join(NAMES)}."
        )
    taken = _parameters(name)
    arguments = {key: value for key, value in spec.items() if key != "type"}
    for key in arguments:
        if key not in taken:
            raise InputError(
                f"{document.where(*path, key)}: scheduler `{name}` has no argument `{key}`."
                f"{did_you_mean(str(key), taken)} It takes {', '.join(taken) or 'none'}."
            )
    for key in ("metric", "time_attr"):
        if key in arguments:
            arguments[key] = reported_key(document.where(*path, key), str(arguments[key]))
    _check_mutations(document, (*path, MUTATIONS), arguments.get(MUTATIONS), config, default)
    known = {key: value for key, value in DEFAULTS.items() if key in taken}
    spec = {"type": name, **known, **arguments}
    try:
        build(spec)
    except Exception as error:  # each scheduler has its own ways of refusing
        mentioned = next((key for key in arguments if str(key) in str(error)), "type")
        reason = first_paragraph(error)
        raise InputError(
            f"{document.where(*path, mentioned)}: scheduler `{name}` refuses {arguments}: "
            f"{type(error).__name__}: {reason}"
        ) from None
    return spec


def build(spec: dict[str, Any]) -> TrialScheduler:
    """Tune's scheduler object of a checked spec."""
    from ray.tune.schedulers import create_scheduler

    arguments = {key: search_space.to_tune(value) for key, value in spec.items() if key != "type"}
    return create_scheduler(ALIASES.get(spec["type"], spec["type"]), **arguments)


def _parameters(name: str) -> list[str]:
    from ray.tune.schedulers import SCHEDULER_IMPORT

    kind = SCHEDULER_IMPORT[ALIASES.get(name, name)]
    if inspect.isfunction(kind):  # imported only when it is asked for
        kind = kind()
    return list(inspect.signature(kind).parameters)


def _check_mutations(
    document: Document,
    path: KeyPath,
    mutations: Any,
    config: dict[str, Any],
    default: AlgorithmConfig,
) -> None:
    search_space.check(document, path, mutations)
    if not isinstance(mutations, dict):
        return  # the scheduler says so itself
    check_config(document, path, _mutated(config, mutations), default)


def _mutated(config: Any, mutations: Any) -> Any:
    """``config`` with the search spaces of ``mutations`` in it; a list of theirs is a choice."""
    if isinstance(mutations, list):
        return {"choice": mutations}
    if not isinstance(mutations, dict) or search_space.space_of(mutations) is not None:
        return mutations
    base = config if isinstance(config, dict) and search_space.space_of(config) is None else {}
    return {**base, **{key: _mutated(base.get(key), mutations[key]) for key in mutations}}
