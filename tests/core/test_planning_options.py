"""What planning may be asked for: rewards of one's own, doubts, early replanning, no planning."""

import io
import itertools

import numpy as np
import pytest
import torch

from rllib_lsp.core import learning
from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.behaviour import imagined_reward
from rllib_lsp.core.imagination import Trajectory
from rllib_lsp.core.rssm import State
from rllib_lsp.core.saved_agent import SavedAgent, load_agent, save_agent
from rllib_lsp.core.settings import SettingsError
from tests.core.test_acting import observe, roll
from tests.core.test_world_model import without_luck

H, N = 6, 3


def first_action(observation, features, action):
    """A reward that a frozen agent was never trained for."""
    del observation, features
    return action[..., 0]


PATH = "tests.core.test_planning_options:first_action"


def trajectory(agent):
    generator = torch.Generator().manual_seed(0)
    width = agent.world_model.rssm.feature_size
    features = torch.randn(H + 1, N, width, generator=generator)
    return Trajectory(
        features,
        features[1:],
        torch.rand(H, N, 2, generator=generator),
        torch.zeros(H, N),
    )


def informative(agent):
    """Heads that are zero at first are given something to say."""
    for part in (agent.value.network, agent.world_model.reward_head):
        torch.nn.init.normal_(part[-1].weight, std=0.5)
    return agent


def discounted(agent, path, rewards):
    """Σ γ^t Π c · r_t, in a loop."""
    going_on = 0.99 * agent.world_model.continues(path.features[1:])
    total, factor = torch.zeros(N), torch.ones(N)
    for step in range(H):
        total += factor * rewards[step]
        factor = factor * going_on[step]
    return total


@torch.no_grad()
def test_a_reward_function_replaces_reward_and_value(make_agent):
    agent = informative(make_agent(planner={"reward_fn": PATH}))
    path = trajectory(agent)
    expected = discounted(agent, path, path.actions[..., 0])
    torch.testing.assert_close(agent._return(path)[0], expected)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize(
    ("wrong", "bound"), [(float("-inf"), -1e9), (float("nan"), -1e9), (float("inf"), 1e9)]
)
def test_an_infinite_reward_is_a_very_large_one(make_agent, mode, wrong, bound):
    """So that what is forbidden is worse than anything else."""

    def given(reward):
        def reward_fn(observation, features, actions):
            rewards = torch.zeros(features.shape[:-1])
            rewards[1, 0] = reward
            return rewards

        agent = make_agent(planner={"reward_fn": reward_fn, "reward_mode": mode})
        agent.load_state_dict(plain.state_dict())
        return agent._return(path)[0]

    plain = informative(make_agent())
    path = trajectory(plain)
    found = given(wrong)
    torch.testing.assert_close(found, given(bound))
    assert found.isfinite().all()
    assert (found[0] - found[1]).sign() == torch.tensor(bound).sign()


