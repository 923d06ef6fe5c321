"""Options of the command that Ray shipped until 2.40, and what to do without them."""

from __future__ import annotations

from collections.abc import Sequence

from rllib_lsp.cli.messages import InputError

REFUSED = {
    "--local-mode": "Ray has no local mode any more. To debug in one process write "
    "`--set num_env_runners=0`, or build the algorithm in Python: `config.build_algo()`.",
    "--framework": "RLlib's algorithms are written in torch now; leave it out.",
    "--resources-per-trial": "RLlib derives them from the config: `--set num_env_runners=2`, "
    "`--set num_gpus_per_learner=1`.",
    "--ray-num-nodes": "To use several machines, start Ray there and give `--ray-address`.",
    "--ray-ui": "Start the dashboard with `ray start --head` and give `--ray-address auto`.",
    "--trace": "There is no eager TensorFlow to trace; leave it out.",
    "--upload-dir": "Give the remote place itself: `--storage-path s3://bucket/path`.",
    "--steps": "Evaluation counts whole episodes: `--episodes 10`.",
    "--use-shelve": "Write `--out episodes.npz`, which holds every step.",
    "--track-progress": "Every episode has its line on the screen.",
    "--save-info": "`--out` writes every number of an episode's last info.",
    "-vv": "Write `-v`, which shows all of Ray's and Tune's output.",
}


def refuse(arguments: Sequence[str]) -> None:
    """Raises ``InputError`` for the first option that is no more, with what to do instead."""
    for argument in arguments:
        name = argument.partition("=")[0].replace("--no-", "--")
        if name in REFUSED:
            raise InputError(f"{argument}: this option is no more. {REFUSED[name]}")
