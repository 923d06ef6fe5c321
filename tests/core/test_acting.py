"""Pinning tests 4 and 7: the skill clock, resets, and the same actions after a restore."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rllib_lsp.core.saved_agent import CheckpointError, SavedAgent, load_agent, save_agent
from tests.core.conftest import SPEC

DURATION = 5


def observe(count, generator):
    return {key: torch.randn(count, *shape, generator=generator) for key, shape in SPEC.items()}


@pytest.fixture
def agent(make_agent):
    return make_agent(skills={"duration": DURATION})


def roll(agent, is_first, explore=True, seed=0):
    """Act along is_first (T, N); returns actions, skills and where was planned, each (T, N, …)."""
    world, noise = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    carry = agent.initial_carry(is_first.shape[1])
    actions, skills, planned = [], [], []
    for first in is_first:
        carry, action, extras = agent.act(carry, observe(len(first), world), first, explore, noise)
        actions.append(action)
        skills.append(carry["skill"])
        planned.append(extras["planned"])
    return torch.stack(actions), torch.stack(skills), torch.stack(planned)


def test_skill_changes_every_k_decisions_and_at_each_reset(agent):
    steps, ends = 4 * DURATION, ([0], [0, 3, 11], [0, 7])
    is_first = torch.zeros(steps, 3, dtype=torch.bool)
    for env, resets in enumerate(ends):
        is_first[resets, env] = True
    _, skills, planned = roll(agent, is_first)
    for env, resets in enumerate(ends):
        since_reset = 0
        for step in range(steps):
            since_reset = 0 if step in resets else since_reset
            due = since_reset % DURATION == 0
            assert planned[step, env].item() == due
            if step:
                assert torch.equal(skills[step, env], skills[step - 1, env]) != due
            since_reset += 1


def test_a_reset_forgets_everything(agent):
    """An environment that was reset acts as one that never lived."""
    carry = agent.initial_carry(1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        carry, _, _ = agent.act(carry, observe(1, generator), torch.tensor([False]), True)
    observation = observe(1, generator)
    noise = torch.Generator()
    results = [
        agent.act(start, observation, torch.tensor([True]), True, noise.manual_seed(5))
        for start in (carry, agent.initial_carry(1))
    ]
    assert torch.equal(results[0][1], results[1][1])
    for key, value in results[0][0].items():
        assert torch.equal(value, results[1][0][key]), key


def test_actions_lie_in_bounds_and_repeat_with_the_seed(agent):
    is_first = torch.zeros(12, 2, dtype=torch.bool)
    first, again, other = (roll(agent, is_first, seed=seed)[0] for seed in (0, 0, 1))
    assert first.abs().max() <= 1.0
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_evaluation_takes_the_mean_of_plan_and_policy(agent):
    carry = agent.initial_carry(1)
    observation = observe(1, torch.Generator().manual_seed(0))
    carry, action, _ = agent.act(carry, observation, torch.tensor([True]), False)
    torch.testing.assert_close(carry["skill"], carry["plan_mean"][:, 0])
    state = torch.cat([carry["deterministic"], carry["stochastic"]], -1)
    mean = agent.policy.distribution.mode(agent.policy(state, carry["skill"]))
    torch.testing.assert_close(action, mean)


def test_random_skills_are_drawn_even_when_acting_greedily(agent):
    carry, first = agent.initial_carry(256), torch.ones(256, dtype=torch.bool)
    noise = torch.Generator().manual_seed(0)
    observation = observe(256, noise)
    carry, *_ = agent.act(carry, observation, first, False, noise, random_skills=True)
    assert carry["skill"].mean(0).abs().max() < 0.25
    assert (carry["skill"].std(0) - 1.0).abs().max() < 0.15


@pytest.mark.parametrize(("explore", "share"), [(True, 0.25), (False, 0.0)])
def test_a_share_of_skills_is_random_while_exploring(make_agent, explore, share):
    """The others are those of an agent that plans them all, and so is what the replay hears."""
    agent = make_agent(planner={"random": 0.25})
    planner = agent.settings.planner
    count, observation = 512, observe(512, torch.Generator().manual_seed(0))
    carries = []
    for random in (0.0, planner.random):
        agent.settings = replace(agent.settings, planner=replace(planner, random=random))
        noise, first = torch.Generator().manual_seed(1), torch.ones(count, dtype=torch.bool)
        carry, *_ = agent.act(agent.initial_carry(count), observation, first, explore, noise)
        carries.append(carry)
    planned, some = carries
    assert torch.equal(planned["plan_mean"], some["plan_mean"])
    other = (planned["skill"] != some["skill"]).any(-1)
    assert abs(other.float().mean() - share) < 0.06
    if share:
        drawn = some["skill"][other]
        assert drawn.mean(0).abs().max() < 0.3
        assert (drawn.std(0) - 1.0).abs().max() < 0.2


def test_a_restored_agent_acts_the_same(agent, tmp_path):
    with open(tmp_path / "agent.pt", "wb") as stream:
        save_agent(agent, stream)
    world = np.random.default_rng(0)
    observations = [
        {key: world.normal(size=shape).astype(np.float32) for key, shape in SPEC.items()}
        for _ in range(2 * DURATION + 1)
    ]
    runs = []
    loaded = load_agent(tmp_path, seed=3)
    for acting in (loaded, SavedAgent(agent, seed=3)):
        runs.append([acting.act(observation, explore=True) for observation in observations])
    np.testing.assert_array_equal(runs[0], runs[1])
    for name, weight in agent.state_dict().items():
        assert torch.equal(weight, loaded.agent.state_dict()[name]), name
    assert loaded.agent.settings == agent.settings
    with pytest.raises(CheckpointError, match="has learned to plan skills"):
        load_agent(tmp_path, planner={"space": "actions"})


def test_an_agent_prints_itself(agent):
    assert "trained parameters" in repr(agent)


def test_a_path_without_an_agent_says_what_to_give(tmp_path):
    with pytest.raises(CheckpointError, match=r"checkpoint_000003"):
        load_agent(tmp_path)


def test_a_checkpoint_of_another_format_is_named(tmp_path):
    torch.save({"version": 99}, tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=r"format 99.*reads 3"):
        load_agent(tmp_path)


def test_an_observation_that_does_not_fit_is_named(agent):
    carry, first = agent.initial_carry(1), torch.tensor([True])
    with pytest.raises(KeyError, match="velocity"):
        agent.act(carry, {"position": torch.zeros(1, 3)}, first, True)
    wrong = {"position": torch.zeros(1, 4), "velocity": torch.zeros(1, 2)}
    with pytest.raises(ValueError, match=r"position.*\(1, 4\).*3"):
        agent.act(carry, wrong, first, True)


def test_a_plan_begins_with_what_is_left_of_the_last(make_agent):
    agent = make_agent(planner={"skills": 3})
    previous = torch.randn(2, 3, 3)
    start = agent._start_of_plan(previous, torch.tensor([True, False]))
    torch.testing.assert_close(start[0], torch.cat([previous[0, 1:], torch.zeros(1, 3)]))
    torch.testing.assert_close(start[1], previous[1])
    cold = make_agent(planner={"skills": 3, "warm_start": False})
    assert not cold._start_of_plan(previous, torch.tensor([True, False])).any()


def test_noise_is_for_exploring_alone(make_agent):
    agent = make_agent(behaviour={"action_noise": 0.5})
    observation, first = observe(64, torch.Generator().manual_seed(0)), torch.ones(64, dtype=bool)
    carry, action, _ = agent.act(agent.initial_carry(64), observation, first, False)
    state = torch.cat([carry["deterministic"], carry["stochastic"]], -1)
    mode = agent.policy.distribution.mode(agent.policy(state, carry["skill"]))
    torch.testing.assert_close(action, mode)
    agent.policy.distribution.sample = lambda parameters, generator=None: 0 * parameters[..., :2]
    _, action, _ = agent.act(agent.initial_carry(64), observation, first, True)
    assert action.std() > 0.3


def test_who_acts_is_told_the_time_left_as_in_imagination(make_agent):
    agent = make_agent(skills={"duration": [2, 5]})
    seen, act = [], agent.policy.act
    agent.policy.act = lambda f, told, *rest: seen.append(told[:, -1]) or act(f, told, *rest)
    world, carry, held = torch.Generator().manual_seed(0), agent.initial_carry(16), []
    agent.plan = lambda state, start, *rest: agent._unplanned(state)
    for step in range(12):
        carry, _, extras = agent.act(
            carry, observe(16, world), torch.full((16,), step == 0), True, world
        )
        held.append(extras["planned"])
    told, chosen = torch.stack(seen) * 5, torch.stack(held)
    for env in range(16):
        begins = chosen[:, env].nonzero().flatten().tolist()
        for begin, end in itertools.pairwise(begins):
            left = list(range(end - begin, 0, -1))
            assert told[begin:end, env].tolist() == pytest.approx(left)


@pytest.mark.parametrize("how", [{"iterations": 0}, {"method": "none"}])
def test_a_greedy_agent_draws_what_no_plan_guides(make_agent, how):
    agent = make_agent(planner=how, skills={"learn_prior": False})
    observation, first = observe(256, torch.Generator().manual_seed(0)), torch.ones(256, dtype=bool)
    carry, *_ = agent.act(agent.initial_carry(256), observation, first, False)
    assert (carry["skill"].std(0) - 1).abs().max() < 0.2
