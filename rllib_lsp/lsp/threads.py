"""A budget of CPU threads: torch gets what the env runners leave, and no core is promised twice.

Beside one busy process, two torch threads on two cores are three to twenty times as slow as alone:
each waits at barriers for the other, which does not get its turn.
"""

from __future__ import annotations

import logging
import math
import os
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from rllib_lsp.lsp.replay_config import ReplayConfig

AUTO = "auto"
MOST = 4
"""Threads that are taken unasked: the matrix products of these models are small. A choice, which
was not measured beyond two."""
logger = logging.getLogger(__name__)


def usable_cores() -> int:
    """Cores that this process may use, and Ray may give away."""
    cores = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()]
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        cores.append(int(os.environ["OMP_NUM_THREADS"]))
    if ray.is_initialized():
        cores.append(int(ray.cluster_resources().get("CPU", 1)))
    return max(1, min(count or 1 for count in cores))


def cpus_of_main_process(config: ReplayConfig) -> int:
    """What `num_cpus_for_main_process: auto` stands for: the cores that runners leave.

    In a trial's actor these are the CPUs that were booked for it.
    """
    left = _assigned_cpus() or usable_cores() - math.ceil(cpus_of_runners(config))
    return max(1, min(MOST, left))


def _assigned_cpus() -> int:
    """CPUs that Ray has given to the actor that this is; 0 if it is none."""
    context = ray.get_runtime_context() if ray.is_initialized() else None
    if context is None or context.get_actor_id() is None:
        return 0
    return int(context.get_assigned_resources().get("CPU", 0))


def cpus_of_runners(config: ReplayConfig) -> float:
    """What the remote env runners take."""
    return config.num_env_runners * config.num_cpus_per_env_runner


def learner_threads(config: ReplayConfig) -> int:
    """Torch threads of a learner: as many as the CPUs of the process that it is in."""
    here, own = config.num_cpus_for_main_process, config.num_cpus_per_learner
    if here == AUTO:  # A learner may be built without `validate`.
        here = cpus_of_main_process(config)
    is_actor = config.num_learners > 0 and isinstance(own, int | float)
    return max(1, int(own if is_actor else here))


def warn_if_oversubscribed(config: ReplayConfig) -> None:
    """Log a warning where learners and runners have more threads than there are cores."""
    runners = cpus_of_runners(config)
    learners = max(1, config.num_learners) * learner_threads(config)
    cluster = ray.cluster_resources().get("CPU", 0) if ray.is_initialized() else 0
    cores = max(cluster, usable_cores())
    if learners + runners > cores:
        logger.warning(
            "%d learner threads and %g CPUs of env runners share %g cores; each will wait for the "
            "others. Lower num_cpus_for_main_process or num_env_runners.",
            learners,
            runners,
            cores,
        )
