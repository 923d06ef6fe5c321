"""Seeds of the environments of one experiment."""

from __future__ import annotations

ENVS_PER_WORKER = 10_000
APART = 1_327_217_885
"""2^31 over the golden ratio: modulo 2^31, multiples of it lie as far apart as they can."""


def env_seed(seed: int, worker_index: int, env_index: int) -> int:
    """The reset seed of environment ``env_index`` of env runner ``worker_index``.

    RLlib adds the two indices to the seed, so that environment 1 of runner 1 and
    environment 0 of runner 2 play the same episodes. Here each runner owns a block of
    10,000 seeds, more than any runner has environments; no two are alike. Experiments with
    seeds 0, 1, 2, ... lie millions apart, so that they share no episodes either.

    Raises:
        ValueError: an index that is negative, or an ``env_index`` outside the block.
    """
    if worker_index < 0 or not 0 <= env_index < ENVS_PER_WORKER:
        raise ValueError(
            f"worker_index {worker_index} must be >= 0 and env_index {env_index} must lie in "
            f"[0, {ENVS_PER_WORKER})"
        )
    return (seed * APART + ENVS_PER_WORKER * worker_index + env_index) % 2**31
