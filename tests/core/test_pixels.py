"""Images in the world model, alone and beside vectors."""

import pytest
import torch

from rllib_lsp.core.encoder import Decoder, Encoder
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.settings import SettingsError
from rllib_lsp.core.world_model import Batch, WorldModel

SHAPES = {
    "one image": {"pixels": (64, 64, 3)},
    "wide and grey": {"keys": (32, 48, 1)},
    "mixed": {"front.left": (32, 32, 3), "speed": (2,), "depth": (16, 64, 1), "arm": (3,)},
}
FEATURES = 24


def settings(preset="modern", **world_model):
    return build_settings({"world_model": world_model}, preset=preset, size="tiny").world_model


def observation_of(spec, *leading):
    return {
        key: torch.randn(*leading, *shape)
        if len(shape) == 1
        else torch.randint(0, 256, (*leading, *shape), dtype=torch.uint8)
        for key, shape in spec.items()
    }


def batch_of(spec, rows, length):
    is_first = torch.zeros(rows, length, dtype=torch.bool)
    is_first[:, 0] = True
    nothing = torch.zeros(rows, length)
    return Batch(
        observation=observation_of(spec, rows, length),
        action=torch.rand(rows, length, 2) * 2 - 1,
        reward=nothing,
        is_first=is_first,
        terminated=nothing.bool(),
        plan_mean=nothing,
        plan_std=nothing,
        planned=nothing.bool(),
    )


@pytest.mark.parametrize("preset", ["modern", "paper"])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("name", SHAPES)
def test_any_leading_shape_goes_in_and_comes_out(name, leading, preset):
    spec = SHAPES[name]
    encoder = Encoder(spec, settings(preset))
    decoder = Decoder(spec, FEATURES, settings(preset))
    observation, features = observation_of(spec, *leading), torch.randn(*leading, FEATURES)
    embedding = encoder(observation)
    assert embedding.shape == (*leading, encoder.size)
    assert embedding.dtype == torch.float32
    assert decoder.loss(features, observation).shape == leading
    decoded = decoder.decode(features)
    assert list(decoded) == list(spec)
    for key, shape in spec.items():
        assert decoded[key].shape == (*leading, *shape), key


def test_steps_are_encoded_and_scored_alone():
    spec = SHAPES["mixed"]
    encoder, decoder = Encoder(spec, settings()), Decoder(spec, FEATURES, settings())
    observation, features = observation_of(spec, 2, 3), torch.randn(2, 3, FEATURES)
    one = {key: value[1, 2] for key, value in observation.items()}
    torch.testing.assert_close(encoder(observation)[1, 2], encoder(one))
    torch.testing.assert_close(
        decoder.loss(features, observation)[1, 2], decoder.loss(features[1, 2], one)
    )


def test_the_error_of_an_image_is_that_of_what_is_decoded():
    spec = {"pixels": (32, 48, 3)}
    # Without norms, small features are decoded to grey and nothing is clamped.
    decoder = Decoder(spec, FEATURES, settings("paper"))
    features, observation = 0.1 * torch.randn(4, FEATURES), observation_of(spec, 4)
    decoded = decoder.decode(features)["pixels"]
    assert decoded.min() > 0
    assert decoded.max() < 255
    # The paper's density of a Normal is half the squared error.
    expected = 0.5 * ((decoded - observation["pixels"]) / 255).square().sum((-3, -2, -1))
    torch.testing.assert_close(decoder.loss(features, observation), expected)


def test_decoded_images_stay_in_their_range():
    decoder = Decoder({"pixels": (16, 16, 3)}, FEATURES, settings())
    decoded = decoder.decode(1e4 * torch.randn(8, FEATURES))["pixels"]
    assert decoded.min() == 0
    assert decoded.max() == 255


def test_vectors_are_decoded_without_the_images():
    spec = SHAPES["mixed"]
    decoder = Decoder(spec, FEATURES, settings())
    features = torch.randn(3, FEATURES)
    everything, vectors = decoder.decode(features), decoder.decode_vectors(features)
    assert list(vectors) == ["speed", "arm"]
    for key, value in vectors.items():
        torch.testing.assert_close(value, everything[key])


def test_bytes_and_floats_of_the_same_range_are_the_same():
    encoder = Encoder({"pixels": (16, 16, 3)}, settings())
    observation = observation_of({"pixels": (16, 16, 3)}, 2)
    as_floats = {key: value.float() for key, value in observation.items()}
    torch.testing.assert_close(encoder(observation), encoder(as_floats))


@pytest.mark.parametrize("preset", ["modern", "paper"])
def test_one_batch_of_images_and_vectors_is_learned_by_heart(preset):
    torch.manual_seed(0)
    spec = {"pixels": (32, 32, 3), "speed": (2,)}
    model = WorldModel(spec, 2, settings(preset))
    batch = batch_of(spec, 2, 4)
    # Two plain pictures, as noise takes long to learn.
    batch.observation["pixels"][0] = 30
    batch.observation["pixels"][1] = 200
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        loss, _, metrics = model.loss(batch)
        losses.append(metrics["reconstruction_loss"].item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0], losses[::30]
    _, states, _ = model.loss(batch)
    decoded = model.decoder.decode(states.features)["pixels"].mean((1, 2, 3, 4))
    torch.testing.assert_close(decoded, torch.tensor([30.0, 200.0]), atol=25, rtol=0)


def test_the_loss_reaches_every_convolution():
    torch.manual_seed(0)
    spec = SHAPES["mixed"]
    model = WorldModel(spec, 2, settings())
    model.loss(batch_of(spec, 2, 3))[0].backward()
    for part in (model.encoder, model.decoder):
        names = [name for name, _ in part.named_parameters()]
        assert sum("image_networks.0" in name for name in names) > 8
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_wider_convolutions_are_an_option():
    spec = {"pixels": (64, 64, 3)}
    assert Encoder(spec, settings(channels=6)).size == 6 * 8 * 4 * 4
    with pytest.raises(SettingsError, match=r"world_model\.channels = 0"):
        settings(channels=0)


def test_a_picture_of_another_shape_is_named():
    encoder = Encoder({"pixels": (16, 16, 3)}, settings())
    with pytest.raises(ValueError, match=r"'pixels' has shape \(1, 3, 16, 16\), expected"):
        encoder({"pixels": torch.zeros(1, 3, 16, 16, dtype=torch.uint8)})
