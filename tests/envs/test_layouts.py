"""The geometry and the rewards of the navigation tasks, without a simulator."""

from __future__ import annotations

import numpy as np
import pytest
from dm_control.utils.rewards import tolerance

from rllib_lsp.envs.tasks import layouts, rewards
from rllib_lsp.envs.tasks.metrics import EpisodeMetrics


def sample(name: str, seed: int = 0, ring: tuple[float, float] = (4.5, 4.5)) -> layouts.Layout:
    return layouts.sample(name, ring, np.random.default_rng(seed))


def in_target_frame(layout: layouts.Layout) -> np.ndarray:
    """Posts (n, 2) turned so that the target lies on the positive x axis."""
    x, y = layout.target / np.hypot(*layout.target)
    return layout.posts @ np.array([[x, -y], [y, x]])


def test_targets_lie_on_the_ring_in_all_directions() -> None:
    targets = np.array([sample("open", seed, (2, 5)).target for seed in range(200)])
    distances = np.hypot(*targets.T)
    assert distances.min() >= 2
    assert distances.max() <= 5
    assert {tuple(quadrant) for quadrant in np.sign(targets)} == {
        (1, 1), (1, -1), (-1, 1), (-1, -1)
    }  # fmt: skip


def test_the_line_crosses_the_way_without_gaps() -> None:
    posts = in_target_frame(sample("line", seed=3))
    np.testing.assert_allclose(posts[:, 0], 0.55 * 4.5)
    np.testing.assert_allclose(np.diff(np.sort(posts[:, 1])), 2 * layouts.POST_RADIUS)
    assert abs(posts[:, 1]).max() + layouts.POST_RADIUS == pytest.approx(1.75)


def test_the_cove_is_closed_but_for_the_mouth() -> None:
    posts = in_target_frame(sample("cove", seed=3))
    assert len(posts) == 11
    wall = posts[:, 0].max()
    arms = posts[posts[:, 0] < wall - 1e-6]
    np.testing.assert_allclose(abs(arms[:, 1]), 1.4)
    for post in posts:  # each touches a neighbour
        gaps = np.hypot(*(posts - post).T)
        assert np.sort(gaps)[1] == pytest.approx(2 * layouts.POST_RADIUS)
    assert np.hypot(*posts.T).min() > layouts.POST_RADIUS + layouts.BODY_RADIUS


def test_scattered_posts_leave_room() -> None:
    for seed in range(20):
        layout = sample("scattered", seed, (2, 5))
        assert layout.posts.shape == (12, 2)
        gaps = np.hypot(*(layout.posts[:, None] - layout.posts[None]).transpose(2, 0, 1))
        assert gaps[~np.eye(12, dtype=bool)].min() >= 2
        assert np.hypot(*layout.posts.T).min() >= layouts.POST_RADIUS + layouts.BODY_RADIUS
        assert np.hypot(*(layout.posts - layout.target).T).min() >= 1.5


@pytest.mark.parametrize("upright", [-1.0, 0.3, 1.0])
@pytest.mark.parametrize("value", [-1.0, 0.0, 0.2, 0.5, 0.79, 0.81, 3.0, 5.79, 9.0])
def test_rewards_are_those_of_dm_control(upright: float, value: float) -> None:
    standing = tolerance(
        upright, bounds=(1, float("inf")), margin=2, value_at_margin=0, sigmoid="linear"
    )
    walking = tolerance(
        value, bounds=(0.5, float("inf")), margin=0.5, value_at_margin=0.5, sigmoid="linear"
    )
    assert rewards.walk(upright, value, 0.0) == pytest.approx(standing * walking)
    distance = abs(value)
    near = tolerance(distance, bounds=(0, 0.8), margin=5, value_at_margin=0, sigmoid="linear")
    assert rewards.reach(upright, 0.0, distance) == pytest.approx(standing * near)
    assert rewards.sparse(upright, 0.0, distance) == (distance <= 0.8)


def test_metrics_of_a_walk_through_the_target() -> None:
    metrics = EpisodeMetrics((0.0, 0.0), timestep=0.1)
    for x, distance, upright in [(0.3, 1.0, 1.0), (0.6, 0.7, 0.5), (0.3, 1.0, 1.0)]:
        metrics.add((x, 0.0), distance, upright, speed=3.0)
    assert metrics.summary() == pytest.approx(
        {
            "success": 1.0,
            "time_to_target": 0.2,
            "final_distance": 1.0,
            "forward_velocity": 3.0,
            "upright_fraction": 2 / 3,
            "path_length": 0.9,
            "visited_cells": 2.0,
        }
    )
