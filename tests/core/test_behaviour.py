"""The losses of policy and value, in imagination and on replay, against loops in float64."""

import pytest
import torch

from rllib_lsp.core import behaviour
from rllib_lsp.core.behaviour import Skills, _value_loss, behaviour_losses, replay_value_loss
from rllib_lsp.core.rssm import State

N, H, GAMMA, LAMBDA, ENTROPY = 5, 8, 0.97, 0.9, 0.05
SETTINGS = {"horizon": H, "gamma": GAMMA, "lambda_": LAMBDA, "entropy": ENTROPY}


@pytest.fixture
def agent(make_agent):
    """One whose heads have something to say, which they do not at first."""
    found = make_agent(
        behaviour=SETTINGS, skills={"dim": 3, "duration": 4, "mi_coef": 0.3}
    ).double()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    found.return_scale.scale.fill_(4.0)
    return found


def test_policy_and_value_learn_from_what_is_imagined(agent, monkeypatch):
    """-(w (V / scale + η H + c I)) of each step, and the fit of the value, weighed by w: the
    chance, discounted, that the step is reached."""
    seen = {}

    def watched(name):
        original = getattr(behaviour, name)

        def call(*given, **named):
            seen.setdefault(name, []).append(original(*given, **named))
            return seen[name][-1]

        monkeypatch.setattr(behaviour, name, call)

    watched("imagine")
    watched("lambda_return")
    rssm = agent.world_model.rssm
    start = State(
        torch.randn(N, rssm.deterministic_size).double(),
        torch.softmax(torch.randn(N, rssm.latent.size).double(), -1),
    )
    going_on = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]).double()
    planned = torch.zeros(N, dtype=torch.bool)
    drawn = Skills(torch.randn(N, 3, 3).double(), torch.randn(N, 3).double(), planned)
    losses, metrics = behaviour_losses(agent, start, going_on, drawn, torch.full((N,), 4))

    (path,), (_, information) = seen["imagine"], seen["lambda_return"]
    model, value = agent.world_model, agent.value
    reward, chance = model.reward(path.features[1:]), model.continues(path.features[1:])
    values = value.scalar.mean(value(path.features))
    scale = metrics["return_scale"]
    assert scale > 2
    assert 0.01 < chance.min() < chance.max() < 0.99
    policy_loss, value_loss = (torch.zeros((), dtype=torch.float64) for _ in range(2))
    for row in range(N):
        found, returns = values[H, row], {}
        for step in reversed(range(H)):
            mixed = (1 - LAMBDA) * values[step + 1, row] + LAMBDA * found
            returns[step] = found = reward[step, row] + GAMMA * chance[step, row] * mixed
        weight = going_on[row]
        for step in range(H):
            if step:
                weight = weight * GAMMA * chance[step - 1, row].detach()
            worth = returns[step] / scale + ENTROPY * path.entropy[step, row]
            policy_loss -= weight * (worth + 0.3 * information[step, row]) / (H * N)
            told = value(path.features[step, row].detach())
            slow = value.slow(path.features[step, row])
            target = returns[step].detach()
            fit = value.scalar.log_prob(told, target) + value.scalar.log_prob(told, slow.detach())
            value_loss -= weight * fit / (H * N)
    torch.testing.assert_close(losses["policy"], policy_loss)
    torch.testing.assert_close(losses["value"], value_loss)
    # What is learned from: through the model and the value into the policy, and nowhere round.
    for name, wanted in (("policy", policy_loss), ("value", value_loss)):
        parameters = [p for p in getattr(agent, name).parameters() if p.requires_grad]
        found, expected = (
            torch.autograd.grad(loss, parameters, retain_graph=True)
            for loss in (losses[name], wanted)
        )
        torch.testing.assert_close(found, expected)


def test_the_value_fits_what_was_earned_in_replay(agent, make_batch):
    """λ-returns within an episode: 0 after a termination, the value after any other end."""
    batch = make_batch(agent, rows=6, length=12)
    batch.is_first[1, 7] = True
    batch = batch._replace(
        observation={key: part.double() for key, part in batch.observation.items()},
        action=batch.action.double(),
        reward=torch.randn(6, 12).double(),
        plan_mean=batch.plan_mean.double(),
        plan_std=batch.plan_std.double(),
    )
    assert batch.terminated.any()
    _, states, _ = agent.world_model.loss(batch)
    states = states.map(torch.Tensor.detach)
    value = agent.value
    values, fits = value.scalar.mean(value(states.features)), []
    for row in range(6):
        for step in range(11):
            if batch.is_first[row, step + 1]:
                continue
            last = step + 1
            while last < 11 and not batch.is_first[row, last + 1]:
                last += 1
            found = values[row, last]
            for at in range(last, step, -1):
                mixed = (1 - LAMBDA) * values[row, at] + LAMBDA * found
                goes_on = 1.0 - batch.terminated[row, at].double()
                found = batch.reward[row, at] + GAMMA * goes_on * mixed
            told = value(states.features[row, step])
            fits.append(value.scalar.log_prob(told, found.detach()))
    assert len(fits) == 6 * 11 - int(batch.is_first[:, 1:].sum())
    loss = replay_value_loss(agent, states, batch)
    torch.testing.assert_close(loss, -torch.stack(fits).mean())


def test_the_pull_of_the_slow_copy_is_weighed(make_agent):
    value = make_agent().value
    inputs = torch.randn(5, 3, value.network[0].in_features)
    for network in (value.network, value.slow_network):
        torch.nn.init.normal_(network[-1].weight, std=0.3)
    returns, weight = torch.randn(4, 3), torch.rand(4, 3)
    losses = [_value_loss(value, value(inputs), inputs, returns, weight, p) for p in (0, 0.25, 1)]
    torch.testing.assert_close(losses[1] - losses[0], 0.25 * (losses[2] - losses[0]))
