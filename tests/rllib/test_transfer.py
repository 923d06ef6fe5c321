"""Transfer: what is taken over, what begins anew, what stays frozen."""

import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_lsp import LSP, DreamerConfig, FixedPolicyConfig, LSPConfig
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.saved_agent import read_agent
from rllib_lsp.lsp.rl_module import LSPTorchRLModule
from rllib_lsp.lsp.transfer import source_path
from tests.rllib.conftest import CARTPOLE, tiny_config


@pytest.fixture(scope="module")
def source(ray_session, tmp_path_factory):
    """The checkpoint of an agent that has learned something, however little."""
    algorithm = tiny_config().build_algo()
    algorithm.train()
    path = algorithm.save_to_path(tmp_path_factory.mktemp("source"))
    algorithm.stop()
    return path


def like(config):
    tiny = tiny_config()
    for key in ("size", "batch_size", "batch_length", "training_ratio", "learning_starts"):
        setattr(config, key, getattr(tiny, key))
    return (
        config.environment(CARTPOLE, env_config=tiny.env_config)
        .reporting(min_sample_timesteps_per_iteration=200)
        .debugging(seed=1)
    )


def learning_agent(algorithm):
    return algorithm.learner_group._learner.module["default_policy"].unwrapped().agent


def weights(algorithm):
    state = learning_agent(algorithm).state_dict()
    return {key: value.clone() for key, value in state.items()}


def test_the_usual_parts_are_taken_over_and_a_table_says_so(build, source, capsys):
    algorithm = build(like(LSPConfig()).transfer(source))
    theirs, mine = read_agent(source)["weights"], weights(algorithm)
    kept = ("world_model.encoder", "world_model.rssm", "world_model.decoder", "policy",
            "skill_predictor", "skill_value")  # fmt: skip
    for key, value in mine.items():
        if key.startswith(kept):
            assert torch.equal(value, theirs[key]), key
    for head in ("world_model.reward_head.0.weight", "value.network.0.weight"):
        assert not torch.equal(mine[head], theirs[head])
    assert len(algorithm.replay) == 0
    acting = algorithm.env_runner.module.agent.policy.state_dict()
    assert torch.equal(acting["network.0.weight"], theirs["policy.network.0.weight"])

    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    count = sum(v.numel() for k, v in mine.items() if k.startswith("policy."))
    assert lines["policy"][1:] == ["kept", f"{count:,}"]
    assert lines["value"][1] == "reset"

    # Before learning begins skills are random, but torques are the policy's.
    request = algorithm._request()
    assert request["random"] == "skills"
    fragment, _ = algorithm.env_runner.sample_fragment(**request)
    assert not fragment.rows["planned"].any()
    assert np.unique(fragment.rows["plan_std"]).tolist() == [1.0]


def test_the_fixed_policy_stays_bit_identical_while_all_else_learns(build, source):
    """Pinning test 5."""
    algorithm = build(like(FixedPolicyConfig()).transfer(source))
    before = weights(algorithm)
    algorithm.train()
    after = weights(algorithm)
    theirs = read_agent(source)["weights"]
    for key, value in after.items():
        if key.startswith("policy."):
            assert torch.equal(value, before[key])
            assert torch.equal(value, theirs[key])
    for part in ("world_model.rssm", "world_model.reward_head", "value.network"):
        assert any(
            not torch.equal(after[key], before[key]) for key in after if key.startswith(part)
        ), part
    groups = learning_agent(algorithm).parameter_groups()
    assert "policy" not in groups
    assert "value" in groups


def test_anything_can_be_kept_or_reset(build, source):
    config = like(LSPConfig()).transfer(source, keep=["reward", "replay"], reset=["policy"])
    algorithm = build(config)
    theirs, mine = read_agent(source)["weights"], weights(algorithm)
    key = "world_model.reward_head.0.weight"
    assert torch.equal(mine[key], theirs[key])
    assert not torch.equal(mine["policy.network.0.weight"], theirs["policy.network.0.weight"])
    assert len(algorithm.replay) >= 200


def test_runs_that_keep_a_replay_draw_from_it_by_their_own_seeds(build, source):
    def first_draw(seed):
        algorithm = build(like(LSPConfig()).transfer(source, keep=["replay"]).debugging(seed=seed))
        return algorithm.replay.sample(16, 4)["action"]

    assert not np.array_equal(first_draw(2), first_draw(3))


class OwnAgent(LSPTorchRLModule):
    """As docs/extending.md has it: the usual agent is only asked what it is made of."""

    def make_agent(self):
        usual = super().make_agent()
        return Agent(usual.spec, usual.action_spec, usual.settings)


def test_an_agent_of_ones_own_is_frozen_too(build, source):
    spec = RLModuleSpec(module_class=OwnAgent)
    config = like(FixedPolicyConfig()).transfer(source).rl_module(rl_module_spec=spec)
    algorithm = build(config)
    before = weights(algorithm)
    assert "policy" not in learning_agent(algorithm).parameter_groups()
    algorithm.train()
    after = weights(algorithm)
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith("policy."))


