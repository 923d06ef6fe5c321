"""Stop criteria: keys of RLlib's results and the number at which to stop.

Tune itself only logs a warning for a key that is never reported, and then never stops.
"""

from __future__ import annotations

from typing import Any

from rllib_lsp.cli.document import Document, KeyPath
from rllib_lsp.cli.messages import InputError, did_you_mean, warn

# Names of the old API stack, which never appear in a result of the new one.
OLD_NAMES = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "num_env_steps_sampled": "num_env_steps_sampled_lifetime",
    "agent_timesteps_total": "num_env_steps_sampled_lifetime",
    "episodes_total": "env_runners/num_episodes_lifetime",
    "episode_reward_mean": "env_runners/episode_return_mean",
    "episode_reward_max": "env_runners/episode_return_max",
    "episode_reward_min": "env_runners/episode_return_min",
    "episode_len_mean": "env_runners/episode_len_mean",
    "env_runners/episode_reward_mean": "env_runners/episode_return_mean",
    "sampler_results/episode_reward_mean": "env_runners/episode_return_mean",
    "evaluation/episode_reward_mean": "evaluation/env_runners/episode_return_mean",
}
TOP_LEVEL = (
    "training_iteration",
    "time_total_s",
    "num_env_steps_sampled_lifetime",
    "num_training_step_calls_per_iteration",
    "iterations_since_restore",
    "time_since_restore",
    "time_this_iter_s",
    "timestamp",
)
_RUNNER_KEYS = (
    "episode_return_mean",
    "episode_return_max",
    "episode_return_min",
    "episode_len_mean",
    "episode_len_max",
    "episode_len_min",
    "num_episodes",
    "num_episodes_lifetime",
    "num_env_steps_sampled",
    "num_env_steps_sampled_lifetime",
    "num_frames_sampled_lifetime",
)
WELL_KNOWN = tuple(
    f"{group}/{key}" for group in ("env_runners", "evaluation/env_runners") for key in _RUNNER_KEYS
)
# Below these an algorithm or a user's callback reports what it likes.
OPEN_GROUPS = (
    "env_runners", "evaluation", "learners", "timers", "throughput", "replay", "perf", "checkpoint",
    "open_loop",
)  # fmt: skip


def check_stop(document: Document, path: KeyPath, stop: Any) -> dict[str, float]:
    """The flat stop criteria written at ``path``, old names translated with a warning.

    Raises:
        InputError: not a mapping, a key that no result has, or a value that is no number.
    """
    where = document.where(*path)
    if not isinstance(stop, dict):
        raise InputError(
            f"{where}: `stop` is {stop!r}, but wants keys with numbers, "
            "e.g. `stop: {training_iteration: 100}`."
        )
    return dict(
        _criterion(document.where(*path, *key), "/".join(map(str, key)), value)
        for key, value in _flat(stop, ())
    )


def _flat(stop: dict[Any, Any], prefix: KeyPath) -> list[tuple[KeyPath, Any]]:
    leaves: list[tuple[KeyPath, Any]] = []
    for key, value in stop.items():
        path = (*prefix, key)
        leaves += _flat(value, path) if isinstance(value, dict) else [(path, value)]
    return leaves


def reported_key(where: str, key: str) -> str:
    """Today's name of a key of a result, an old one translated with a warning.

    Raises:
        InputError: no result has the key.
    """
    if key in OLD_NAMES:
        warn(f"{where}: result key `{key}` is now `{OLD_NAMES[key]}`.")
        key = OLD_NAMES[key]
    if not _is_reported(key):
        raise InputError(
            f"{where}: no result has the key `{key}`."
            f"{did_you_mean(key, (*TOP_LEVEL, *WELL_KNOWN)) or _leaf_hint(key)} "
            f"Common keys: {', '.join(TOP_LEVEL[:3])}, {WELL_KNOWN[0]}."
        )
    return key


def _criterion(where: str, key: str, value: Any) -> tuple[str, float]:
    if type(value) not in (int, float):
        raise InputError(
            f"{where}: stop key `{key}` is {value!r}, but wants a number, e.g. `{key}: 100`."
        )
    try:
        return reported_key(where, key), value
    except InputError as error:
        raise InputError(f"{error} With it in `stop` the run would never stop.") from None


def _is_reported(key: str) -> bool:
    """False for a key outside RLlib's groups, and for one that is a near miss of a known key."""
    if key in TOP_LEVEL or key in WELL_KNOWN:
        return True
    group, _, rest = key.partition("/")
    return bool(rest) and group in OPEN_GROUPS and not did_you_mean(key, WELL_KNOWN, cutoff=0.92)


def _leaf_hint(key: str) -> str:
    """A hint for a key that lacks its group, such as ``episode_return_mean``."""
    near = [known for known in WELL_KNOWN if known.endswith("/" + key.split("/")[-1])]
    return f" Did you mean `{near[0]}`?" if near else ""
