"""Writes docs/configuration.md: every option with its defaults, from the code that has it.

    python docs/generate_configuration.py

`make reference` does the same. A test compares the page with the code.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_lsp import HIROConfig, LSPConfig, make_env
from rllib_lsp.core.hiro.settings import PARTS as HIRO_PARTS
from rllib_lsp.core.hiro.settings import HIROSettings
from rllib_lsp.core.presets import SIZES, build_settings
from rllib_lsp.core.settings import PARTS, Settings
from rllib_lsp.lsp.replay_config import ReplayConfig
from rllib_lsp.lsp.validation import IGNORED

PAGE = Path(__file__).with_name("configuration.md")

INTRO = """\
# Configuration reference

Every option of `LSP` and of `HIRO`. In YAML they stand below `config:`, in Python they are
arguments of `LSPConfig().training(...)` unless a section says otherwise; on the command line they
are written `--set planner.candidates=64`. Groups (`world_model`, `skills`, `behaviour`, `planner`,
`low`, `high`, `goals`, `learning_rates`) merge into their defaults; a misspelt key, a wrong type or
a value out of range is refused before anything starts. `rllib train file X.yaml --dry-run` prints
what an experiment of this package resolves to.

This page is written by `make reference` from the settings and their docstrings. What the options
are for is told in [The algorithm](algorithm.md), [HIRO and TD3](hiro.md), [Transfer](transfer.md)
and [Tasks](tasks.md). *Default* is the preset `modern`; an empty cell says the same as the default.
"""

OF_RLLIB = {
    "lr": "Learning rate of each parameter group that `learning_rates` does not name.",
    "gamma": "Discount per decision, unless a part has a `gamma` of its own.",
    "grad_clip": "Norm to which the gradient of each parameter group is clipped.",
}
"""Options of RLlib's own `training` that stand among ours."""

PRESET = (
    "`modern` or `paper`: sets options to what the columns of this page say, and yours win. In "
    "Python `LSPConfig().preset(name)`."
)

Row = tuple[str, ...]


def as_yaml(value: Any) -> str:
    """As it would be written in a file: `[5, 10]`, `true`, `0.0004`; of one entry just that."""
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else list(value)
    # A lone scalar is followed by the end of a document.
    written = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return f"`{written.removesuffix('...' + chr(10)).strip()}`"


def row(name: str, text: str, default: Any, *others: Any) -> Row:
    """An option, its default, other defaults where they are others, and what it means."""
    cells = ("" if value == default else as_yaml(value) for value in others)
    return (f"`{name}`", as_yaml(default), *cells, text)


def table(head: Iterable[str], rows: Iterable[Row]) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    head = tuple(head)
    cells = [[cell.replace("|", r"\|") for cell in line] for line in (head, *rows)]
    cells.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def docstrings(owner: type) -> dict[str, str]:
    """The docstring below each field of a dataclass."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            found[ast.unparse(field.target)] = " ".join(ast.literal_eval(below.value).split())
    return found


def arguments(function: Callable[..., Any]) -> dict[str, str]:
    """What a docstring says below `Args:`, by the argument's name."""
    section = str(inspect.getdoc(function)).split("Args:\n")[1].split("\n\n")[0]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", section):
        names, _, text = entry.strip().partition(": ")
        text = " ".join(text.split())
        found |= dict.fromkeys(names.split(", "), text[0].upper() + text[1:])
    return {name: text for name, text in found.items() if name not in ("kwargs", "options")}


def replay_options() -> str:
    """What all have that learn from a replay."""
    texts = arguments(ReplayConfig.training) | OF_RLLIB
    configs = (LSPConfig(), LSPConfig().preset("paper"), HIROConfig())
    rows = [row(name, text, *(getattr(c, name) for c in configs)) for name, text in texts.items()]
    return table(("option", "default", "`preset: paper`", "`HIRO`", "meaning"), rows)


def lsp_options() -> str:
    """Those of LSP alone."""
    configs = (LSPConfig(), LSPConfig().preset("paper"))
    rows = [row("preset", PRESET, "modern", "modern")]
    for name, text in arguments(LSPConfig.training).items():
        if name not in PARTS:
            rows.append(row(name, text, *(getattr(config, name) for config in configs)))
    return table(("option", "default", "`preset: paper`", "meaning"), rows)


