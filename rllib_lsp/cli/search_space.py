"""Search spaces written in a config: ``{grid_search: [...]}``, ``{choice: [...]}``, ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rllib_lsp.cli.document import Document, KeyPath
from rllib_lsp.cli.messages import InputError

LISTS = ("grid_search", "choice")
RANGES = ("uniform", "loguniform", "randint", "lograndint")


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
    if kind in RANGES and not _is_range(value[kind]):
        raise InputError(
            f"{where}: `{kind}: {value[kind]}` wants two numbers, low and high, e.g. [0.1, 0.9]."
        )
    if isinstance(value, dict):
        for key, inner in value.items():
            check(document, (*path, key), inner)


def alternatives(value: Any) -> list[Any]:
    """The values a search space can take (of a range: its ends); a plain value is its own."""
    kind = space_of(value)
    return [value] if kind is None else list(value[kind])


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
    if isinstance(value, dict):
        return {key: to_tune(inner) for key, inner in value.items()}
    return value


def _is_range(ends: Any) -> bool:
    numbers = isinstance(ends, list) and all(type(end) in (int, float) for end in ends)
    return numbers and len(ends) == 2 and ends[0] < ends[1]


def _longest(value: Any) -> int:
    if space_of(value) is not None:
        return len(alternatives(value))
    return max((_longest(v) for v in value.values()), default=1) if isinstance(value, dict) else 1


def _pick(value: Any, index: int) -> Any:
    if space_of(value) is not None:
        choices = alternatives(value)
        return choices[index % len(choices)]
    if isinstance(value, dict):
        return {key: _pick(inner, index) for key, inner in value.items()}
    return value
