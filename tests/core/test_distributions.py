"""Pinning test 9: KL, entropies, free bits and two-hot against closed forms in float64."""

import math

import pytest
import torch

from rllib_lsp.core.distributions import (
    CategoricalLatent,
    GaussianLatent,
    TwoHot,
    UnitNormal,
    normal_entropy,
    normal_kl,
    normal_log_prob,
    symexp,
    symlog,
)
from rllib_lsp.core.settings import WorldModelSettings
from rllib_lsp.core.world_model import kl_loss


def test_symexp_inverts_symlog():
    x = torch.tensor([-1e4, -3.0, -0.1, 0.0, 0.1, 3.0, 1e4], dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)
    assert symlog(torch.tensor(math.e - 1)).item() == pytest.approx(1.0)


def test_normal_log_prob_and_entropy_against_closed_form():
    x = torch.tensor([0.3, -1.2], dtype=torch.float64)
    mean = torch.tensor([0.1, 0.5], dtype=torch.float64)
    std = torch.tensor([0.7, 2.0], dtype=torch.float64)
    expected = sum(
        -0.5 * ((a - m) / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)
        for a, m, s in zip(x.tolist(), mean.tolist(), std.tolist(), strict=True)
    )
    assert normal_log_prob(x, mean, std).item() == pytest.approx(expected, abs=1e-12)
    entropy = sum(0.5 * math.log(2 * math.pi * math.e * s * s) for s in std.tolist())
    assert normal_entropy(std).item() == pytest.approx(entropy, abs=1e-12)


def test_normal_kl_against_torch():
    generator = torch.Generator().manual_seed(0)
    mean_q, mean_p = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)
    std_q, std_p = torch.rand(2, 5, 3, dtype=torch.float64, generator=generator) + 0.05
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean_q, std_q), torch.distributions.Normal(mean_p, std_p)
    ).sum(-1)
    torch.testing.assert_close(normal_kl(mean_q, std_q, mean_p, std_p), expected)
    assert normal_kl(mean_q, std_q, mean_q, std_q).abs().max() < 1e-12


def test_unit_normal_against_torch():
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(4, 1, dtype=torch.float64, generator=generator)
    target = torch.randn(4, dtype=torch.float64, generator=generator)
    expected = torch.distributions.Normal(parameters[:, 0], 1.0).log_prob(target)
    torch.testing.assert_close(UnitNormal().log_prob(parameters, target), expected)
    torch.testing.assert_close(UnitNormal().mean(parameters), parameters[:, 0])


def test_gaussian_kl_against_closed_form():
    latent = GaussianLatent(3)
    torch.manual_seed(0)
    q, p = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    (mq, sq), (mp, sp) = latent.moments(q), latent.moments(p)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mq, sq), torch.distributions.Normal(mp, sp)
    ).sum(-1)
    torch.testing.assert_close(latent.kl(q, p), expected, atol=1e-12, rtol=1e-12)
    assert latent.kl(q, q).abs().max() < 1e-12


def test_categorical_kl_and_entropy_against_a_naive_loop():
    latent = CategoricalLatent(2, 3)
    torch.manual_seed(0)
    q, p = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)

    def mixed(logits, variable):
        weights = [math.exp(v) for v in logits.tolist()[3 * variable : 3 * variable + 3]]
        return [0.99 * w / sum(weights) + 0.01 / 3 for w in weights]

    kl = entropy = 0.0
    for variable in range(2):
        for a, b in zip(mixed(q, variable), mixed(p, variable), strict=True):
            kl += a * math.log(a / b)
            entropy -= a * math.log(a)
    assert latent.kl(q, p).item() == pytest.approx(kl, abs=1e-12)
    assert latent.entropy(q).item() == pytest.approx(entropy, abs=1e-12)


def test_categorical_samples_are_one_hot_and_follow_the_probabilities():
    latent = CategoricalLatent(1, 4)
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0]).expand(20_000, 4)
    sample = latent.sample(logits, torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.sum(-1), torch.ones(20_000))
    assert set(sample.round().unique().tolist()) == {0.0, 1.0}
    expected = latent.probabilities(logits[0]).flatten()
    # Four standard errors of a frequency over 20,000 draws.
    torch.testing.assert_close(sample.mean(0), expected, atol=4 * 0.5 / 20_000**0.5, rtol=0)


def test_categorical_gradient_is_straight_through():
    latent = CategoricalLatent(2, 3)
    logits = torch.randn(6, requires_grad=True)
    weights = torch.arange(6.0)
    (latent.sample(logits) * weights).sum().backward()
    straight = logits.grad.clone()
    logits.grad = None
    (latent.probabilities(logits).flatten() * weights).sum().backward()
    torch.testing.assert_close(straight, logits.grad)


def test_two_hot_recovers_its_target_and_matches_a_naive_cross_entropy():
    two_hot = TwoHot(11)
    torch.manual_seed(0)
    logits, target = torch.randn(11, dtype=torch.float64), 5.3
    centres = [-10.0 + 2.0 * i for i in range(11)]
    position = math.log1p(target)
    low = max(i for i, c in enumerate(centres) if c <= position)
    share = (position - centres[low]) / 2.0
    log_p = torch.log_softmax(logits, -1).tolist()
    expected = (1 - share) * log_p[low] + share * log_p[low + 1]
    actual = two_hot.log_prob(logits, torch.tensor(target, dtype=torch.float64)).item()
    assert actual == pytest.approx(expected, abs=1e-9)

    encoded = torch.full((11,), -1e9, dtype=torch.float64)
    encoded[low], encoded[low + 1] = math.log(1 - share), math.log(share)
    assert two_hot.mean(encoded).item() == pytest.approx(target, rel=1e-9)


