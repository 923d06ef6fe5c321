"""The intrinsic reward of skills: who gets which credit when, against loops in float64."""

import pytest
import torch
from torch.distributions import Normal

from rllib_lsp.core.behaviour import Skills, _skill_losses
from rllib_lsp.core.imagination import Trajectory
from rllib_lsp.core.skills import schedule, segments
from tests.core.test_imagination import naive_lambda_return

H = 7
DURATIONS = torch.tensor([2, 5, 3, 5])
N = len(DURATIONS)


class Case:
    """A made-up trajectory, and what `_skill_losses` says of it."""

    def __init__(self, make_agent, mi, durations=DURATIONS, planned=(False,) * N):
        self.durations, self.planned = durations, torch.tensor(planned)
        allowed = sorted(set(durations.tolist()))
        self.agent = make_agent(
            skills={"mi": mi, "duration": allowed}, behaviour={"horizon": H}
        ).double()
        if self.agent.skill_value is not None:
            # Zero at first; the returns shall depend on it, and on the slow copy.
            for network in (
                self.agent.skill_value.network,
                self.agent.skill_value.slow_network,
            ):
                torch.nn.init.normal_(network[-1].weight, std=0.3)
        torch.manual_seed(1)
        width = self.agent.world_model.rssm.feature_size
        self.features = torch.randn(H + 1, N, width, dtype=torch.float64).requires_grad_()
        self.skills = torch.randn(N, 4, 3, dtype=torch.float64)
        self.density = torch.randn(N, 4, dtype=torch.float64)
        self.discount = torch.rand(H, N, dtype=torch.float64)
        self.weight = torch.rand(H, N, dtype=torch.float64)
        actions, entropy = torch.zeros(H, N, 2), self.weight * 0
        trajectory = Trajectory(self.features, self.features[1:], actions, entropy)
        drawn = Skills(self.skills, self.density, self.planned)
        under = schedule(self.skills, durations, H)
        self.extra, self.losses, self.metrics = _skill_losses(
            self.agent, trajectory, drawn, durations, under, self.discount, self.weight
        )

    def whole_segments(self):
        """(row, number of the skill, first state, last state) of every skill that ended."""
        return [
            (row, number, number * duration, (number + 1) * duration)
            for row, duration in enumerate(self.durations.tolist())
            for number in range(H // duration)
        ]

    def likelihood(self, row, number, first, last):
        """log q(z | segment), from the predictor's network and torch's own Normal."""
        states = self.features[:, row]
        summary = torch.cat(
            [states[last] - states[first], states[first], states[first + 1 : last + 1].mean(0)]
        )
        mean, raw_std = self.agent.skill_predictor.network(summary).chunk(2)
        std = torch.nn.functional.softplus(raw_std) + 0.5
        return Normal(mean, std).log_prob(self.skills[row, number]).sum()

    def reward(self):
        """(log q - log p) / dim on reaching the last state of each skill, 0 everywhere else."""
        reward = torch.zeros(H, N, dtype=torch.float64)
        for row, number, first, last in self.whole_segments():
            information = self.likelihood(row, number, first, last) - self.density[row, number]
            reward[last - 1, row] = information.detach() / 3
        return reward


def test_credit_falls_on_the_last_step_of_each_whole_skill(make_agent):
    case = Case(make_agent, "objective")
    ended = len(case.whole_segments())
    assert ended == 3 + 1 + 2 + 1
    torch.testing.assert_close(case.extra * ended / (H * N), case.reward())
    # Where no skill ends there is exactly nothing.
    assert (case.extra != 0).sum() == ended


def test_as_an_objective_it_is_the_mean_over_the_skills_that_ended(make_agent):
    """Each weighs as its last state does, that is by the chance to reach it."""
    case = Case(make_agent, "objective")
    share = (case.weight * case.extra).mean()
    weighted = [
        case.weight[last - 1, row]
        * (case.likelihood(row, number, first, last) - case.density[row, number])
        / 3
        for row, number, first, last in case.whole_segments()
    ]
    torch.testing.assert_close(share, torch.stack(weighted).mean())
    # And so is its gradient, with which the policy is trained.
    found = torch.autograd.grad(share, case.features, retain_graph=True)
    wanted = torch.autograd.grad(torch.stack(weighted).mean(), case.features)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("durations", [DURATIONS, torch.full((N,), 4)], ids=["several", "one"])
def test_as_a_reward_it_has_a_return_and_a_value_of_its_own(make_agent, durations):
    """The value knows how long it is until the next reward, also where the policy does not."""
    case = Case(make_agent, "reward", durations)
    value, longest = case.agent.skill_value, max(durations.tolist())
    told = torch.zeros(H + 1, N, 4, dtype=torch.float64)
    for step in range(H + 1):
        for row, duration in enumerate(durations.tolist()):
            number, done = divmod(step, duration)
            told[step, row, :3] = case.skills[row, min(number, 3)]
            told[step, row, 3] = (duration - done) / longest
    inputs = torch.cat([case.features, told], -1).detach()
    means = value.scalar.mean(value.network(inputs)).detach()
    assert means.std() > 0
    reward, lambda_ = case.reward(), case.agent.settings.behaviour.lambda_
    columns = [
        naive_lambda_return(
            *(part[:, row].tolist() for part in (reward, case.discount, means)), lambda_
        )
        for row in range(N)
    ]
    expected = torch.tensor(columns, dtype=torch.float64).T
    torch.testing.assert_close(case.extra, expected)

    parameters = value.network(inputs)[:-1]
    slow = value.scalar.mean(value.slow_network(inputs))[:-1]
    assert not torch.allclose(slow, means[:-1])
    fit = value.scalar.log_prob(parameters, expected) + value.scalar.log_prob(parameters, slow)
    torch.testing.assert_close(case.losses["skill_value"], -(case.weight * fit).mean())


@pytest.mark.parametrize("mi", ["objective", "reward"])
def test_the_predictor_learns_from_the_skills_that_ended(make_agent, mi):
    case = Case(make_agent, mi)
    whole = case.whole_segments()
    likelihood = torch.stack([case.likelihood(*segment) for segment in whole]).mean()
    torch.testing.assert_close(case.losses["skill_predictor"], -likelihood)
    torch.testing.assert_close(case.metrics["skill_log_likelihood_per_dim"], likelihood / 3)
    assert ("skill_value" in case.losses) == (mi == "reward")


@pytest.mark.parametrize("planned", [(0, 0, 0, 0), (0, 1, 1, 0), (1, 1, 1, 1)])
def test_the_bound_is_that_of_skills_from_the_prior_where_there_are_any(make_agent, planned):
    case = Case(make_agent, "reward", planned=[bool(row) for row in planned])
    shown = [s for s in case.whole_segments() if not planned[s[0]] or all(planned)]
    bounds = [case.likelihood(*segment) - case.density[segment[0], segment[1]] for segment in shown]
    found = case.metrics["mutual_information_bound"]
    torch.testing.assert_close(found, torch.stack(bounds).mean())


@pytest.mark.parametrize("min_std", [0.1, 0.5])
def test_what_a_skill_can_earn_is_bounded(make_agent, min_std):
    """At best log N(z; z, min_std) a dimension, and nearly so for a guess that is half as far."""
    agent = make_agent(skills={"predictor_min_std": min_std, "duration": [5]})
    predictor, last = agent.skill_predictor, agent.skill_predictor.network[-1]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.7] * 3 + [-1e3] * 3))
    states = torch.randn(H + 1, N, agent.world_model.rssm.feature_size)
    (segment,) = segments(states, torch.full((N,), 5), 5)
    best = predictor.log_prob(segment, torch.full((N, 3), 0.7))
    torch.testing.assert_close(best, Normal(0.0, min_std).log_prob(torch.zeros(N)) * 3)
    near = predictor.log_prob(segment, torch.full((N, 3), 0.7 + min_std / 2))
    torch.testing.assert_close(best - near, torch.full((N,), 3 / 8))
