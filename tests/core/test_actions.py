"""Distributions over actions against closed forms, quadrature and frequencies, in float64."""

import math

import numpy as np
import pytest
import torch

from rllib_lsp.core.actions import (
    ActionSpec,
    BoundedNormal,
    OneHot,
    TanhNormal,
    make_action_distribution,
)
from rllib_lsp.core.settings import BehaviourSettings

DRAWS = 40_000
PLAIN = BehaviourSettings()


def parameters(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(distribution, row):
    """Many independent samples under the same parameters: (DRAWS, A)."""
    return distribution.sample(parameters(row).expand(DRAWS, -1), seeded())


def of_std(std, mean=0.0):
    """Parameters of a one-dimensional TanhNormal with this deviation; `mean` before bounding."""
    raw = math.log(math.expm1(std - TanhNormal.MIN_STD)) - math.log(math.expm1(5.0))
    return [mean, raw]


def test_each_kind_of_action_gets_its_distribution():
    tanh = BehaviourSettings(policy="tanh")
    kinds = {
        BoundedNormal: make_action_distribution(ActionSpec(2), PLAIN),
        TanhNormal: make_action_distribution(ActionSpec(2), tanh),
        OneHot: make_action_distribution(ActionSpec(2, discrete=True), tanh),
    }
    assert all(type(made) is kind for kind, made in kinds.items())
    assert [made.parameter_size for made in kinds.values()] == [4, 4, 2]


def test_random_actions_are_uniform_and_choices_are_numbered():
    generator = np.random.default_rng(0)
    box = ActionSpec(3).random(20_000, generator)
    assert box.shape == (20_000, 3)
    assert box.dtype == np.float32
    assert np.abs(box).max() <= 1
    # Five standard errors of the mean and of the second moment of a uniform variable.
    np.testing.assert_allclose(box.mean(0), 0, atol=5 * (1 / 3 / 20_000) ** 0.5)
    np.testing.assert_allclose((box**2).mean(0), 1 / 3, atol=5 * (4 / 45 / 20_000) ** 0.5)
    discrete = ActionSpec(3, discrete=True)
    choices = discrete.to_env(discrete.random(30_000, generator))
    counts = np.bincount(choices, minlength=3)
    assert np.abs(counts - 10_000).max() < 5 * (30_000 * 2 / 9) ** 0.5
    assert ActionSpec(3).to_env(box) is box


def test_bounded_normal_has_the_moments_of_its_definition():
    distribution = BoundedNormal(2, BehaviourSettings(min_std=0.2, max_std=0.7))
    mean, std = distribution.moments(parameters([0.4, -30.0, -2.0, 50.0]))
    assert mean[0].tolist() == pytest.approx([math.tanh(0.4), -1.0], abs=1e-12)
    # sigmoid(-2 + 2) is a half; the other deviation is at its greatest.
    assert std[0].tolist() == pytest.approx([0.45, 0.7], abs=1e-12)
    assert distribution.moments(parameters([0.0, 0.0, -60.0, -60.0]))[1].min() >= 0.2


def test_bounded_normal_samples_entropy_and_mode():
    distribution, row = BoundedNormal(2, PLAIN), [0.4, -0.3, -2.0, -4.0]
    mean, std = (part[0] for part in distribution.moments(parameters(row)))
    samples = drawn(distribution, row)
    # Five standard errors; that of a deviation is σ/√(2n).
    error = 5 * std / DRAWS**0.5
    assert ((samples.mean(0) - mean).abs() < error).all()
    assert ((samples.std(0) - std).abs() < error / 2**0.5).all()
    assert torch.equal(distribution.mode(parameters(row))[0], mean)
    expected = torch.distributions.Normal(mean, std).entropy().sum()
    torch.testing.assert_close(distribution.entropy(parameters(row))[0], expected)


def test_bounded_normal_is_reparameterised():
    distribution = BoundedNormal(1, PLAIN)
    row = parameters([0.4, -1.0]).requires_grad_()
    noise = torch.randn((1, 1), generator=seeded(), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(distribution.sample(row, seeded()).sum(), row)
    sigmoid = 1 / (1 + math.exp(-1.0))
    expected = [1 - math.tanh(0.4) ** 2, 0.9 * sigmoid * (1 - sigmoid) * noise.item()]
    assert gradient[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_tanh_normal_begins_wide_and_bounds_its_mean():
    distribution = TanhNormal(1, PLAIN)
    mean, std = distribution.moments(parameters([0.0, 0.0], [1.0, -100.0], [1e6, 0.0]))
    assert mean.flatten().tolist() == pytest.approx([0.0, 5 * math.tanh(0.2), 5.0], abs=1e-9)
    assert std.flatten().tolist() == pytest.approx([5.0001, 1e-4, 5.0001], abs=1e-6)
    torch.testing.assert_close(distribution.mode(parameters([1.0, 0.0])), torch.tanh(mean[1:2]))


@pytest.mark.parametrize("std", [0.3, 1.0, 5.0])
def test_tanh_normal_samples_follow_their_distribution_function(std):
    distribution, row = TanhNormal(1, PLAIN), of_std(std, 0.8)
    mean = distribution.moments(parameters(row))[0].item()
    samples = drawn(distribution, row)
    assert samples.abs().max() <= 1
    for bound in (-0.9, -0.2, 0.3, 0.95):
        share = (samples < bound).to(torch.float64).mean().item()
        expected = 0.5 * (1 + math.erf((math.atanh(bound) - mean) / std / 2**0.5))
        error = max((expected * (1 - expected) / DRAWS) ** 0.5, 1 / DRAWS)
        assert share == pytest.approx(expected, abs=5 * error)


@pytest.mark.parametrize("mean", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("std", [0.05, 0.3, 1.0])
def test_tanh_normal_entropy_is_at_most_a_variance_too_high(mean, std):
    """Its true entropy is H[Normal] + E[log(1 - tanh²)], here by Gauss-Hermite quadrature. The
    second derivative of that logarithm lies in [-2, 0], which bounds what the median ignores."""
    distribution, row = TanhNormal(1, PLAIN), of_std(std, mean)
    centre = distribution.moments(parameters(row))[0].item()
    nodes, weights = np.polynomial.hermite.hermgauss(80)
    x = centre + std * 2**0.5 * nodes
    contraction = float(np.sum(weights * np.log(1 - np.tanh(x) ** 2)) / math.pi**0.5)
    exact = 0.5 * math.log(2 * math.pi * math.e * std**2) + contraction
    estimate = distribution.entropy(parameters(row)).item()
    # The 1e-6 that keeps the logarithm finite raises it by less than 1e-4 for these means.
    assert exact - 1e-6 <= estimate <= exact + std**2 + 1e-4


@pytest.mark.parametrize("kind", [BoundedNormal, TanhNormal])
def test_noise_is_normal_and_stays_in_the_box(kind):
    noisy = kind(2, BehaviourSettings(action_noise=0.3))
    action = parameters([0.0, 0.95]).expand(DRAWS, -1)
    found = noisy.add_noise(action, seeded())
    assert found.abs().max() <= 1
    inner = found[:, 0]
    assert inner.mean().abs() < 5 * 0.3 / DRAWS**0.5
    # The border lies at 3.3 deviations and takes less than a thousandth of the deviation.
    assert inner.std().item() == pytest.approx(0.3, abs=5 * 0.3 / (2 * DRAWS) ** 0.5 + 3e-4)
    at_border = (found[:, 1] == 1).to(torch.float64).mean().item()
    expected = 0.5 * (1 - math.erf(0.05 / 0.3 / 2**0.5))
    assert at_border == pytest.approx(expected, abs=5 * (0.25 / DRAWS) ** 0.5)
    assert kind(2, PLAIN).add_noise(action) is action


def test_one_hot_probabilities_entropy_and_mode_against_a_loop():
    distribution, row = OneHot(3, 0.0), [1.0, -0.5, 2.0]
    weights = [math.exp(value) for value in row]
    expected = [0.99 * weight / sum(weights) + 0.01 / 3 for weight in weights]
    assert distribution.probabilities(parameters(row))[0].tolist() == pytest.approx(expected)
    entropy = -sum(p * math.log(p) for p in expected)
    assert distribution.entropy(parameters(row)).item() == pytest.approx(entropy, abs=1e-12)
    assert distribution.mode(parameters(row)).tolist() == [[0.0, 0.0, 1.0]]
    # However sure the policy is, every choice stays possible and the entropy finite.
    sure = distribution.probabilities(parameters([1e4, 0.0, 0.0]))
    assert sure.min().item() == pytest.approx(0.01 / 3)


def test_one_hot_samples_are_exact_and_follow_the_probabilities():
    distribution, row = OneHot(4, 0.0), [2.0, 0.0, -1.0, 1.0]
    samples = drawn(distribution, row)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    assert (samples.sum(-1) == 1).all()
    expected = distribution.probabilities(parameters(row))[0]
    torch.testing.assert_close(samples.mean(0), expected, atol=5 * 0.5 / DRAWS**0.5, rtol=0)
    again = distribution.sample(parameters(row).expand(2, 3, -1))
    assert again.shape == (2, 3, 4)


def test_one_hot_gradient_is_that_of_the_probabilities():
    distribution = OneHot(4, 0.0)
    logits = torch.randn(5, 4, dtype=torch.float64, generator=seeded()).requires_grad_()
    weights = torch.randn(5, 4, dtype=torch.float64, generator=seeded(1))
    found = torch.autograd.grad((distribution.sample(logits) * weights).sum(), logits)
    wanted = torch.autograd.grad((distribution.probabilities(logits) * weights).sum(), logits)
    torch.testing.assert_close(found, wanted)


def test_noise_replaces_a_share_of_the_choices():
    action = torch.eye(4, dtype=torch.float64)[1].expand(DRAWS, -1)
    found = OneHot(4, 0.3).add_noise(action, seeded())
    # Of the random share, a quarter falls on the same choice again.
    expected = torch.full((4,), 0.3 / 4, dtype=torch.float64)
    expected[1] += 0.7
    torch.testing.assert_close(found.mean(0), expected, atol=5 * 0.5 / DRAWS**0.5, rtol=0)
    assert (found.sum(-1) == 1).all()
    assert OneHot(4, 0.0).add_noise(action) is action
