"""Search spaces written in a config: ``{grid_search: [...]}``, ``{choice: [...]}``, ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rllib_lsp.cli.document import Document, KeyPath
from rllib_lsp.cli.messages import InputError

LISTS = ("grid_search", "choice")
RANGES = ("uniform", "loguniform", "randint", "lograndint")
WHOLE = ("randint", "lograndint")


def space_of(value: Any) -> str | None:
    """The kind of search space that ``value`` is, or None for a plain value."""
    if isinstance(value, dict) and len(value) == 1:
        kind = next(iter(value))
        return kind if kind in LISTS + RANGES else None
    return None


def check(document: Document, path: KeyPath, value: Any) -> None:
    """Raises ``InputError`` for a search space that is not a list of the right length."""
    kind = space_of(value)
    where = document.where(*path)
    if kind in LISTS and not (isinstance(value[kind], list) and value[kind]):
        raise InputError(f"{where}: `{kind}: {value[kind]}` wants a list of values, e.g. [1, 2].")
    if kind in RANGES and not _is_range(kind, value[kind]):
        numbers, example = (
            ("whole numbers", "[1, 9]") if kind in WHOLE else ("numbers", "[0.1, 0.9]")
        )
        above = " above 0" if kind.startswith("log") else ""
        raise InputError(
            f"{where}: `{kind}: {value[kind]}` wants two {numbers}{above}, low and high, "
            f"e.g. {example}."
        )
    for key, inner in _children(value):
        check(document, (*path, key), inner)


def alternatives(value: Any) -> list[Any]:
    """The values a search space can take (of a range: its ends); a plain value is its own."""
    if _is_tunes(value):
        return [value.sample()]
    kind = space_of(value)
    if kind in WHOLE:  # the upper end is not drawn
        low, high = value[kind]
        return [low, high - 1]
    return [value] if kind is None else list(value[kind])


def is_plain(value: Any) -> bool:
    """Whether there is no search space in it, at any depth."""
    is_space = space_of(value) is not None or _is_tunes(value)
    return not is_space and all(is_plain(inner) for _, inner in _children(value))


def samples(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Literal configs that together use every alternative of every search space once."""
    for index in range(_longest(config)):
        yield {key: _pick(value, index) for key, value in config.items()}


def to_tune(value: Any) -> Any:
    """The same nested config with Tune's own objects in place of the search spaces."""
    from ray import tune

    kind = space_of(value)
    if kind in LISTS:
        return getattr(tune, kind)(value[kind])
    if kind is not None:
        return getattr(tune, kind)(*value[kind])
    return _mapped(to_tune, value)


def _is_tunes(value: Any) -> bool:
    """Whether this is an object of Tune's own, such as ``tune.uniform(0, 1)`` in Python."""
    from ray.tune.search.sample import Domain

    return isinstance(value, Domain)


def _children(value: Any) -> list[tuple[Any, Any]]:
    """The (key, value) pairs of a dict or list; none of anything else."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """The same dict or list with each of its values changed; anything else as it is."""
    if isinstance(value, dict):
        return {key: change(inner) for key, inner in value.items()}
    return [change(inner) for inner in value] if isinstance(value, list) else value


def _is_range(kind: str, ends: Any) -> bool:
    allowed = (int,) if kind in WHOLE else (int, float)
    numbers = isinstance(ends, list) and all(type(end) in allowed for end in ends)
    in_order = numbers and len(ends) == 2 and ends[0] < ends[1]
    return in_order and (ends[0] > 0 or not kind.startswith("log"))


def _longest(value: Any) -> int:
    if space_of(value) is not None:
        return len(alternatives(value))
    return max((_longest(inner) for _, inner in _children(value)), default=1)


def _pick(value: Any, index: int) -> Any:
    if space_of(value) is not None or _is_tunes(value):
        choices = alternatives(value)
        return choices[index % len(choices)]
    return _mapped(lambda inner: _pick(inner, index), value)
