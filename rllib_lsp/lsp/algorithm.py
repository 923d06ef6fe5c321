"""`LSP`: what its networks learn from, from where it may begin, and how it learns offline."""

from __future__ import annotations

from typing import Any

from ray.tune import register_trainable

from rllib_lsp.lsp.config import LSPConfig
from rllib_lsp.lsp.offline import IN_REPLAY
from rllib_lsp.lsp.replay_algorithm import ReplayAlgorithm
from rllib_lsp.lsp.transfer import IS_DONE, begin_with, fit_plans
from rllib_lsp.replay import Rows

TRANSFER_TABLE = "transfer_table"
"""In the first result of an algorithm that began with a transfer."""


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
        if self.offline_data:
            self.offline_data.fill(self)

    def training_step(self) -> None:
        """Learn from what was recorded, if it is to begin with that; then from what it samples."""
        if self.learns_offline:
            self._learn_offline()
            self._log_progress()
        else:
            super().training_step()

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

    @property
    def _unearned_updates(self) -> int:
        return self.config.offline_updates

    @property
    def _update_cost(self) -> int:
        return self.config.batch_size * self.config.batch_length

    def _can_sample(self) -> bool:
        return self.replay.can_sample(self.config.batch_length)

    def _sample_columns(self) -> Rows:
        return self.replay.sample(self.config.batch_size, self.config.batch_length)

    @property
    def _is_beginning(self) -> bool:
        # Who has learned from recorded episodes has begun.
        return not self.config.offline_updates and super()._is_beginning

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

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """That of every algorithm with a replay; other plans than now may lie in it."""
        super().restore_from_path(path, *args, **kwargs)
        fit_plans(self)

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """A checkpoint holds what was taken over or read: it needs the sources no more."""
        (config, *rest), kwargs = super().get_ctor_args_and_kwargs()
        options = config.get("transfer_options")
        if options:
            config = {**config, "transfer_options": {**options, IS_DONE: True}}
        if self.offline_data and self.config.store_replay_in_checkpoints:
            config = {**config, "input_": IN_REPLAY}
        return (config, *rest), kwargs


# `Tuner("LSP", ...)` and `run: LSP` look the name up here.
register_trainable("LSP", LSP)
