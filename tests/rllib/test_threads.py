"""CPU threads are shared out on purpose."""

import logging
import os

import pytest
import ray
import torch

from rllib_lsp import LSP
from rllib_lsp.lsp.threads import MOST, learner_threads, usable_cores


@pytest.fixture
def cores(ray_session, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize("runners", [0, 1, 3])
def test_the_learner_gets_the_cores_that_runners_leave(cores, tiny, runners):
    config = tiny().env_runners(num_env_runners=runners)
    # What Tune books is what torch uses.
    bundles = LSP.default_resource_request(config.to_dict()).bundles
    assert bundles[0]["CPU"] == max(1, min(MOST, cores - runners))
    assert [bundle["CPU"] for bundle in bundles[1:]] == [1] * runners
    config.validate()
    assert learner_threads(config) == bundles[0]["CPU"]


class Threads:
    def of_learner(self, config):
        config.validate()
        return learner_threads(config)


def test_in_a_trials_actor_the_runners_are_not_taken_off_once_more(cores, tiny):
    """Ray tells an actor of its own CPUs only, by OMP_NUM_THREADS."""
    threads = ray.remote(num_cpus=2)(Threads).remote()
    configs = [tiny().env_runners(num_env_runners=runners) for runners in (0, 1)]
    assert ray.get([threads.of_learner.remote(config) for config in configs]) == [2, 2]


def test_what_a_user_sets_stays(cores, tiny, monkeypatch):
    config = tiny().resources(num_cpus_for_main_process=3)
    config.validate()
    assert learner_threads(config) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_cores() == 1


def test_a_learner_in_an_actor_uses_the_cpus_of_that(cores, tiny):
    config = tiny().learners(num_learners=1, num_cpus_per_learner=2)
    config.validate()
    assert learner_threads(config) == 2


@pytest.mark.parametrize("threads", [1, 64])
def test_more_threads_than_cores_are_warned_about(build, tiny, caplog, threads):
    before = torch.get_num_threads()
    with caplog.at_level(logging.WARNING, logger="rllib_lsp"):
        build(tiny().resources(num_cpus_for_main_process=threads))
    assert ("64 learner threads" in caplog.text) == (threads == 64)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
