"""Reading and drawing a trial's learning curve."""

from __future__ import annotations

import json

import pytest

from rllib_lsp.plots import LearningCurve, plot_learning_curve, read_results


def result(iteration, returned, evaluated=None, took=0.1):
    env_runners = {"num_frames_sampled_lifetime": iteration * 10, "episode_return_mean": returned}
    evaluation = {"episode_return_mean": evaluated, "episode_duration_sec_mean": took}
    return {
        "training_iteration": iteration,
        "env_runners": env_runners,
        "evaluation": {"env_runners": evaluation if evaluated is not None else {}},
    }


def test_a_resumed_trial_overwrites_what_came_after_its_checkpoint(tmp_path):
    results = [result(1, 1.0), result(2, 2.0), result(3, 3.0), result(2, 7.0)]
    lines = [json.dumps(r) for r in results] + ['{"cut off']
    (tmp_path / "result.json").write_text("\n".join(lines))
    curve = LearningCurve.of(read_results(tmp_path))
    assert curve.training == [(10, 1.0), (20, 7.0)]
    assert curve.judged == ("training", curve.training)


def test_a_repeated_evaluation_is_one_point_but_an_equal_one_is_two():
    results = [result(1, 0.0, 5.0, 0.1), result(2, 0.0, 5.0, 0.1), result(3, 0.0, 5.0, 0.2)]
    curve = LearningCurve.of(results)
    assert curve.evaluation == [(10, 5.0), (30, 5.0)]
    assert curve.judged[0] == "evaluation"


@pytest.mark.parametrize("results", [[], [result(1, 1.0)], [result(1, 1.0, 2.0), result(2, 3.0)]])
def test_plot(tmp_path, results):
    path = tmp_path / "learning_curve.png"
    plot_learning_curve(LearningCurve.of(results), path, "title")
    assert path.read_bytes().startswith(b"\x89PNG")
