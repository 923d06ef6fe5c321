"""One checked experiment, from a YAML file or from options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_lsp.cli import search_space
from rllib_lsp.cli.algorithm import find_algorithm
from rllib_lsp.cli.algorithm_config import check_config, translate_old_names
from rllib_lsp.cli.checkpoint import find_checkpoint
from rllib_lsp.cli.document import Document
from rllib_lsp.cli.environment import check_env
from rllib_lsp.cli.messages import InputError, did_you_mean
from rllib_lsp.cli.options import absolute_storage, on_disk
from rllib_lsp.cli.scheduler import check_scheduler
from rllib_lsp.cli.search_space import is_plain
from rllib_lsp.cli.stop import check_stop, reported_key

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

KEYS = (
    "run",
    "env",
    "stop",
    "config",
    "num_samples",
    "checkpoint_config",
    "scheduler",
    "storage_path",
    "local_dir",
    "max_failures",
    "time_budget_s",
    "restore",
)
TUNE_DEFAULT_STORAGE = "~/ray_results"
CHECKPOINT_KEYS = (
    "checkpoint_frequency",
    "checkpoint_at_end",
    "num_to_keep",
    "checkpoint_score_attribute",
    "checkpoint_score_order",
)
# Keys of other schemas, and what to write instead.
ELSEWHERE = {
    "checkpoint_freq": "Write `checkpoint_config: {checkpoint_frequency: N}`.",
    "checkpoint_at_end": "Write `checkpoint_config: {checkpoint_at_end: true}`.",
    "keep_checkpoints_num": "Write `checkpoint_config: {num_to_keep: N}`.",
    "resources_per_trial": "RLlib derives a trial's resources from its config: set "
    "`num_env_runners`, `num_cpus_per_env_runner`, `num_gpus_per_learner` there.",
    "name": "The name is the key above: `my-experiment: {run: ..., env: ...}`.",
}


@dataclass(frozen=True)
class Experiment:
    """Everything ``tune.run`` needs, checked. ``config`` may contain search spaces."""

    name: str
    run: str
    algorithm: type[Algorithm]
    config: dict[str, Any]
    stop: dict[str, float]
    num_samples: int
    scheduler: dict[str, Any] | None
    checkpoint_config: dict[str, Any]
    storage_path: str
    max_failures: int
    time_budget_s: float | None
    restore: str | None

    @property
    def path(self) -> str:
        """The experiment's directory."""
        return f"{self.storage_path}/{self.name}"

    @property
    def trials_are_alike(self) -> bool:
        """Whether several trials would begin with the same seed, and differ in nothing."""
        return (
            self.num_samples > 1
            and self.config.get("seed") is not None
            and is_plain(self.config)
            and (self.scheduler or {}).get("type") != "pbt"
        )


def check_experiments(document: Document) -> list[Experiment]:
    """All experiments of a document.

    Raises:
        InputError: the first thing found wrong, with its place and its fix.
    """
    if not isinstance(document.data, dict) or not document.data:
        raise InputError(
            f"{document.name}: holds no experiment. Write `my-experiment: "
            "{run: PPO, env: CartPole-v1, stop: {training_iteration: 10}}`."
        )
    return [_check_experiment(document, name, spec) for name, spec in document.data.items()]


def _check_experiment(document: Document, name: Any, spec: Any) -> Experiment:
    where = document.where(name)
    if not isinstance(spec, dict):
        known = f" `{name}` belongs below an experiment's name." if name in KEYS else ""
        raise InputError(
            f"{where}: experiment `{name}` is {spec!r}, but wants keys such as `run` and `env`."
            f"{known} Write `my-experiment:` in the first line and indent the rest below it."
        )
    _check_keys(document, name, spec)
    if "run" not in spec:
        raise InputError(f"{where}: experiment `{name}` has no `run`. Add e.g. `run: PPO`.")
    algorithm = find_algorithm(spec["run"], document.where(name, "run"))
    config = _check_config(document, name, spec, algorithm)
    default = algorithm.get_default_config()
    return Experiment(
        name=str(name),
        run=spec["run"],
        algorithm=algorithm,
        config=config,
        stop=check_stop(document, (name, "stop"), spec.get("stop") or {}),
        num_samples=_number(document, name, spec, "num_samples", int, least=1) or 1,
        scheduler=check_scheduler(
            document, (name, "scheduler"), spec.get("scheduler"), config, default
        ),
        checkpoint_config=_check_checkpoint_config(document, name, spec),
        storage_path=_storage(document, name, spec),
        max_failures=_number(document, name, spec, "max_failures", int, least=-1) or 0,
        time_budget_s=_number(document, name, spec, "time_budget_s", float, least=0),
        restore=_restore(document, name, spec),
    )