def test_plans_in_a_replay_are_fitted_to_those_of_today(build, source):
    """Of another length they are cut, or filled up; of another width they mean something else."""
    config = like(LSPConfig()).transfer(source, keep=["replay"])
    was = build(config).replay.sample(64, 8)
    longer = build(config.copy(copy_frozen=False).training(planner={"skills": 3}))
    found = longer.replay.sample(64, 8)
    assert found["plan_mean"].shape == (64, 8, 3, 3)
    for key, fill in (("plan_mean", 0.0), ("plan_std", 1.0)):
        np.testing.assert_array_equal(found[key][:, :, :2], was[key])
        assert (found[key][:, :, 2] == fill).all()
    assert was["plan_mean"].any()
    longer.train()
    config.training(skills={"dim": 2})
    config.transfer(source, reset=["policy", "skill_predictor", "skill_value"])
    with pytest.raises(ValueError, match=r"3 dimensions.* 2: set skills\.dim to the same"):
        build(config)


class Other(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (9,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, _=None):
        pass

    def reset(self, *, seed=None, options=None):
        return np.zeros(9, np.float32), {}

    def step(self, action):
        return np.zeros(9, np.float32), 0.0, False, False, {}


def test_another_environment_is_named_with_both_spaces(build, source):
    with pytest.raises(ValueError, match=r"world_model.*\(5,\).*\(9,\).*transfer.reset"):
        build(like(LSPConfig()).environment(Other, env_config={}).transfer(source))


def test_dreamer_has_no_policy_for_skills_but_a_model(build, source):
    with pytest.raises(ValueError, match=r"The policy of the source does not fit"):
        build(like(DreamerConfig()).transfer(source))
    algorithm = build(like(DreamerConfig()).transfer(source, reset=["policy"]))
    key = "world_model.rssm.from_action.weight"
    assert torch.equal(weights(algorithm)[key], read_agent(source)["weights"][key])


def test_what_the_source_lacks_cannot_be_kept(build, source):
    with pytest.raises(ValueError, match="the source has no ensemble"):
        build(
            like(LSPConfig())
            .training(world_model={"ensemble": 2})
            .transfer(source, keep=["ensemble"])
        )


def test_what_is_frozen_stays_as_it_was_whole(build, source):
    algorithm = build(like(LSPConfig()).transfer(source, keep=["value"], freeze=["value"]))
    before = weights(algorithm)
    algorithm.train()
    for key, value in weights(algorithm).items():
        if key.startswith("value."):
            assert torch.equal(value, before[key]), key


def test_a_checkpoint_outlives_its_source(build, source, tmp_path):
    moved = tmp_path / "source"
    shutil.copytree(source, moved)
    algorithm = build(like(FixedPolicyConfig()).transfer(str(moved)))
    algorithm.train()
    path = algorithm.save_to_path(tmp_path / "mine")
    shutil.rmtree(moved)
    again = LSP.from_checkpoint(path)
    mine, restored = weights(algorithm), weights(again)
    again.stop()
    for key, value in mine.items():
        assert torch.equal(value, restored[key]), key


def test_one_that_was_begun_with_a_transfer_is_the_source_of_the_next(build, source, tmp_path):
    second = build(like(LSPConfig()).transfer(source)).save_to_path(tmp_path / "second")
    config = LSP.from_checkpoint(second).config.copy(copy_frozen=False)
    with pytest.raises(ValueError, match="nowhere"):
        config.copy().transfer("nowhere").validate()
    third = build(config.transfer(second))
    for key, value in weights(third).items():
        if key.startswith("policy"):
            assert torch.equal(value, read_agent(second)["weights"][key]), key


def test_a_relative_path_is_one_of_the_directory_where_tune_was_started(
    source, tmp_path, monkeypatch
):
    shutil.copytree(source, tmp_path / "source")
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(tmp_path))
    config = like(LSPConfig()).transfer("source")
    config.validate()
    assert source_path(config.transfer_options) == tmp_path / "source"


def test_the_first_result_shows_what_was_taken_over(build, source):
    algorithm = build(like(LSPConfig()).transfer(source))
    assert "policy           kept" in algorithm.train()["transfer_table"]
    assert "transfer_table" not in algorithm.train()


def test_freezing_what_begins_anew_is_refused(build, source):
    with pytest.raises(ValueError, match=r"transfer.freeze = 'policy'.*transfer.keep"):
        build(like(FixedPolicyConfig()).transfer(source, reset=["policy"]))


def test_the_fixed_policy_stays_fixed_when_more_is_frozen():
    config = FixedPolicyConfig().transfer("/anywhere", freeze=["world_model"])
    assert config.frozen == ["policy", "world_model"]


def test_weights_of_another_meaning_are_refused(build, source):
    with pytest.raises(ValueError, match=r"world_model.symlog is True there and False here"):
        build(like(LSPConfig()).training(world_model={"symlog": False}).transfer(source))
