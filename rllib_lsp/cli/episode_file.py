"""Episodes in a file, step by step: JSON to read, NumPy arrays to compute with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_lsp.cli.messages import InputError

if TYPE_CHECKING:
    from rllib_lsp.cli.playing import Played

SUFFIXES = (".json", ".npz")


def check_name(path: Path) -> None:
    """Raises InputError for another suffix, or a directory that is not there."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out {path}: wants a name in {' or '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise InputError(f"--out {path}: there is no directory {path.parent}. Make it first.")


def write(path: Path, played: list[Played]) -> None:
    """``.json``: a list of episodes. ``.npz``: one array of each name, episodes end to end.

    In the latter ``length`` tells them apart: episode i has ``length[i]`` actions and rewards and
    ``length[i] + 1`` observations. Entries of a dict observation are named ``obs/KEY``, of a
    tuple ``obs/0`` and so on; actions likewise.
    """
    records = [_record(episode) for episode in played]
    if path.suffix == ".json":
        path.write_text(json.dumps(records, default=_plain) + "\n", encoding="utf-8")
        return
    flats = [_flat(record) for record in records]
    # What an episode's last info does not say is NaN.
    keys = dict.fromkeys(key for flat in flats for key in flat)
    columns = {key: [flat.get(key, np.nan) for flat in flats] for key in keys}
    arrays: dict[str, Any] = {
        key: np.concatenate(values) if np.ndim(values[0]) else np.array(values)
        for key, values in columns.items()
    }
    np.savez_compressed(path, **arrays)


def _record(episode: Played) -> dict[str, Any]:
    return {
        "seed": episode.seed,
        "return": episode.returned,
        "length": episode.length,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "info": episode.info,
        "obs": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards,
    }


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, tuple):
            value = {str(place): entry for place, entry in enumerate(value)}
        inner = _flat(value) if isinstance(value, dict) else {"": value}
        flat |= {f"{key}/{name}".rstrip("/"): leaf for name, leaf in inner.items()}
    return flat


def _plain(array: Any) -> Any:
    """Arrays and NumPy's numbers as JSON takes them."""
    return array.tolist()
