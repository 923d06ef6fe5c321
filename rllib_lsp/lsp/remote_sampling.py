"""Asks remote runners for fragments, takes what is ready, and notices who fails or hangs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

    from rllib_lsp.lsp.env_runner import Fragment
    from rllib_lsp.lsp.replay_config import ReplayConfig

TAG = "sample"
ALONE_S = 300.0
"""Without a runner in service for so long nobody comes back: Ray's restarts take seconds, and a
runner that is slow to build its environments a minute or two."""
GRACE_S = 5.0
"""Who is late is given so long, in which answers from other machines can be fetched: the driver
itself may have been away, evaluating."""
logger = logging.getLogger(__name__)


class RemoteSampling:
    """Requests to a group of runners, several in flight for each.

    RLlib takes a runner that failed out of service and brings it back when it answers again. It
    waits for ever for one that hangs, and asks one that always fails for ever: not here.
    """

    def __init__(self, group: EnvRunnerGroup, config: ReplayConfig) -> None:
        self._group, self._config = group, config
        self._asked: dict[int, list[float]] = {}
        """When each runner was asked for what it has not answered yet, oldest first."""
        self._late: dict[int, float] = {}
        """Since when runners are known to be late."""
        self._failures = 0
        """Requests that failed since the last that did not."""
        self._alone_since: float | None = None
        """Since when there is no runner in service."""

    def ask(self, request: dict[str, Any]) -> None:
        """Ask every runner in service for fragments, up to the limit of requests in flight."""
        for worker in self._group.healthy_worker_ids():
            asked = self._asked.setdefault(worker, [])
            for _ in range(self._config.max_requests_in_flight_per_env_runner - len(asked)):
                if self._group.foreach_env_runner_async(
                    "sample_fragment", tag=TAG, kwargs=request, remote_worker_ids=[worker]
                ):
                    asked.append(time.monotonic())

    def forget(self, workers: Iterable[int]) -> None:
        """Runners that were restarted: what they were asked for before is lost."""
        for worker in workers:
            self._asked.pop(worker, None)

    def answers(self, wait_s: float) -> list[tuple[Fragment, dict[str, Any]]]:
        """Fragments and metrics that are ready, waiting up to `wait_s` for any.

        Raises RuntimeError when more requests in a row failed than the configuration tolerates, or
        no runner is left to ask.
        """
        ready = self._group.fetch_ready_async_reqs(tags=TAG, timeout_seconds=wait_s)
        for worker, _ in ready:
            self._failures = 0
            asked = self._asked.get(worker) or [0.0]
            asked.pop(0)
            # It was busy with this one until now.
            if asked:
                asked[0] = time.monotonic()
        in_service = set(self._group.healthy_worker_ids())
        for worker in set(self._asked) - in_service:
            self._failures += bool(self._asked.pop(worker))
        self._give_up_on_failures()
        if in_service:
            self._alone_since = None
        else:
            self._wait_alone(wait_s)
        self._restart_who_hangs()
        return [answer for _, answer in ready]

    def _give_up_on_failures(self) -> None:
        tolerated = self._config.num_consecutive_env_runner_failures_tolerance
        if self._failures > tolerated:
            raise RuntimeError(
                f"{self._failures} requests for samples failed one after the other, more than "
                f"num_consecutive_env_runner_failures_tolerance = {tolerated}. The log names each "
                f"error; with num_env_runners = 0 the first one ends the run with its traceback."
            )

    def _wait_alone(self, wait_s: float) -> None:
        since = self._alone_since = self._alone_since or time.monotonic()
        restarts = self._config.restart_failed_env_runners
        if not restarts or time.monotonic() - since > ALONE_S:
            waited = f"None has come back in {ALONE_S:g} s" if restarts else "None is restarted"
            raise RuntimeError(
                f"All {self._config.num_env_runners} env runners are out of service. {waited} "
                f"(restart_failed_env_runners, max_num_env_runner_restarts). The log names what "
                f"ended them; with num_env_runners = 0 it ends the run with its traceback."
            )
        time.sleep(wait_s)

    def _restart_who_hangs(self) -> None:
        limit = self._config.sample_timeout_s
        now = time.monotonic()
        for worker, asked in self._asked.items():
            if limit is None or not asked or now - asked[0] < limit:
                self._late.pop(worker, None)
                continue
            if now - self._late.setdefault(worker, now) < GRACE_S:
                continue
            message = (
                f"Env runner {worker} has not answered for {limit} s (sample_timeout_s): an "
                f"environment hangs, or is slower than that."
            )
            if not self._config.restart_failed_env_runners:
                raise RuntimeError(f"{message} restart_failed_env_runners would restart it.")
            logger.error("%s The runner is restarted.", message)
            ray.kill(self._group._worker_manager.actors()[worker], no_restart=False)
            # Until Ray reports what was lost, it counts as just asked.
            asked[:] = [now] * len(asked)
