"""What replay costs: ours against RLlib's EpisodeReplayBuffer, and the memory of a million rows.

    python benchmarks/bench_replay.py [--repeats 5] [--rows 1000000]

Both hold the same steps of walker-walk's size (24 numbers, 6 actions) and of images of 64 x 64 x 3.
`add` is the time of one step out of a fragment of ten, which was made beforehand, `sample` that of
16 windows of 64 steps, in turns (A B A B …) on one thread. RSS is what the process grew by when the
rows came in. Writes benchmarks/results/bench-replay.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from alternate import machine, medians, synchronised, table
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer

from rllib_lsp.replay import Rows, SequenceReplay

RESULTS = Path(__file__).parent / "results" / "bench-replay.json"
BATCH, LENGTH, FRAGMENT, EPISODE = 16, 64, 10, 500
ADDS, SAMPLES = 50, 20
"""Of each in one turn."""
KINDS: dict[str, tuple[tuple[int, ...], type]] = {
    "vectors": ((24,), np.float32),
    "images": ((64, 64, 3), np.uint8),
}
STORED = {"vectors": 100_000, "images": 10_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    row_bytes: dict[str, int] = {}
    grown = growth(arguments.rows)
    for kind in KINDS:
        ours, theirs = ours_filled(kind), rllib_filled(kind)
        row_bytes[kind] = ours.nbytes // len(ours)
        # An episode can be added once: each turn, and the one to warm up, takes ADDS of these.
        turns = arguments.repeats + 1
        fragments = iter([episode(kind, FRAGMENT) for _ in range(ADDS * turns)])
        cases: dict[str, Callable[[], object]] = {
            "add: ours": partial(add, ours, make_rows(kind, FRAGMENT)),
            "add: RLlib": partial(add_episodes, theirs, fragments),
            "sample: ours": partial(sample, ours),
            "sample: RLlib": partial(sample_episodes, theirs),
        }
        found = medians(cases, arguments.repeats, clock=synchronised)
        count = {"add": ADDS * FRAGMENT, "sample": SAMPLES}
        each = {name: taken / count[name.split(":")[0]] for name, taken in found.items()}
        rows += [{"case": f"{kind}, {name}", "us": round(1e6 * t, 1)} for name, t in each.items()]
        for what in ("add", "sample"):
            ratio = each[f"{what}: RLlib"] / each[f"{what}: ours"]
            ratios[f"{kind}, {what}: RLlib over ours"] = round(ratio, 1)
    print(table(rows), json.dumps(ratios, indent=1), json.dumps(grown, indent=1), sep="\n\n")
    results = {
        "batch": [BATCH, LENGTH],
        "fragment": FRAGMENT,
        "stored_rows": STORED,
        "bytes_per_row": row_bytes,
        "repeats": arguments.repeats,
        "machine": machine("ray", "numpy"),
        "us": {row["case"]: row["us"] for row in rows},
        "ratios": ratios,
        "memory": grown,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def make_rows(kind: str, count: int) -> Rows:
    """Rows as the env runner makes them, with the plan of a skill of three dimensions."""
    shape, dtype = KINDS[kind]
    return {
        "obs": np.random.default_rng(0).integers(0, 255, (count, *shape)).astype(dtype),
        "action": np.zeros((count, 6), np.float32),
        "reward": np.zeros(count, np.float32),
        "is_first": np.zeros(count, bool),
        "terminated": np.zeros(count, bool),
        "plan_mean": np.zeros((count, 2, 3), np.float32),
        "plan_std": np.ones((count, 2, 3), np.float32),
        "planned": np.zeros(count, bool),
    }


def ours_filled(kind: str) -> SequenceReplay:
    replay = SequenceReplay(2 * STORED[kind], seed=0)
    fragment = make_rows(kind, EPISODE)
    for number in range(STORED[kind] // EPISODE):
        replay.add(number % 8, fragment)
    return replay


def add(replay: SequenceReplay, fragment: Rows) -> None:
    for number in range(ADDS):
        replay.add(number % 8, fragment)


def sample(replay: SequenceReplay) -> None:
    for _ in range(SAMPLES):
        replay.sample(BATCH, LENGTH)


def sample_episodes(buffer: EpisodeReplayBuffer) -> None:
    for _ in range(SAMPLES):
        buffer.sample(batch_size_B=BATCH, batch_length_T=LENGTH)


def rllib_filled(kind: str) -> EpisodeReplayBuffer:
    buffer = EpisodeReplayBuffer(2 * STORED[kind], batch_size_B=BATCH, batch_length_T=LENGTH)
    for _ in range(STORED[kind] // EPISODE):
        buffer.add(episode(kind, EPISODE))
    return buffer


def add_episodes(buffer: EpisodeReplayBuffer, fragments: Iterator[SingleAgentEpisode]) -> None:
    for fragment in islice(fragments, ADDS):
        buffer.add(fragment)


def episode(kind: str, steps: int) -> SingleAgentEpisode:
    shape, dtype = KINDS[kind]
    return SingleAgentEpisode(
        observations=list(np.zeros((steps + 1, *shape), dtype)),
        actions=list(np.zeros((steps, 6), np.float32)),
        rewards=[0.0] * steps,
        observation_space=gym.spaces.Box(-np.inf, np.inf, shape, np.float32),
        action_space=gym.spaces.Box(-1.0, 1.0, (6,), np.float32),
        terminated=True,
        len_lookback_buffer=0,
    )


def growth(rows: int) -> dict[str, Any]:
    """What the process grows by while a replay of vectors fills."""
    fragment = make_rows("vectors", 1000)
    before = resident()
    replay = SequenceReplay(rows, seed=0)
    for number in range(rows // 1000):
        replay.add(number % 8, fragment)
    grown = resident() - before
    return {"rows": len(replay), "rss_megabytes": round(grown / 1e6, 1)}


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
