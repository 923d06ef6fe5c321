"""Pinning test 2: CEM finds the best skill when the score is known."""

import torch

from rllib_lsp.core.planner import plan_skills
from rllib_lsp.core.settings import PlannerSettings

SETTINGS = PlannerSettings(candidates=64, elites=8, iterations=6, skills=2)


def quadratic(target):
    return lambda skills: -(skills - target[:, None]).square().sum((-2, -1))


def test_finds_the_maximum_of_each_environment_at_once():
    target = torch.tensor([[[0.8, -0.4], [0.1, 0.5]], [[-1.0, 0.3], [0.7, -0.9]]])
    plan = plan_skills(
        quadratic(target), torch.zeros(2, 2, 2), SETTINGS, torch.Generator().manual_seed(0)
    )
    assert (plan.mean - target).abs().max() < 0.15
    start = quadratic(target)(torch.zeros(2, 1, 2, 2))[:, 0]
    final = quadratic(target)(plan.mean[:, None])[:, 0]
    torch.testing.assert_close(plan.gain, final - start)
    assert (plan.gain > 0).all()


def test_environments_do_not_influence_each_other():
    target = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1))
    noise = torch.Generator()
    together = plan_skills(quadratic(target), torch.zeros(3, 2, 2), SETTINGS, noise.manual_seed(0))
    moved = target.clone()
    moved[1:] += 5.0
    changed = plan_skills(quadratic(moved), torch.zeros(3, 2, 2), SETTINGS, noise.manual_seed(0))
    torch.testing.assert_close(together.mean[0], changed.mean[0])
    assert not torch.allclose(together.mean[1], changed.mean[1])


def test_no_iterations_means_the_prior_and_no_call_of_the_score():
    def never(_):
        raise AssertionError("scored without planning")

    plan = plan_skills(never, torch.zeros(2, 1, 3), PlannerSettings(iterations=0))
    torch.testing.assert_close(plan.mean, torch.zeros(2, 1, 3))
    torch.testing.assert_close(plan.std, torch.ones(2, 1, 3))


def test_deviation_has_a_floor():
    settings = PlannerSettings(candidates=64, elites=2, iterations=20, skills=1, min_std=0.25)
    plan = plan_skills(quadratic(torch.zeros(1, 1, 2)), torch.zeros(1, 1, 2), settings)
    assert (plan.std >= 0.25).all()


def test_same_seed_same_plan():
    target, noise = torch.ones(1, 2, 2), torch.Generator()
    plans = [
        plan_skills(quadratic(target), torch.zeros(1, 2, 2), SETTINGS, noise.manual_seed(7))
        for _ in range(2)
    ]
    assert torch.equal(plans[0].mean, plans[1].mean)
