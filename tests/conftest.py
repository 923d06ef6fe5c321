"""One Ray for all tests, and one thread each: small tensors gain nothing from more."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ray_session():
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def saved(tmp_path):
    """Saves an agent that has learned nothing, of so many observed and acted numbers."""
    from rllib_lsp.core.actions import ActionSpec
    from rllib_lsp.core.agent import Agent
    from rllib_lsp.core.presets import build_settings
    from rllib_lsp.core.saved_agent import save_agent

    def make(width, actions):
        torch.manual_seed(0)
        settings = build_settings({}, size="tiny")
        agent = Agent({"observation": (width,)}, ActionSpec(actions), settings)
        with open(tmp_path / "agent.pt", "wb") as stream:
            save_agent(agent, stream)
        return tmp_path

    return make


@pytest.fixture
def checkpoint(saved):
    """An agent of cartpole-swingup that has learned nothing."""
    return saved(5, 1)
