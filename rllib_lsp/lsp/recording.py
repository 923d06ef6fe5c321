"""Episodes on disk in RLlib's own form: Parquet files, in each row one packed episode.

RLlib's algorithms read them with `offline_data(input_=[path], input_read_episodes=True)`; `LSP`
with `offline_data(input_=[path])`, see `lsp.offline`.
"""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgpack
import msgpack_numpy
import pyarrow
import pyarrow.parquet
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

if TYPE_CHECKING:
    from rllib_lsp.lsp.config import LSPConfig

COLUMN = "item"
"""Where RLlib looks for packed episodes."""
EPISODES_PER_FILE = 20
"""Unless `output_max_rows_per_file` says otherwise."""


class Recorder:
    """Writes the whole episodes of one runner, some in a file."""

    def __init__(self, config: LSPConfig, worker_index: int) -> None:
        part = "evaluation" if config.in_evaluation else "training"
        self._directory = pathlib.Path(str(config.output)) / part
        self._name = f"run-{worker_index:06d}"
        self._per_file = config.output_max_rows_per_file or EPISODES_PER_FILE
        self._packed: list[bytes] = []

    def add(self, episodes: Sequence[SingleAgentEpisode]) -> None:
        """Take in those that are whole; of one that was cut, no reader could make anything."""
        self._packed += [pack(e) for e in episodes if e.is_done and e.t_started == 0]
        while len(self._packed) >= self._per_file:
            self._write()

    def flush(self) -> None:
        """Write the rest."""
        if self._packed:
            self._write()

    def _write(self) -> None:
        now, self._packed = self._packed[: self._per_file], self._packed[self._per_file :]
        self._directory.mkdir(parents=True, exist_ok=True)
        # A restored run must not write over the files of the first.
        path = self._directory / f"{self._name}-{uuid.uuid4().hex}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({COLUMN: now}), path)


def pack(episode: SingleAgentEpisode) -> bytes:
    """As RLlib packs it; what an info holds besides numbers, texts and arrays becomes text."""
    encode = partial(msgpack_numpy.encode, chain=str)
    return msgpack.packb(episode.get_state(), default=encode)


def unpack(files: Sequence[pathlib.Path]) -> Iterator[SingleAgentEpisode]:
    """The episodes of some files. Raises ValueError for a file without any."""
    for file in files:
        table = pyarrow.parquet.ParquetFile(file)
        if COLUMN not in table.schema_arrow.names:
            raise ValueError(
                f"{file} holds no episodes, but the columns {', '.join(table.schema_arrow.names)}: "
                f"record with output_write_episodes=True and batch_mode='complete_episodes'."
            )
        for batch in table.iter_batches(columns=[COLUMN], batch_size=16):
            for item in batch.column(0).to_pylist():
                state = msgpack.unpackb(item, object_hook=msgpack_numpy.decode)
                yield SingleAgentEpisode.from_state(state)
