"""Sequence replay: one ring of rows in contiguous arrays, and links to each row's successor.

A *stream* is one environment of one runner. Its fragments may arrive interleaved with those of
other streams; the link from row to row keeps a stream's order, so windows are read with a few
vectorised look-ups and may cross episodes (`is_first` marks where).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

Rows = dict[str, np.ndarray]
"""Equally long arrays, one row a time step."""

FORMAT_VERSION = 2
NO_ROW = -1
SUCCESSOR = "_successor"


class ReplayError(RuntimeError):
    """Data that the replay cannot store, sample or restore."""


class SequenceReplay:
    """Uniform replay of windows of consecutive rows, oldest rows overwritten first."""

    def __init__(self, capacity: int, seed: int | None = None) -> None:
        """`capacity` in rows, over all streams. Memory is touched only as rows arrive."""
        if capacity < 2:
            raise ReplayError(f"replay capacity = {capacity} has to be at least 2 rows.")
        self.capacity = capacity
        self.rows_added = 0
        self._known_length: dict[str | None, int] = {}
        self._arrays: Rows = {}
        self._successor = np.full(capacity + 1, NO_ROW, np.int64)
        """One place more than rows: NO_ROW, which is -1, is followed by NO_ROW."""
        self._last_row: dict[Hashable, int] = {}
        """Counted from the first row ever added, as `rows_added` is."""
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return min(self.rows_added, self.capacity)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are filled."""
        return sum(array[: len(self)].nbytes for array in self._arrays.values())

    @property
    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a row of each column; empty before any rows have come."""
        return {key: array.shape[1:] for key, array in self._arrays.items()}

    def add(self, stream: Hashable, rows: Rows, *, continues: bool = True) -> None:
        """Append consecutive rows of one stream.

        With `continues` False (the stream lost what came between), no window will join these
        rows to the stream's earlier ones.
        """
        count = self._check(rows)
        index = (self.rows_added + np.arange(count)) % self.capacity
        for key, array in self._arrays.items():
            array[index] = rows[key]
        self._successor[index[:-1]] = index[1:]
        self._successor[index[-1]] = NO_ROW
        last = self._last_row.get(stream)
        self.rows_added += count
        # The stream's last row may be overwritten by now, and another stand in its place.
        if continues and last is not None and self.rows_added - last <= self.capacity:
            self._successor[last % self.capacity] = index[0]
        self._last_row[stream] = self.rows_added - 1

    def _check(self, rows: Rows) -> int:
        lengths = {key: len(value) for key, value in rows.items()}
        count = next(iter(lengths.values()), 0)
        if count == 0 or count > self.capacity or set(lengths.values()) != {count}:
            raise ReplayError(
                f"Fragments need equally many rows, from 1 to {self.capacity}; got {lengths}."
            )
        if not self._arrays:
            self._arrays = {
                key: np.zeros((self.capacity, *value.shape[1:]), value.dtype)
                for key, value in rows.items()
            }
        for key, array in self._arrays.items():
            if key not in rows or rows[key].shape[1:] != array.shape[1:]:
                got = rows[key].shape[1:] if key in rows else "nothing"
                raise ReplayError(f"Replay rows of {key!r} are {array.shape[1:]}, got {got}.")
        return count

    def sample(self, batch: int, length: int, begin: str | None = None) -> Rows:
        """Windows drawn uniformly from all that exist: {key: (batch, length, ...)}.

        `begin`: a column of booleans, true in rows where windows may begin; else all may.
        Raises ReplayError when no stream holds `length` consecutive rows.
        """
        windows = self._sample_windows(batch, length, begin)
        # `take` reads rows several times as fast as an index does.
        return {key: array.take(windows, axis=0) for key, array in self._arrays.items()}

    def newest(self, length: int, begin: str) -> Rows | None:
        """The newest window {key: (length, ...)} that begins where column `begin` is true; None
        where there is none. Draws nothing, so that who looks changes no later sample."""
        windows = self._follow(self._beginnings(begin), length)
        if not len(windows):
            return None
        age = (self.rows_added - 1 - windows[:, 0]) % self.capacity
        return {key: array[windows[age.argmin()]] for key, array in self._arrays.items()}

    def _sample_windows(self, batch: int, length: int, begin: str | None) -> np.ndarray:
        """Row numbers (batch, length); starts too close to a stream's end are drawn again."""
        found: list[np.ndarray] = []
        missing = batch
        while missing:
            windows = self._follow(self._draw(2 * missing, begin), length)[:missing]
            if len(windows) == 0 and not len(self._follow(self._beginnings(begin), length)):
                raise ReplayError(
                    f"No stream holds {length} consecutive rows yet ({len(self)} rows in all)."
                )
            found.append(windows)
            missing -= len(windows)
        return np.concatenate(found)

    def _draw(self, count: int, begin: str | None) -> np.ndarray:
        """`count` rows in which a window may begin; none where there is none."""
        if begin is None:
            return self._random.integers(max(1, len(self)), size=count)
        possible = self._beginnings(begin)
        return self._random.choice(possible, count) if len(possible) else possible

    def _beginnings(self, begin: str | None) -> np.ndarray:
        """All rows in which a window may begin, be there enough rows after it or not."""
        if begin is None or not self._arrays:
            return np.arange(len(self))
        return np.flatnonzero(self._arrays[begin][: len(self)])

    def _follow(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Windows from those `starts` that have `length` rows: (n, length)."""
        windows = np.empty((length, len(starts)), np.int64)
        windows[0] = starts
        for step in range(1, length):
            self._successor.take(windows[step - 1], out=windows[step], mode="wrap")
        return windows[:, windows[-1] != NO_ROW].T

    def can_sample(self, length: int, begin: str | None = None) -> bool:
        """Whether any such window exists, see `sample`; asked again, the answer is free."""
        known = self._known_length.get(begin, 0)
        if length > known and len(self._follow(self._beginnings(begin), length)):
            self._known_length[begin] = known = length
        return length <= known

    def resize(self, key: str, entries: int, fill: float) -> None:
        """Give every row of a column (rows, K, ...) so many entries: cut, or filled up."""
        old, count = self._arrays[key], len(self)
        new = np.zeros((self.capacity, entries, *old.shape[2:]), old.dtype)
        new[:count] = fill
        new[:count, : old.shape[1]] = old[:count, :entries]
        self._arrays[key] = new

    def save(self, directory: Path) -> None:
        """Write the rows as they lie, one `.npy` file a key, and what continues them.

        Arrays are streamed to their files: saving takes no memory.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for key, array in {**self._arrays, SUCCESSOR: self._successor}.items():
            np.save(directory / _file_name(key), array[: len(self)], allow_pickle=False)
        state = {
            "version": FORMAT_VERSION,
            "keys": list(self._arrays),
            "capacity": self.capacity,
            "rows_added": self.rows_added,
            "last_row": list(self._last_row.items()),
            "random": self._random.bit_generator.state,
        }
        (directory / "replay.json").write_text(json.dumps(state))

    def load(self, directory: Path, *, draws: bool = True) -> None:
        """Take over saved rows, in the order in which they were; of more than fit, the newest.

        With `draws` windows are drawn as they would have been from the saved replay, without
        as this one's seed says.
        Raises ReplayError for files that are missing or of another version.
        """
        try:
            state = json.loads((directory / "replay.json").read_text())
            saved = {
                key: np.load(directory / _file_name(key), mmap_mode="r")
                for key in (*state["keys"], SUCCESSOR)
            }
        except (OSError, ValueError) as error:
            raise ReplayError(f"Cannot read the replay saved in {directory}: {error}") from error
        if state["version"] != FORMAT_VERSION:
            raise ReplayError(
                f"The replay in {directory} has format {state['version']}, "
                f"this version reads {FORMAT_VERSION}."
            )
        self._restore(saved, np.array(saved.pop(SUCCESSOR)), state)
        if draws:
            self._random.bit_generator.state = state["random"]

    def _restore(self, saved: Rows, successor: np.ndarray, state: Mapping[str, Any]) -> None:
        count = min(len(successor), self.capacity)
        numbers = np.arange(state["rows_added"] - count, state["rows_added"])
        # A row's place is its number. In a replay with room to spare, where the oldest rows are
        # gone, they are numbered anew; in one of the same size every row keeps its place.
        shift = int(numbers[0]) if 0 < count < self.capacity else 0
        kept = numbers % state["capacity"]
        place = np.full(len(successor) + 1, NO_ROW)
        place[kept] = (numbers - shift) % self.capacity
        self._arrays = {
            key: np.zeros((self.capacity, *value.shape[1:]), value.dtype)
            for key, value in saved.items()
        }
        for key, value in saved.items():
            self._arrays[key][place[kept]] = value[kept]
        self._successor[:] = NO_ROW
        # NO_ROW is -1, the last place, where NO_ROW stands.
        self._successor[place[kept]] = place[successor[kept]]
        self._last_row = {
            tuple(key) if isinstance(key, list) else key: row - shift
            for key, row in state["last_row"]
            if row >= shift
        }
        self._known_length.clear()
        self.rows_added = state["rows_added"] - shift


def _file_name(key: str) -> str:
    """Of a column, whose name may be that of an observation such as `walker/joints_pos`."""
    return f"{quote(key, safe='')}.npy"
