"""HIRO's goals: how they change, what an episode's end does to them, and which hindsight finds."""

import numpy as np
import pytest
import torch

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.hiro.agent import HIROAgent
from rllib_lsp.core.hiro.goals import (
    Segments,
    candidates,
    distance,
    relabelled,
    scores,
    transition,
)
from rllib_lsp.core.hiro.learning import Rows, high_steps, low_steps, measured_range, segments
from rllib_lsp.core.hiro.settings import GoalSettings, build_hiro_settings
from rllib_lsp.core.settings import SettingsError

SPEC = {"position": (2,), "velocity": (2,)}
DURATION = 4


def make_agent(levels=2, seed=0, **goals):
    torch.manual_seed(seed)
    tiny = {"hidden": (16,)}
    goals = {"features": ("position",), "range": (0.5, 2.0), "duration": DURATION, **goals}
    settings = build_hiro_settings(levels, {"low": tiny, "high": tiny, "goals": goals})
    return HIROAgent(SPEC, ActionSpec(2), settings)


def make_rows(batch, length, seed=0, width=2):
    """Random rows of one goal each, without any end."""
    draw = np.random.default_rng(seed)
    state = draw.normal(size=(batch, length, 4))
    choice = np.broadcast_to(draw.uniform(-1, 1, (batch, 1, width)), (batch, length, width))
    anchor = np.broadcast_to(state[:, :1, :width], (batch, length, width))
    parts = [state, draw.uniform(-1, 1, (batch, length, 2)), draw.normal(size=(batch, length))]
    numbers = [torch.tensor(np.array(part), dtype=torch.float32) for part in parts]
    ends = [torch.zeros(batch, length, dtype=torch.bool) for _ in range(2)]
    goal = [torch.tensor(np.array(part), dtype=torch.float32) for part in (choice, anchor)]
    return Rows(*numbers, *ends, *goal)


def test_a_goal_is_told_anew_so_that_its_place_stays():
    view, goal = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    place = view + goal
    for after in torch.randn(5, 2):
        goal = transition(view, goal, after)
        view = after
        torch.testing.assert_close(view + goal, place)
    nearer = distance(torch.zeros(2), torch.tensor([3.0, 4.0]), torch.tensor([3.0, 0.0]))
    assert float(nearer) == pytest.approx(4.0)


def test_the_lower_levels_steps_are_the_papers():
    """(s, g, a, -‖s + g - s'‖, s', h(s, g, s')), also long after the goal was chosen."""
    agent, rows = make_agent(), make_rows(8, 2)
    rows = rows._replace(anchor=rows.anchor + 0.3)
    steps = low_steps(agent, rows)
    for i in range(8):
        s, after = rows.state[i]
        goal = rows.anchor[i, 0] + rows.choice[i, 0] * torch.tensor([0.5, 2.0]) - s[:2]
        missing = s[:2] + goal - after[:2]
        scale = torch.tensor([0.5, 2.0])
        torch.testing.assert_close(steps.inputs[i], torch.cat([s, goal / scale]))
        torch.testing.assert_close(steps.next_inputs[i], torch.cat([after, missing / scale]))
        torch.testing.assert_close(steps.reward[i], -missing.norm())
        torch.testing.assert_close(steps.action[i], rows.action[i, 1])


def test_without_goals_the_environments_reward_counts():
    agent, rows = make_agent(levels=1), make_rows(8, 2)
    steps = low_steps(agent, rows)
    torch.testing.assert_close(steps.reward, rows.reward[:, 1])
    torch.testing.assert_close(steps.inputs, rows.state[:, 0])


def test_ends_of_single_steps():
    """Terminated: no bootstrap. Truncated: one. From the last row to a reset: no step at all."""
    rows = make_rows(3, 2)
    rows.terminated[0, 1] = True
    rows.terminated[2, 0] = True
    rows.is_first[2, 1] = True
    steps = low_steps(make_agent(), rows)
    assert steps.goes_on.tolist()[:2] == [0.0, 1.0]
    assert steps.weight.tolist() == [1.0, 1.0, 0.0]


def test_ends_of_segments():
    """A segment counts what its episode still had, and bootstraps from there if truncated."""
    rows = make_rows(5, DURATION + 1)
    rows.terminated[1, 2] = True  # after two decisions
    rows.is_first[1, 3] = True
    rows.is_first[2, 3] = True  # truncated after two
    rows.is_first[3, 1] = True  # chosen where the episode was over
    rows.terminated[4, 4] = True  # with the segment's own last decision
    # A whole episode may have passed before the window is over.
    rows.is_first[2, 4] = True
    rows.terminated[2, 4] = True
    agent = make_agent(relabel=False)
    found = segments(agent, rows)
    assert found.length.tolist() == [4, 2, 2, 0, 4]
    assert found.goes_on.tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]
    steps = high_steps(agent, found)
    assert steps.weight.tolist() == [1.0, 1.0, 1.0, 0.0, 1.0]
    for index, length in enumerate(found.length.tolist()):
        expected = rows.reward[index, 1 : length + 1].sum()
        torch.testing.assert_close(steps.reward[index], expected)
        torch.testing.assert_close(steps.next_inputs[index], rows.state[index, length])
    torch.testing.assert_close(steps.action, rows.choice[:, 0])


