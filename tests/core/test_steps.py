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
    return losses


def gradients_of(agent):
    return {
        name: torch.cat([p.grad.flatten() for p in group if p.grad is not None])
        for name, group in agent.parameter_groups().items()
    }


def broken(graph, inputs):
    raise RuntimeError("there is no compiler")


@pytest.fixture
def dynamo():
    """What is set for all compilation is set back."""
    before = torch._dynamo.config.suppress_errors
    yield
    torch._dynamo.config.suppress_errors = before
    torch.compiler.reset()


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


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("backend", ["eager", broken])
def test_compiled_steps_learn_the_same_with_a_compiler_and_without(make_agent, make_batch, backend):
    found = []
    for compiled in (False, True):
        agent = make_agent()
        if compiled:
            learning.compile_steps(agent, backend=backend)
        torch.manual_seed(0)
        found.append((learn(agent, make_batch(agent)), gradients_of(agent)))
    (losses, gradients), (other_losses, other_gradients) = found
    for name, loss in losses.items():
        torch.testing.assert_close(loss, other_losses[name])
        torch.testing.assert_close(gradients[name], other_gradients[name], rtol=1e-4, atol=1e-5)


def test_in_bfloat16_planning_costs_no_gradients(make_agent, make_batch):
    """Planned anew for each start, with weights that are used again where gradients are."""
    agent = make_agent(skills={"imagine": "cem"})
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = learning.losses(agent, make_batch(agent))
    learning.backward(agent, losses)
    without = [name for name, p in agent.policy.named_parameters() if p.grad is None]
    assert not without
    assert all(p.grad.abs().sum() > 0 for p in agent.value.network[-1].parameters())


@pytest.mark.parametrize("preset", ["modern", "paper"])
def test_in_bfloat16_weights_and_losses_are_float32(make_agent, make_batch, preset):
    """And come out about the same, of a model that is all means: samples would part ways."""
    found = []
    for half in (False, True):
        agent = make_agent(preset=preset, world_model={"latent": "gaussian"})
        agent.world_model.rssm.latent.sample = lambda p, generator=None, shared=1: p.chunk(2, -1)[0]
        torch.manual_seed(0)
        with torch.no_grad():  # heads that begin at zero have no gradients to compare
            for parameter in agent.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses, _ = learning.losses(agent, make_batch(agent))
        learning.backward(agent, losses)
        assert {loss.dtype for loss in losses.values()} == {torch.float32}
        assert {p.dtype for p in agent.parameters()} == {torch.float32}
        found.append((losses, gradients_of(agent)))
    (losses, gradients), (half_losses, half_gradients) = found
    for name, loss in losses.items():
        torch.testing.assert_close(loss, half_losses[name], rtol=0.02, atol=0.02)
        aligned = torch.cosine_similarity(gradients[name], half_gradients[name], dim=0)
        assert aligned > 0.9, name