def _check_keys(document: Document, name: Any, spec: dict[str, Any]) -> None:
    for key in spec:
        if key not in KEYS:
            fix = ELSEWHERE.get(key) or did_you_mean(str(key), KEYS).strip()
            fix = fix or "An option of the algorithm belongs below `config:`."
            raise InputError(
                f"{document.where(name, key)}: an experiment has no key `{key}`. {fix} "
                f"Keys: {', '.join(KEYS)}."
            )


def _check_config(
    document: Document, name: Any, spec: dict[str, Any], algorithm: type[Algorithm]
) -> dict[str, Any]:
    path = (name, "config")
    config = _mapping(document, name, spec, "config")
    if "env" in spec:
        if "env" in config:
            raise InputError(
                f"{document.where(*path, 'env')}: `env` is given here and at "
                f"{document.where(name, 'env')}. Keep one."
            )
        document.places[(*path, "env")] = document.where(name, "env")
        config = {"env": spec["env"], **config}
    if config.get("env") is None:
        raise InputError(
            f"{document.where(name)}: experiment `{name}` has no `env`. "
            "Add e.g. `env: CartPole-v1`, or give `--env`."
        )
    search_space.check(document, path, config)
    for env in search_space.alternatives(config["env"]):
        check_env(env, document.where(*path, "env"))
    default = algorithm.get_default_config()
    config = translate_old_names(document, path, config, default)
    check_config(document, path, config, default)
    return config


def _check_checkpoint_config(document: Document, name: Any, spec: dict[str, Any]) -> dict[str, Any]:
    given = _mapping(document, name, spec, "checkpoint_config")
    for key in given:
        if key not in CHECKPOINT_KEYS:
            raise InputError(
                f"{document.where(name, 'checkpoint_config', key)}: `checkpoint_config` has no key "
                f"`{key}`.{did_you_mean(str(key), CHECKPOINT_KEYS)} "
                f"Keys: {', '.join(CHECKPOINT_KEYS)}."
            )
    from ray.tune import CheckpointConfig

    checked = {"checkpoint_at_end": True, **given}
    score = checked.get("checkpoint_score_attribute")
    if score is not None:
        where = document.where(name, "checkpoint_config", "checkpoint_score_attribute")
        checked["checkpoint_score_attribute"] = reported_key(where, str(score))
    try:
        CheckpointConfig(**checked)
    except (ValueError, TypeError) as error:
        where = document.where(name, "checkpoint_config")
        raise InputError(f"{where}: `checkpoint_config: {given}`: {error}") from None
    return checked


def _storage(document: Document, name: Any, spec: dict[str, Any]) -> str:
    key = "local_dir" if "local_dir" in spec else "storage_path"
    given = spec.get("storage_path") or spec.get(key) or TUNE_DEFAULT_STORAGE
    if not isinstance(given, str):
        where = document.where(name, key)
        raise InputError(f"{where}: `{key}` is {given!r}, but wants a directory.")
    return absolute_storage(given)


def _restore(document: Document, name: Any, spec: dict[str, Any]) -> str | None:
    given = spec.get("restore")
    if given is None:
        return None
    try:
        return str(find_checkpoint(on_disk(Path(str(given)))))
    except InputError as error:
        raise InputError(f"{document.where(name, 'restore')}: `restore`: {error}") from None


def _mapping(document: Document, name: Any, spec: dict[str, Any], key: str) -> dict[str, Any]:
    value = spec.get(key)
    if value is not None and not isinstance(value, dict):
        raise InputError(
            f"{document.where(name, key)}: `{key}` is {value!r}, but wants indented `key: value` "
            "lines below it."
        )
    return dict(value or {})


def _number(
    document: Document, name: Any, spec: dict[str, Any], key: str, kind: type, *, least: int
) -> Any:
    value = spec.get(key)
    wanted = "a whole number" if kind is int else "a number"
    if value is not None and (type(value) not in (int, kind) or value < least):
        raise InputError(
            f"{document.where(name, key)}: `{key}` is {value!r}, but wants {wanted} of at least "
            f"{least}."
        )
    return value
