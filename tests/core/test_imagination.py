"""Pinning tests 1 and 10: λ-returns, and who gets a bootstrap."""

import pytest
import torch

from rllib_lsp.core.imagination import ReturnScale, imagine, lambda_return, replay_return


def naive_lambda_return(reward, discount, value, lambda_):
    """Σ over n-step returns, weighted (1-λ)λ^{n-1}, straight from the definition."""
    horizon = len(reward)
    returns = []
    for start in range(horizon):
        total, steps = 0.0, horizon - start
        for n in range(1, steps + 1):
            n_step, factor = 0.0, 1.0
            for k in range(n):
                n_step += factor * reward[start + k]
                factor *= discount[start + k]
            n_step += factor * value[start + n]
            weight = (1 - lambda_) * lambda_ ** (n - 1) if n < steps else lambda_ ** (n - 1)
            total += weight * n_step
        returns.append(total)
    return returns


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
def test_lambda_return_equals_a_naive_double_loop(lambda_):
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    discount = torch.rand(6, 3, dtype=torch.float64, generator=generator)
    value = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    actual = lambda_return(reward, discount, value, lambda_)
    for column in range(3):
        expected = naive_lambda_return(
            reward[:, column].tolist(),
            discount[:, column].tolist(),
            value[:, column].tolist(),
            lambda_,
        )
        torch.testing.assert_close(
            actual[:, column], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0
        )


def test_no_bootstrap_where_the_episode_does_not_go_on():
    reward, value = torch.ones(3, 1), torch.full((4, 1), 100.0)
    # Discount 0 after the second step: terminated there. The third is never reached.
    returns = lambda_return(reward, torch.tensor([[1.0], [0.0], [1.0]]), value, 1.0)
    assert returns[1].item() == 1.0
    assert returns[0].item() == 2.0
    assert returns[2].item() == 101.0


def test_imagination_tells_the_policy_what_is_scheduled(make_agent):
    agent = make_agent()
    seen = []

    class Spy:
        def act(self, features, skill, explore, generator):
            seen.append(skill)
            return agent.policy.act(features, skill, explore, generator)

    told = torch.randn(11, 5, 3)
    start = agent.world_model.rssm.initial(5)
    trajectory = imagine(agent.world_model.rssm, Spy(), start, told, horizon=10, explore=True)
    assert trajectory.features.shape == (11, 5, agent.world_model.rssm.feature_size)
    assert trajectory.actions.shape == (10, 5, 2)
    assert torch.equal(torch.stack(seen), told[:10])


def test_replay_return_stops_at_the_borders_of_episodes():
    """Against a loop: a return never crosses into another episode."""
    generator = torch.Generator().manual_seed(0)
    length, lambda_ = 8, 0.9
    reward, value = (
        torch.randn(length, 1, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    discount = torch.full((length, 1), 0.95, dtype=torch.float64)
    discount[2] = 0.0  # Terminated in step 2, truncated in step 5.
    is_first = torch.zeros(length, 1, dtype=torch.bool)
    is_first[[0, 3, 6]] = True
    actual, counts = replay_return(reward, discount, value, is_first, lambda_)
    assert counts[:, 0].tolist() == [True, True, False, True, True, False, True]
    for begin, end in ((0, 2), (3, 5), (6, 7)):
        expected = naive_lambda_return(
            reward[begin + 1 : end + 1, 0].tolist(),
            discount[begin + 1 : end + 1, 0].tolist(),
            value[begin : end + 1, 0].tolist(),
            lambda_,
        )
        torch.testing.assert_close(
            actual[begin:end, 0], torch.tensor(expected, dtype=torch.float64)
        )


def test_return_scale_follows_the_percentile_range_and_never_amplifies():
    scale = ReturnScale()
    returns = torch.linspace(0, 100, 1001)
    for _ in range(1000):
        divisor = scale.update(returns)
    assert divisor.item() == pytest.approx(90.0, rel=1e-3)
    assert ReturnScale().update(returns / 1e6).item() == 1.0
    assert scale.update(torch.tensor([float("nan"), 1.0])).item() == pytest.approx(90.0, rel=1e-3)


def test_the_policys_inputs_carry_no_gradient(make_agent):
    agent = make_agent()
    seen = []

    class Spy:
        def act(self, features, skill, explore, generator):
            seen.append(features.requires_grad)
            return agent.policy.act(features, skill, explore, generator)

    rssm = agent.world_model.rssm
    path = imagine(rssm, Spy(), rssm.initial(5), torch.randn(4, 5, 3), horizon=4, explore=True)
    assert path.features[-1].requires_grad
    assert seen == [False] * 4
