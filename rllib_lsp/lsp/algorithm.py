"""`ReplayAlgorithm`: sampling, replay and learning, in an exact ratio; and `LSP`, which is one."""

from __future__ import annotations

import time
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.tune import register_trainable

from rllib_lsp.lsp.checkpointing import ReplayCheckpoint
from rllib_lsp.lsp.config import LSPConfig
from rllib_lsp.lsp.env_runner import Fragment
from rllib_lsp.lsp.replay_config import ReplayConfig
from rllib_lsp.lsp.transfer import IS_DONE, begin_with
from rllib_lsp.replay import Rows, SequenceReplay

REPLAY = "replay"
PROGRESS = "lsp_progress"
TRANSFER_TABLE = "transfer_table"
"""In the first result of an algorithm that began with a transfer."""
MAX_ROUNDS_PER_STEP = 16
AHEAD_UPDATES = 4
"""Updates that remote sampling may run ahead of learning."""
POLL_S = 0.02


class ReplayAlgorithm(Algorithm):
    """Learns from a replay of rows: acts, stores, and updates as often as its ratio says."""

    config: ReplayConfig

    def setup(self, config: ReplayConfig) -> None:
        super().setup(config)
        self.replay = SequenceReplay(self.config.replay_capacity, self.config.seed)
        self._replay_checkpoint = ReplayCheckpoint(self.replay)
        self._next_fragment: dict[int, int] = {}
        self.progress = {"decisions": 0, "frames": 0, "updates": 0, "credit": 0.0}
        """Counted over the whole run; `credit` is how many decisions may still be replayed."""

    def training_step(self) -> None:
        """Sample while learning keeps up, learn while sampling has earned it."""
        if self.config.num_env_runners == 0:
            self._sample_here()
        else:
            self._sample_remotely()
        rounds = 0
        while rounds < MAX_ROUNDS_PER_STEP and self._may_update():
            self._update()
            rounds += 1
        if rounds:
            self.env_runner_group.sync_weights(
                from_worker_or_learner_group=self.learner_group, inference_only=True
            )
        self._log_progress()

    @property
    def _update_cost(self) -> int:
        """Decisions that one update replays."""
        return self.config.batch_size

    @property
    def _updates_per_round(self) -> int:
        """Updates in one call of the learner."""
        return 1

    @property
    def _round_cost(self) -> int:
        return self._updates_per_round * self._update_cost

    def _may_update(self) -> bool:
        # The replay's own size: a run restored without its replay has to fill it again.
        enough = min(self.config.learning_starts, self.config.replay_capacity)
        return (
            self.progress["credit"] >= self._round_cost
            and len(self.replay) >= enough
            and self._can_sample()
        )

    def _can_sample(self) -> bool:
        """Whether the replay holds any window that an update asks for."""
        raise NotImplementedError

    def _sample_columns(self) -> Rows:
        """What one call of the learner learns from; each column's first axis is the batch."""
        raise NotImplementedError

    def _sample_here(self) -> None:
        if not self._may_update():
            self._store(*self.env_runner.sample_fragment(**self._request()))

    def _sample_remotely(self) -> None:
        """Keep runners busy, take what is ready, and wait only if there is nothing to learn."""
        group = self.env_runner_group
        if self.progress["credit"] < AHEAD_UPDATES * self._round_cost or not self._may_update():
            for _ in range(self.config.max_requests_in_flight_per_env_runner):
                group.foreach_env_runner_async(
                    "sample_fragment", tag="sample", kwargs=self._request()
                )
        wait = 0.0 if self._may_update() else POLL_S
        for _, (fragment, metrics) in group.fetch_ready_async_reqs(
            tags="sample", timeout_seconds=wait
        ):
            self._store(fragment, metrics)

    def _request(self) -> dict[str, Any]:
        return {
            "steps": int(self.config.rollout_fragment_length),
            "random": self._beginning if self._is_beginning else None,
        }

    @property
    def _is_beginning(self) -> bool:
        return self.progress["decisions"] < self.config.learning_starts

    @property
    def _beginning(self) -> str:
        """What is random before learning begins."""
        return "actions"

    def _store(self, fragment: Fragment, metrics: dict[str, Any]) -> None:
        was_beginning = self._is_beginning
        worker = fragment.worker_index
        continues = self._next_fragment.get(worker) == fragment.number
        self._next_fragment[worker] = fragment.number + 1
        rows = {key: value for key, value in fragment.rows.items() if key != "truncated"}
        for env in range(rows["reward"].shape[0]):
            one = {key: value[env] for key, value in rows.items()}
            self.replay.add((worker, env), one, continues=continues)
        self.progress["decisions"] += fragment.decisions
        self.progress["frames"] += fragment.frames
        self.progress["credit"] += fragment.decisions * self.config.training_ratio
        if was_beginning and not self._is_beginning and self.config.pretrain_updates:
            # In place of what the random decisions have earned.
            self.progress["credit"] = float(self.config.pretrain_updates * self._update_cost)
        self.metrics.aggregate([metrics], key=ENV_RUNNER_RESULTS)

    def _update(self) -> None:
        batch = MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(self._sample_columns())}, env_steps=self._round_cost
        )
        timesteps = {NUM_ENV_STEPS_SAMPLED_LIFETIME: self.progress["decisions"]}
        results = self.learner_group.update(batch=batch, timesteps=timesteps)
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self.progress["updates"] += self._updates_per_round
        self.progress["credit"] -= self._round_cost

    def _log_progress(self) -> None:
        progress, cost = self.progress, self._update_cost
        ratio = progress["updates"] * cost / max(1, progress["decisions"])
        values = {
            "training_ratio": ratio,
            "updates_lifetime": progress["updates"],
            "rows": len(self.replay),
            "megabytes": self.replay.nbytes / 1e6,
        }
        self.metrics.log_dict(values, key=REPLAY, window=1)

    def step(self) -> dict[str, Any]:
        """One iteration; adds how fast it sampled and learned, evaluation included."""
        before, start = dict(self.progress), time.perf_counter()
        results = super().step()
        seconds = time.perf_counter() - start
        names = {"updates": "updates", "decisions": "env_steps", "frames": "frames"}
        results["throughput"] = {
            f"{name}_per_s": (self.progress[key] - before[key]) / seconds
            for key, name in names.items()
        }
        return results

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        components = super().get_checkpointable_components()
        if self.config.store_replay_in_checkpoints:
            components.append((REPLAY, self._replay_checkpoint))
        return components

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        state[PROGRESS] = dict(self.progress)
        if self._check_component(REPLAY, components, not_components):
            state[REPLAY] = self._replay_checkpoint.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if PROGRESS in state:
            self.progress = dict(state[PROGRESS])


