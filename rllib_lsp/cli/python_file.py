"""An experiment in Python: a file that defines ``config``, and ``stop`` if it is to end."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli.algorithm import plugins
from rllib_lsp.cli.document import Document
from rllib_lsp.cli.messages import InputError, first_paragraph
from rllib_lsp.cli.options import Options

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

EXAMPLE = "config = PPOConfig().environment('CartPole-v1')"


def load(path: Path, options: Options) -> Document:
    """The file's experiment, under the file's name, as a YAML file would describe it.

    Raises:
        InputError: no such file, an exception in it (with its line), or no usable ``config``.
    """
    from rllib_lsp.cli.execute import quieten

    quieten(options.verbose)  # before the file imports RLlib
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    names = _run(path)
    if "config" not in names:
        raise InputError(f"{path.name}: defines no `config`. Write e.g. `{EXAMPLE}`.")
    config = names["config"]
    if not isinstance(config, AlgorithmConfig):
        raise InputError(
            f"{path.name}: `config` is of type {type(config).__name__}, but has to be an "
            f"AlgorithmConfig, e.g. `{EXAMPLE}`."
        )
    if config.algo_class is None:
        raise InputError(
            f"{path.name}: `config` is a {type(config).__name__} of no algorithm. Take the "
            f"algorithm's own, e.g. `{EXAMPLE}`."
        )
    changed = _changed(config)
    spec = {
        "run": _registered_name(config.algo_class),
        "env": changed.pop("env", None),
        "stop": names.get("stop"),
        "config": changed,
    }
    return Document(path.name, {path.stem: {k: v for k, v in spec.items() if v is not None}})


def _run(path: Path) -> dict[str, Any]:
    """The names that the file defines. Its directory is importable, as with ``python FILE.py``."""
    if not path.is_file():
        raise InputError(f"{path}: cannot be read (no such file). Check the path.")
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        return runpy.run_path(str(path))
    except SyntaxError as error:
        raise InputError(f"{path.name}:{error.lineno}: not valid Python: {error.msg}.") from None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path.name}:{lines[-1]}" if lines else path.name
        raise InputError(
            f"{where}: {type(error).__name__}: {first_paragraph(error)} Correct the file: it has "
            "to run through, as with `python`."
        ) from error


def _changed(config: AlgorithmConfig) -> dict[str, Any]:
    """What differs from the algorithm's defaults."""
    default = type(config)(algo_class=config.algo_class).to_dict()
    return {key: value for key, value in config.to_dict().items() if value != default.get(key)}


def _registered_name(algorithm: type[Algorithm]) -> str:
    """A name by which Tune finds the class, which may stand in the file itself."""
    from ray.tune.registry import register_trainable

    own = f"{algorithm.__module__}:{algorithm.__qualname__}"
    name = next((n for n, point in plugins().items() if point.value == own), algorithm.__name__)
    register_trainable(name, algorithm)
    return name
