"""`ReplayAlgorithm`: sampling, replay and learning, in an exact ratio."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.fs
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import (
    COMPONENT_ENV_TO_MODULE_CONNECTOR,
    COMPONENT_MODULE_TO_ENV_CONNECTOR,
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
)
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from rllib_lsp.lsp import rollout_state
from rllib_lsp.lsp.checkpointing import REPLAY, ReplayCheckpoint, size_of, whole_or_nothing
from rllib_lsp.lsp.env_runner import Fragment, LSPEnvRunner
from rllib_lsp.lsp.hooks import has_connectors
from rllib_lsp.lsp.learner import check_learners
from rllib_lsp.lsp.remote_sampling import RemoteSampling
from rllib_lsp.lsp.replay_config import ReplayConfig
from rllib_lsp.lsp.threads import warn_if_oversubscribed
from rllib_lsp.replay import Rows, SequenceReplay

PROGRESS = "lsp_progress"
ROLLOUT = "lsp_rollout"
EVALUATION = "lsp_evaluation"
NEXT_FRAGMENT = "lsp_next_fragment"
MAX_ROUNDS_PER_STEP = 16
AHEAD_UPDATES = 4
"""Updates that remote sampling may run ahead of learning."""
POLL_S = 0.02


class ReplayAlgorithm(Algorithm):
    """Learns from a replay of rows: acts, stores, and updates as often as its ratio says."""

    config: ReplayConfig
    eval_env_runner_group: EnvRunnerGroup | None

    def setup(self, config: ReplayConfig) -> None:
        # Before RLlib's own, which ends with the callback on_algorithm_init.
        self.replay = SequenceReplay(self.config.replay_capacity, self.config.seed)
        self._replay_checkpoint = ReplayCheckpoint(self.replay)
        self._next_fragment: dict[int, int] = {}
        self.progress = {"decisions": 0, "frames": 0, "updates": 0, "credit": 0.0}
        """Counted over the whole run; `credit` is how many decisions may still be replayed."""
        warn_if_oversubscribed(self.config)
        super().setup(config)
        self._remote = RemoteSampling(self.env_runner_group, self.config)

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
            self._sync_weights()
        self._log_progress()

    def _sync_weights(self) -> None:
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, inference_only=True
        )

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
        if self.progress["credit"] < AHEAD_UPDATES * self._round_cost or not self._may_update():
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
        behind = self.progress["updates"] - fragment.weights * self._updates_per_round
        self.metrics.log_value((REPLAY, "updates_behind"), behind, window=100)
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
        """One round of updates, by however many learners there are."""
        columns, shares = self._sample_columns(), max(1, self.config.num_learners)
        batches = [
            MultiAgentBatch(
                {DEFAULT_MODULE_ID: SampleBatch(dict(zip(columns, share, strict=True)))},
                env_steps=self._round_cost // shares,
            )
            for share in zip(*(np.split(c, shares) for c in columns.values()), strict=True)
        ]
        # Shared out here: RLlib's own way would count the windows of a share as its decisions.
        data = {"batches": batches} if shares > 1 else {"batch": batches[0]}
        timesteps = {NUM_ENV_STEPS_SAMPLED_LIFETIME: self.progress["decisions"]}
        results = self.learner_group.update(**data, timesteps=timesteps)
        check_learners(self.learner_group, "in an update")
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self.progress["updates"] += self._updates_per_round
        self.progress["credit"] -= self._round_cost

    @property
    def _unearned_updates(self) -> int:
        """Updates on what was not sampled, which the training ratio does not count."""
        return 0

    def _log_progress(self) -> None:
        progress = self.progress
        online = max(0, progress["updates"] - self._unearned_updates)
        # Where no decision was sampled, none was replayed for it.
        ratio = online * self._update_cost / progress["decisions"] if progress["decisions"] else 0.0
        values = {
            "training_ratio": ratio,
            "updates_lifetime": progress["updates"],
            "rows": len(self.replay),
            "megabytes": self.replay.nbytes / 1e6,
        }
        self.metrics.log_dict(values, key=REPLAY, window=1)

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """RLlib's, but where no evaluation was configured it is not the runner in training that
        plays, and explores: the first call makes one of its own, with `evaluation_config`."""
        config = self.evaluation_config
        if self.eval_env_runner_group is None and not config.custom_evaluation_function:
            _, env_creator = self._get_env_id_and_creator(config.env, config)
            self.eval_env_runner_group = EnvRunnerGroup(
                env_creator=env_creator,
                config=config,
                logdir=self.logdir,
                tune_trial_id=self.trial_id,
            )
        return super().evaluate(parallel_train_future)

    @property
    def _local_evaluator(self) -> LSPEnvRunner | None:
        """What evaluates in this process, if anything: beside remote runners stands one that has
        no environment."""
        runner = self.eval_env_runner
        return runner if isinstance(runner, LSPEnvRunner) and runner.env is not None else None

    def _before_evaluate(self) -> None:
        """RLlib hands the state of connectors to remote evaluation runners only."""
        super()._before_evaluate()
        if self.eval_env_runner and has_connectors(self.config):
            if self.env_runner:
                state = self.env_runner.get_state(not_components=COMPONENT_RL_MODULE)
            else:
                state = {
                    COMPONENT_ENV_TO_MODULE_CONNECTOR: self.env_to_module_connector.get_state(),
                    COMPONENT_MODULE_TO_ENV_CONNECTOR: self.module_to_env_connector.get_state(),
                }
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
        return results

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """RLlib's; a runner that was started again knows nothing of the episodes it had."""
        restored = super().restore_env_runners(env_runner_group)
        if restored:
            rollout_state.begin_elsewhere(
                env_runner_group, int(self.progress["decisions"]), restored
            )
        if env_runner_group is self.env_runner_group:
            self._remote.forget(restored)
        return restored

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
        if (evaluator := self._local_evaluator) is not None:
            state[EVALUATION] = rollout_state.capture_starts(evaluator)
        if self._check_component(REPLAY, components, not_components):
            state[REPLAY] = self._replay_checkpoint.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if PROGRESS in state:
            self.progress = dict(state[PROGRESS])
        # What runners go on with does not follow the last row of a checkpoint.
        self._next_fragment = {}
        for group in (self.env_runner_group, self.eval_env_runner_group):
            if group is not None:
                rollout_state.begin_elsewhere(group, int(self.progress["decisions"]))
        if EVALUATION in state and (evaluator := self._local_evaluator) is not None:
            rollout_state.resume_starts(evaluator, state[EVALUATION])
        if ROLLOUT in state and self.config.num_env_runners == 0:
            rollout_state.resume(self.env_runner, state[ROLLOUT])
            self._next_fragment = dict(state[NEXT_FRAGMENT])

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """RLlib's, which overlooks a learner that could not read what it had learned."""
        super().restore_from_path(path, *args, **kwargs)
        check_learners(self.learner_group, "while a checkpoint was restored")

    def save_to_path(self, path: Any = None, *, filesystem: Any = None, **kwargs: Any) -> str:
        """RLlib's, but a stop in the midst of it leaves no part of a checkpoint at `path`.

        The next results tell its size and how long it took.
        """
        start, asked = time.perf_counter(), path
        if path is not None and filesystem is None:
            if "://" in str(path):
                filesystem, path = pyarrow.fs.FileSystem.from_uri(str(path))
            else:
                # RLlib takes a relative path for a URI without a scheme.
                asked = path = Path(path).absolute()
        with whole_or_nothing(path, filesystem) as target:
            saved = super().save_to_path(target, filesystem=filesystem, **kwargs)
            # RLlib overlooks a learner that could not write what it has learned.
            check_learners(self.learner_group, "while a checkpoint was written")
            size = size_of(saved, filesystem)
        cost = {"megabytes": size / 1e6, "seconds": time.perf_counter() - start}
        self.metrics.log_dict(cost, key="checkpoint", window=1)
        return saved if path is None else str(asked)
