"""Which class ``run: NAME`` means: RLlib's own algorithms, plugins, dotted class paths."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli.messages import InputError, did_you_mean, first_paragraph

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

GROUP = "rllib.algorithms"


def plugins() -> dict[str, EntryPoint]:
    """Algorithms that installed packages offer, by name; none of them is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def find_algorithm(name: Any, where: str) -> type[Algorithm]:
    """The algorithm class called ``name``, registered with Tune under that name.

    Raises:
        InputError: there is none, it cannot be imported, or it is no RLlib algorithm.
    """
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.registry import ALGORITHMS
    from ray.tune.registry import get_trainable_cls, register_trainable

    if not isinstance(name, str):
        raise InputError(f"{where}: `run` is {name!r}, but wants a name, e.g. `run: PPO`.")
    found = _import_named(name, where)
    is_registered = found is None and (name in ALGORITHMS or _is_registered(name))
    if is_registered:
        found = get_trainable_cls(name)
    elif found is None:
        known = sorted({*ALGORITHMS, *plugins()})
        raise InputError(
            f"{where}: there is no algorithm called `{name}`.{did_you_mean(name, known)} "
            f"Known: {', '.join(known)}. An algorithm of your own is given by its class path "
            f"(`run: my_package.my_module.MyAlgo`) or by an entry point of the group `{GROUP}`."
        )
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise InputError(
            f"{where}: `{name}` is {found!r}, which is not a subclass of RLlib's Algorithm. "
            "Name a class that is one."
        )
    if not is_registered:
        register_trainable(name, found)
    return found


def missing_resources(algorithm: type[Algorithm], config: dict[str, Any]) -> str | None:
    """What a trial needs beyond the whole of Ray's machines, as a sentence.

    Tune would wait for it for ever, without a word.
    """
    import ray

    request = algorithm.default_resource_request(config)
    have = ray.cluster_resources()
    for kind, amount in getattr(request, "required_resources", {}).items():
        if amount > have.get(kind, 0):
            return f"a trial needs {amount:g} {kind}, Ray has {have.get(kind, 0):g}"
    return None


def _import_named(name: str, where: str) -> Any:
    """The object of a plugin's entry point or of a dotted path; None for any other name."""
    try:
        if name in plugins():
            return plugins()[name].load()
        if "." in name:
            module, _, attribute = name.rpartition(".")
            return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise InputError(
            f"{where}: the algorithm `{name}` cannot be imported: {type(error).__name__}: "
            f"{first_paragraph(error)} Install its package, or correct the name."
        ) from error
    return None


def _is_registered(name: str) -> bool:
    """Whether a Python program that called us registered a trainable by this name."""
    from ray.tune.registry import TRAINABLE_CLASS, _global_registry

    return _global_registry.contains(TRAINABLE_CLASS, name)
