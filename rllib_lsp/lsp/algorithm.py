"""`LSP`: sampling, replay and learning, in an exact ratio."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.tune import register_trainable

from rllib_lsp.lsp import rollout_state
from rllib_lsp.lsp.checkpointing import ReplayCheckpoint, size_of, whole_or_nothing
from rllib_lsp.lsp.config import LSPConfig
from rllib_lsp.lsp.env_runner import Fragment
from rllib_lsp.lsp.hooks import has_connectors
from rllib_lsp.lsp.offline import IN_REPLAY
from rllib_lsp.lsp.remote_sampling import RemoteSampling
from rllib_lsp.lsp.transfer import IS_DONE, begin_with
from rllib_lsp.replay import SequenceReplay

REPLAY = "replay"
PROGRESS = "lsp_progress"
ROLLOUT = "lsp_rollout"
NEXT_FRAGMENT = "lsp_next_fragment"
TRANSFER_TABLE = "transfer_table"
"""In the first result of an algorithm that began with a transfer."""
MAX_UPDATES_PER_STEP = 16
AHEAD_UPDATES = 4
"""Updates that remote sampling may run ahead of learning."""
POLL_S = 0.02


class LSP(Algorithm):
    """Latent Skill Planning (Xie et al., ICLR 2021)."""

    config: LSPConfig

    @classmethod
    def get_default_config(cls) -> LSPConfig:
        return LSPConfig(algo_class=cls)

    def setup(self, config: LSPConfig) -> None:
        # Before RLlib's own, which ends with the callback on_algorithm_init.
        self.replay = SequenceReplay(self.config.replay_capacity, self.config.seed)
        self._replay_checkpoint = ReplayCheckpoint(self.replay)
        self._next_fragment: dict[int, int] = {}
        self.progress = {"decisions": 0, "frames": 0, "updates": 0, "credit": 0.0}
        """Counted over the whole run; `credit` is how many decisions may still be replayed."""
        super().setup(config)
        self._remote = RemoteSampling(self.env_runner_group, self.config)
        self._transfer_table = ""
        options = self.config.transfer_options
        if options and not options.get(IS_DONE):
            self._transfer_table = begin_with(self, options)
            print(self._transfer_table)
        if self.offline_data:
            self.offline_data.fill(self)

    def training_step(self) -> None:
        """Sample while learning keeps up, learn while sampling has earned it."""
        if self.learns_offline:
            self._learn_offline()
        else:
            self._sample_and_learn()
        self._log_progress()

    @property
    def learns_offline(self) -> bool:
        """Whether it learns from recorded episodes now, and does not act."""
        return self.config.offline_only or self.progress["updates"] < self.config.offline_updates

    def _learn_offline(self) -> None:
        """As many updates as an iteration has; without a number, an epoch of what is recorded."""
        updates = self.config.dataset_num_iters_per_learner
        updates = updates or -(-len(self.replay) // self._update_cost)
        if not self.config.offline_only:
            updates = min(updates, self.config.offline_updates - self.progress["updates"])
        # Nobody has to earn these by sampling.
        self.progress["credit"] += updates * self._update_cost
        for _ in range(updates):
            self._update()
        self._sync_weights()

    def _run_one_training_iteration(self) -> Any:
        """RLlib's; but where nothing is sampled, no sample ends an iteration."""
        config = self.config
        if self.learns_offline:
            self.config = config.copy(copy_frozen=False)
            self.config.min_sample_timesteps_per_iteration = 0
        try:
            return super()._run_one_training_iteration()
        finally:
            self.config = config

    def _sample_and_learn(self) -> None:
        if self.config.num_env_runners == 0:
            self._sample_here()
        else:
            self._sample_remotely()
        updates = 0
        while updates < MAX_UPDATES_PER_STEP and self._may_update():
            self._update()
            updates += 1
        if updates:
            self._sync_weights()

    def _sync_weights(self) -> None:
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, inference_only=True
        )

    @property
    def _update_cost(self) -> int:
        return self.config.batch_size * self.config.batch_length

    def _may_update(self) -> bool:
        # The replay's own size: a run restored without its replay has to fill it again.
        enough = min(self.config.learning_starts, self.config.replay_capacity)
        return (
            self.progress["credit"] >= self._update_cost
            and len(self.replay) >= enough
            and self.replay.can_sample(self.config.batch_length)
        )

    def _sample_here(self) -> None:
        if not self._may_update():
            self._store(*self.env_runner.sample_fragment(**self._request()))

    def _sample_remotely(self) -> None:
        """Keep runners busy, take what is ready, and wait only if there is nothing to learn."""
        if self.progress["credit"] < AHEAD_UPDATES * self._update_cost or not self._may_update():
            self._remote.ask(self._request())
        for fragment, metrics in self._remote.answers(0.0 if self._may_update() else POLL_S):
            self._store(fragment, metrics)

    def _request(self) -> dict[str, Any]:
        return {
            "steps": int(self.config.rollout_fragment_length),
            "random": self._beginning if self._is_beginning else None,
        }

    @property
    def _is_beginning(self) -> bool:
        # Who has learned from recorded episodes has begun.
        wanted = 0 if self.config.offline_updates else self.config.learning_starts
        return self.progress["decisions"] < wanted

    @property
    def _beginning(self) -> str:
        """What is random before learning begins: what a policy brings along is not."""
        return "skills" if self.config.transfer_options else "actions"

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
        config = self.config
        columns = self.replay.sample(config.batch_size, config.batch_length)
        shares = max(1, config.num_learners)
        batches = [
            MultiAgentBatch(
                {DEFAULT_MODULE_ID: SampleBatch(dict(zip(columns, share, strict=True)))},
                env_steps=self._update_cost // shares,
            )
            for share in zip(*(np.split(c, shares) for c in columns.values()), strict=True)
        ]
        # Shared out here: RLlib's own way would count the windows of a share as its decisions.
        data = {"batches": batches} if shares > 1 else {"batch": batches[0]}
        timesteps = {NUM_ENV_STEPS_SAMPLED_LIFETIME: self.progress["decisions"]}
        results = self.learner_group.update(**data, timesteps=timesteps)
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self.progress["updates"] += 1
        self.progress["credit"] -= self._update_cost

    def _log_progress(self) -> None:
        progress, cost = self.progress, self._update_cost
        online = max(0, progress["updates"] - self.config.offline_updates)
        # Where no decision was sampled, none was replayed for it.
        ratio = online * cost / progress["decisions"] if progress["decisions"] else 0.0
        values = {
            "training_ratio": ratio,
            "updates_lifetime": progress["updates"],
            "rows": len(self.replay),
            "megabytes": self.replay.nbytes / 1e6,
        }
        self.metrics.log_dict(values, key=REPLAY, window=1)

    def _before_evaluate(self) -> None:
        """RLlib hands the state of connectors to remote evaluation runners only."""
        super()._before_evaluate()
        if self.eval_env_runner and has_connectors(self.config):
            state = self.env_runner.get_state(not_components=COMPONENT_RL_MODULE)
            self.eval_env_runner.set_state(state)

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
        if self._transfer_table:
            # For who does not see what is printed here, as the driver of a trial.
            results[TRANSFER_TABLE], self._transfer_table = self._transfer_table, ""
        return results

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """A checkpoint holds what was taken over or read: it needs the sources no more."""
        (config, *rest), kwargs = super().get_ctor_args_and_kwargs()
        options = config.get("transfer_options")
        if options:
            config = {**config, "transfer_options": {**options, IS_DONE: True}}
        if self.offline_data and self.config.store_replay_in_checkpoints:
            config = {**config, "input_": IN_REPLAY}
        return (config, *rest), kwargs

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
        if self.config.num_env_runners == 0:
            # Remote runners sample while a checkpoint is written: theirs would be out of date.
            state[ROLLOUT] = rollout_state.capture(self.env_runner)
            state[NEXT_FRAGMENT] = dict(self._next_fragment)
        if self._check_component(REPLAY, components, not_components):
            state[REPLAY] = self._replay_checkpoint.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if PROGRESS in state:
            self.progress = dict(state[PROGRESS])
        if ROLLOUT in state and self.config.num_env_runners == 0:
            rollout_state.resume(self.env_runner, state[ROLLOUT])
            self._next_fragment = dict(state[NEXT_FRAGMENT])

    def save_to_path(self, path: Any = None, *, filesystem: Any = None, **kwargs: Any) -> str:
        """RLlib's, but a stop in the midst of it leaves no part of a checkpoint at `path`.

        The next results tell its size and how long it took.
        """
        start = time.perf_counter()
        with whole_or_nothing(path, filesystem) as target:
            saved = super().save_to_path(target, filesystem=filesystem, **kwargs)
            size = size_of(saved, filesystem)
        cost = {"megabytes": size / 1e6, "seconds": time.perf_counter() - start}
        self.metrics.log_dict(cost, key="checkpoint", window=1)
        return saved if path is None else str(path)


# `Tuner("LSP", ...)` and `run: LSP` look the name up here.
register_trainable("LSP", LSP)
