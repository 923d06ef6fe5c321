"""Images on their way from a space and an environment to a batch: shapes, types, errors."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.policy.sample_batch import SampleBatch
from ray.rllib.utils.torch_utils import convert_to_torch_tensor

from rllib_lsp.lsp.episodes import columns_of, to_episodes, write_step
from rllib_lsp.lsp.spaces import SpaceError, observation_spec


def image(*shape, dtype=np.uint8):
    return spaces.Box(0, 255, shape, dtype)


VECTOR = spaces.Box(-9, 9, (5,), np.float32)


@pytest.mark.parametrize(
    ("space", "spec"),
    [
        (VECTOR, {"observation": (5,)}),
        (spaces.Box(-1, 1, (2,), np.float64), {"observation": (2,)}),
        (image(64, 64, 3), {"observation": (64, 64, 3)}),
        (image(16, 96, 1), {"observation": (16, 96, 1)}),
        (image(64, 64, 12), {"observation": (64, 64, 12)}),
        (
            spaces.Dict({"pixels": image(32, 32, 4), "arm.left": VECTOR}),
            {"arm.left": (5,), "pixels": (32, 32, 4)},
        ),
    ],
)
def test_shapes_come_from_the_space(space, spec):
    assert observation_spec(space) == spec


@pytest.mark.parametrize(
    ("space", "reason", "fix"),
    [
        (spaces.Tuple([VECTOR]), "a Tuple is no Box", "FlattenObservation"),
        (spaces.Text(5), "a Text is no Box", "TransformObservation"),
        (spaces.Graph(VECTOR, None), "a Graph is no Box", "TransformObservation"),
        (spaces.MultiBinary(4), "a MultiBinary is no Box", "FlattenObservation"),
        (spaces.Discrete(4), "a Discrete is no Box", "FlattenObservation"),
        (spaces.Dict({"inner": VECTOR}), "cannot be nested", "FlattenObservation"),
        (spaces.Box(-1, 1, (5,), np.int64), "vectors are of floats", "DtypeObservation"),
        (spaces.Box(-1, 1, (), np.float32), "one dimension", "FlattenObservation"),
        (image(64, 64), "one dimension and images three", "ReshapeObservation"),
        (spaces.Box(-1, 1, (0,), np.float32), "it is empty", "leave it out"),
        (image(64, 64, 3, dtype=np.float32), "images are uint8", "TransformObservation"),
        (image(3, 64, 64), "channels last", "np.moveaxis"),
        (image(84, 84, 4), "multiples of 16", "ResizeObservation"),
        (image(7, 7, 3), "multiples of 16", "ResizeObservation"),
    ],
)
def test_other_spaces_are_named_with_reason_and_fix(space, reason, fix):
    with pytest.raises(SpaceError) as error:
        observation_spec(spaces.Dict({"good": VECTOR, "bad": space}))
    for part in ("'bad'", str(space), reason, fix):
        assert part in str(error.value)


def test_a_dict_without_keys():
    with pytest.raises(SpaceError, match="empty Dict"):
        observation_spec(spaces.Dict({}))


class Shades(gym.Env):
    """The picture is as bright as the step is late; a vector counts the steps."""

    observation_space = spaces.Dict({"pixels": image(16, 16, 3), "count": VECTOR})
    action_space = spaces.Box(-1, 1, (1,))

    def _observation(self):
        count = np.full(5, self.t, np.float32)
        return {"pixels": np.full((16, 16, 3), 10 * self.t, np.uint8), "count": count}

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._observation(), {}

    def step(self, action):
        self.t += 1
        return self._observation(), 0.0, False, False, {}


def test_images_stay_bytes_on_their_way_to_a_batch():
    env = gym.vector.SyncVectorEnv([Shades] * 2)
    rows = {}
    arrival = columns_of(env.reset()[0])
    for step in range(4):
        write_step(rows, step, 4, arrival)
        arrival = columns_of(env.step(np.zeros((2, 1), np.float32))[0])
    batch = convert_to_torch_tensor(SampleBatch(rows))
    pixels, count = batch["observation.pixels"], batch["observation.count"]
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (2, 4, 16, 16, 3)
    assert count.dtype == torch.float32
    assert pixels[1, :, 0, 0, 0].tolist() == [0, 10, 20, 30]
    assert count[1, :, 0].tolist() == [0, 1, 2, 3]


def test_episodes_hold_images_as_they_were():
    env = gym.vector.SyncVectorEnv([Shades])
    rows, steps = {}, 3
    arrival = columns_of(env.reset()[0])
    for step in range(steps + 1):
        arrival |= {
            "action": np.zeros((1, 1), np.float32),
            "reward": np.zeros(1, np.float32),
            "is_first": np.array([step == 0]),
            "terminated": np.zeros(1, bool),
            "truncated": np.zeros(1, bool),
        }
        if step < steps:
            write_step(rows, step, steps, arrival)
            arrival = columns_of(env.step(np.zeros((1, 1), np.float32))[0])
    (episode,) = to_episodes(rows, arrival, env)
    observations = episode.to_numpy().get_observations()
    assert len(episode) == steps
    assert observations["pixels"].dtype == np.uint8
    assert observations["pixels"].shape == (steps + 1, 16, 16, 3)
    assert observations["pixels"][:, 0, 0, 0].tolist() == [0, 10, 20, 30]
    assert env.single_observation_space.contains(episode.get_observations(-1))
