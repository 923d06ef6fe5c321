"""One update: which rows its losses are of, and what it moves."""

import torch

from rllib_lsp.core import learning


def test_imagination_starts_where_the_plan_and_the_end_were(make_agent, make_batch, monkeypatch):
    agent = make_agent(skills={"imagine": "replay"}, behaviour={"starts": 7})
    batch = make_batch(agent)
    batch.plan_std.fill_(1e-6)
    batch.terminated[1::2, ::3] = True
    seen = {}
    filtered = agent.world_model.loss

    def loss(given):
        seen["states"] = filtered(given)
        return seen["states"]

    def watch(models, start, goes_on, drawn, durations):
        seen.update(start=start, goes_on=goes_on, skills=drawn.skills)
        return original(models, start, goes_on, drawn, durations)

    original = learning.behaviour_losses
    monkeypatch.setattr(agent.world_model, "loss", loss)
    monkeypatch.setattr(learning, "behaviour_losses", watch)
    learning.losses(agent, batch)
    states = seen["states"][1].features.flatten(0, 1)
    rows = [int((states == one).all(-1).nonzero()) for one in seen["start"].features]
    assert len(set(rows)) == 7
    assert seen["goes_on"].tolist() == (1.0 - batch.terminated.flatten()[rows].float()).tolist()
    planned = batch.plan_mean.flatten(0, 1)[rows]
    torch.testing.assert_close(seen["skills"][:, :2], planned, atol=1e-4, rtol=0)


def test_the_prior_learns_the_skill_that_was_taken(make_agent, make_batch):
    agent = make_agent()
    batch = make_batch(agent)
    one, other = (batch._replace(plan_mean=batch.plan_mean.clone()) for _ in range(2))
    other.plan_mean[..., 1:, :] += 5.0
    found = []
    for given in (one, other):
        torch.manual_seed(0)
        found.append(learning.losses(agent, given)[0]["skill_prior"])
    assert torch.equal(*found)


def test_the_replayed_value_is_a_part_of_the_values_loss(make_agent, make_batch):
    found = []
    for weight in (0.0, 0.3):
        agent = make_agent(behaviour={"replay_value": weight})
        batch = make_batch(agent)
        torch.manual_seed(0)
        losses, metrics = learning.losses(agent, batch)
        found.append((losses["value"], metrics.get("replay_value_loss")))
    (without, nothing), (with_it, replayed) = found
    assert nothing is None
    torch.testing.assert_close(with_it - without, 0.3 * replayed)


def test_slow_copies_follow_each_step(make_agent, make_batch):
    agent = make_agent(behaviour={"slow_value_rate": 0.25})
    before = [p.clone() for p in agent.value.slow_network.parameters()]
    optimizers = {
        n: torch.optim.Adam(g, lr=1e-2, fused=True) for n, g in agent.parameter_groups().items()
    }
    losses, _ = learning.losses(agent, make_batch(agent))
    learning.backward(agent, losses)
    learning.step(agent, optimizers, 100.0)
    for slow, old, fast in zip(
        agent.value.slow_network.parameters(), before, agent.value.network.parameters(), strict=True
    ):
        torch.testing.assert_close(slow, torch.lerp(old, fast, 0.25))
    assert not torch.equal(before[-2], list(agent.value.slow_network.parameters())[-2])
