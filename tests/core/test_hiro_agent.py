"""HIRO's agent acts: goals are held, chosen anew, and forgotten with the episode."""

import numpy as np
import torch

from rllib_lsp.core.hiro.settings import build_hiro_settings
from rllib_lsp.core.saved_agent import load_agent, save_agent
from tests.core.test_hiro_goals import DURATION, make_agent


def observe(count, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {key: torch.randn(count, 2, generator=draw) for key in ("position", "velocity")}


def test_a_goal_is_held_for_its_duration_and_forgotten_with_the_episode():
    agent = make_agent()
    carry = agent.initial_carry(2)
    seen = []
    for step in range(3 * DURATION):
        # The second environment begins an episode in the middle of a goal.
        is_first = torch.tensor([step == 0, step in (0, DURATION + 1)])
        observation = observe(2, seed=step)
        carry, action, _ = agent.act(carry, observation, is_first, explore=False)
        assert action.shape == (2, 2)
        seen.append(carry)
        for env in range(2):
            if carry["chosen"][env]:
                torch.testing.assert_close(carry["anchor"][env], observation["position"][env])
            else:
                torch.testing.assert_close(carry["choice"][env], seen[-2]["choice"][env])
    chosen = torch.stack([carry["chosen"] for carry in seen]).numpy()
    np.testing.assert_array_equal(np.flatnonzero(chosen[:, 0]), [0, 4, 8])
    np.testing.assert_array_equal(np.flatnonzero(chosen[:, 1]), [0, 4, 5, 9])


def test_the_lower_level_is_told_what_is_still_missing():
    agent = make_agent()
    observation = observe(1)
    carry, action, _ = agent.act(
        agent.initial_carry(1), observation, torch.ones(1, dtype=torch.bool), explore=False
    )
    state = torch.cat([observation["position"], observation["velocity"]], -1)
    choice = agent.high.actor(state)
    torch.testing.assert_close(carry["choice"], choice)
    torch.testing.assert_close(action, agent.low.actor(torch.cat([state, choice], -1)))
    # Half of the way on, half is missing: in units of the range.
    there = {**observation, "position": observation["position"] + choice * agent.goal_range / 2}
    _, action, _ = agent.act(carry, there, torch.zeros(1, dtype=torch.bool), explore=False)
    state = torch.cat([there["position"], there["velocity"]], -1)
    torch.testing.assert_close(action, agent.low.actor(torch.cat([state, choice / 2], -1)))


def test_random_goals_stay_random_when_evaluated():
    agent = make_agent(source="random")
    assert agent.high is None
    assert set(agent.parameter_groups()) == {"low_actor", "low_critic"}
    draw = torch.Generator().manual_seed(0)
    begin = torch.ones(2000, dtype=torch.bool)
    carry, _, _ = agent.act(agent.initial_carry(2000), observe(2000), begin, False, draw)
    np.testing.assert_allclose(carry["choice"].mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose(carry["choice"].std(0), 3**-0.5, atol=0.03)


def test_exploring_adds_noise_to_actions_and_to_goals():
    agent = make_agent()
    one = {key: value.expand(4000, -1) for key, value in observe(1).items()}
    begin = torch.ones(4000, dtype=torch.bool)
    draw = torch.Generator().manual_seed(0)
    carry, action, _ = agent.act(agent.initial_carry(4000), one, begin, True, draw)
    np.testing.assert_allclose(carry["choice"].std(0), 0.1, rtol=0.06)
    assert (action.std(0) > 0.09).all()
    still, greedy, _ = agent.act(agent.initial_carry(4000), one, begin, False, draw)
    assert float(still["choice"].std(0).max()) < 1e-6
    assert float(greedy.std(0).max()) < 1e-6


def test_random_decisions_are_uniform_and_hold_their_goals():
    agent = make_agent()
    carry, action, _ = agent.act(
        agent.initial_carry(4000), observe(4000), torch.ones(4000, dtype=torch.bool), True,
        torch.Generator().manual_seed(0), random=True,
    )  # fmt: skip
    for drawn in (action, carry["choice"]):
        np.testing.assert_allclose(drawn.std(0), 3**-0.5, atol=0.03)
    again, _, _ = agent.act(
        carry, observe(4000, 1), torch.zeros(4000, dtype=torch.bool), True, random=True
    )
    torch.testing.assert_close(again["choice"], carry["choice"])


def test_a_saved_agent_acts_as_it_did(tmp_path):
    for levels in (1, 2):
        agent = make_agent(levels)
        agent.goal_range.mul_(3.0)
        with open(tmp_path / "agent.pt", "wb") as stream:
            save_agent(agent, stream)
        loaded = load_agent(tmp_path, seed=0)
        carry, is_first = agent.initial_carry(1), torch.ones(1, dtype=torch.bool)
        for step in range(DURATION + 2):
            observation = observe(1, step)
            carry, expected, _ = agent.act(carry, observation, is_first, explore=False)
            is_first = torch.zeros_like(is_first)
            action = loaded.act({key: value[0].numpy() for key, value in observation.items()})
            np.testing.assert_allclose(action, expected[0], atol=1e-6)


def test_the_constants_are_those_of_the_authors():
    settings = build_hiro_settings(2, {})
    for level in (settings.low, settings.high):
        assert level.hidden == (300, 300)
        assert (level.gamma, level.target_rate, level.policy_every) == (0.99, 0.005, 2)
        assert (level.noise, level.target_noise, level.target_noise_clip) == (0.1, 0.2, 0.5)
    assert (settings.low.reward_scale, settings.high.reward_scale) == (1.0, 0.1)
    assert (settings.goals.duration, settings.goals.candidates) == (10, 8)
    assert (settings.goals.candidate_std, settings.goals.range_std) == (0.5, 2.0)
