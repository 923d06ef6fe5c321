"""Vectors between the world and the model: squashed by symlog, or as they are."""

import pytest
import torch

from rllib_lsp.core.encoder import Decoder, Encoder
from rllib_lsp.core.presets import build_settings

SPEC = {"position": (3,), "velocity": (2,)}
FEATURES = 6


def symlog(x):
    return torch.sign(x) * torch.log1p(x.abs())


def as_it_is(x):
    return x


CASES = {"modern": symlog, "paper": as_it_is}


def inverse(preset, x):
    return x if preset == "paper" else torch.sign(x) * torch.expm1(x.abs())


@pytest.fixture
def observation():
    generator = torch.Generator().manual_seed(0)
    draw = {key: torch.randn(4, *shape, generator=generator) for key, shape in SPEC.items()}
    return {key: 20 * value.double() for key, value in draw.items()}


def parts(preset):
    torch.manual_seed(0)
    settings = build_settings({}, preset=preset, size="tiny").world_model
    return Encoder(SPEC, settings).double(), Decoder(SPEC, FEATURES, settings).double()


@pytest.mark.parametrize("preset", CASES)
def test_the_encoder_reads_vectors_on_the_scale_of_the_preset(preset, observation):
    encoder, _ = parts(preset)
    joined = torch.cat([observation["position"], observation["velocity"]], -1)
    torch.testing.assert_close(encoder(observation), encoder.network(CASES[preset](joined)))


@pytest.mark.parametrize("preset", CASES)
def test_the_error_is_squared_on_that_scale_and_decoding_leaves_it(preset, observation):
    _, decoder = parts(preset)
    features = torch.randn(4, FEATURES, dtype=torch.float64)
    raw = decoder.network(features)
    expected = torch.zeros(4, dtype=torch.float64)
    for row in range(4):
        target = torch.cat([observation["position"][row], observation["velocity"][row]])
        weight = build_settings({}, preset=preset).world_model.vector_scale
        expected[row] = weight * sum((raw[row] - CASES[preset](target)) ** 2)
    torch.testing.assert_close(decoder.loss(features, observation), expected)
    decoded = decoder.decode(features)
    torch.testing.assert_close(decoded["position"], inverse(preset, raw[:, :3]))
    torch.testing.assert_close(decoded["velocity"], inverse(preset, raw[:, 3:]))


def test_half_the_squared_error_is_the_density_of_the_paper(observation):
    """`vector_scale` 0.5 makes it the log-density of a unit Normal, less its constant."""
    _, decoder = parts("paper")
    features = torch.randn(4, FEATURES, dtype=torch.float64)
    target = torch.cat([observation["position"], observation["velocity"]], -1)
    normal = torch.distributions.Normal(decoder.network(features), 1.0)
    constant = 5 * 0.9189385332046727
    density = normal.log_prob(target).sum(-1) + constant
    torch.testing.assert_close(decoder.loss(features, observation), -density)
