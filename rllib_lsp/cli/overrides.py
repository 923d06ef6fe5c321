"""Options of the command line, written into a document as if they stood in its file."""

from __future__ import annotations

from typing import Any

from rllib_lsp.cli.document import Document, KeyPath, parse_value
from rllib_lsp.cli.messages import InputError
from rllib_lsp.cli.options import Options

Change = tuple[KeyPath, Any, str]


def apply(options: Options, document: Document) -> None:
    """Writes the options into every experiment of the document."""
    if not isinstance(document.data, dict):
        return
    changes = _changes(options)
    for name, spec in document.data.items():
        if not isinstance(spec, dict):
            continue
        if options.env is not None and isinstance(spec.get("config"), dict):
            spec["config"].pop("env", None)
        for path, value, place in changes:
            document.set((name, *path), value, place)


def rename(document: Document, name: str | None) -> None:
    """Gives the only experiment of a document another name, if one is given.

    Raises:
        InputError: the document holds several.
    """
    if name is None or not isinstance(document.data, dict):
        return
    if len(document.data) != 1:
        raise InputError(
            f"--experiment-name {name}: {document.name} holds {len(document.data)} experiments. "
            "Rename them in the file."
        )
    (old,) = document.data
    document.data[name] = document.data.pop(old)
    document.places = {(name, *path[1:]): place for path, place in document.places.items()}


def set_pairs(texts: list[str]) -> list[Change]:
    """``--set`` options as (path, value, place); ``a.b`` and ``a/b`` are nested keys."""
    return [
        (tuple(str(key).replace("/", ".").split(".")), value, f"--set {key}")
        for text in texts
        for key, value in _pairs(text, "--set")
    ]


def _changes(options: Options) -> list[Change]:
    single: dict[str, tuple[KeyPath, Any]] = {
        "--env": (("env",), options.env),
        "--seed": (("config", "seed"), options.seed),
        "--num-samples": (("num_samples",), options.num_samples),
        "--storage-path": (("storage_path",), options.storage_path),
        "--restore": (("restore",), options.restore),
        "--scheduler": (("scheduler",), _scheduler(options)),
    }
    changes: list[Change] = [
        (path, value, place) for place, (path, value) in single.items() if value is not None
    ]
    changes += [
        (("checkpoint_config", key), value, place)
        for key, value, place in _checkpoint_changes(options)
        if value is not None
    ]
    for text in options.stop:
        # A stop key keeps its slashes: it is the name of a result, not a path.
        changes += [(("stop", key), value, "--stop") for key, value in _pairs(text, "--stop")]
    config = set_pairs(options.overrides)
    return changes + [(("config", *path), value, place) for path, value, place in config]


def _checkpoint_changes(options: Options) -> list[tuple[str, Any, str]]:
    score, order = options.checkpoint_score_attr, None
    if score is not None:
        order = "min" if score.startswith("min-") else "max"
        score = score.removeprefix("min-")
    return [
        ("checkpoint_frequency", options.checkpoint_freq, "--checkpoint-freq"),
        ("checkpoint_at_end", options.checkpoint_at_end, "--checkpoint-at-end"),
        ("num_to_keep", options.keep_checkpoints_num, "--keep-checkpoints-num"),
        ("checkpoint_score_attribute", score, "--checkpoint-score-attr"),
        ("checkpoint_score_order", order, "--checkpoint-score-attr"),
    ]


def _scheduler(options: Options) -> dict[str, Any] | None:
    config = parse_value(options.scheduler_config, "--scheduler-config")
    if not isinstance(config, dict):
        raise InputError(
            f"--scheduler-config {options.scheduler_config}: wants JSON or YAML with keys, e.g. "
            "'{\"max_t\": 100}'."
        )
    if options.scheduler is None and config:
        raise InputError("--scheduler-config: name the scheduler too, e.g. `--scheduler asha`.")
    return None if options.scheduler is None else {"type": options.scheduler, **config}


def _pairs(text: str, place: str) -> list[tuple[Any, Any]]:
    """``KEY=VALUE`` or a JSON object, as pairs.

    Raises:
        InputError: neither.
    """
    if text.lstrip().startswith("{"):
        return list(parse_value(text, place).items())
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"{place} {text}: wants KEY=VALUE, e.g. `{place} {text or 'key'}=1`.")
    return [(key.strip(), parse_value(value, f"{place} {key}"))]