@torch.no_grad()
def test_a_reward_function_adds_to_what_was_learned(make_agent):
    plain = informative(make_agent())
    added = informative(make_agent(planner={"reward_fn": first_action, "reward_mode": "add"}))
    path = trajectory(plain)
    added.load_state_dict(plain.state_dict())
    gain = added._return(path)[0] - plain._return(path)[0]
    lambda_weighted, factor = torch.zeros(N), torch.ones(N)
    going_on = 0.99 * plain.world_model.continues(path.features[1:])
    for step in range(H):
        lambda_weighted += factor * path.actions[step, :, 0]
        factor = factor * going_on[step] * 0.95
    torch.testing.assert_close(gain, lambda_weighted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("given", [1.0, torch.zeros(2)])
def test_a_reward_function_has_to_answer_for_every_step(make_agent, given):
    agent = make_agent(planner={"reward_fn": lambda *_: given})
    with pytest.raises(SettingsError, match=r"planner\.reward_fn returned .* every imagined step"):
        agent._return(trajectory(agent))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_an_observation_that_is_no_number_is_refused_and_forgotten(make_agent, wrong):
    """Once it were in the model's state, no later observation could mend it."""
    agent = make_agent()
    spoilt, other = (SavedAgent(agent, seed=0) for _ in range(2))
    good = {key: np.zeros(shape, np.float32) for key, shape in agent.spec.items()}
    first, *_ = good
    bad = {**good, first: np.full_like(good[first], wrong)}
    assert np.array_equal(spoilt.act(good), other.act(good))
    with pytest.raises(ValueError, match=f"observation '{first}' .* NaN or infinity"):
        spoilt.act(bad)
    assert np.array_equal(spoilt.act(good), other.act(good))


def test_a_device_that_is_not_there_is_not_the_checkpoints_fault(make_agent, tmp_path):
    with open(tmp_path / "agent.pt", "wb") as stream:
        save_agent(make_agent(), stream)
    with pytest.raises(RuntimeError, match="cud"):
        load_agent(tmp_path, device="cud")


def test_a_reward_function_is_given_at_loading_and_changes_what_is_done(make_agent, tmp_path):
    agent = make_agent(planner={"reward_fn": first_action})
    with open(tmp_path / "agent.pt", "wb") as stream:
        save_agent(agent, stream)
    # Nothing in the file names code, or is code.
    assert load_agent(tmp_path).agent.reward_fn is None
    loaded = load_agent(tmp_path, seed=0, planner={"reward_fn": PATH, "candidates": 40})
    assert loaded.agent.reward_fn is first_action
    assert loaded.agent.settings.planner.candidates == 40


@torch.no_grad()
def test_planning_for_many_environments_takes_no_more_memory(make_agent, monkeypatch):
    batches = []

    def watching(observation, features, actions):
        batches.append(features)
        return features[..., 0]

    planner = {"reward_fn": watching, "candidates": 8, "elites": 2, "iterations": 1, "skills": 1}
    agent = make_agent(planner=planner, skills={"duration": 3}, behaviour={"horizon": 3})
    monkeypatch.setattr("rllib_lsp.core.agent.ROWS_AT_ONCE", 20)
    start = torch.zeros(5, 1, agent.plan_width)
    state = agent.world_model.rssm.initial(5).map(torch.randn_like)
    plan = agent.plan(state, start, torch.full((5,), 3), start[:, 0])
    # Two environments at once, as three would be 24 roll-outs; then each with its two means.
    assert [batch.shape[1] for batch in batches] == [16, 16, 8, 10]
    assert plan.gain.shape == (5,)
    # The groups are put together in the order of the environments.
    after, before = batches[-1][:, 1::2, 0].sum(0), batches[-1][:, ::2, 0].sum(0)
    assert torch.equal(torch.sign(plan.gain), torch.sign(after - before))


def test_doubts_of_the_ensemble_lower_the_score(make_agent):
    agent = informative(make_agent(world_model={"ensemble": 3}, planner={"disagreement": 2.0}))
    sure = informative(make_agent(world_model={"ensemble": 3}))
    sure.load_state_dict(agent.state_dict())
    path = trajectory(agent)
    predictions = torch.stack(
        [head(torch.cat([path.features[:-1], path.actions], -1)) for head in agent.ensemble.heads]
    )
    doubt = ((predictions - predictions.mean(0)) ** 2).sum(0).sum(-1) / 2
    torch.testing.assert_close(agent.ensemble.disagreement(path.features[:-1], path.actions), doubt)
    assert (agent._return(path)[0] < sure._return(path)[0]).all()


def test_ensemble_heads_agree_on_what_they_have_seen(make_agent):
    agent = make_agent(world_model={"ensemble": 4})
    generator = torch.Generator().manual_seed(0)
    rssm = agent.world_model.rssm
    deterministic = torch.randn(8, 6, rssm.deterministic_size, generator=generator)
    # What comes next can be known: it stands in the state before.
    stochastic = torch.tanh(deterministic[..., : rssm.latent.size].roll(1, 1))
    states = State(deterministic, stochastic)
    action, is_first = torch.rand(8, 6, 2, generator=generator), torch.zeros(8, 6, dtype=torch.bool)
    optimizer = torch.optim.Adam(agent.ensemble.parameters(), lr=3e-3)
    for _ in range(600):
        loss = agent.ensemble.loss(states, action, is_first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = agent.ensemble.disagreement(states.features[:, :-1], action[:, 1:]).mean()
    new = agent.ensemble.disagreement(3.0 * states.features[:, :-1], -action[:, 1:]).mean()
    assert new > 5 * seen


def test_replanning_before_the_end_of_a_skill(make_agent):
    agent = make_agent(skills={"duration": 6}, planner={"replan_every": 2})
    _, skills, planned = roll(agent, torch.zeros(8, 1, dtype=torch.bool))
    assert planned[:, 0].tolist() == [step % 2 == 0 for step in range(8)]
    assert not torch.equal(skills[1], skills[2])


def test_without_planning_the_learned_prior_decides(make_agent):
    agent = make_agent(planner={"method": "none"})
    torch.nn.init.normal_(agent.skill_prior.network[-1].weight, std=1.0)
    carry = agent.initial_carry(2)
    observation = observe(2, torch.Generator().manual_seed(0))
    carry, _, _ = agent.act(carry, observation, torch.ones(2, dtype=torch.bool), False)
    state = torch.cat([carry["deterministic"], carry["stochastic"]], -1)
    torch.testing.assert_close(carry["skill"], agent.skill_prior(state)[0])


def test_random_skills_on_request(make_agent):
    agent = make_agent()
    carry = agent.initial_carry(500)
    observation = observe(500, torch.Generator().manual_seed(0))
    first = torch.ones(500, dtype=torch.bool)
    carry, _, _ = agent.act(
        carry, observation, first, True, torch.Generator().manual_seed(1), random_skills=True
    )
    assert carry["skill"].mean().abs() < 0.1
    assert carry["skill"].std().item() == pytest.approx(1.0, abs=0.05)


def test_what_is_acted_out_stays_within_the_bound_too(make_agent):
    """A plan is a Normal about clipped candidates, and draws from it know no bound."""
    agent = make_agent(planner={"clip": 0.5, "noise": 1.0})
    carry = agent.initial_carry(100)
    observation = observe(100, torch.Generator().manual_seed(0))
    first = torch.ones(100, dtype=torch.bool)
    carry, _, _ = agent.act(carry, observation, first, True, torch.Generator().manual_seed(1))
    assert carry["skill"].abs().max() == 0.5
    assert carry["skill"].std() > 0.2


def test_planned_actions_are_the_actions(make_agent):
    agent = make_agent(planner={"space": "actions", "skills": 4})
    carry = agent.initial_carry(2)
    observation = observe(2, torch.Generator().manual_seed(0))
    carry, action, extras = agent.act(carry, observation, torch.ones(2, dtype=torch.bool), False)
    torch.testing.assert_close(action, carry["plan_mean"][:, 0].clamp(-1, 1))
    _, _, extras = agent.act(carry, observation, torch.zeros(2, dtype=torch.bool), False)
    assert extras["planned"].all()


def test_discrete_actions_are_choices(make_agent):
    agent = make_agent(action=ActionSpec(3, discrete=True), behaviour={"action_noise": 0.5})
    carry = agent.initial_carry(4)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(12):
        carry, action, _ = agent.act(
            carry, observe(4, generator), torch.zeros(4, dtype=torch.bool), True, generator
        )
        assert torch.equal(action.sum(-1), torch.ones(4))
        seen |= set(agent.action_spec.to_env(action.numpy()).tolist())
    assert seen == {0, 1, 2}
    stream = io.BytesIO()
    save_agent(agent, stream)
    assert stream.tell() > 0


@torch.no_grad()
@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_candidates_share_their_luck_and_environments_do_not(make_agent, latent):
    """The same skills earn the same, though the dynamics are random."""
    agent = informative(make_agent(world_model={"latent": latent}))
    torch.nn.init.normal_(agent.world_model.rssm.prior_network[-1].weight, std=1.0)
    state = agent.world_model.rssm.initial(2)
    skills = torch.randn(1, 1, 2, 3).expand(2, 5, 2, 3)
    scores = agent._score(state, skills, torch.full((2,), 10), torch.Generator().manual_seed(0))
    torch.testing.assert_close(scores, scores[:, :1].expand(2, 5))
    assert (scores[0, 0] - scores[1, 0]).abs() > 1e-4


def test_without_skills_there_is_no_duration_to_tell(make_agent):
    agent = make_agent(skills={"dim": 0, "duration": [5, 10]}, planner={"method": "none"})
    actions, skills, planned = roll(agent, torch.zeros(12, 2, dtype=torch.bool))
    assert skills.shape == (12, 2, 0)
    assert not planned.any()
    assert actions.abs().max() <= 1


def test_the_ensemble_is_not_asked_about_actions_that_are_never_executed(make_agent):
    agent = make_agent(world_model={"ensemble": 3})
    features = torch.randn(4, agent.world_model.rssm.feature_size)
    action = torch.tensor([1.0, -1.0]).expand(4, 2)
    torch.testing.assert_close(
        agent.ensemble.disagreement(features, 3.0 * action),
        agent.ensemble.disagreement(features, action),
    )


def test_a_value_of_intrinsic_reward_does_not_hear_of_the_task(make_agent, make_batch):
    agent = make_agent(
        world_model={"ensemble": 2}, behaviour={"reward": "none", "disagreement": 1.0}
    )
    batch = make_batch(agent)
    found = []
    for reward in (batch.reward, batch.reward + 100.0):
        torch.manual_seed(0)
        losses, _ = learning.losses(agent, batch._replace(reward=reward))
        found.append(losses["value"].item())
    assert found[0] == found[1]


@torch.no_grad()
def test_each_environment_is_planned_for_from_its_own_state(make_agent):
    agent = informative(make_agent(world_model={"latent": "gaussian"}, skills={"duration": [2, 5]}))
    without_luck(agent)
    torch.nn.init.normal_(agent.policy.network[-1].weight, std=0.5)
    state = agent.world_model.rssm.initial(3).map(torch.randn_like)
    skills, durations = torch.randn(3, 4, 2, 3), torch.tensor([2, 5, 2])
    together = agent._score(state, skills, durations, None)
    for n in range(3):
        own = State(state.deterministic[n : n + 1], state.stochastic[n : n + 1])
        alone = agent._score(own, skills[n : n + 1], durations[n : n + 1], None)
        torch.testing.assert_close(together[n : n + 1], alone)
    assert together.std(0).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("reward", ["task", "none"])
def test_doubts_are_sought_in_imagination(make_agent, reward):
    agent = informative(
        make_agent(world_model={"ensemble": 3}, behaviour={"reward": reward, "disagreement": 2.0})
    )
    path = trajectory(agent)
    doubt = agent.ensemble.disagreement(path.features[:-1], path.actions)
    task = agent.world_model.reward(path.features[1:]) if reward == "task" else 0.0
    torch.testing.assert_close(imagined_reward(agent, path), task + 2.0 * doubt)


def test_the_ensemble_does_not_learn_from_one_episode_to_the_next(make_agent):
    agent = make_agent(world_model={"ensemble": 3})
    rssm, ensemble = agent.world_model.rssm, agent.ensemble
    states = State(torch.randn(2, 6, rssm.deterministic_size), torch.randn(2, 6, rssm.latent.size))
    action, is_first = torch.rand(2, 6, 2), torch.zeros(2, 6, dtype=torch.bool)
    is_first[:, 0] = is_first[1, 3] = True
    errors = []
    for head, row, t in itertools.product(ensemble.heads, range(2), range(5)):
        if not is_first[row, t + 1]:
            told = head(torch.cat([states.features[row, t], action[row, t + 1]]))
            errors.append((told - states.stochastic[row, t + 1]).square().sum())
    assert len(errors) == 3 * 9
    loss = ensemble.loss(states, action, is_first)
    torch.testing.assert_close(loss, torch.stack(errors).mean())
