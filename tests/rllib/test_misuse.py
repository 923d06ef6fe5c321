"""What cannot be used is refused where it is met, with the value, the reason and the fix."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_lsp import LSP, LSPConfig, load_agent, make_env
from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.saved_agent import CheckpointError, save_agent
from rllib_lsp.envs import wrap
from rllib_lsp.envs.checks import NotFiniteError
from rllib_lsp.lsp.spaces import SpaceError, action_spec, observation_spec
from rllib_lsp.replay import ReplayError, SequenceReplay

BOX = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)


def an_agent(path, *, width=3, actions=2, version=2, **groups):
    """A saved agent in a checkpoint directory."""
    path.mkdir(parents=True)
    settings = build_settings(groups, size="tiny")
    agent = Agent({"observation": (width,)}, ActionSpec(actions), settings)
    with open(path / "agent.pt", "wb") as stream:
        save_agent(agent, stream)
    if version != 2:
        content = torch.load(path / "agent.pt", weights_only=True)
        torch.save({**content, "version": version}, path / "agent.pt")
    return path


def two_agents(path):
    an_agent(path / "a")
    an_agent(path / "b")
    return path


def a_replay(path, **changes):
    replay = SequenceReplay(100)
    replay.add(0, {"reward": np.zeros(10, np.float32)})
    replay.save(path)
    state = json.loads((path / "replay.json").read_text())
    (path / "replay.json").write_text(json.dumps({**state, **changes}))
    return path


def without(path, name):
    (path / name).unlink()
    return path


class Env(gym.Env):
    """Gives what it is told to give."""

    observation_space = BOX
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, observation=None, reward=0.0, end=False):
        self.given, self.reward, self.end = observation, reward, end

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        observation = np.zeros(3, np.float32) if self.given is None else self.given
        return observation, self.reward, self.end, False, {}


def play(*actions, reset=True, **options):
    env = wrap(Env(**options))
    if reset:
        env.reset()
    for action in actions:
        env.step(np.asarray(action, np.float32))


class TakesNothing(Env):
    def __init__(self, _):
        super().__init__()


def transfer(source, **options):
    def make(path):
        config = LSPConfig().environment(TakesNothing).training(size="tiny")
        config.transfer(str(source(path / "source")), **options).build_algo()

    return make


SPACES = {
    "a Tuple": (gym.spaces.Tuple([BOX]), ["Tuple", "FlattenObservation"]),
    "a Graph": (gym.spaces.Graph(BOX, None), ["Graph", "TransformObservation"]),
    "a Sequence": (gym.spaces.Sequence(BOX), ["Sequence", "no Box"]),
    "a Discrete": (gym.spaces.Discrete(4), ["Discrete(4)", "FlattenObservation"]),
    "a MultiBinary": (gym.spaces.MultiBinary(4), ["MultiBinary(4)", "no Box"]),
    "a nested Dict": (
        gym.spaces.Dict({"a": gym.spaces.Dict({"b": BOX})}),
        ["'a'", "cannot be nested", "FlattenObservation"],
    ),
    "an empty Dict": (gym.spaces.Dict({}), ["empty Dict", "at least one Box"]),
    "a matrix": (gym.spaces.Box(0, 1, (3, 3)), ["(3, 3)", "one dimension", "Reshape"]),
    "integers": (gym.spaces.Box(0, 9, (3,), np.int64), ["int64", "DtypeObservation"]),
    "channels first": (
        gym.spaces.Box(0, 255, (3, 64, 64), np.uint8),
        ["channels last", "np.moveaxis"],
    ),
    "a float image": (gym.spaces.Box(0, 1, (64, 64, 3)), ["uint8 from 0 to 255"]),
    "an odd image": (gym.spaces.Box(0, 255, (50, 64, 3), np.uint8), ["multiples of", "Resize"]),
    "nothing": (gym.spaces.Box(0, 1, (0,)), ["empty", "leave it out"]),
}
ACTIONS = {
    "a Tuple": (gym.spaces.Tuple([BOX]), ["Tuple", "TransformAction"]),
    "a Text": (gym.spaces.Text(4), ["Text", "bounded 1-D Box"]),
    "a Graph": (gym.spaces.Graph(BOX, None), ["Graph", "TransformAction"]),
    "a Dict": (gym.spaces.Dict({"a": BOX}), ["Dict", "TransformAction"]),
    "a MultiBinary": (gym.spaces.MultiBinary(3), ["MultiBinary(3)"]),
    "half bounded": (gym.spaces.Box(0.0, np.inf, (2,)), ["inf", "finite bounds", "RescaleAction"]),
    "a matrix": (gym.spaces.Box(-1, 1, (2, 2)), ["(2, 2)", "1-D Box"]),
    "an offset": (gym.spaces.Discrete(3, start=1), ["start=1", "Discrete(n)"]),
}
CHECKPOINTS = {
    "no place": (lambda p: load_agent(p / "none"), CheckpointError, ["none", "checkpoint_000003"]),
    "nothing in it": (lambda p: load_agent(p), CheckpointError, ["No agent.pt", "directory of"]),
    "two in it": (
        lambda p: load_agent(two_agents(p)), CheckpointError, ["a/agent.pt", "name one of them"],
    ),
    "of another time": (
        lambda p: load_agent(an_agent(p / "old", version=1)),
        CheckpointError,
        ["format 1", "reads 3", "version that wrote it"],
    ),
    "a typo in its planner": (
        lambda p: load_agent(an_agent(p / "a"), planner={"candidate": 3}),
        ValueError,
        ["planner.candidate", "did you mean 'candidates'"],
    ),
    "a replay of another time": (
        lambda p: SequenceReplay(9).load(a_replay(p, version=1)), ReplayError, ["format 1"],
    ),
    "a replay without a column": (
        lambda p: SequenceReplay(9).load(without(a_replay(p), "reward.npy")),
        ReplayError,
        ["Cannot read", "reward.npy"],
    ),
    "no algorithm": (
        lambda p: LSP.from_checkpoint(str(p / "none")), (ValueError, FileNotFoundError), ["none"],
    ),
}  # fmt: skip
TRANSFERS = {
    "another observation": (
        transfer(lambda p: an_agent(p, width=5)), ValueError, ["(5,)", "(3,)"],
    ),
    "another action": (
        transfer(lambda p: an_agent(p, actions=4)), ValueError, ["4", "2"],
    ),
    "another latent": (
        transfer(lambda p: an_agent(p, world_model={"latent": "gaussian"})),
        ValueError,
        ["gaussian", "categorical"],
    ),
    "a part it lacks": (
        transfer(lambda p: an_agent(p), keep=["ensemble"]), ValueError, ["ensemble"],
    ),
    "two agents": (transfer(two_agents), ValueError, ["several agents", "name one"]),
    "a replay it lacks": (
        transfer(lambda p: an_agent(p), keep=["replay"]),
        ValueError,
        ["0 replays", "store_replay_in_checkpoints"],
    ),
}  # fmt: skip
BEHAVIOUR = {
    "a NaN observation": (
        lambda _: play([0, 0], observation=np.array([0, np.nan, 0], np.float32)),
        NotFiniteError,
        ["observation '[1]'", "decision 1", "nan"],
    ),
    "an infinite reward": (
        lambda _: play([0, 0], reward=-np.inf), NotFiniteError, ["reward is -inf", "decision 1"],
    ),
    "an observation of another width": (
        lambda _: play([0, 0], observation=np.zeros(4, np.float32)),
        ValueError,
        ["(4,)", "space says (3,)"],
    ),
    "a NaN action": (lambda _: play([np.nan, 0]), NotFiniteError, ["action is", "nan"]),
    "an action of another width": (
        lambda _: play([0, 0, 0]), ValueError, ["(3,)", "expected (2,)"],
    ),
    "a step before the reset": (
        lambda _: play([0, 0], reset=False), RuntimeError, ["call reset()"],
    ),
    "a step after the end": (
        lambda _: play([0, 0], [0, 0], end=True), RuntimeError, ["has ended", "call reset()"],
    ),
    "no frame in a decision": (
        lambda _: make_env("CartPole-v1", action_repeat=0), ValueError, ["action_repeat", "0"],
    ),
    "an unknown id": (
        lambda _: make_env("dm_control/wlaker-walk-v0"), ValueError, ["walker-walk-v0"],
    ),
    "an unknown option": (
        lambda _: make_env("CartPole-v1", speed=3), TypeError, ["speed"],
    ),
    "pictures of what draws none": (
        lambda _: wrap(Env(), pixels=64), ValueError, ["pixels", "AddRenderObservation"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPACES)
def test_observations(case):
    space, parts = SPACES[case]
    with pytest.raises(SpaceError) as caught:
        observation_spec(space)
    assert_says(caught, parts)


@pytest.mark.parametrize("case", ACTIONS)
def test_actions(case):
    space, parts = ACTIONS[case]
    with pytest.raises(SpaceError) as caught:
        action_spec(space)
    assert_says(caught, parts)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("table", "case"),
    [
        (name, case)
        for name, table in (("c", CHECKPOINTS), ("t", TRANSFERS), ("b", BEHAVIOUR))
        for case in table
    ],
)
def test_checkpoints_transfers_and_behaviour(table, case, tmp_path):
    act, error, parts = {"c": CHECKPOINTS, "t": TRANSFERS, "b": BEHAVIOUR}[table][case]
    with pytest.raises(error) as caught:
        act(tmp_path)
    assert_says(caught, parts)


def assert_says(caught, parts):
    for part in parts:
        assert part in str(caught.value), str(caught.value)