def naive_best(agent, found, choices):
    """One candidate, one step at a time, in float64 and with the goal transition spelt out."""
    actor, scale = agent.low.actor.double(), agent.goal_range.double()
    best = []
    for b, options in enumerate(choices.double()):
        likelihoods = []
        for choice in options:
            goal, total = choice * scale, 0.0
            for step in range(int(found.length[b])):
                state, after = found.state[b, step].double(), found.state[b, step + 1].double()
                meant = actor(torch.cat([state, goal / scale])[None])[0]
                total -= float((found.action[b, step].double() - meant).square().sum())
                goal = state[:2] + goal - after[:2]
            likelihoods.append(total)
        best.append(likelihoods)
    return np.array(best)


def test_scores_of_candidates_are_those_of_a_naive_loop():
    agent = make_agent()
    rows = make_rows(6, DURATION + 1)
    rows.is_first[2, 3] = True
    found = segments(agent, rows)
    generator = torch.Generator().manual_seed(0)
    choices = candidates(found, agent.goal_range, agent.settings.goals, generator)
    assert choices.shape == (6, 10, 2)
    with torch.no_grad():
        fast = scores(agent.low.actor, found, choices, agent.goal_range).numpy()
        slow = naive_best(agent, found, choices)
    np.testing.assert_allclose(fast, slow, rtol=1e-4)
    agent.float()
    again = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found_choice = relabelled(
            agent.low.actor, found, agent.goal_range, agent.settings.goals, again
        )
    expected = choices[torch.arange(6), torch.tensor(slow.argmax(1))]
    torch.testing.assert_close(found_choice, expected)


def test_candidates_are_the_original_the_achieved_and_draws_around_it():
    agent = make_agent(candidates=4000)
    rows = make_rows(2, DURATION + 1)
    # A small change in units of the range, so that few draws are clipped.
    rows.state[:, :, :2] *= 0.01
    rows.state[1, :, 0] = torch.arange(DURATION + 1) * 10.0
    found = segments(agent, rows)
    choices = candidates(found, agent.goal_range, agent.settings.goals)
    torch.testing.assert_close(choices[:, 0], rows.choice[:, 0])
    achieved = (rows.state[:, -1, :2] - rows.state[:, 0, :2]) / torch.tensor([0.5, 2.0])
    torch.testing.assert_close(choices[:, 1], achieved.clamp(-1, 1))
    assert (choices.abs() <= 1).all()
    drawn = choices[0, 2:]
    # A Normal of deviation 0.5, clipped at two deviations.
    np.testing.assert_allclose(drawn.std(0), 0.48, atol=0.03)
    np.testing.assert_allclose(drawn.mean(0), achieved[0], atol=0.04)


def test_hindsight_finds_the_goal_that_was_followed():
    """A lower level that moves by what is missing tells its goal by its actions."""

    def follow(inputs):
        return inputs[..., -2:].clamp(-1, 1) * 0.2

    scale = torch.ones(2)
    followed = torch.tensor([[0.8, -0.6], [-0.3, 0.9]])
    view = torch.zeros(2, 1, 2)
    actions = []
    for _ in range(DURATION):
        action = (followed - view[:, -1]) * 0.2
        actions.append(action)
        view = torch.cat([view, (view[:, -1] + action)[:, None]], 1)
    state = torch.cat([view, torch.zeros_like(view)], -1)
    happened = torch.ones(2, DURATION)
    given = Segments(
        state, view, torch.stack(actions, 1), happened, -followed, happened, torch.ones(2)
    )
    settings = GoalSettings(candidates=2000, candidate_std=0.5)
    found = relabelled(follow, given, scale, settings)
    np.testing.assert_allclose(found, followed, atol=0.05)
    # The original stays where it is the best.
    right = given._replace(choice=followed)
    torch.testing.assert_close(relabelled(follow, right, scale, settings), followed)


def test_ranges_are_twice_the_deviation_of_what_was_seen():
    agent = make_agent(range=())
    torch.testing.assert_close(agent.goal_range, torch.ones(2))
    state = torch.randn(5000, 4) * torch.tensor([0.3, 2.0, 1.0, 1.0])
    np.testing.assert_allclose(measured_range(agent, state), [0.6, 4.0], rtol=0.05)
    state[:, 1] = 3.0
    with pytest.raises(SettingsError, match=r"position\[1\], which did not change in 5000"):
        measured_range(agent, state)


def test_goal_features_may_lie_anywhere_in_the_state():
    agent = make_agent(features=("velocity", "position[1:2]"), range=())
    state = torch.randn(3, 4)
    assert torch.equal(agent.view(state), state[:, [2, 3, 1]])
    assert agent.goal_names == ["velocity[0]", "velocity[1]", "position[1]"]
