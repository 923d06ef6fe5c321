"""Pinning test 2: planning finds the best skill when the score is known."""

import dataclasses

import pytest
import torch

from rllib_lsp.core.planner import Proposals, plan_skills
from rllib_lsp.core.settings import PlannerSettings

SETTINGS = PlannerSettings(candidates=64, elites=8, iterations=6, skills=2)


def search(score, start, settings=SETTINGS, generator=None, learned=None):
    """Plan with nothing held."""
    proposals = Proposals(torch.zeros_like(start[:, 0]), learned)
    return plan_skills(score, start, settings, proposals, generator)


def quadratic(target):
    return lambda skills: -(skills - target[:, None]).square().sum((-2, -1))


PLANNERS = {
    "default": {},
    "mppi": {"method": "mppi"},
    "plain CEM": {"include": (), "keep_elites": False},
}


@pytest.mark.parametrize("name", PLANNERS)
def test_finds_the_maximum_of_each_environment_at_once(name):
    settings = dataclasses.replace(SETTINGS, **PLANNERS[name])
    target = torch.tensor([[[0.8, -0.4], [0.1, 0.5]], [[-1.0, 0.3], [0.7, -0.9]]])
    plan = search(
        quadratic(target), torch.zeros(2, 2, 2), settings, torch.Generator().manual_seed(0)
    )
    assert (plan.mean - target).abs().max() < 0.15
    start = quadratic(target)(torch.zeros(2, 1, 2, 2))[:, 0]
    final = quadratic(target)(plan.mean[:, None])[:, 0]
    torch.testing.assert_close(plan.gain, final - start)
    assert (plan.gain > 0).all()


def test_environments_do_not_influence_each_other():
    target = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1))
    noise = torch.Generator()
    together = search(quadratic(target), torch.zeros(3, 2, 2), SETTINGS, noise.manual_seed(0))
    moved = target.clone()
    moved[1:] += 5.0
    changed = search(quadratic(moved), torch.zeros(3, 2, 2), SETTINGS, noise.manual_seed(0))
    torch.testing.assert_close(together.mean[0], changed.mean[0])
    assert not torch.allclose(together.mean[1], changed.mean[1])


def test_no_iterations_means_the_prior_and_no_call_of_the_score():
    def never(_):
        raise AssertionError("scored without planning")

    plan = search(never, torch.zeros(2, 1, 3), PlannerSettings(iterations=0))
    torch.testing.assert_close(plan.mean, torch.zeros(2, 1, 3))
    torch.testing.assert_close(plan.std, torch.ones(2, 1, 3))


def test_deviation_has_a_floor():
    settings = PlannerSettings(candidates=64, elites=2, iterations=20, skills=1, min_std=0.25)
    plan = search(quadratic(torch.zeros(1, 1, 2)), torch.zeros(1, 1, 2), settings)
    assert (plan.std >= 0.25).all()


def test_same_seed_same_plan():
    target, noise = torch.ones(1, 2, 2), torch.Generator()
    plans = [
        search(quadratic(target), torch.zeros(1, 2, 2), SETTINGS, noise.manual_seed(7))
        for _ in range(2)
    ]
    assert torch.equal(plans[0].mean, plans[1].mean)


def recorded(settings, **given):
    """Every batch of candidates that a planner scores, on a flat score."""
    seen = []

    def score(skills):
        seen.append(skills)
        return skills.sum((-2, -1))

    start = torch.full((1, 2, 2), 0.5)
    proposals = Proposals(torch.full((1, 2), 7.0), given.get("learned"))
    plan = plan_skills(score, start, settings, proposals, torch.Generator().manual_seed(0))
    return seen, plan


def test_what_is_included_stands_among_the_candidates():
    learned = (torch.full((1, 2), -9.0), torch.full((1, 2), 1e-3))
    settings = PlannerSettings(candidates=8, elites=2, iterations=1)
    (candidates, _), _ = recorded(settings, learned=learned)
    assert candidates.shape == (1, 8, 2, 2)
    firsts = candidates[0, :, 0]
    assert torch.equal(firsts[0], torch.full((2,), 0.5))
    assert torch.equal(firsts[1], torch.full((2,), 7.0))
    assert ((firsts + 9.0).abs().max(1).values < 0.01).sum() == 2
    # The held skill is followed by what the plan had in mind, a learned one by draws around it.
    assert torch.equal(candidates[0, 1, 1], torch.full((2,), 0.5))
    following = candidates[0, (firsts[:, 0] + 9.0).abs() < 0.01, 1]
    assert not torch.equal(following[0], following[1])


@pytest.mark.parametrize("size", [2, 8])
def test_a_learned_prior_that_is_right_does_not_keep_the_next_skill_from_being_searched(size):
    """With the prior's skill every later one is as far from the best as without a prior."""
    settings, noise = dataclasses.replace(SETTINGS, iterations=3), torch.Generator()
    target = torch.randn(256, 2, size, generator=noise.manual_seed(0))
    start, good = torch.zeros_like(target), (target[:, 0], torch.full((256, size), 0.1))
    error, deviation = [], []
    for learned in (None, good):
        plan = search(quadratic(target), start, settings, noise.manual_seed(1), learned)
        error.append((plan.mean - target).square().mean((0, 2)).sqrt())
        deviation.append(plan.std.mean((0, 2)))
    assert error[1][0] < error[0][0]
    assert error[1][1] < 1.1 * error[0][1], error
    assert deviation[1][1] > 0.5 * deviation[0][1], deviation