class LSP(ReplayAlgorithm):
    """Latent Skill Planning (Xie et al., ICLR 2021)."""

    config: LSPConfig

    @classmethod
    def get_default_config(cls) -> LSPConfig:
        return LSPConfig(algo_class=cls)

    def setup(self, config: LSPConfig) -> None:
        super().setup(config)
        self._transfer_table = ""
        options = self.config.transfer_options
        if options and not options.get(IS_DONE):
            self._transfer_table = begin_with(self, options)
            print(self._transfer_table)

    @property
    def _update_cost(self) -> int:
        return self.config.batch_size * self.config.batch_length

    def _can_sample(self) -> bool:
        return self.replay.can_sample(self.config.batch_length)

    def _sample_columns(self) -> Rows:
        return self.replay.sample(self.config.batch_size, self.config.batch_length)

    @property
    def _beginning(self) -> str:
        """After a transfer, skills: what a policy brings along is not random."""
        return "skills" if self.config.transfer_options else "actions"

    def step(self) -> dict[str, Any]:
        """One iteration; the first one after a transfer says what was taken over."""
        results = super().step()
        if self._transfer_table:
            # For who does not see what is printed here, as the driver of a trial.
            results[TRANSFER_TABLE], self._transfer_table = self._transfer_table, ""
        return results

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """A checkpoint holds what was taken over: it needs the source no more."""
        (config, *rest), kwargs = super().get_ctor_args_and_kwargs()
        options = config.get("transfer_options")
        if options:
            config = {**config, "transfer_options": {**options, IS_DONE: True}}
        return (config, *rest), kwargs


# `Tuner("LSP", ...)` and `run: LSP` look the name up here.
register_trainable("LSP", LSP)
