"""The line per result."""

from __future__ import annotations

import math

import pytest

from rllib_lsp.cli.messages import duration
from rllib_lsp.cli.progress import Progress, progress_line

FULL = {
    "env_runners": {
        "num_frames_sampled_lifetime": 12800,
        "episode_return_mean": 23.44,
        "planner_gain": 0.123,
    },
    "evaluation": {"env_runners": {"episode_return_mean": 30.0}},
    "throughput": {"updates_per_s": 2.14, "env_steps_per_s": 180.4},
    "time_total_s": 185.2,
    "training_iteration": 4,
    "time_this_iter_s": 50.0,
}


@pytest.mark.parametrize(
    ("result", "left", "line"),
    [
        (
            FULL,
            60.0,
            "frames 12,800 | return 23.4 | evaluation 30.0 | 2.14 updates/s | 180 env steps/s"
            " | planner gain +0.123 | 3 min 05 s | ETA 1 min 00 s",
        ),
        (
            {"num_env_steps_sampled_lifetime": 5, "time_total_s": 1},
            None,
            "steps 5 | return - | 1 s",
        ),
        (
            {"env_runners": {"episode_return_mean": math.nan}, "time_total_s": 1},
            None,
            "steps 0 | return - | 1 s",
        ),
    ],
)
def test_line(result, left, line):
    assert progress_line(result, left) == line


@pytest.mark.parametrize(
    ("stop", "eta"),
    [
        ({"training_iteration": 6}, "ETA 1 min 40 s"),
        ({"training_iteration": 6, "time_total_s": 200}, "ETA 16 s"),
        ({"env_runners/episode_return_mean": 100}, None),
    ],
)
def test_eta_is_that_of_the_nearest_criterion(capsys, stop, eta):
    class Trial:
        trial_id = "t"

    Progress(stop, None).on_trial_result(1, [Trial()], Trial(), FULL)
    printed = capsys.readouterr().out.strip()
    assert printed.endswith(eta) if eta else "ETA" not in printed


def test_the_first_iteration_of_a_run_foretells_nothing(capsys):
    """It samples more than it learns: the demo of ten minutes promised to end in 35 s."""

    class Trial:
        trial_id = "t"

    progress = Progress({"training_iteration": 6}, None)
    for iteration in (1, 2):
        result = {**FULL, "training_iteration": iteration}
        progress.on_trial_result(iteration, [Trial()], Trial(), result)
    first, second = capsys.readouterr().out.splitlines()
    assert "ETA" not in first
    assert "ETA" in second


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (7620, "2 h 07 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
