"""Which numbers of which trials belong together: seeds of one setting are one run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_lsp.plots.curves import Points, points, read_results
from rllib_lsp.plots.results import EVALUATION_RETURN, RETURN, experience, number_keys

FILE_KEYS = {EVALUATION_RETURN: "evaluation_returns", RETURN: "training_returns"}
"""What stands for these results in a file of `benchmarks/results`."""


class RunError(ValueError):
    """A path that no curve can be drawn of; the message says why."""


class MetricError(RunError):
    """A metric that no result has. Its arguments: the message, and all keys there are."""


@dataclass(frozen=True)
class Run:
    """One curve a seed."""

    label: str
    metric: str
    unit: str
    seeds: list[Points]


@dataclass(frozen=True)
class Trial:
    """What one seed has written, and the options it was trained with, without its seed."""

    name: str
    results: list[dict[str, Any]]
    setting: Mapping[str, Any] = field(default_factory=dict)


def read_runs(paths: Iterable[tuple[str | None, Path]], metric: str = "return") -> list[Run]:
    """Of experiments, trials and results files, each with a name to go by or None.

    What is given the same name is one run; else an experiment's trials are one where their
    options are the same. `metric`: `return`, a result's key, or the end of one; of several keys
    with the same end one of evaluation. Raises RunError.
    """
    groups: dict[str, list[Trial]] = {}
    for name, path in paths:
        for trial in _read(path):
            # Within a name that was given, options make no difference.
            setting = "" if name else json.dumps(trial.setting, sort_keys=True)
            groups.setdefault(f"{name or trial.name}\n{setting}", []).append(trial)
    labels = _labels({key: trials[0].setting for key, trials in groups.items()})
    return [_run(labels[key], trials, metric) for key, trials in groups.items()]


def _run(label: str, trials: list[Trial], metric: str) -> Run:
    key = _resolve([result for trial in trials for result in trial.results], label, metric)
    seeds = [found for trial in trials if (found := points(trial.results, key))]
    return Run(label, key, experience(trials[0].results[0])[0], seeds)


def _resolve(results: list[dict[str, Any]], label: str, metric: str) -> str:
    """The key that `metric` means; of several, one of evaluation."""
    keys = number_keys(results)
    if metric in keys:
        return metric
    ending = "/episode_return_mean" if metric == "return" else f"/{metric}"
    wanted = [key for key in keys if key.endswith(ending)]
    if not wanted:
        raise MetricError(f"{label}: its results hold no number `{metric}`", keys)
    return min(wanted, key=lambda key: not key.startswith("evaluation/"))


def _read(path: Path) -> list[Trial]:
    if path.suffix == ".json":
        return _read_file(path)
    directories = [path, *sorted(path.glob("*/"))]
    trials = [d for d in directories if (d / "result.json").is_file()]
    found = []
    for trial in trials:
        results, setting = read_results(trial), _setting(trial)
        if results:
            _count_frames(results, setting)
            found.append(Trial(trial.absolute().parent.name, results, setting))
    if not found:
        raise RunError(f"{path}: holds no results: neither is it a trial nor are there any below")
    return found


def _read_file(path: Path) -> list[Trial]:
    """A file of `benchmarks/results`, in the form of results."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs, name = content["runs"], content["experiment"]
        trials = [Trial(name, results) for run in runs if (results := _as_results(run))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: holds no learning curves ({type(error).__name__}: {error})"
        ) from None
    if not trials:
        raise RunError(f"{path}: holds no learning curves: none of its runs has a point")
    return trials


def _as_results(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = []
    for key, column in FILE_KEYS.items():
        *groups, last = key.split("/")
        for frames, value in run[column]:
            result: dict[str, Any] = {last: value}
            for group in reversed(groups):
                result = {group: result}
            result.setdefault("env_runners", {})["num_frames_sampled_lifetime"] = frames
            results.append(result)
    return results


def _count_frames(results: list[dict[str, Any]], setting: Mapping[str, Any]) -> None:
    """Add the frames of an algorithm that counts decisions, where each repeats its action."""
    repeat = setting.get("env_config", {}).get("action_repeat")
    for result in results:
        unit, steps = experience(result)
        if repeat and unit == "steps":
            runners = result.get("env_runners", {})
            frames = {"num_frames_sampled_lifetime": repeat * steps}
            result["env_runners"] = {**runners, **frames}


def _setting(trial: Path) -> dict[str, Any]:
    file = trial / "params.json"
    options = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {key: value for key, value in options.items() if key != "seed"}


def _labels(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Of each group its name, and where another group has the same one, how it differs."""
    flat = {group: _flatten(setting) for group, setting in settings.items()}
    labels = {}
    for group, options in flat.items():
        name = group.partition("\n")[0]
        rivals = [o for g, o in flat.items() if g != group and g.startswith(f"{name}\n")]
        own = [k for k, v in options.items() if any(rival.get(k) != v for rival in rivals)]
        labels[group] = ", ".join([name, *(f"{k}={options[k]}" for k in own)])
    return labels


def _flatten(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, Mapping)
        flat |= _flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