def test_elites_are_kept_or_not():
    for keep, count in ((True, 10), (False, 8)):
        settings = PlannerSettings(candidates=8, elites=2, iterations=2, keep_elites=keep)
        seen, _ = recorded(settings)
        assert seen[1].shape[1] == count


def test_candidates_can_be_clipped():
    settings = PlannerSettings(candidates=64, elites=2, iterations=3, clip=0.7)
    seen, _ = recorded(settings)
    assert max(candidates.abs().max() for candidates in seen[:-1]) <= 0.7


@pytest.mark.parametrize(("clip", "bound"), [(0.0, 1.0), (0.3, 0.3), (2.0, 1.0)])
def test_planned_actions_stay_within_their_bounds(clip, bound):
    """Further out all are as good as the bound, and a plan would drift away."""
    settings = PlannerSettings(space="actions", clip=clip, skills=2)
    mean = torch.zeros(1, 2, 3)
    for _ in range(20):
        mean = search(lambda plans: plans.clamp(-1, 1).sum((-2, -1)), mean, settings).mean
        assert mean.abs().max() <= bound
    assert mean.min() > 0.6 * bound


@pytest.mark.parametrize("wrong", [float("nan"), float("-inf")])
@pytest.mark.parametrize("method", ["cem", "mppi"])
def test_a_score_that_is_no_number_is_the_worst(method, wrong):
    """Right of zero there is none; the best that has one lies at -0.5."""

    def score(skills):
        scores = -(skills[..., 0] + 0.5).square().sum(-1)
        return torch.where(skills[..., 0].amax(-1) > 0.0, wrong, scores)

    settings = dataclasses.replace(SETTINGS, method=method, candidates=128)
    start = torch.full((2, 1, 1), 0.5)
    plan = search(score, start, settings, torch.Generator().manual_seed(0))
    assert ((plan.mean + 0.5).abs() < 0.2).all()
    assert (plan.std < 0.5).all()
    assert plan.gain.isfinite().all()
    assert (plan.gain > 0).all()


def test_where_no_score_is_a_number_the_plan_still_is():
    nothing = search(lambda skills: skills.sum((-2, -1)) * float("nan"), torch.zeros(2, 1, 3))
    assert all(part.isfinite().all() for part in nothing)


def test_noise_widens_the_finished_plan():
    settings = PlannerSettings(candidates=16, elites=2, iterations=2)
    _, plain = recorded(settings)
    _, noisy = recorded(dataclasses.replace(settings, noise=0.3))
    torch.testing.assert_close(noisy.std, (plain.std**2 + 0.09).sqrt())


def test_mppi_weighs_elites_by_their_scores():
    """Against the definition, in float64."""
    settings = PlannerSettings(
        method="mppi", candidates=8, elites=3, iterations=1, include=(), temperature=0.7, min_std=0
    )
    (candidates, _), plan = recorded(settings)
    scores = candidates.double().sum((-2, -1))[0]
    best = scores.argsort(descending=True)[:3]
    spread = scores[best].std(correction=0)
    weights = torch.exp((scores[best] - scores[best].max()) / (0.7 * spread))
    weights = (weights / weights.sum())[:, None, None]
    mean = (weights * candidates.double()[0, best]).sum(0)
    std = (weights * (candidates.double()[0, best] - mean) ** 2).sum(0).sqrt()
    torch.testing.assert_close(plan.mean[0].double(), mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plan.std[0].double(), std, atol=1e-5, rtol=1e-5)


def slope(size):
    """Scores that grow along every dimension: all that a value's errors may leave of them."""
    return lambda skills: size * skills.sum((-2, -1))


@pytest.mark.parametrize("method", ["cem", "mppi"])
def test_what_differs_by_next_to_nothing_leaves_the_plan_wide(method):
    settings = dataclasses.replace(SETTINGS, method=method, indifference=0.1)
    noise = torch.Generator().manual_seed(0)
    plans = [
        search(slope(1e-6), torch.zeros(512, 2, 2), one, noise)
        for one in (settings, dataclasses.replace(settings, indifference=0.0))
    ]
    indifferent, misled = (plan.mean + plan.std * torch.randn_like(plan.std) for plan in plans)
    assert abs(indifferent.mean()) < 0.1
    assert 0.8 < indifferent.std() < 1.2
    assert misled.mean() > 1.0


def test_indifference_does_not_hide_what_pays():
    target = torch.tensor([[[0.8, -0.4], [0.1, 0.5]]])
    settings = dataclasses.replace(SETTINGS, indifference=0.1)
    worth = quadratic(target)
    noise = torch.Generator().manual_seed(0)
    plan = search(lambda z: 100.0 * worth(z), torch.zeros(1, 2, 2), settings, noise)
    assert (plan.mean - target).abs().max() < 0.15


def test_a_quarter_of_the_candidates_comes_from_the_prior():
    settings = PlannerSettings(candidates=400, elites=2, iterations=2, keep_elites=False)
    seen = []

    def score(skills):
        seen.append(skills)
        return -(skills - 9.0).square().sum((-2, -1))

    start = torch.full((1, 2, 2), 9.0)
    plan_skills(score, start, settings, Proposals(start[:, 0]), torch.Generator().manual_seed(0))
    wide = seen[1][0, (seen[1][0] < 5).all(-1).all(-1)]
    assert len(wide) == 100
    assert wide.mean().abs() < 0.2
    assert abs(wide.std() - 1) < 0.15
