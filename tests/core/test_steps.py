"""One step of every parameter group: clipped, skipped where it would spoil, never waited for."""

import copy

import pytest
import torch

from rllib_lsp.core import learning
from tests.waits import Waits


def optimizers_of(agent):
    return {
        name: torch.optim.Adam(group, lr=1e-2, fused=True)
        for name, group in agent.parameter_groups().items()
    }


def learn(agent, batch):
    losses, _ = learning.losses(agent, batch)
    learning.backward(agent, losses)


def test_a_step_is_adams_with_the_clipped_gradient(make_agent, make_batch):
    agent = make_agent()
    learn(agent, make_batch(agent))
    expected = copy.deepcopy(agent)
    norms = learning.step(agent, optimizers_of(agent), 0.05)
    for name, group in expected.parameter_groups().items():
        for mine, theirs in zip(group, agent.parameter_groups()[name], strict=True):
            mine.grad = None if theirs.grad is None else theirs.grad.clone()
        clipped = torch.cat([p.grad.flatten() for p in group if p.grad is not None]).norm()
        assert clipped == pytest.approx(min(0.05, norms[name].item()), rel=1e-3)
        # A group of its own, not fused: another implementation of the same formula.
        torch.optim.Adam(group, lr=1e-2, foreach=False, fused=False).step()
    for (key, wanted), got in zip(expected.named_parameters(), agent.parameters(), strict=True):
        if "slow_network" not in key:
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_only_the_group_with_a_bad_gradient_stays_as_it_is(make_agent, make_batch, wrong):
    agent = make_agent()
    optimizers = optimizers_of(agent)
    learn(agent, make_batch(agent))
    learning.step(agent, optimizers, 100.0)
    before = copy.deepcopy(agent.state_dict())
    moments = copy.deepcopy(optimizers["policy"].state_dict()["state"])
    next(agent.policy.parameters()).grad[0, 0] = wrong
    norms = learning.step(agent, optimizers, 100.0)
    assert [name for name, norm in norms.items() if not norm.isfinite()] == ["policy"]
    changed = {key for key, value in agent.state_dict().items() if not value.equal(before[key])}
    assert not [key for key in changed if key.startswith("policy.")]
    assert [key for key in changed if key.startswith("world_model.")]
    for index, state in optimizers["policy"].state_dict()["state"].items():
        for name, value in state.items():
            assert torch.equal(value, moments[index][name]), name
    # The next good gradient counts.
    agent.zero_grad()
    learn(agent, make_batch(agent, seed=1))
    learning.step(agent, optimizers, 100.0)
    assert not torch.equal(agent.policy.network[0].weight, before["policy.network.0.weight"])


@pytest.mark.parametrize("preset", ["modern", "paper"])
def test_an_update_never_waits_for_the_device(make_agent, make_batch, preset):
    agent = make_agent(preset=preset)
    optimizers, batch = optimizers_of(agent), make_batch(agent)
    with Waits() as waits:
        learn(agent, batch)
        learning.step(agent, optimizers, 100.0)
    assert waits.found == []
    with Waits() as waits:
        bool(batch.reward.sum() > 0)
    assert waits.found, "the check sees no waits at all"
