"""YAML with line numbers: a document remembers where each of its values was written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rllib_lsp.cli.messages import InputError, first_paragraph

KeyPath = tuple[Any, ...]


@dataclass
class Document:
    """Nested plain values, and for each path in them a place such as ``walker.yaml:12``."""

    name: str
    data: Any
    places: dict[KeyPath, str] = field(default_factory=dict)

    def where(self, *path: Any) -> str:
        """Where the value at ``path`` (or its nearest enclosing value) was written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.name)

    def set(self, path: KeyPath, value: Any, place: str) -> None:
        """Sets a nested value, creating the dicts on the way.

        Raises:
            InputError: the path leads through a value that is not a dict.
        """
        node = self.data
        for depth, key in enumerate(path[:-1]):
            if node.get(key) is None:
                node[key] = {}
                self.places[path[: depth + 1]] = place
            node = node[key]
            if not isinstance(node, dict):
                inner = ".".join(map(str, path[: depth + 1]))
                raise InputError(f"{place}: `{inner}` is {node!r}, which has no keys of its own.")
        node[path[-1]] = value
        self.places = {p: w for p, w in self.places.items() if p[: len(path)] != path}
        self.places[path] = place


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML has it, except that ``1e-4`` is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def load(path: Path) -> Document:
    """Reads a YAML file.

    Raises:
        InputError: no such file, not YAML, or a key that stands twice in one mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Check the path.") from None
    return parse(text, path.name)


def parse(text: str, name: str) -> Document:
    """Parses YAML (or JSON, which is a subset) and notes the line of every value."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        place = f"character {error.position + 1}"
        raise InputError(f"{name}: {place} cannot stand in YAML: {error.reason}.") from None
    try:
        node = loader.get_single_node()
        places: dict[KeyPath, str] = {}
        if node is not None:
            _note_lines(node, (), name, places)
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(
            f"{name}:{line}: not valid YAML: {error.problem}. Check indentation and quotes here."
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        # A date that is none, a key that is a list, an anchor within itself.
        raise InputError(f"{name}: not valid YAML: {first_paragraph(error)}.") from None
    finally:
        loader.dispose()
    return Document(name, data, places)


def parse_value(text: str, name: str) -> Any:
    """One value as it would be read in a YAML file, e.g. of ``--set lr=1e-4``."""
    return parse(text, name).data


def _note_lines(node: yaml.Node, path: KeyPath, name: str, places: dict[KeyPath, str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            line = key.start_mark.line + 1
            if inner in places and key.value != "<<":
                raise InputError(
                    f"{name}:{line}: `{key.value}` stands twice here (first at {places[inner]}); "
                    "only the last would count. Remove one."
                )
            places[inner] = f"{name}:{line}"
            _note_lines(value, inner, name, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = (*path, index)
            places[inner] = f"{name}:{value.start_mark.line + 1}"
            _note_lines(value, inner, name, places)
