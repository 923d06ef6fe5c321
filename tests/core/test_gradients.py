"""Pinning test 3: which loss trains which parameters."""

import pytest
import torch

from rllib_lsp.core import learning
from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.behaviour import draw_skills
from rllib_lsp.core.distributions import normal_log_prob
from rllib_lsp.core.policy import Value
from rllib_lsp.core.presets import build_settings

AGENTS = {
    "modern": {},
    "paper": {"preset": "paper"},
    "gaussian": {"world_model": {"latent": "gaussian"}},
    "mi objective": {"skills": {"mi": "objective"}},
    "durations": {"skills": {"duration": [2, 5]}},
    "discrete": {"action": ActionSpec(3, discrete=True)},
    "Dreamer": {"skills": {"dim": 0}, "planner": {"method": "none"}},
    "PlaNet": {"planner": {"space": "actions", "skills": 6}},
    "reward-free": {
        "world_model": {"ensemble": 3},
        "behaviour": {"reward": "none", "disagreement": 1.0},
    },
    "predictor features": {"skills": {"predictor_features": ["position[0:2]", "velocity"]}},
}
CASES = [
    (name, group)
    for name, options in AGENTS.items()
    for group in build_settings(
        {key: value for key, value in options.items() if key not in ("preset", "action")},
        preset=options.get("preset", "modern"),
    ).groups
]


def gradients(agent):
    return {
        name: sum(p.grad.abs().sum().item() for p in group if p.grad is not None)
        for name, group in agent.parameter_groups().items()
    }


@pytest.mark.parametrize(("name", "loss_name"), CASES)
def test_each_loss_trains_its_own_group_only(make_agent, make_batch, name, loss_name):
    agent = make_agent(**AGENTS[name])
    # Zero-initialised heads pass no gradient; give them something to pass on.
    heads = [agent.world_model.reward_head] + [
        part.network for part in agent.children() if isinstance(part, Value)
    ]
    for head in heads:
        torch.nn.init.normal_(head[-1].weight, std=0.1)
    losses, metrics = learning.losses(agent, make_batch(agent))
    assert all(torch.isfinite(value) for value in metrics.values()), metrics
    zero = {name: loss if name == loss_name else loss * 0.0 for name, loss in losses.items()}
    learning.backward(agent, zero)
    for name, size in gradients(agent).items():
        if name == loss_name:
            assert size > 0, name
        else:
            assert size == 0, name


@pytest.mark.parametrize("mi", ["objective", "reward"])
@pytest.mark.parametrize("mi_coef", [0.0, 1.0])
def test_mutual_information_reaches_the_policy_through_the_dynamics(
    make_agent, make_batch, mi, mi_coef
):
    agent = make_agent(skills={"mi_coef": mi_coef, "mi": mi}, behaviour={"entropy": 0.0})
    # Reward and value heads are zero at first: nothing but the MI can move the policy.
    losses, _ = learning.losses(agent, make_batch(agent))
    learning.backward(agent, losses)
    assert (gradients(agent)["policy"] > 1e-6) == (mi_coef > 0)


def test_a_loss_without_a_group_is_an_error(make_agent, make_batch):
    agent = make_agent()
    losses, _ = learning.losses(agent, make_batch(agent))
    with pytest.raises(ValueError, match="extra"):
        learning.backward(agent, {**losses, "extra": losses["value"]})


@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_one_batch_can_be_overfitted(make_agent, make_batch, latent):
    """Pinning test 8: what the world model is taught falls to near its floor."""
    agent = make_agent(
        world_model={"latent": latent, "hidden": 48, "deterministic": 48},
        behaviour={"hidden": 48, "entropy": 0.0},
    )
    batch = make_batch(agent, rows=2, length=8)
    groups = agent.parameter_groups()
    optimizer = torch.optim.Adam([p for group in groups.values() for p in group], lr=3e-3)
    history = []
    for _ in range(400):
        losses, metrics = learning.losses(agent, batch)
        optimizer.zero_grad()
        learning.backward(agent, losses)
        optimizer.step()
        history.append({name: value.item() for name, value in metrics.items()})
    first, last = history[0], history[-1]
    assert last["reconstruction_loss"] < 0.15 * first["reconstruction_loss"]
    assert last["continue_loss"] < 0.05
    # A two-hot cross-entropy cannot fall below the entropy of its targets.
    assert last["reward_loss"] < 1.0 < first["reward_loss"]


@pytest.mark.parametrize("source", ["prior", "replay", "mix"])
def test_what_tells_nothing_of_skills_has_no_mutual_information(make_agent, source):
    """The bound subtracts the density of what was drawn: a sharp plan adds no information."""
    settings = make_agent(skills={"imagine": source}).settings
    mean, std = torch.full((4000, 2, 3), 2.0), torch.full((4000, 2, 3), 0.1)
    skills, log_prob, planned = draw_skills(mean, std, settings)
    first = skills[:, 0]
    near = (first - 2.0).abs().max(-1).values < 0.6
    assert near[planned].all()
    assert near[~planned].float().sum() < 40
    share = {"prior": 0.0, "replay": 1.0, "mix": 0.5}[source]
    assert planned.float().mean().item() == pytest.approx(share, abs=0.05)
    # A predictor that knows only the source of each skill has this likelihood.
    known = torch.where(
        planned,
        normal_log_prob(first, mean[:, 0], std[:, 0]),
        normal_log_prob(first, torch.zeros_like(first), torch.ones_like(first)),
    )
    assert (known - log_prob[:, 0]).mean().item() == pytest.approx(0.0, abs=0.02)


def test_terminated_starts_count_for_nothing(make_agent, make_batch):
    """Pinning test 10: nothing is learned in imagination from beyond the end of an episode."""
    agent = make_agent(behaviour={"entropy": 0.1, "replay_value": 0.0})
    batch = make_batch(agent)
    ended = batch._replace(terminated=torch.ones_like(batch.terminated))
    losses, _ = learning.losses(agent, ended)
    learning.backward(agent, losses)
    assert gradients(agent)["policy"] == 0
    assert gradients(agent)["value"] == 0