def part_options(part: str) -> str:
    """One group of LSP's options."""
    groups = [getattr(build_settings({}, preset=preset), part) for preset in ("modern", "paper")]
    rows = [
        row(f"{part}.{name}", text, *(getattr(group, name) for group in groups))
        for name, text in docstrings(type(groups[0])).items()
    ]
    return table(("option", "default", "`preset: paper`", "meaning"), rows)


def sizes() -> str:
    """What the named sizes set, in the order of the settings."""
    named = {(part, n) for size in SIZES.values() for part, group in size.items() for n in group}
    settings = [build_settings({}, size=size) for size in SIZES]
    rows = []
    for part in PARTS:
        groups = [getattr(one, part) for one in settings]
        for field in dataclasses.fields(groups[0]):
            if (part, field.name) in named:
                values = (as_yaml(getattr(group, field.name)) for group in groups)
                rows.append((f"`{part}.{field.name}`", *values))
    return table(("option", *(f"`{size}`" for size in SIZES)), rows)


def transfer_options() -> str:
    """The arguments of `transfer`."""
    rows = [(f"`transfer.{name}`", text) for name, text in arguments(LSPConfig.transfer).items()]
    return table(("option", "meaning"), rows)


def own_options(config: Any, method: Callable[..., Any], groups: Iterable[str] = ()) -> str:
    """The plain options of a method of a config."""
    rows = [
        row(name, text, getattr(config, name))
        for name, text in arguments(method).items()
        if name not in groups
    ]
    return table(("option", "default", "meaning"), rows)


def hiro_groups() -> str:
    """Both levels, which have the same options, and what is between them."""
    low, high, goals = (getattr(HIROSettings(), name) for name in ("low", "high", "goals"))
    rows = [
        row(f"low.{name}`, `high.{name}", text, getattr(low, name), getattr(high, name))
        for name, text in docstrings(type(low)).items()
    ]
    for name, text in docstrings(type(goals)).items():
        rows.append(row(f"goals.{name}", text, getattr(goals, name), getattr(goals, name)))
    return table(("option", "default", "of `high`", "meaning"), rows)


def env_options() -> str:
    """The arguments of `make_env`."""
    texts, parameters = arguments(make_env), inspect.signature(make_env).parameters
    rows = [row(name, texts[name], parameters[name].default) for name in texts if name != "env_id"]
    return table(("option", "default", "meaning"), rows)


def other_defaults() -> str:
    """RLlib's options whose defaults are not RLlib's, besides those of `replay_options`."""
    told = {*arguments(ReplayConfig.training), *OF_RLLIB, "algo_class"}
    here = vars(LSPConfig())
    rows = [
        (f"`{name}`", as_yaml(value), as_yaml(here[name]))
        for name, value in vars(AlgorithmConfig()).items()
        if here[name] != value and name not in told and not name.startswith("_")
    ]
    return table(("option", "RLlib", "here"), rows)


def page() -> str:
    """The whole page."""
    sections = {
        "Replay and learning": ["Of `LSP`, its baselines and `HIRO`.", replay_options()],
        "LSP": ["Besides those, and the groups that follow.", lsp_options()],
    }
    for part in PARTS:
        about = str(inspect.getdoc(type(getattr(Settings(), part))))
        sections[f"LSP: `{part}`"] = [about, part_options(part)]
    sections |= {
        "LSP: sizes": ["`medium` leaves the sizes of a preset as they are.", sizes()],
        "LSP: transfer": ["Arguments of `LSPConfig.transfer`.", transfer_options()],
        "LSP: recorded episodes": [
            "Arguments of `LSPConfig.offline_data`, besides RLlib's own, of which those that count "
            "are on [a page of their own](pipelines.md#recording-episodes).",
            own_options(LSPConfig(), LSPConfig.offline_data),
        ],
        "HIRO": [own_options(HIROConfig(), HIROConfig.training, HIRO_PARTS), hiro_groups()],
        "Environments": [
            "Keys of `env_config` for dm_control's tasks and ours, besides "
            "[the tasks' own](tasks.md#navigation); arguments of `make_env`.",
            env_options(),
        ],
        "RLlib's options": [
            "RLlib's own options can be set, too; "
            + ", ".join(f"`{name}`" for name in IGNORED)
            + " would do nothing here and are refused. These have other defaults here:",
            other_defaults(),
        ],
    }
    parts = [part for title, body in sections.items() for part in (f"## {title}", *body)]
    return "\n\n".join([INTRO.strip(), *parts]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
