"""Who holds which skill when, what segments are, and what the intrinsic reward is."""

import pytest
import torch

from rllib_lsp.core import behaviour
from rllib_lsp.core.settings import BehaviourSettings, SettingsError, SkillSettings
from rllib_lsp.core.skills import SkillPrior, draw_durations, schedule, segments, tell

DURATIONS = torch.tensor([2, 5, 3])
HORIZON = 7


def test_each_skill_is_held_for_its_duration_and_the_policy_knows_what_is_left():
    settings = SkillSettings(dim=2, duration=(2, 3, 5))
    skills = torch.randn(3, 4, 2)
    told = tell(*schedule(skills, DURATIONS, HORIZON), settings)
    assert told.shape == (HORIZON + 1, 3, 3)
    for step in range(HORIZON + 1):
        for row, duration in enumerate(DURATIONS.tolist()):
            number, done = divmod(step, duration)
            assert torch.equal(told[step, row, :2], skills[row, number])
            assert told[step, row, 2].item() == pytest.approx((duration - done) / 5)


def test_the_last_skill_goes_on_and_a_fixed_duration_is_not_told():
    skills = torch.randn(3, 1, 2)
    under = schedule(skills, torch.full((3,), 4), HORIZON)
    told = tell(*under, SkillSettings(dim=2, duration=(4,)))
    assert torch.equal(told, skills.transpose(0, 1).expand(HORIZON + 1, 3, 2))


def test_segments_against_a_loop():
    states = torch.randn(HORIZON + 1, 3, 4, dtype=torch.float64)
    found = segments(states, DURATIONS, shortest=2)
    assert len(found) == 3
    for number, segment in enumerate(found):
        for row, duration in enumerate(DURATIONS.tolist()):
            begin, end = number * duration, (number + 1) * duration
            assert segment.whole[row].item() == (end <= HORIZON)
            if end <= HORIZON:
                one = states[begin : end + 1, row]
                torch.testing.assert_close(segment.start[row], one[0])
                torch.testing.assert_close(segment.end[row], one[-1])
                torch.testing.assert_close(segment.mean[row], one[1:].mean(0))
                assert segment.last[row].item() == end


def test_durations_are_drawn_evenly():
    generator = torch.Generator().manual_seed(0)
    drawn = draw_durations((5, 10, 20), 3000, generator, torch.device("cpu"))
    counts = [(drawn == duration).sum().item() for duration in (5, 10, 20)]
    assert sum(counts) == 3000
    assert min(counts) > 900


def test_an_untrained_prior_is_standard_normal_and_learns_where_plans_were_made():
    torch.manual_seed(0)
    prior = SkillPrior(4, 2, BehaviourSettings(hidden=16))
    features, planned = torch.randn(64, 4), torch.arange(64) < 32
    mean, std = prior(features)
    torch.testing.assert_close(mean, torch.zeros_like(mean))
    torch.testing.assert_close(std, torch.ones_like(std), atol=2e-3, rtol=0)
    # Plans that were not made here must not be imitated.
    target = torch.where(planned[:, None], features[:, :2], torch.full((64, 2), 1e6))
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(300):
        loss = prior.loss(features, target, torch.full((64, 2), 0.3), planned)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    torch.testing.assert_close(prior(features)[0][:32], target[:32], atol=0.4, rtol=0)


@pytest.mark.parametrize(
    ("name", "fix"), [("speed", "position, velocity"), ("position[1:9]", "3 entries")]
)
def test_predictor_features_that_do_not_exist_are_named(make_agent, name, fix):
    with pytest.raises(SettingsError, match=fix):
        make_agent(skills={"predictor_features": [name]})


def test_the_predictor_sees_only_the_chosen_parts(make_agent):
    agent = make_agent(skills={"predictor_features": ["velocity", "position[1:3]"]})
    features = torch.randn(6, agent.world_model.rssm.feature_size)
    decoded = agent.world_model.decoder.decode(features)
    expected = torch.cat([decoded["velocity"], decoded["position"][:, 1:3]], -1)
    symlog = torch.sign(expected) * torch.log1p(expected.abs())
    torch.testing.assert_close(agent.seen_by_predictor(features), symlog)


def test_later_skills_come_from_later_plans_and_then_from_the_prior(make_agent):
    agent = make_agent(skills={"imagine": "replay", "duration": [3]}, behaviour={"horizon": 12})
    mean = torch.tensor([2.0, -3.0])[None, :, None].expand(2000, 2, 3)
    drawn = behaviour.draw_skills(mean, torch.full_like(mean, 0.1), agent.settings)
    assert drawn.skills.shape == (2000, 5, 3)  # the state at the horizon begins the fifth
    means = drawn.skills.mean((0, 2))
    torch.testing.assert_close(means, torch.tensor([2.0, -3.0, 0, 0, 0]), atol=0.1, rtol=0)
    assert (drawn.skills[:, 2:].std() - 1).abs() < 0.05
