"""What RLlib's pipelines (connectors, recording, recorded episodes) ask of a config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rllib_lsp.lsp.hooks import has_connectors
from rllib_lsp.lsp.offline import IN_REPLAY, RecordedEpisodes
from rllib_lsp.lsp.paths import local_path

if TYPE_CHECKING:
    from rllib_lsp.lsp.config import LSPConfig
    from rllib_lsp.lsp.replay_config import ReplayConfig


def prepare_acting(config: ReplayConfig) -> None:
    """Set those of RLlib's options that follow from connectors and recording.

    Raises ValueError for what cannot be done as it is asked for.
    """
    _connectors(config)
    _recording(config)


def _connectors(config: ReplayConfig) -> None:
    if config._learner_connector:
        raise ValueError(
            "learner_connector: replayed rows are learned from, not episodes, so nothing passes "
            "a learner's connectors. Transform observations in env_to_module_connector: what it "
            "makes of them is what the replay stores."
        )
    for name in ("env_to_module", "module_to_env"):
        if not getattr(config, f"add_default_connectors_to_{name}_pipeline"):
            raise ValueError(
                f"add_default_connectors_to_{name}_pipeline = False is not supported: LSP's own "
                f"loop takes the place of RLlib's pieces, and runs those that are yours."
            )
    # Running statistics have to be merged, though it takes a blocking request to every runner.
    config._dont_auto_sync_env_runner_states = not has_connectors(config)


def _recording(config: ReplayConfig) -> None:
    if isinstance(config.output, Path):
        config.output = str(config.output)
    if not config.output:
        return
    if not isinstance(config.output, str) or "://" in config.output or config.output_filesystem:
        raise ValueError(
            f"output = {config.output!r}: LSP records into local or mounted directories only."
        )
    if not config.output_write_episodes:
        raise ValueError(
            "output_write_episodes = False: LSP records whole episodes, which RLlib's algorithms "
            "read with input_read_episodes=True."
        )
    config.output = str(local_path(config.output).absolute())
    # RLlib asks for it; LSP's own fragments stay as short as they are.
    config.batch_mode = "complete_episodes"


def prepare_recorded(config: LSPConfig) -> None:
    """Set those of RLlib's options that follow from recorded episodes. Raises ValueError."""
    if isinstance(config.input_, Path):
        config.input_ = str(config.input_)
    updates = config.dataset_num_iters_per_learner
    if updates is not None and (type(updates) is not int or updates < 1):
        raise ValueError(
            f"dataset_num_iters_per_learner = {updates!r} has to be an integer of at least 1, or "
            f"None for an epoch."
        )
    if not config.is_offline:
        if config.input_ != "sampler":
            raise ValueError(
                f"input_ = {config.input_!r} has to be a path, or a list of paths, of episodes "
                f"which RLlib or LSP recorded."
            )
        if config.offline_updates or config.offline_only:
            raise ValueError(
                "offline_updates and offline_only need recorded episodes: name their directory "
                "in offline_data(input_=...)."
            )
        return
    if config.env is None:
        raise ValueError(
            "offline_data(input_=...) needs the environment of the episodes too: it says what "
            "observations and actions are."
        )
    if config.input_ != IN_REPLAY:
        paths = [config.input_] if isinstance(config.input_, str) else config.input_
        config.input_ = [str(local_path(path).absolute()) for path in paths]
    config.offline_data_class = RecordedEpisodes
    # Looks for the files.
    RecordedEpisodes(config)