def test_two_hot_tells_less_than_the_expectation_where_it_is_unsure():
    """A return of 156 that comes once in ten times, over bins one apart in symlog space."""
    p = torch.zeros(21, dtype=torch.float64)
    share = math.log1p(156.0) - 5.0
    p[10], p[15], p[16] = 0.9, 0.1 * (1 - share), 0.1 * share
    assert TwoHot(21).mean(p.log()).item() == pytest.approx(157**0.1 - 1, rel=1e-9)


@pytest.mark.parametrize("latent", [GaussianLatent(3), CategoricalLatent(2, 4)])
def test_kl_loss_balances_its_gradients_and_leaves_free_bits_alone(latent):
    """Against its definition: what trains the prior, what the posterior, and when neither."""
    torch.manual_seed(0)
    size = (6, latent.parameter_size)
    posterior = (2 * torch.randn(size, dtype=torch.float64)).requires_grad_()
    prior = (2 * torch.randn(size, dtype=torch.float64)).requires_grad_()
    kl = latent.kl(posterior, prior)
    free = kl.detach().sort().values[2:4].mean().item()
    settings = WorldModelSettings(free_nats=free, dynamics_scale=0.7, representation_scale=0.2)
    loss, divergence = kl_loss(latent, posterior, prior, settings)
    torch.testing.assert_close(divergence, kl)
    torch.testing.assert_close(loss, 0.9 * kl.clamp(min=free).mean())

    pure = torch.autograd.grad(kl.sum(), [posterior, prior])
    balanced = torch.autograd.grad(6 * loss, [posterior, prior])
    counts = (kl > free).to(torch.float64)[:, None]
    assert 0 < counts.sum() < 6
    torch.testing.assert_close(balanced[0], 0.2 * pure[0] * counts)
    torch.testing.assert_close(balanced[1], 0.7 * pure[1] * counts)


@pytest.mark.parametrize("latent", [GaussianLatent(3), CategoricalLatent(2, 4)])
@pytest.mark.parametrize("above", [True, False])
def test_free_nats_of_a_batch_are_those_of_its_mean(latent, above):
    """Above them both sides together have the plain KL's gradient, below them there is none."""
    torch.manual_seed(0)
    size = (2, 3, latent.parameter_size)
    posterior = torch.randn(size, dtype=torch.float64).requires_grad_()
    prior = torch.randn(size, dtype=torch.float64).requires_grad_()
    kl = latent.kl(posterior, prior)
    # Some states lie on the other side of the threshold than their mean, and it does not matter.
    free = kl.mean().item() * (0.9 if above else 1.1)
    assert kl.min() < free < kl.max()
    settings = WorldModelSettings(
        free_nats=free, free_nats_of="batch", dynamics_scale=1.0, representation_scale=1.0
    )
    loss, divergence = kl_loss(latent, posterior, prior, settings)
    torch.testing.assert_close(divergence, kl)
    assert loss.item() == pytest.approx(2 * max(free, kl.mean().item()))
    found = torch.autograd.grad(loss, [posterior, prior])
    plain = torch.autograd.grad(kl.mean(), [posterior, prior])
    for side, whole in zip(found, plain, strict=True):
        torch.testing.assert_close(side, whole if above else torch.zeros_like(whole))


@pytest.mark.parametrize("target", [-1e9, -22025.0, 0.0, 22025.0, 1e9])
def test_two_hot_stays_finite_at_and_beyond_its_limits(target):
    log_prob = TwoHot(21).log_prob(torch.zeros(21), torch.tensor(target))
    assert log_prob.item() == pytest.approx(-math.log(21), abs=1e-5)


def test_untrained_two_hot_predicts_zero():
    assert TwoHot(101).mean(torch.zeros(101)).abs().item() < 1e-5


def test_two_hot_answers_nan_with_nan():
    logits = torch.zeros(3, 11)
    target = torch.tensor([0.0, float("nan"), float("inf")])
    assert TwoHot(11).log_prob(logits, target).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("scalar", [TwoHot(11), UnitNormal()], ids=["two_hot", "normal"])
def test_several_targets_at_once_are_each_alone(scalar):
    torch.manual_seed(0)
    parameters = torch.randn(3, 4, scalar.size, dtype=torch.float64, requires_grad=True)
    # One lies exactly on a bin, one beyond the last.
    targets = torch.tensor([[0.7, 0.0, -3.0, 1e6]] * 3, dtype=torch.float64)
    targets = torch.stack([targets, -2.0 * targets], -1)
    weights = torch.rand(3, 4, 2, dtype=torch.float64)
    together = scalar.log_prob(parameters, targets)
    alone = torch.stack([scalar.log_prob(parameters, targets[..., k]) for k in (0, 1)], -1)
    torch.testing.assert_close(together, alone)
    gradients = [
        torch.autograd.grad((weights * found).sum(), parameters)[0] for found in (together, alone)
    ]
    torch.testing.assert_close(*gradients)
